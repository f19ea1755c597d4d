"""The figures of an emulated call: when it was answered, how fast it spoke, how fast it fell silent."""

from __future__ import annotations

from voice_gateway.emulator.phone_call import PhoneCall

SENTENCE_PAUSE_S = 0.7
"""Silence between two stretches of sound that belong to different turns."""


def spoken_stretches(call: PhoneCall) -> list[tuple[float, float]]:
    """From when to when the caller heard something, seconds since the media stream's start."""
    stretches: list[tuple[float, float]] = []
    for segment in call.played:
        if not segment.audible:
            continue
        if stretches and segment.start_s - stretches[-1][1] < SENTENCE_PAUSE_S:
            stretches[-1] = (stretches[-1][0], segment.end_s)
        else:
            stretches.append((segment.start_s, segment.end_s))
    return stretches


def caller_stretches(call: PhoneCall) -> list[tuple[float, float]]:
    """From when to when the caller spoke, seconds since the media stream's start."""
    spoken = [event for event in call.events if event.name == "caller speaks"]
    return [(e.details["from_s"], e.details["from_s"] + e.details["seconds"]) for e in spoken]


def figures(call: PhoneCall) -> list[tuple[str, str]]:
    """Names and values to show, in the order of the call."""
    at = {event.name: event.t for event in reversed(call.events)}
    shown: list[tuple[str, str]] = []
    if "twiml" in at:
        shown.append(("dialled → TwiML", _ms(at["twiml"])))
    if "stream started" in at:
        shown.append(("dialled → media stream", _ms(at["stream started"])))
    if call.first_heard_s is not None:
        shown.append(("media stream → first sound in the ear", _ms(call.first_heard_s - call.stream_at_s)))
    heard = spoken_stretches(call)
    for began_s, ended_s in caller_stretches(call):
        shown.extend(_turn(call, heard, began_s, ended_s))
    clears = sum(event.name == "clear" for event in call.events)
    if clears:
        shown.append(("times the gateway cleared its voice", str(clears)))
    shown.extend((f"warning {warning.code}", warning.reason) for warning in call.warnings)
    return shown


def _turn(call: PhoneCall, heard: list[tuple[float, float]], began_s: float, ended_s: float) -> list[tuple[str, str]]:
    """What became of one turn of the caller's."""
    shown: list[tuple[str, str]] = []
    spoken_into = next((end for start, end in _pieces(call) if start < began_s < end), None)
    if spoken_into is not None and spoken_into < ended_s + SENTENCE_PAUSE_S:
        shown.append((f"caller cuts in at {began_s:.2f} s → silence in the ear", _ms(spoken_into - began_s)))
    answer = next((start for start, _ in heard if start > ended_s - 0.05), None)
    if answer is not None:
        shown.append((f"caller stops at {ended_s:.2f} s → first sound of the answer", _ms(answer - ended_s)))
    return shown


def _pieces(call: PhoneCall) -> list[tuple[float, float]]:
    """Sound in the ear without any hole."""
    pieces: list[tuple[float, float]] = []
    for segment in call.played:
        if pieces and segment.start_s - pieces[-1][1] < 0.005:
            pieces[-1] = (pieces[-1][0], segment.end_s)
        elif segment.audible:
            pieces.append((segment.start_s, segment.end_s))
    return pieces


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
