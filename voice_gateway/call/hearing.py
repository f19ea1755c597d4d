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
_SECOND = 1000 * ULAW_BYTES_PER_MS


class Hearing:
    """gaps: says when `pad` has something to write.

    is_shut: see `shut`. written_ms: sound given to the model, which is its clock. padded_ms: silence among it that we
    put in.
    """

    def __init__(self, audio_format: Literal["pcm16", "pcmu"], *, muted: Callable[[float], bool] | None = None) -> None:
        """muted: asked with `now` whether the model gets silence instead; None when it hears everything."""
        self._transcode: TowardsModel = Straight() if audio_format == "pcmu" else ToModel()
        self._muted = muted
        self.gaps = GapFiller()
        self._level = Level()
        self._backlog = bytearray()
        self._model_is_there = False
        self._listens = False
        self.is_shut = False
        self.written_ms = 0.0
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
        if not self._listens:
            if not self.is_shut:
                self._backlog += ulaw
                del self._backlog[:-BACKLOG_BYTES]
            return []
        return [self._append(ulaw)]

    def shut(self, shut: bool) -> None:  # noqa: FBT001 - the word says it
        """Whether the model gets nothing at all. What is said meanwhile is not made up for, and nobody pays for it."""
        self.is_shut = shut
        self._listens = self._model_is_there and not shut

    def let_model_listen(self) -> list[do.Command]:
        """The model is there: it hears what was kept, in pieces of a second, and everything from now on."""
        self._model_is_there, self._listens = True, not self.is_shut
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
        return [self._append(silence)]

    def stopped_at(self, audio_end_ms: int, now: float) -> float:
        """When the caller made the sound that the model's clock puts at audio_end_ms."""
        return now - max(0.0, self.written_ms - audio_end_ms) / 1000

    def _append(self, ulaw: bytes) -> do.AppendAudio:
        self.written_ms += len(ulaw) / ULAW_BYTES_PER_MS
        return do.AppendAudio(self._transcode.process(ulaw))
