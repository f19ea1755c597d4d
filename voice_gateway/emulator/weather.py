"""What the network and the telephone do to a call: delay, jitter, late playing, lost frames."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Gap:
    """The caller's frames stop coming: those of [at_s, at_s + length_s) are lost and timestamps jump over them."""

    at_s: float
    length_s: float

    @property
    def end_s(self) -> float:
        return self.at_s + self.length_s


@dataclass(frozen=True, slots=True)
class Weather:
    """Conditions between the server and the ear. The same seed gives the same weather.

    one_way_s: network delay between server and carrier, the same in both directions.
    jitter_s: a packet takes up to so much longer; packets never overtake each other.
    jitter_buffer_s: the carrier collects so long before it plays on after silence.
    start_late_s: and it plays that much later still, whenever playing starts anew.
    gaps: stretches of the caller's audio that are lost, on the media stream's clock.
    burst_frames: the caller's frames come in groups of so many (1: evenly).
    noise_dbfs: level of the line's noise while the caller is silent; None is digital silence.
    """

    one_way_s: float = 0.05
    jitter_s: float = 0.0
    jitter_buffer_s: float = 0.06
    start_late_s: float = 0.0
    seed: int = 0
    gaps: tuple[Gap, ...] = ()
    burst_frames: int = 1
    noise_dbfs: float | None = None

    def __post_init__(self) -> None:
        if min(self.one_way_s, self.jitter_s, self.jitter_buffer_s, self.start_late_s) < 0:
            raise ValueError(f"weather takes no negative times: {self}")
        if self.burst_frames < 1:
            raise ValueError(f"burst_frames is {self.burst_frames}; 1 sends every frame on its own")

    def chance(self, purpose: str) -> Random:
        """A generator of its own for one purpose, so that one direction's draws never shift the other's."""
        return Random(f"{self.seed} {purpose}")


CALM = Weather(one_way_s=0.0, jitter_buffer_s=0.0)
"""No delay at all: for tests of meaning and for benches."""
