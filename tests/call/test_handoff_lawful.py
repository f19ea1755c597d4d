"""Handoffs among whatever else happens, with a model that keeps to its protocol: it never has to refuse anything."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import replace
from random import Random
from typing import get_args

from far_model import FarModel
from hypothesis import given, settings
from hypothesis import strategies as st
from test_any_order import LAWFUL, check_record

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["talk", "talk", "hand over", "hand over", "speak", "wait", "listen", "say"]),
        st.sampled_from([0.0, 0.1, 0.4, 1.5, 5.0]),
    ),
    min_size=2,
    max_size=12,
)


class ManyModels(FarModel):
    """A far model whose session may be changed, or another one put in its place. sessions: how many there were.

    session: whose the one in use is, and in which language. changes: of it, on their way. language: of the call, as it
    is on record.
    """

    def __init__(self, policy: Policy, random: Random) -> None:
        super().__init__(replace(policy, persona="waiter"), random)
        self.sessions = 1
        self.session = ("waiter", "")
        self.language = self._prepared = ""
        self.changes: deque[tuple[str, str]] = deque()
        self._changes_until = 0.0

    def step(self, step: str, seconds: float) -> None:
        if step == "hand over":
            self.hand_over()
        elif step == "speak":
            self.tell(ev.LanguageAsked(self.random.choice(["en", "fr"])))
        else:
            super().step(step, seconds)

    def hand_over(self) -> None:
        persona = self.random.choice(["waiter", "cfo", "singer"])
        by = self.random.choice(["api", "tool", "keypad"])
        cut = self.random.random() < 0.3
        if cut:
            self.forbidden.clear()  # whether and when it is cut is the handoff's
        self.tell(ev.HandoffAsked(persona, by, "why", cut))

    def tell(self, event: ev.Event) -> list[do.Command]:
        if isinstance(event, ev.SessionUpdated) and not self.bridge.has_ended:
            self.session = self.changes.popleft()
        return super().tell(event)

    def _carry(self, command: do.Command) -> None:
        super()._carry(command)
        match command:
            case do.PrepareHandoff():
                self._forget(ev.HandoffReady, ev.HandoffFailed)
                self._prepared = command.language or self.language
                self._prepare(command.persona)
            case do.DropHandoff():
                self._forget(ev.HandoffReady, ev.HandoffFailed)
            case do.UpdateSession() | do.SetLanguage():
                self._change(command)
            case do.WriteEntry(entry=entries.LanguageSet(language=language)):
                self.language = language
            case do.SwapModel():
                if self._active is not None or self._answers_itself:
                    self.refusals.append("a response is lost with its session")
                self.sessions += 1
                self.session = (command.persona, self._prepared)
                self.changes.clear()
                self.sent.clear()  # the new session knows none of the old one's items
                self._forget(*(set(get_args(ev.ModelEvent)) - {ev.UserTranscribed}))
            case do.AddToolCall():
                self.answers = [each for each in self.answers if each != command.call_id]

    def _change(self, command: do.UpdateSession | do.SetLanguage) -> None:
        """Changes are confirmed in their order, and some so late that they were given up, or never."""
        persona, language, told_as = command.persona, self._prepared, command.persona
        if isinstance(command, do.SetLanguage):
            language, told_as = command.language, ""
        elif self.random.random() < 0.1:
            self.later(self.now + 0.06, ev.UpdateRefused(persona, "invalid_value", ""))
            return
        elif self.random.random() > 0.95:
            return
        self.changes.append((persona, language))
        self._changes_until = max(self._changes_until, self.now + self.random.choice([0.0, 0.06, 0.4, 4.0]))
        self.later(self._changes_until, ev.SessionUpdated(told_as))

    def _prepare(self, persona: str) -> None:
        policy = replace(self._policy, persona=persona, introduction=self.random.choice([None, "", "Here."]))
        if self.random.random() < 0.15:
            self.later(self.now + self.random.choice([0.0, 1.0]), ev.HandoffFailed(persona, "timeout", ""))
        elif self.random.random() < 0.5:
            self.later(self.now, ev.HandoffReady(persona, policy))
        else:
            after = self.random.choice([0.0, 0.4, 3.0])
            self.later(self.now + after, ev.HandoffReady(persona, policy, "sess_n", "model"))

    def _forget(self, *kinds: type) -> None:
        self._due = [due for due in self._due if not isinstance(due[2], kinds)]
        heapq.heapify(self._due)


@settings(max_examples=150, deadline=None)
@given(LAWFUL, st.integers(0, 2**32), STEPS)
def test_among_handoffs_nothing_is_refused_and_nothing_is_lost(
    policy: Policy, seed: int, steps: list[tuple[str, float]]
) -> None:
    scene = ManyModels(policy, Random(seed))  # noqa: S311 - drawn, to be drawn again
    scene.play(steps)
    said = [command for _, command in scene.said]
    check_record(said)
    led = ["waiter"]
    for entry in scene.entries(entries.HandedOff):
        assert entry.from_persona == led[-1] != entry.to_persona
        led.append(entry.to_persona)
    assert scene.changes or scene.session == (led[-1], scene.language)
    swaps = sum(isinstance(command, do.SwapModel) for command in said)
    assert swaps == scene.sessions - 1 == sum(e.another_session for e in scene.entries(entries.HandedOff))
