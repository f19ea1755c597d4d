"""The diary: when there is time, who has booked it, and who the customers are.

A day is a day of the diary's own time zone, whatever the machine's is; what is stored is UTC. Two appointments never
overlap: the check and the entry are one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from voice_gateway.store.database import fetch
from voice_gateway.store.records import Row, clean_text, iso_utc, new_id
from voice_gateway.store.writing import transaction

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
    """Every method blocks for a moment: call it in a thread."""

    def __init__(self, path: Path, hours: Hours, calendar: str = "main") -> None:
        self._path = path
        self._calendar = calendar
        self.hours = hours

    def free(self, day: date, now: datetime) -> list[datetime]:
        """The beginnings that can still be booked on a day."""
        slots = [slot for slot in self.hours.slots(day) if slot > now]
        if not slots:
            return []
        length = timedelta(minutes=self.hours.slot_min)
        sql = (
            "select starts_at, ends_at from appointments where calendar = ? and status = 'booked' "
            "and starts_at < ? and ends_at > ?"
        )
        rows = fetch(self._path, sql, [self._calendar, iso_utc(slots[-1] + length), iso_utc(slots[0])])
        return [
            slot
            for slot in slots
            if not any(row["starts_at"] < iso_utc(slot + length) and row["ends_at"] > iso_utc(slot) for row in rows)
        ]

    def book(self, wish: Wish, call_sid: str, key: str | None, now: datetime) -> Appointment | Refused:
        """Enter an appointment, once for each key. The beginning must be one of the day's."""
        starts_at = wish.starts_at.astimezone(self.hours.zone)
        if starts_at <= now:
            return "past"
        day = list(self.hours.slots(starts_at.date()))
        if starts_at not in day:
            return "no_such_time" if day else "closed"
        ends_at = starts_at.astimezone(UTC) + timedelta(minutes=self.hours.slot_min)  # no hour is lost or won inside
        with transaction(self._path) as db:
            known = (
                db.execute("select * from appointments where idempotency_key = ?", [key]).fetchone() if key else None
            )
            if known is not None:
                return self._appointment(dict(known))
            taken = db.execute(
                "select 1 from appointments where calendar = ? and status = 'booked' and starts_at < ? and ends_at > ?",
                [self._calendar, iso_utc(ends_at), iso_utc(starts_at)],
            ).fetchone()
            if taken is not None:
                return "taken"
            row: Row = {
                "id": new_id(),
                "calendar": self._calendar,
                "starts_at": iso_utc(starts_at),
                "ends_at": iso_utc(ends_at),
                "customer_name": clean_text(wish.name),
                "customer_phone": clean_text(wish.phone) or None,
                "reason": clean_text(wish.reason) or None,
                "call_sid": call_sid or None,
                "idempotency_key": key,
            }
            db.execute(
                "insert into appointments (id, calendar, starts_at, ends_at, customer_name, customer_phone, reason, "
                "call_sid, idempotency_key) values (:id, :calendar, :starts_at, :ends_at, :customer_name, "
                ":customer_phone, :reason, :call_sid, :idempotency_key)",
                row,
            )
        return self._appointment(row)

    def upcoming(self, phone: str, now: datetime) -> list[Appointment]:
        """What is booked under a telephone number and has not begun, the soonest first."""
        sql = (
            "select * from appointments where calendar = ? and status = 'booked' and customer_phone = ? "
            "and starts_at > ? order by starts_at"
        )
        rows = fetch(self._path, sql, [self._calendar, phone, iso_utc(now)])
        return [self._appointment(row) for row in rows]

    def cancel(self, appointment_id: str, phone: str) -> bool:
        """Cancel an appointment that stands under this telephone number; cancelled already is fine too."""
        with transaction(self._path) as db:
            changed = db.execute(
                "update appointments set status = 'canceled', idempotency_key = null "
                "where id = ? and calendar = ? and customer_phone = ? "
                "and status in ('booked', 'canceled')",
                [appointment_id, self._calendar, phone],
            )
            return changed.rowcount > 0

    def customer(self, phone: str) -> Customer | None:
        """Who is known under a telephone number."""
        rows = fetch(self._path, "select * from customers where phone = ?", [phone.strip()])
        if not rows:
            return None
        row = rows[0]
        return Customer(
            row["id"], row["full_name"], row["phone"] or "", row["email"] or "", row["language"], row["notes"]
        )

    def _appointment(self, row: Row) -> Appointment:
        return Appointment(
            id=row["id"],
            starts_at=datetime.fromisoformat(row["starts_at"]).astimezone(self.hours.zone),
            ends_at=datetime.fromisoformat(row["ends_at"]).astimezone(self.hours.zone),
            customer_name=row["customer_name"],
            reason=row["reason"] or "",
        )
