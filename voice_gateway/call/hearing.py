"""Hearing: the caller's sound on its way to the model, without holes, and kept while the model is not there yet.

A frame of 20 ms comes fifty times a second: `hear` is what the bridge does with it, and it does little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from voice_gateway.audio.g711 import SILENCE
from voice_gateway.audio.level import Level
from voice_gateway.audio.transcode import ULAW_BYTES_PER_MS, Straight, ToModel, TowardsModel
from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.gaps import GapFiller

BACKLOG_BYTES = 10 * 1000 * ULAW_BYTES_PER_MS
LONGEST_TAIL_BYTES = 2 * 1000 * ULAW_BYTES_PER_MS
_SECOND = 1000 * ULAW_BYTES_PER_MS


class Hearing:
    """gaps: says when `pad` has something to write.

    model_is_there: it has been let to listen. is_shut: see `shut`. written_ms: sound given to the model, which is its
    clock; another session's begins at offset_ms of it. padded_ms: silence among it that we put in.
    """

    def __init__(self, audio_format: Literal["pcm16", "pcmu"], *, muted: Callable[[float], bool] | None = None) -> None:
        """muted: asked with `now` whether the model gets silence instead; None when it hears everything."""
        self._transcode: TowardsModel = Straight() if audio_format == "pcmu" else ToModel()
        self._muted = muted
        self.gaps = GapFiller()
        self._level = Level()
        self._audio_format = audio_format
        self._backlog = bytearray()
        self.model_is_there = False
        self._listens = False
        self._keeps = False
        self._straight = False
        self.is_shut = False
        self.written_ms = 0.0
        self.offset_ms = 0.0
        self.padded_ms = 0.0

    @property
    def level_dbfs(self) -> float | None:
        """The caller's speech level, to a tenth; None while he has not spoken."""
        return None if self._level.dbfs is None else round(self._level.dbfs, 1)

    def hear(self, event: ev.CallerAudio, now: float) -> list[do.Command]:
        self._level.add(event.ulaw)
        ulaw = self.gaps.frame(event.ulaw, event.timestamp_ms, now)
        self.padded_ms += (len(ulaw) - len(event.ulaw)) / ULAW_BYTES_PER_MS
        if self._muted is not None and self._muted(now):
            ulaw = SILENCE * len(ulaw)
        if not self._straight:
            if not self.is_shut:
                self._backlog += ulaw
                del self._backlog[:-BACKLOG_BYTES]
            if not self._listens:
                return []
        return [self._append(ulaw)]

    def shut(self, shut: bool) -> None:  # noqa: FBT001 - the word says it
        """Whether the model gets nothing at all. What is said meanwhile is not made up for, and nobody pays for it."""
        self.is_shut = shut
        self._listens = self.model_is_there and not shut
        self._straight = self._listens and not self._keeps

    def let_model_listen(self) -> list[do.Command]:
        """The model is there: it hears what was kept, in pieces of a second, and everything from now on."""
        self.model_is_there = True
        self.shut(self.is_shut)
        backlog = bytes(self._backlog)
        self._backlog.clear()
        if not self._listens:
            return []
        return [self._append(backlog[start : start + _SECOND]) for start in range(0, len(backlog), _SECOND)]

    def pad(self, now: float) -> list[do.Command]:
        """The caller's frames stopped coming: silence keeps the model's clock going, so that it can end the turn."""
        silence = self.gaps.due(now)
        if not silence or not self._listens:
            return []
        self.padded_ms += len(silence) / ULAW_BYTES_PER_MS
        if self._keeps:
            self._backlog += silence
        return [self._append(silence)]

    # --- another session --------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Keep what is heard from now on, for a session that may take over."""
        self._backlog.clear()
        self._keeps, self._straight = True, False

    def keep_no_more(self) -> None:
        if self._keeps:
            self._backlog.clear()
            self._keeps, self._straight = False, self._listens

    def forget_until(self, end_ms: float) -> None:
        """The session in use has taken the caller's sound up to here for a turn: no other one is to hear that again."""
        if self._keeps:
            left = max(0, round((self.written_ms - end_ms) * ULAW_BYTES_PER_MS))
            del self._backlog[: max(0, len(self._backlog) - left)]

    def begin_anew(self) -> list[do.Command]:
        """Another session hears him from now on: first what was said since his last turn, `LONGEST_TAIL_BYTES` at most.

        Its clock begins with that; the caller's does not stand still for it.
        """
        tail = bytes(self._backlog[-LONGEST_TAIL_BYTES:])
        self.keep_no_more()
        self._transcode = Straight() if self._audio_format == "pcmu" else ToModel()
        self.offset_ms = self.written_ms - len(tail) / ULAW_BYTES_PER_MS
        return [do.AppendAudio(self._transcode.process(tail))] if tail else []

    def stopped_at(self, audio_end_ms: int, now: float) -> float:
        """When the caller made the sound that the model's clock puts at audio_end_ms."""
        return now - max(0.0, self.written_ms - audio_end_ms) / 1000

    def _append(self, ulaw: bytes) -> do.AppendAudio:
        self.written_ms += len(ulaw) / ULAW_BYTES_PER_MS
        return do.AppendAudio(self._transcode.process(ulaw))
