"""Whatever went wrong before: from a model that answers again the caller gets his answer, and a goodbye its words."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from scene import FRAME, Scene
from test_any_order import EVENTS, POLICIES

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.goodbye import LONGEST_S

STRAIGHT = POLICIES.map(lambda policy: replace(policy, audio_format="pcmu"))
CONFUSION = st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.3, 2.0, 12.0]), EVENTS), max_size=30)


class Recovering(Scene):
    """A call in confusion, whose model answers every ask from `recover` on."""

    def __init__(self, policy: Policy, confusion: list[tuple[float, ev.Event]]) -> None:
        super().__init__(policy)
        self._recovered = False
        self.asks: list[do.CreateResponse] = []
        self.begin()
        for pause, event in confusion:
            self.pass_until(self.now + pause)
            self.tell(event)
        self._recovered = True

    def _carry(self, command: do.Command) -> None:
        super()._carry(command)
        if isinstance(command, do.CreateResponse) and self._recovered:
            self.asks.append(command)
            response, item, at = f"good_{len(self.asks)}", f"said_{len(self.asks)}", self.now + 0.1
            self.later(at, ev.ResponseStarted(response))
            self.later(at, ev.ItemStarted(response, item, "message"))
            self.later(at, ev.AudioReceived(response, item, 0, b"\x20" * 4000))
            self.later(at + 0.1, ev.ResponseFinished(response, "completed"))

    def wait(self, seconds: float) -> None:
        """Time goes by while the carrier sends silence."""
        for _ in range(round(seconds * 5)):
            self.pass_until(self.now + 0.2)
            self.tell(ev.CallerAudio(FRAME * 10, round(self.now * 1000)))


@settings(max_examples=60, deadline=None)
@given(STRAIGHT, CONFUSION)
def test_a_caller_who_speaks_is_answered(policy: Policy, confusion: list[tuple[float, ev.Event]]) -> None:
    scene = Recovering(policy, confusion)
    scene.caller_speaks("user_9")
    scene.wait(1.0)
    asked = len(scene.asks)
    scene.caller_stops("user_9")
    scene.tell(ev.TurnCommitted("user_9"))
    scene.wait(20.0)
    assert scene.bridge.has_ended or len(scene.asks) > asked


@settings(max_examples=60, deadline=None)
@given(STRAIGHT, CONFUSION)
def test_a_goodbye_has_its_words(policy: Policy, confusion: list[tuple[float, ev.Event]]) -> None:
    scene = Recovering(policy, [each for each in confusion if not isinstance(each[1], ev.GoodbyeAsked)])
    scene.tell(ev.GoodbyeAsked("operator", "Farewell."))
    scene.wait(LONGEST_S + 1.0)
    assert scene.bridge.has_ended
    (end,) = scene.all(do.EndCall)
    said = "Farewell." in end.say or any("Farewell." in (ask.instructions or "") for ask in scene.asks)
    assert said or end.reason != "operator"
