"""Whether a scenario came out: what its call left on the gateway's record, held against what was to happen."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import orjson

from voice_gateway.cli.show import Teller
from voice_gateway.emulator.phone_call import Outcome
from voice_gateway.emulator.scenario import Ending, Expected, Scenario
from voice_gateway.emulator.verdict import Happened, Used, failings
from voice_gateway.ops.privacy import scrub
from voice_gateway.store.database import fetch

PATIENCE_S: Final = 5.0
"""A record is closed some milliseconds after its call, on a busy machine later."""

ENDED: Final[Mapping[Outcome, Ending]] = {
    "caller-hung-up": "caller", "completed": "gateway", "transferred": "transfer",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """A call as it stands in the gateway's file: the row of `calls`, and `call_events` in order."""

    row: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]

    def day(self, zone: tzinfo | None) -> date:
        """On which the call began. zone: that of the gateway's days (`Settings.zone`); None is this machine's."""
        return datetime.fromisoformat(self.row["created_at"]).astimezone(zone).date()

    def happened(self, outcome: Outcome) -> Happened:
        """outcome: as the carrier saw it; whoever's goodbye it was stands on the record."""
        return Happened(
            said=[event["payload"]["text"] for event in self.events if event["event_type"] == "TRANSCRIPT_ASSISTANT"],
            uses=list(self._uses()),
            ended=self._ended(outcome),
            personas=list(self._personas()),
        )

    def _uses(self) -> Iterator[Used]:
        payloads = [(event["event_type"], event["payload"]) for event in self.events]
        outputs = {told["call_id"]: told["output"] for kind, told in payloads if kind == "TOOL_RESULT"}
        for kind, asked in payloads:
            if kind == "TOOL_CALL":
                yield Used(asked["name"], _arguments(asked["arguments"]), outputs.get(asked["call_id"], ""))

    def _ended(self, outcome: Outcome) -> Ending:
        ended = ENDED.get(outcome, "")
        goodbye = any(event["event_type"] == "GOODBYE" for event in self.events)
        return "gateway" if ended == "caller" and goodbye and self.row.get("end_reason") != "hangup" else ended

    def _personas(self) -> Iterator[str]:
        before = ""
        for event in self.events:
            key = event["payload"].get("to_persona" if event["event_type"] == "HANDED_OFF" else "persona")
            if isinstance(key, str) and key and key != before:
                yield key
                before = key


def _arguments(text: str) -> Mapping[str, Any]:
    try:
        read = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}


async def record_of(path: Path, call_sid: str) -> Record | None:
    """The record of a call that is over, or None: not in this file, or not closed in time. Waits for it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE_S
    while (record := await asyncio.to_thread(_read, path, call_sid)) is None and loop.time() < until:  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.1)
    return record


def _read(path: Path, call_sid: str) -> Record | None:
    if not path.is_file():
        return None
    try:
        rows = fetch(path, "select * from calls where call_sid = ?", [call_sid])
        sql = "select event_type, payload from call_events where call_sid = ? order by seq"
        events = [{**event, "payload": _arguments(event["payload"])} for event in fetch(path, sql, [call_sid])]
    except sqlite3.Error:
        return None
    closed = any(event["event_type"] == "CALL_ENDED" for event in events)
    return Record(rows[0], events) if rows and closed else None


def judge(scenario: Scenario, happened: Happened, day: date) -> list[str]:
    """What was to happen in a scenario and did not, in sentences without numbers of people. day: of the call."""
    if wrong := list(_wrong_persona(scenario, happened)):
        return wrong  # all else would follow from it
    found = failings(expected_of(scenario), happened, day)
    hint = f" ({scenario.name} needs {scenario.after} to be played before it)" if scenario.after and found else ""
    return [f"{scrub(failing)}{hint}" for failing in found]


def expected_of(scenario: Scenario) -> Expected:
    """What is expected, without who answers: that has a sentence of its own."""
    own = scenario.expected
    return replace(own, personas=()) if own.personas[:1] == (scenario.persona,) and len(own.personas) == 1 else own


def _wrong_persona(scenario: Scenario, happened: Happened) -> Iterator[str]:
    first = next(iter(happened.personas), "")
    if scenario.persona and first and first != scenario.persona:
        yield (
            f"{first} answered, and {scenario.name} is for {scenario.persona}: start the gateway with "
            f"DEFAULT_PERSONA={scenario.persona}, or dial a number that ROUTES_FILE gives to it, with --to"
        )


def tell_judgement(teller: Teller, scenario: Scenario, happened: Happened, failed: Sequence[str]) -> None:
    """What came out as it should, or what did not."""
    expected = scenario.expected
    if not failed and (expected.uses or expected.hears or expected.ends):
        told = [
            *([f"{_named(expected)} called as it should be"] if expected.uses and happened.uses is not None else []),
            *([f"{', '.join(expected.never)} left alone"] if expected.never and happened.uses is not None else []),
            *(["the caller heard what he should"] if expected.hears else []),
            *(["the call ended as it should"] if expected.ends else []),
        ]
        teller.out(f"  The scenario {scenario.name} came out: {'; '.join(told)}.", "bold green")
    for failing in failed:
        teller.failure(f"The scenario {scenario.name} did not come out: {failing}.")


def _named(expected: Expected) -> str:
    return ", ".join(dict.fromkeys(use.tool for use in expected.uses))
