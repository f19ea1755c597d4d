"""The diary: when there is time, who has booked it, and who the customers are.

A day is a day of the diary's own time zone, whatever the machine's is; what is stored is UTC. Two appointments never
overlap: the check and the entry are one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from voice_gateway.store.records import Row, clean_text, iso_utc
from voice_gateway.store.rows import Rows

if TYPE_CHECKING:
    from voice_gateway.store.calendars import Calendars

Refused = Literal["taken", "closed", "past", "no_such_time"]


@dataclass(frozen=True, slots=True)
class Hours:
    """When appointments are given. weekdays: 0 for Monday. opens, closes: local time. slot_min: length in minutes."""

    zone: ZoneInfo
    weekdays: frozenset[int] = frozenset(range(5))
    opens: time = time(9)
    closes: time = time(17)
    slot_min: int = 30

    def slots(self, day: date) -> Iterator[datetime]:
        """The beginnings of a day's appointments, in the diary's zone; those that the clock skips are left out."""
        if day.weekday() not in self.weekdays:
            return
        begins = datetime.combine(day, self.opens)
        closes = datetime.combine(day, self.closes)
        while begins + timedelta(minutes=self.slot_min) <= closes:
            at = begins.replace(tzinfo=self.zone)
            if exists(at):
                yield at
            begins += timedelta(minutes=self.slot_min)


@dataclass(frozen=True, slots=True)
class Appointment:
    """starts_at, ends_at: in the diary's zone."""

    id: str
    starts_at: datetime
    ends_at: datetime
    customer_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wish:
    """An appointment that somebody would like."""

    starts_at: datetime
    name: str
    phone: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Customer:
    id: str
    full_name: str
    phone: str
    email: str
    language: str
    notes: str


def exists(at: datetime) -> bool:
    """False for a local time that the clock skips when it is put forward in spring."""
    return at.astimezone(UTC).astimezone(at.tzinfo).replace(tzinfo=None) == at.replace(tzinfo=None)


class Diary:
    """Every method but `hours` may raise `TablesAway`."""

    def __init__(self, rows: Rows, hours: Hours, calendar: str = "main", elsewhere: Calendars | None = None) -> None:
        """elsewhere: calendars whose busy times are not given away."""
        self._rows = rows
        self._elsewhere = elsewhere
        self._calendar = calendar
        self.hours = hours

    async def free(self, day: date, now: datetime) -> list[datetime]:
        """The beginnings that can still be booked on a day."""
        slots = [slot for slot in self.hours.slots(day) if slot > now]
        if not slots:
            return []
        length = timedelta(minutes=self.hours.slot_min)
        first, last = slots[0], slots[-1].astimezone(UTC) + length
        rows = await self._rows.booked(self._calendar, iso_utc(first), iso_utc(last))
        taken = [(_time(row["starts_at"]), _time(row["ends_at"])) for row in rows]
        taken += [] if self._elsewhere is None else self._elsewhere.busy(first, last)
        return [
            slot
            for slot in slots
            if not any(begins < slot.astimezone(UTC) + length and ends > slot for begins, ends in taken)
        ]

    async def book(self, wish: Wish, call_sid: str, key: str | None, now: datetime) -> Appointment | Refused:
        """Enter an appointment, once for each key. The beginning must be one of the day's."""
        starts_at = wish.starts_at.astimezone(self.hours.zone)
        if starts_at <= now:
            return "past"
        day = list(self.hours.slots(starts_at.date()))
        if starts_at not in day:
            return "no_such_time" if day else "closed"
        ends_at = starts_at.astimezone(UTC) + timedelta(minutes=self.hours.slot_min)  # no hour is lost or won inside
        if self._elsewhere is not None and self._elsewhere.busy(starts_at, ends_at):
            return "taken"
        appointment: Row = {
            "calendar": self._calendar,
            "starts_at": iso_utc(starts_at),
            "ends_at": iso_utc(ends_at),
            "customer_name": clean_text(wish.name),
            "customer_phone": clean_text(wish.phone) or None,
            "reason": clean_text(wish.reason) or None,
            "call_sid": call_sid or None,
        }
        row = await self._rows.book(appointment, key)
        return "taken" if row is None else self._appointment(row)

    async def upcoming(self, phone: str, now: datetime) -> list[Appointment]:
        """What is booked under a telephone number and has not begun, the soonest first."""
        rows = await self._rows.upcoming(self._calendar, clean_text(phone), iso_utc(now))
        return [self._appointment(row) for row in rows]

    async def cancel(self, appointment_id: str, phone: str) -> bool:
        """Cancel an appointment that stands under this telephone number; cancelled already is fine too."""
        return await self._rows.cancel(clean_text(appointment_id), self._calendar, clean_text(phone))

    async def customer(self, phone: str) -> Customer | None:
        """Who is known under a telephone number."""
        row = await self._rows.customer(clean_text(phone.strip()))
        if row is None:
            return None
        return Customer(
            row["id"], row["full_name"], row["phone"] or "", row["email"] or "", row["language"], row["notes"]
        )

    def _appointment(self, row: Row) -> Appointment:
        return Appointment(
            id=row["id"],
            starts_at=_time(row["starts_at"]).astimezone(self.hours.zone),
            ends_at=_time(row["ends_at"]).astimezone(self.hours.zone),
            customer_name=row["customer_name"],
            reason=row["reason"] or "",
        )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
