"""How a call is led: what may differ from call to call and is settled before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voice_gateway.call.greeting import Clip


@dataclass(frozen=True, slots=True)
class Policy:
    """How a call is led.

    greeting: instructions for the first response; empty: the model waits for the caller. clip: a greeting that is
    played instead of being asked for. greeting_to_keep: the words of a greeting that is to become a clip when the model
    has spoken it well; empty: none is. barge_in: False lets our voice finish. duplex: False gives the model silence
    while our voice plays. audio_format: of the model leg.
    """

    greeting: str = ""
    clip: Clip | None = None
    greeting_to_keep: str = ""
    barge_in: bool = True
    duplex: bool = True
    audio_format: Literal["pcm16", "pcmu"] = "pcm16"
    lead_s: float = 0.4
    mark_every_s: float = 0.2
    max_duration_s: float = 3600.0
    failed_sentence: str = "I am sorry, something went wrong. Please call again."
    limit_sentence: str = "We have reached the longest time for a call. Goodbye."
