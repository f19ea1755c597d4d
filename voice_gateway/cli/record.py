"""A call's record for people: its entries as they happen, and its rows as they stand in the database.

The database holds full numbers; here they are masked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson
from rich.text import Text

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.cli.show import Teller
from voice_gateway.emulator.performance import Cue
from voice_gateway.ops.privacy import mask_number, scrub

_CALL_COLUMNS: Final = (
    "call_sid", "from_number", "to_number", "direction", "status", "end_reason", "duration_ms", "persona", "model",
    "transcript", "summary",
)  # fmt: skip
_SELDOM_READ: Final = frozenset({"item_id", "response_id", "session_id", "stream_sid", "call_id", "transcript"})
_LONGEST: Final = 60


class Narrator:
    """Tells a call from both ends: what the caller does, and what the gateway puts on its record.

    clock: seconds since the call was dialled. stream_at: when its media stream began, on the same clock.
    """

    def __init__(self, teller: Teller, clock: Callable[[], float]) -> None:
        self.entries: list[entries.Entry] = []
        self.stream_at_s = 0.0
        self._teller = teller
        self._clock = clock
        self._cut_in: Cue | None = None

    def cue(self, cue: Cue) -> None:
        """What the caller does. A cut-in is told after the words it cut, which stand on the record a moment later."""
        self.flush()
        if cue.act == "cuts in":
            self._cut_in = cue
        elif cue.act == "speaks":
            self._teller.line(cue.at_s, "caller", cue.text)
        else:
            self._teller.line(cue.at_s, "caller", f"{cue.act} {cue.text}".rstrip())

    def flush(self) -> None:
        """Tell the cut-in that waits."""
        cue, self._cut_in = self._cut_in, None
        if cue is not None:
            self._teller.line(cue.at_s, "caller", cue.text, "cuts in")

    def entry(self, _facts: CallFacts, entry: entries.Entry) -> None:
        """A listener of the journal."""
        self.entries.append(entry)
        match entry:
            case entries.AssistantSpoke():
                self._assistant(entry)
            case entries.MediaStarted():
                self.stream_at_s = self._clock()
                self._teller.line(self.stream_at_s, "call", "the media stream is up")
            case entries.ModelJoined():
                waited = f"the caller waited {entry.waited_ms} ms for it" if entry.waited_ms else "ready before him"
                self._teller.line(self._clock(), "call", f"{entry.model} is on the line", waited)
            case entries.UserSpoke():
                self.flush()
                self._teller.line(None, "", Text(f"understood: {entry.text}", "dim"))
            case entries.ToolAsked():
                told = f"{entry.name} {_compact(entry.arguments)}"
                self._teller.line(self._clock(), "tool", told, f"by the {entry.by}" if entry.by else "")
            case entries.ToolAnswered():
                outcome = "" if entry.ok else "failed: "
                self._teller.line(
                    None, "", Text(f"{outcome}{told_output(entry.output)}", "dim"), f"{entry.duration_ms} ms"
                )
            case entries.FaultSeen():
                self._teller.line(self._clock(), "error", f"{entry.where}: {entry.code}: {scrub(entry.message)}")
            case entries.CallEnded():
                self.flush()
                self._teller.line(self._clock(), "call", f"over: {entry.reason}, {entry.status}")

    def _assistant(self, entry: entries.AssistantSpoke) -> None:
        at_s = None if entry.start_ms is None else self.stream_at_s + entry.start_ms / 1000
        words = Text(entry.text)
        if entry.interrupted:
            unheard = entry.generated.removeprefix(entry.text).strip()
            words.append(" | not heard: ", "dim")
            words.append(unheard, "dim strike")
        notes = [] if entry.latency_ms is None else [f"{entry.latency_ms / 1000:.2f} s at the gateway"]
        if entry.interrupted:
            notes.append(f"{entry.heard_ms / 1000:.2f} of {entry.total_ms / 1000:.2f} s were heard")
        self._teller.line(at_s, "assistant", words, "; ".join(notes))
        self.flush()


def told_output(output: str) -> str:
    """A tool's output in a few words: the names and prices of its rows, or its beginning."""
    try:
        content = orjson.loads(output)
    except orjson.JSONDecodeError:
        content = None
    rows = content.get("items") if isinstance(content, dict) else None
    if isinstance(rows, list):
        names = [f"{row.get('name')} {row.get('price')}" for row in rows if isinstance(row, dict)]
        return f"{len(rows)} rows: {', '.join(names)}" if len(rows) != 1 else f"1 row: {names[0]}"
    return _short(scrub(output))


def show_record(teller: Teller, row: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> None:
    """The row of `calls` and the rows of `call_events`."""
    teller.heading("Read back from the database: calls")
    teller.facts((column, _cell(column, row.get(column))) for column in _CALL_COLUMNS)
    teller.heading("call_events")
    teller.table(
        ("seq", "occurred_at", "event_type", "payload"),
        ((str(event["seq"]), _time(event["occurred_at"]), event["event_type"], _payload(event)) for event in events),
    )


def _cell(column: str, value: object) -> str:
    if column.endswith("_number"):
        return mask_number(str(value))
    return "" if value is None else scrub(str(value))


def _time(moment: object) -> str:
    return str(moment)[11:23]


def _payload(event: Mapping[str, Any]) -> str:
    """What a reader wants of a payload, without identifiers, repetitions and what is empty; long values are cut."""
    payload = event["payload"]
    kept = {
        name: _value(name, value)
        for name, value in payload.items()
        if name not in _SELDOM_READ
        and value not in (None, "", False)
        and not (name == "generated" and (payload.get("unsaid") or value == payload["text"]))
    }
    return "  ".join(f"{name}={_short(' '.join(value.split()))}" for name, value in kept.items())


def _value(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if name.endswith("_usd") else f"{value:.1f}"  # an answer costs hundredths of a dollar
    if name == "usage" and isinstance(value, dict):
        spent = {way: sum(value.get(f"{way}_{kind}", 0) for kind in ("text", "audio")) for way in ("input", "output")}
        return f"{spent['input']} tokens in, {spent['output']} out"
    return _compact(value) if name == "arguments" and isinstance(value, str) else _cell(name, value)


def _compact(json: str) -> str:
    try:
        return orjson.dumps(orjson.loads(json)).decode()
    except orjson.JSONDecodeError:
        return " ".join(json.split())


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
