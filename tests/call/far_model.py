"""A model that keeps to its protocol and to nothing else: what comes when, and in which allowed order, is drawn.

It answers commands as the Realtime API does: one response at a time, a cancel by id, a truncate up to what it has sent,
its own cancel when the caller speaks, an answer by itself when he has finished. What it would refuse is in `refusals`.
Each spoken item has sound of its own: one byte value, rising from item to item, so that the carrier hears who speaks.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from scene import FRAME, Line, Scene

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.goodbye import END_CALL, LONGEST_S

DELTA = 800
SILENCE = 0xFF
FIRST_EVENTS = 3
"""An item, its text, and its first sound."""


@dataclass
class Plan:
    """A response on its way: when what comes. tags: the byte values of its items."""

    response_id: str
    ends_at: float
    tags: list[int] = field(default_factory=list)


class FarModel(Scene):
    """A scene whose model and tools act by themselves. policy: of G.711 straight through, so that sound can be told."""

    def __init__(self, policy: Policy, random: Random) -> None:
        super().__init__(policy, Line(one_way_s=random.choice([0.0, 0.05, 0.15])))
        self.random = random
        self.refusals: list[str] = []
        self.answers: list[str] = []
        self.sent: dict[str, int] = {}
        self.forbidden: set[int] = set()
        self.heard_at: list[float] = []
        self.responses = 0
        self.callers_turns = 0
        self._active: Plan | None = None
        self._answers_itself = False
        self._tags: list[int] = []
        self._calls = 0
        self._frame_ms = 0
        self._policy = policy

    # --- a whole call -----------------------------------------------------------------------------------------------

    def play(self, steps: list[tuple[str, float]]) -> None:
        """A call of so many steps and a goodbye. Nothing is refused in it, what we say is in order, and it ends."""
        self.begin()
        for step, seconds in steps:
            if self.bridge.has_ended:
                break
            self.step(step, seconds)
        self.tell(ev.GoodbyeAsked("operator"))
        self.pass_until(self.now + LONGEST_S + 0.1)
        assert self.refusals == []
        assert self.heard_at == sorted(self.heard_at), "in the order in which it was said"
        assert self.bridge.has_ended

    def step(self, step: str, seconds: float) -> None:
        match step:
            case "talk":
                self.caller_talks(seconds)
            case "press":
                self.tell(ev.DigitPressed("5"))
            case "say":
                self.say()
            case "wait":
                self.talk(seconds)
            case _:
                self.pass_until(self.now + seconds)

    # --- the caller -------------------------------------------------------------------------------------------------

    def caller_talks(self, seconds: float) -> None:
        """He speaks, is heard, and is answered."""
        self.callers_turns += 1
        item = f"user_{self.callers_turns}"
        self._hear_speech_start(item)
        self.talk(seconds)
        if self.bridge.has_ended:
            return
        self._answers_itself = self._policy.model_answers and self._active is None
        self.tell(ev.SpeechStopped(item, 0))
        self.tell(ev.TurnCommitted(item))
        if self._answers_itself:
            self.pass_until(self.now + self.random.choice([0.0, 0.01, 0.3]))
            self._answers_itself = False
            self._respond()
        if self.random.random() < 0.8:
            self.later(self.now + self.random.uniform(0, 2), ev.UserTranscribed(item, "words"))

    def _hear_speech_start(self, item: str) -> None:
        if self._policy.barge_in and not self.bridge._turns.closing:
            self.forbidden.update(self._tags)
        self.tell(ev.SpeechStarted(item, 0))
        if self._active is not None and self._policy.model_interrupts:
            self._cancel("turn_detected")

    def say(self) -> None:
        """Somebody inside wants something said."""
        interrupt = self.random.random() < 0.5
        mode = "ask" if self.random.random() < 0.5 else "speak"
        if interrupt and self.bridge._parting.goodbye is None:  # what has not begun yet is no voice of ours
            begun = self._active is None or self.bridge._turns.active == self._active.response_id
            self.forbidden.update(set(self._tags) - set([] if begun or self._active is None else self._active.tags))
        self.tell(ev.SayAsked("say", "Some words.", mode, interrupt))

    def talk(self, seconds: float) -> None:
        """Time goes by while the carrier sends frames, sound or silence."""
        for _ in range(max(1, round(seconds * 10))):
            self.pass_until(self.now + 0.1)
            self._frame_ms += 100
            self.tell(ev.CallerAudio(FRAME * 5, self._frame_ms))

    # --- the model --------------------------------------------------------------------------------------------------

    def tell(self, event: ev.Event) -> list[do.Command]:
        if isinstance(event, ev.ResponseFinished) and self._active and event.response_id == self._active.response_id:
            self._active = None
        if isinstance(event, ev.AudioReceived):
            self.sent[event.item_id] = self.sent.get(event.item_id, 0) + len(event.audio)
        return super().tell(event)

    def _carry(self, command: do.Command) -> None:
        super()._carry(command)
        match command:
            case do.PlayAudio():
                spoken = set(command.ulaw)
                assert not spoken & self.forbidden, f"{spoken & self.forbidden} was cut off and is heard all the same"
                self.heard_at += sorted(spoken - {SILENCE})
            case do.CreateResponse():
                self._asked_to_respond()
            case do.CancelResponse():
                if self._active is not None and self._active.response_id == command.response_id:
                    self._cancel("client_cancelled")
                else:
                    self.refusals.append("response_cancel_not_active")
            case do.TruncateItem():
                sent_ms = self.sent.get(command.item_id, 0) / 8
                if not sent_ms or command.audio_end_ms > sent_ms:
                    self.refusals.append(f"truncate {command.item_id} at {command.audio_end_ms} of {sent_ms}")
            case do.SendToolOutput():
                self.answers.append(command.call_id)
            case do.RunTool():
                self.later(self.now + self.random.choice([0.0, 0.2, 4.0]), ev.ToolFinished(command.call_id, "{}"))

    def _asked_to_respond(self) -> None:
        if self._active is not None or self._answers_itself:
            self.refusals.append("conversation_already_has_active_response")
            self.tell(ev.ModelErred("conversation_already_has_active_response", ""))
        elif self.random.random() < 0.95:  # or the ask is lost on the way
            self._respond()

    def _respond(self) -> None:
        """Draw a response: items one after the other or interleaved, calls among them, a pause here and there."""
        self.responses += 1
        random, response = self.random, f"resp_{self.responses}"
        at = self.now + random.choice([0.0, 0.03])
        self._active = plan = Plan(response, at)
        self.later(at, ev.ResponseStarted(response))
        speeches = [self._speech(plan, number) for number in range(random.choice([0, 1, 1, 1, 2, 3]))]
        for event in self._interleaved(speeches):
            at += random.choice([0.0, 0.02, 0.02, 0.1, 0.6])
            self.later(at, event)
        for _ in range(random.choice([0, 0, 0, 1, 2])):
            self._calls += 1
            name = END_CALL if random.random() < 0.2 else "menu"
            self.later(at, ev.ToolCalled(response, f"item_f{self._calls}", f"call_{self._calls}", name, "{}"))
        if random.random() < 0.05:
            return  # it falls silent, and its end is never told
        plan.ends_at = at + random.choice([0.0, 0.05])
        status = "failed" if random.random() < 0.05 else "completed"
        self.later(plan.ends_at, ev.ResponseFinished(response, status))

    def _interleaved(self, speeches: list[list[ev.Event]]) -> Iterator[ev.Event]:
        """Items begin in their order, each with its first sound; from then on they may go on beside each other."""
        begun: list[list[ev.Event]] = []
        while speeches or any(begun):
            if speeches and (not any(begun) or self.random.random() < 0.2):
                begun.append(speeches.pop(0))
                for _ in range(FIRST_EVENTS):
                    yield begun[-1].pop(0)
            else:
                yield self.random.choice([each for each in begun if each]).pop(0)

    def _speech(self, plan: Plan, number: int) -> list[ev.Event]:
        item, tag = f"item_{self.responses}_{number}", len(self._tags)
        self._tags.append(tag)
        plan.tags.append(tag)
        sound = [
            ev.AudioReceived(plan.response_id, item, 0, bytes([tag]) * DELTA)
            for _ in range(self.random.choice([1, 8, 30]))
        ]
        told: list[ev.Event] = [
            ev.ItemStarted(plan.response_id, item, "message"),
            ev.TextReceived(plan.response_id, item, "text"),
        ]
        return [*told, *sound, ev.AudioFinished(plan.response_id, item, 0)]

    def _cancel(self, reason: str) -> None:
        """What is on its way already still comes; nothing else does, but for the end."""
        assert self._active is not None
        response, soon = self._active.response_id, self.now + self.random.choice([0.0, 0.05])
        self._due = [
            due
            for due in self._due
            if getattr(due[2], "response_id", "") != response
            or (due[0] <= soon and not isinstance(due[2], ev.ResponseFinished))
        ]
        heapq.heapify(self._due)
        self.later(soon, ev.ResponseFinished(response, "cancelled", reason))
