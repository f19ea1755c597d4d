"""The life of one call on the carrier's side: fetch TwiML, perform it verb by verb, follow where it leads.

A verb either ends (the next one follows), leads to another document, or ends the call. `<Connect>` with an `action`
always leads there when its stream is over, so what stands behind it is not reached. A call with no verb left is hung
up. From outside a call can be interrupted at any moment, by its caller or by REST: that cancels the verb in progress,
nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from voice_gateway.emulator.carrier_connect import Connection
from voice_gateway.emulator.carrier_office import Office, new_sid, rfc2822
from voice_gateway.emulator.carrier_web import WebhookError, resolve
from voice_gateway.emulator.phone_call import CarrierWarning, Outcome, PhoneCall, Status
from voice_gateway.emulator.twiml_reader import (
    Connect,
    Dial,
    Document,
    Gather,
    Hangup,
    Pause,
    Play,
    Redirect,
    Reject,
    Say,
    TwimlError,
    Verb,
    read_reply,
    read_twiml,
)

MAX_DOCUMENTS = 50


@dataclass(frozen=True, slots=True)
class Page:
    """A document to fetch. url: public. fields: besides those that every request has."""

    url: str
    method: str = "POST"
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inline:
    """A document that came with a REST call."""

    twiml: str


@dataclass(frozen=True, slots=True)
class End:
    outcome: Outcome


Source: TypeAlias = Page | Inline


@dataclass(frozen=True, slots=True)
class Plan:
    """How a call begins and who wants to hear of it.

    status_events: of initiated, ringing, answered, completed. repost: ask the first page twice, as a retry would.
    callee: what an outbound call meets: `human`, `machine`, `busy`, `no-answer` or `failed`.
    detection: answering machine detection, before the first page is asked for or beside the call.
    """

    source: Source
    fallback: Page | None = None
    status_callback: str = ""
    status_method: str = "POST"
    status_events: frozenset[str] = frozenset({"completed"})
    repost: bool = False
    time_limit_s: float = 14400.0
    callee: str = "human"
    detection: Literal["", "sync", "async"] = ""
    detection_callback: str = ""


class CallScript:
    """Runs one call from its first page to its last callback."""

    def __init__(self, call: PhoneCall, plan: Plan, office: Office) -> None:
        self._call = call
        self._plan = plan
        self._office = office
        self._base = ""
        self._answered_s: float | None = None
        self._events_told = 0
        self._verb: asyncio.Task[End] | None = None
        self._connection: Connection | None = None
        self._put_through = False
        self._next: Source | End | None = None
        self._first_read = asyncio.Event()
        call.on_leave = self.leave

    async def run(self) -> None:
        """The call's whole life."""
        onward: Source | End = self._plan.source
        try:
            async with asyncio.timeout(self._plan.time_limit_s):
                while not isinstance(onward, End):
                    onward = await self._run_until_interrupted(onward)
        except TimeoutError:
            onward = End("completed")
        self._finish(onward.outcome)
        await self._office.settle(self._call)

    async def first_page(self) -> None:
        """Wait until the first document was read, or could not be."""
        await self._first_read.wait()

    def leave(self, outcome: Outcome, *, stop_message: bool = True) -> None:
        """End the call now."""
        self._interrupt(End(outcome), stop_message=stop_message)

    def replace(self, source: Source) -> None:
        """Drop what the call is doing, without its `action`, and go on with another document."""
        self._interrupt(source, stop_message=True)

    def tell(self, event: str, status: Status, **more: str) -> None:
        """Set the call's status, and post it when the plan asks for this event."""
        self._call.status = status
        self._call.note("status", status=status)
        if event not in self._plan.status_events or not self._plan.status_callback:
            return
        fields = self._office.fields(self._call) | {
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(self._events_told),
            "Timestamp": rfc2822(),
            **more,
        }
        self._events_told += 1
        self._office.callback(self._call, self._plan.status_callback, fields, self._plan.status_method)

    def pick_up(self) -> None:
        """The call is answered, by a callee or by the first verb that needs it."""
        if self._answered_s is None:
            self._answered_s = self._call.now_s
            self.tell("answered", "in-progress")

    def _interrupt(self, onward: Source | End, *, stop_message: bool) -> None:
        leaving = self._next is not None
        if isinstance(self._next, End):
            return
        self._next = onward
        if self._connection is not None and not stop_message:
            self._connection.lose_stop()
        if self._verb is not None and not leaving:  # a second cancel would cut a polite goodbye short
            self._verb.cancel()

    async def _run_until_interrupted(self, source: Source) -> Source | End:
        if (onward := self._taken()) is not None:
            return onward
        self._verb = asyncio.create_task(self._follow(source), name="carrier script")
        try:
            await asyncio.wait({self._verb})
        finally:
            if not self._verb.done():
                self._verb.cancel()
                await asyncio.wait({self._verb})
        self._first_read.set()
        return self._taken() or self._verb.result()

    def _taken(self) -> Source | End | None:
        """What an interruption asked for, once."""
        onward, self._next = self._next, None
        return onward

    async def _follow(self, source: Source) -> End:
        """Perform documents until the call ends. An outbound call must be answered first."""
        onward: Source | End = source
        if self._call.status == "queued":
            onward = await self._ring() or source
        for _ in range(MAX_DOCUMENTS):
            if isinstance(onward, End):
                return onward
            onward = await self._perform_document(onward)
        return self._application_error(12100, f"more than {MAX_DOCUMENTS} documents led from one to the next")

    async def _ring(self) -> End | None:
        """Ring the callee. Returns how the call ended when nobody is there to talk to."""
        self.tell("initiated", "initiated")
        self.tell("ringing", "ringing")
        await asyncio.sleep(self._office.manners.ring_s)
        match self._plan.callee:
            case "busy" | "no-answer" | "failed" as outcome:
                return End(outcome)
        self.pick_up()
        if self._plan.detection == "async":
            fields = {"CallSid": self._call.call_sid, "AccountSid": self._office.account_sid, **self._answered_by()}
            fields["MachineDetectionDuration"] = "3200"
            self._office.callback(self._call, self._plan.detection_callback, fields)
        return None

    def _answered_by(self) -> dict[str, str]:
        return {"AnsweredBy": "machine_start" if self._plan.callee == "machine" else "human"}

    async def _perform_document(self, source: Source) -> Source | End:
        try:
            document = await self._obtain(source)
        except (WebhookError, TwimlError) as error:
            return self._application_error(error.code, error.reason)
        finally:
            self._first_read.set()
        for warning in document.warnings:
            self._call.warn(12200, warning)
        if not (document.verbs and isinstance(document.verbs[0], Reject)):
            self.pick_up()
        for verb in document.verbs:
            onward = await self._perform(verb)
            if onward is not None:
                return onward
        return End("transferred" if self._put_through else "completed")

    async def _obtain(self, source: Source) -> Document:
        """The document of a source, or of the fallback when it is bad."""
        if isinstance(source, Inline):
            self._call.twiml.append(source.twiml)
            return read_twiml(source.twiml)
        try:
            return await self._fetch(source)
        except (WebhookError, TwimlError) as error:
            fallback = self._plan.fallback
            if fallback is None or source.url == fallback.url:
                raise
            self._call.warn(error.code, f"{source.url}: {error.reason}; the fallback is asked")
            fields = {"ErrorCode": str(error.code), "ErrorUrl": source.url}
            return await self._fetch(Page(fallback.url, fallback.method, fields))

    async def _fetch(self, page: Page) -> Document:
        fields = self._office.fields(self._call) | dict(page.fields)
        if self._plan.detection == "sync":
            fields |= self._answered_by()
        times = 2 if self._plan.repost and not self._call.twiml else 1
        for _ in range(times):
            self._call.note("webhook", url=page.url)
            answer = await self._office.web.fetch(page.url, fields, page.method)
            self._call.twiml.append(answer.body.decode("utf-8", "replace"))
            self._call.note("twiml", bytes=len(answer.body))
        self._base = page.url
        return read_reply(answer.body, answer.content_type)

    async def _perform(self, verb: Verb) -> Source | End | None:  # noqa: PLR0911 - one line for each verb
        """Do one verb. Returns where it leads, None when the next verb follows."""
        match verb:
            case Connect():
                return await self._connect(verb)
            case Say() | Play() | Pause():
                await self._prompt(verb)
            case Gather():
                return await self._gather(verb)
            case Dial():
                return self._dial(verb)
            case Redirect():
                return Page(resolve(self._base, verb.url), verb.method)
            case Reject():
                return End("busy" if verb.reason == "busy" else "rejected")
            case Hangup():
                return End("transferred" if self._put_through else "completed")
            case _:
                self._call.note("passed over", verb=verb.name)
        return None

    async def _prompt(self, verb: Say | Play | Pause) -> None:
        if isinstance(verb, Say):
            self._call.said.append(verb.text)
            self._call.note("say", text=verb.text)
            speed = self._office.manners.say_chars_per_s
            await asyncio.sleep(len(verb.text) * max(1, verb.loop) / speed if speed else 0)
        elif isinstance(verb, Play):
            self._call.note("play", url=verb.url, digits=verb.digits)
        else:
            await asyncio.sleep(verb.length_s)

    async def _gather(self, verb: Gather) -> Page | None:
        await self._prompts_until_key(verb)
        digits = ""
        self._call.asked_for_keys()
        try:
            while not verb.count or len(digits) < verb.count:
                async with asyncio.timeout(verb.timeout_s):
                    key = await self._call.next_key()
                if key == verb.finish_on:
                    break
                digits += key
        except TimeoutError:
            pass
        self._call.note("gathered", digits=digits)
        if not digits:
            return None
        return Page(resolve(self._base, verb.action), verb.method, {"Digits": digits, "msg": "Gather End"})

    async def _prompts_until_key(self, verb: Gather) -> None:
        """Speak a `<Gather>`'s prompts; a key cuts them short, for the caller has chosen."""
        speaking = asyncio.create_task(self._speak(verb), name="carrier prompts")
        pressed = asyncio.create_task(self._call.key_pressed(), name="carrier keys")
        try:
            await asyncio.wait({speaking, pressed}, return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                speaking.result()
            else:
                self._call.note("prompt cut")
        finally:
            for task in (speaking, pressed):
                task.cancel()
            await asyncio.wait({speaking, pressed})

    async def _speak(self, verb: Gather) -> None:
        for prompt in verb.prompts:
            await self._prompt(prompt)

    def _dial(self, verb: Dial) -> Page | None:
        """Written down, not really rung: a carrier of one telephone has nobody else to call."""
        status = self._office.manners.dial_status
        bridged = str(status == "completed").lower()
        self._call.dialled.append(verb)
        self._put_through = status == "completed" or not verb.action
        self._call.note("dial", targets=verb.targets, status=status)
        if not verb.action:
            return None
        fields = {"DialCallStatus": status, "DialCallSid": new_sid("CA"), "DialBridged": bridged}
        if status == "completed":
            fields["DialCallDuration"] = "0"
        return Page(resolve(self._base, verb.action), verb.method, fields)

    async def _connect(self, verb: Connect) -> Page | None:
        connection = Connection(self._call, self._office, verb.stream, self._base)
        self._connection, self._put_through = connection, False
        try:
            await connection.run()
        finally:
            self._connection = None
        if not verb.action:
            return None
        return Page(resolve(self._base, verb.action), verb.method, {"StreamSid": connection.stream_sid})

    def _application_error(self, code: int, reason: str) -> End:
        """What the caller gets: "an application error has occurred", and the line goes dead."""
        self._call.error = CarrierWarning(code, reason)
        self._call.note("application error", code=code, reason=reason)
        return End("application-error")

    def _finish(self, outcome: Outcome) -> None:
        call = self._call
        status = _FINAL_STATUS.get(outcome, "completed")
        talked_s = 0.0 if self._answered_s is None else call.now_s - self._answered_s
        more = {"CallDuration": str(round(talked_s)), "Duration": str(-int(-talked_s // 60))}
        self.tell("completed", status, **(more if self._answered_s is not None else {}))
        call.over(outcome, status)
        self._office.release(call)
        self._first_read.set()


_FINAL_STATUS: Mapping[Outcome, Status] = {
    "rejected": "no-answer",
    "busy": "busy",
    "no-answer": "no-answer",
    "failed": "failed",
    "canceled": "canceled",
    "application-error": "completed",
}
