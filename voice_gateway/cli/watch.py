"""What goes on at the emulated model, told as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, TypeAlias

from voice_gateway.cli.show import Teller
from voice_gateway.emulator.realtime import RealtimeServer, RealtimeSession

_EVERY_S: Final = 0.1

Event: TypeAlias = Mapping[str, Any]
Exchanged: TypeAlias = tuple[str, Event]


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
    """A session, and the last event of it that was told."""

    number: int
    session: RealtimeSession
    last: Exchanged | None = None

    def news(self, *, every_event: bool) -> list[str]:
        exchanged = self.session.exchanged
        new = _after(exchanged, self.last)
        self.last = exchanged[-1] if exchanged else None
        return list(_types(new)) if every_event else [text for _, event in new if (text := _told(event))]


def _after(exchanged: Sequence[Exchanged], last: Exchanged | None) -> Sequence[Exchanged]:
    """The events behind one that was seen. Only the latest are kept, so the search begins at the end."""
    for at in range(len(exchanged) - 1, -1, -1):
        if exchanged[at] is last:
            return exchanged[at + 1 :]
    return exchanged


def _types(exchanged: Sequence[Exchanged]) -> Iterator[str]:
    """A line for each event; deltas in a row are one."""
    kinds = [f"{arrow} {event['type']}" for arrow, event in exchanged]
    for kind, run in groupby(kinds):
        count = len(list(run))
        yield from [f"{kind} ({count} in a row)"] if count > 1 and kind.endswith(".delta") else [kind] * count


def _told(event: Event) -> str:  # noqa: C901, PLR0911 - a line for each kind
    match event:
        case {"type": "session.update"}:
            return "is configured by the client"
        case {"type": "conversation.item.create", "item": {"role": "user", "content": [{"text": text}, *_]}}:
            return f"was typed to: {text}"
        case {"type": "conversation.item.create", "item": {"role": "assistant", "content": [{"text": text}, *_]}}:
            return f"learns that the caller heard it say: {text}"
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
