"""What goes on at the emulated model, told as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from voice_gateway.cli.show import Teller
from voice_gateway.emulator.realtime import RealtimeServer, RealtimeSession

_EVERY_S: Final = 0.1
_FOLDED: Final = (".delta", "input_audio_buffer.append")

Event = Mapping[str, Any]


async def watch(teller: Teller, server: RealtimeServer, *, every_event: bool = False) -> None:
    """Tell of every session that comes, speaks and goes, until cancelled. Times count from now on.

    every_event: by its type, in both directions; otherwise only what was said, asked for, cut and refused.
    """
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    live: dict[str, _Watched] = {}
    met = 0
    while True:
        now_s = loop.time() - began_s
        for session in server.sessions[met:]:
            met += 1
            live[session.id] = _Watched(met, session)
            teller.line(now_s, f"session {met}", f"{session.id} begins")
        for watched in list(live.values()):
            for text in watched.news(every_event=every_event):
                teller.line(now_s, f"session {watched.number}", text)
            if not server.is_connected(watched.session):
                del live[watched.session.id]
                teller.line(now_s, f"session {watched.number}", "is over")
        await asyncio.sleep(_EVERY_S)


@dataclass(slots=True)
class _Watched:
    """A session, and the last events of it that were told."""

    number: int
    session: RealtimeSession
    last_received: Event | None = None
    last_sent: Event | None = None

    def news(self, *, every_event: bool) -> list[str]:
        received, sent = self.session.received, self.session.sent
        new_received, new_sent = _after(received, self.last_received), _after(sent, self.last_sent)
        self.last_received = received[-1] if received else None
        self.last_sent = sent[-1] if sent else None
        if every_event:
            return [*_types("-> ", new_received), *_types("<- ", new_sent)]
        return [text for event in [*new_received, *new_sent] if (text := _told(event))]


def _after(events: Sequence[Event], last: Event | None) -> Sequence[Event]:
    """The events behind one that was seen. Only the latest are kept, so the search begins at the end."""
    for at in range(len(events) - 1, -1, -1):
        if events[at] is last:
            return events[at + 1 :]
    return events


def _types(arrow: str, events: Sequence[Event]) -> Iterator[str]:
    """A line for each event; deltas in a row are one."""
    count = 0
    for at, event in enumerate(events):
        kind, count = event["type"], count + 1
        following = events[at + 1]["type"] if at + 1 < len(events) else ""
        if kind == following and kind.endswith(_FOLDED):
            continue
        yield f"{arrow}{kind}" + (f" ({count} in a row)" if count > 1 else "")
        count = 0


def _told(event: Event) -> str:  # noqa: PLR0911 - a line for each kind
    match event:
        case {"type": "session.update"}:
            return "is configured by the client"
        case {"type": "conversation.item.create", "item": {"role": "user", "content": [{"text": text}, *_]}}:
            return f"was typed to: {text}"
        case {"type": "conversation.item.truncate", "audio_end_ms": heard_ms}:
            return f"was cut by the client: {heard_ms} ms were heard"
        case {"type": "conversation.item.create", "item": {"type": "function_call_output", "output": output}}:
            return f"got a tool's output of {len(output)} letters"
        case {"type": "conversation.item.input_audio_transcription.completed", "transcript": text}:
            return f"heard: {text}" if text else "heard a sound, no words"
        case {"type": "response.output_audio_transcript.done", "transcript": text}:
            return f"says: {text}"
        case {"type": "response.output_text.done", "text": text}:
            return f"writes: {text}"
        case {"type": "response.function_call_arguments.done", "arguments": arguments}:
            return f"calls {event.get('name', 'a tool')} with {' '.join(arguments.split())}"
        case {"type": "error", "error": {"code": code, "message": message}}:
            return f"refuses: {code}: {message}"
    return ""
