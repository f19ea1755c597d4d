"""What a receptionist looks up and books. Times are said and heard as local times of the diary."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated, Any

from pydantic import Field

from voice_gateway.agent.toolbox.at_hand import tables
from voice_gateway.agent.tools import ToolContext, ToolFailed, tool
from voice_gateway.store.diary import Appointment, Diary, Wish, exists

_REFUSED = {
    "taken": "That time was taken in the meantime. Offer another with check_availability.",
    "closed": "There are no appointments on that day. Offer another day.",
    "past": "That time is over. Ask for a day to come.",
    "no_such_time": "Appointments do not begin at that time. Offer those of check_availability.",
}
Day = Annotated[date, Field(description="The day, as 2026-12-01.")]


async def check_availability(day: Annotated[Day, Field(alias="date")], context: ToolContext) -> dict[str, Any]:
    """Find the free times of a day. Offer two or three of them, not all."""
    diary = tables(context).diary
    free = await diary.free(day, context.now)
    return {
        "date": day.isoformat(),
        "weekday": f"{day:%A}",
        "available": bool(free),
        "slots": [f"{slot:%H:%M}" for slot in free],
        "minutes": diary.hours.slot_min,
        "timezone": str(diary.hours.zone),
    }


@tool(effect=True)
async def book_appointment(
    day: Annotated[Day, Field(alias="date")],
    at: Annotated[time, Field(alias="time", description="Local time, as 14:30.")],
    name: Annotated[str, Field(description="Whom it is for.", min_length=1, max_length=120)],
    phone: Annotated[str, Field(description="Their number; empty for the one they call from.", max_length=40)] = "",
    reason: Annotated[str, Field(description="What it is about, in a few words.", max_length=500)] = "",
    *,
    context: ToolContext,
) -> dict[str, Any]:
    """Book an appointment, after the caller has confirmed day, time and name."""
    diary = tables(context).diary
    wish = Wish(_local(diary, day, at), name, phone.strip() or context.from_number, reason)
    booked = await diary.book(wish, context.call_sid, context.key or None, context.now)
    if isinstance(booked, str):
        return {"success": False, "error": booked, "message": _REFUSED[booked]}
    return {"success": True, "appointment": _told(booked), "timezone": str(diary.hours.zone)}


@tool(in_call=True, undoes="book_appointment")
async def cancel_appointment(
    appointment_id: Annotated[
        str,
        Field(
            alias="appointmentId", description="The id of the appointment; empty to see what is booked.", max_length=60
        ),
    ] = "",
    *,
    context: ToolContext,
) -> dict[str, Any]:
    """Cancel an appointment of the caller. Without an id it only tells which ones stand under the caller's number."""
    diary = tables(context).diary
    booked = await diary.upcoming(context.from_number, context.now) if context.from_number else []
    if not appointment_id.strip():
        return {"appointments": [_told(each) for each in booked], "timezone": str(diary.hours.zone)}
    if not context.from_number or not await diary.cancel(appointment_id.strip(), context.from_number):
        raise ToolFailed("No such appointment stands under the number they call from. Take a message instead.")
    return {"success": True, "canceled": appointment_id.strip()}


async def lookup_customer(
    phone: Annotated[
        str, Field(description="Their number with country code; empty for the one they call from.", max_length=40)
    ] = "",
    *,
    context: ToolContext,
) -> dict[str, Any]:
    """Find out whether the caller is a customer, and what is known: name, language, notes, booked appointments."""
    diary = tables(context).diary
    number = phone.strip() or context.from_number
    customer = await diary.customer(number) if number else None
    if customer is None:
        return {"found": False}
    return {
        "found": True,
        "customer": {
            "id": customer.id,
            "name": customer.full_name,
            "language": customer.language,
            "notes": customer.notes,
        },
        "appointments": [_told(each) for each in await diary.upcoming(number, context.now)],
    }


def _local(diary: Diary, day: date, at: time) -> datetime:
    local = datetime.combine(day, at.replace(tzinfo=None), diary.hours.zone)
    if not exists(local):
        raise ToolFailed("The clocks are put forward that night and skip this time. Offer another.")
    return local


def _told(appointment: Appointment) -> dict[str, str]:
    starts_at = appointment.starts_at
    return {
        "id": appointment.id,
        "date": f"{starts_at:%Y-%m-%d}",
        "weekday": f"{starts_at:%A}",
        "time": f"{starts_at:%H:%M}",
        "until": f"{appointment.ends_at:%H:%M}",
        "name": appointment.customer_name,
        "reason": appointment.reason,
    }
