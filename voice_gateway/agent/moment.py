"""The date and the time, as a model is told them with its instructions: of itself it knows neither.

Told when a session is made or changed, and not again: a call across midnight goes on with the day it began.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from voice_gateway.agent.personas import Persona

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TOLD = """

Today is {day}, {date}. It was {time} in the time zone {zone} when you were told this. Reckon every day that is said \
from this date, and take every time of day as one of this zone.
"""


def zone_of(persona: Persona, otherwise: ZoneInfo | None) -> ZoneInfo | None:
    """The time zone a persona lives in: that of its hours. otherwise: the house's; None is the machine's own."""
    return otherwise if persona.hours is None else persona.hours.zone


def with_moment(instructions: str, at: datetime) -> str:
    """The instructions, and below them the date, the day of the week and the time. at: in the zone to be told."""
    offset = "UTC" + at.isoformat(timespec="minutes")[16:]
    name = at.tzinfo.key if isinstance(at.tzinfo, ZoneInfo) else ""
    zone = name if name in {"UTC", "Etc/UTC"} else f"{name} ({offset})" if name else offset
    return instructions.rstrip() + _TOLD.format(
        day=_DAYS[at.weekday()], date=at.date().isoformat(), time=f"{at:%H:%M}", zone=zone
    )
