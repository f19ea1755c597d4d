"""Whatever happens in whatever order: nothing raises, the bridge never asks to be woken in vain, the record closes.

Twice: with events as wild as they come, and between a model, a carrier and tools that keep to their protocols.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from random import Random

from far_model import FarModel
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.call.clip import Clip
from voice_gateway.call.gaps import STALL_S
from voice_gateway.call.goodbye import END_CALL, LONGEST_S, TRANSFER
from voice_gateway.call.policy import Colleague, Idle

RESPONSES = st.sampled_from(["resp_1", "resp_2"])
ITEMS = st.sampled_from(["item_1", "item_2", "item_3"])
CALLS = st.sampled_from(["call_1", "call_2", "call_3"])
PERSONAS = st.sampled_from(["waiter", "cfo"])
SOUND = st.integers(0, 30_000).map(lambda size: b"\x10" * (2 * size))
TEXT = st.text(max_size=20)
MS = st.integers(-(10**12), 10**15)

EVENTS = st.one_of(
    st.builds(ev.CallerJoined, st.just("MZ1")),
    st.builds(ev.ModelReady, st.just("sess_1"), st.just("model")),
    st.builds(ev.CallerAudio, st.integers(1, 400).map(lambda size: b"\xff" * size), st.integers(0, 10**15)),
    st.builds(ev.DigitPressed, st.sampled_from("12*#")),
    st.builds(
        ev.MarkReached, st.builds("g{}:{}{}".format, st.integers(0, 3), st.sampled_from("mp"), st.integers(1, 9))
    ),
    st.builds(ev.ModelErred, st.sampled_from(["server_error", "conversation_already_has_active_response"]), TEXT),
    st.builds(ev.SpeechStarted, ITEMS, MS),
    st.builds(ev.SpeechStopped, ITEMS, MS),
    st.builds(ev.TurnCommitted, ITEMS),
    st.builds(ev.IdleTimedOut, ITEMS),
    st.builds(ev.UserTranscribed, ITEMS, TEXT),
    st.builds(ev.ResponseStarted, RESPONSES),
    st.builds(ev.ItemStarted, RESPONSES, ITEMS, st.sampled_from(["message", "function_call", "reasoning"])),
    st.builds(ev.AudioReceived, RESPONSES, ITEMS, st.integers(0, 1), SOUND),
    st.builds(ev.AudioFinished, RESPONSES, ITEMS, st.integers(0, 1)),
    st.builds(ev.TextReceived, RESPONSES, ITEMS, TEXT),
    st.builds(ev.TextFinished, RESPONSES, ITEMS, TEXT),
    st.builds(ev.ToolCalled, RESPONSES, ITEMS, CALLS, st.sampled_from(["menu", END_CALL, TRANSFER]), TEXT),
    st.builds(ev.ToolFinished, CALLS, TEXT, st.booleans()),
    st.builds(ev.SupervisorCalledTool, CALLS, st.just("menu"), TEXT),
    st.builds(ev.SupervisorToolFinished, CALLS, TEXT, st.booleans()),
    st.builds(ev.TextModelAnswered, RESPONSES, st.just("supervisor"), st.just("text"), TEXT),
    st.builds(ev.ResponseFinished, RESPONSES, st.sampled_from(["completed", "cancelled", "incomplete", "failed"])),
    st.builds(ev.GoodbyeAsked, st.just("operator"), st.sampled_from(["", "Goodbye."])),
    st.builds(
        ev.SayAsked, st.just("say_1"), st.text("word. ", min_size=1), st.sampled_from(["speak", "ask"]), st.booleans()
    ),
    st.builds(ev.KeysAsked, st.sampled_from(["1", "5w*#", "WWWW"])),
    st.builds(ev.HandoffAsked, PERSONAS, st.sampled_from(["api", "tool"]), TEXT, st.booleans()),
    st.builds(
        ev.HandoffReady,
        PERSONAS,
        st.builds(Policy, persona=PERSONAS, barge_in=st.booleans(), introduction=st.sampled_from([None, "", "Here."])),
        st.sampled_from(["", "sess_2"]),
        st.just("model"),
    ),
    st.builds(ev.HandoffFailed, PERSONAS, st.just("timeout"), TEXT),
    st.builds(ev.SessionUpdated, PERSONAS),
    st.builds(ev.UpdateRefused, PERSONAS, st.just("invalid_value"), TEXT),
    st.builds(ev.SendBlocked, st.sampled_from(["caller", "model"]), st.just(2.0)),
    st.just(ev.Woke()),
)
POLICIES = st.builds(
    Policy,
    greeting=st.sampled_from(["", "Say hello."]),
    clip=st.sampled_from([None, Clip(b"\x10" * 4000, "Hello there, caller.")]),
    greeting_to_keep=st.sampled_from(["", "Hello."]),
    barge_in=st.booleans(),
    duplex=st.booleans(),
    audio_format=st.sampled_from(["pcm16", "pcmu"]),
    lead_s=st.sampled_from([0.04, 0.4, 5.0]),
    mark_every_s=st.sampled_from([0.02, 0.2, 5.0]),
    model_answers=st.booleans(),
    may_end=st.booleans(),
    colleague=st.sampled_from([None, Colleague("+15551230009"), Colleague("sip:desk@pbx.example", "One moment.")]),
    filler_after_s=st.sampled_from([0.0, 0.5]),
    fillers=st.sampled_from([(), (("menu", "One moment."),)]),
    thinking_sound=st.booleans(),
    idle=st.sampled_from([Idle(), Idle(prompts=0), Idle(4.0, 1, "Goodbye, then.")]),
    media_stall_s=st.sampled_from([0.0, 5.0]),
)


class Witness:
    """Sees all that happens and all that is said, and remembers what must be true of it."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.said: list[do.Command] = []
        self._received: dict[tuple[str, int], int] = {}
        self._heard = 0
        self._bytes_per_ms = 8 if bridge._policy.audio_format == "pcmu" else 48

    def tell(self, event: ev.Event, now: float) -> None:
        if isinstance(event, ev.AudioReceived):
            part = (event.item_id, event.content_index)
            self._received[part] = self._received.get(part, 0) + len(event.audio)
        before = self._bridge.deadline()
        commands = self._bridge.handle(event, now)
        self.said += commands
        if isinstance(event, ev.CallerAudio) and len(commands) <= 1:
            after = self._bridge.deadline()
            sooner = after is not None and before is not None and after < min(before, now + STALL_S)
            assert not sooner, "a frame that is just passed on wants nobody woken sooner: the session does not ask"
        cleared = any(isinstance(command, do.ClearPlayout) for command in commands)
        for command in commands:
            if isinstance(command, do.TruncateItem):
                received = self._received.get((command.item_id, command.content_index), 0)
                assert 0 <= command.audio_end_ms <= received / self._bytes_per_ms, "truncated beyond what was received"
        playout = self._bridge._speaking.playout
        heard = playout.heard(now)
        assert heard <= playout.sent, "heard past what was sent"
        if not (cleared or self._bridge.has_ended):
            assert heard >= min(self._heard, playout.sent), "heard ran backwards"
        self._heard = heard

    def wake(self, now: float) -> None:
        """Wake it as the session does; a deadline that being woken does not move would be a loop without rest."""
        for _ in range(5):
            deadline = self._bridge.deadline()
            if deadline is None or deadline > now:
                return
            self.tell(ev.Woke(), now)
        raise AssertionError(f"woken five times at {now}, and it still wants to be")

    def entries(self, kind: type) -> list[entries.Entry]:
        return [c.entry for c in self.said if isinstance(c, do.WriteEntry) and isinstance(c.entry, kind)]


def check_record(said: list[do.Command]) -> None:
    """One end, every tool answered once, nothing heard that was not said."""
    told = [command.entry for command in said if isinstance(command, do.WriteEntry)]
    assert [type(entry) for entry in told].count(entries.CallEnded) == 1
    assert [type(command) for command in said].count(do.EndCall) == 1
    assert isinstance(said[-1], do.EndCall)
    asked = [entry.call_id for entry in told if isinstance(entry, entries.ToolAsked)]
    assert sorted(asked) == sorted(entry.call_id for entry in told if isinstance(entry, entries.ToolAnswered))
    begun = [entry.saying_id for entry in told if isinstance(entry, entries.SayingAsked)]
    assert len(begun) == sum(isinstance(entry, entries.SayingEnded) for entry in told), "each has one outcome"
    outputs = [
        command.call_id
        for before, command in pairwise(said)
        if isinstance(command, do.SendToolOutput) and not isinstance(before, do.AddToolCall)  # told to another session
    ]
    assert len(set(outputs)) == len(outputs), "a tool call is answered once"
    assert set(outputs) <= set(asked)
    for spoke in (entry for entry in told if isinstance(entry, entries.AssistantSpoke)):
        assert 0 <= spoke.heard_ms <= spoke.total_ms


@settings(max_examples=120, deadline=None)
@given(POLICIES, st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.3, 2.0, 12.0]), EVENTS), max_size=60))
def test_no_order_of_events_breaks_the_bridge_or_keeps_it_awake(
    policy: Policy, happenings: list[tuple[float, ev.Event]]
) -> None:
    bridge, now = Bridge(policy, 0.0), 0.0
    witness = Witness(bridge)
    for pause, event in happenings:
        now += pause
        witness.tell(event, now)
        witness.wake(now)
    witness.tell(ev.CallerLeft("hangup"), now)
    assert bridge.deadline() is None
    check_record(witness.said)
    assert _greetings_in_history(witness.said) <= {0, 1}


def _greetings_in_history(said: list[do.Command]) -> set[int]:
    """How many greetings of ours the model's conversation has held, at one time or another."""
    changes = {do.AddFirstWords: 1, do.DeleteItem: -1}
    return {0, *accumulate(changes[type(command)] for command in said if type(command) in changes)}


class Thorough(Bridge):
    """Asks all of its parts after every event but sound, also where nothing waits for anything."""

    def _is_before_all(self, now: float) -> bool:  # noqa: ARG002 - as the one in its place
        return False


@settings(max_examples=120, deadline=None)
@given(POLICIES, st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.1, 0.3, 2.0]), EVENTS), max_size=60))
def test_what_is_left_out_where_nothing_waits_changes_nothing(
    policy: Policy, happenings: list[tuple[float, ev.Event]]
) -> None:
    bridge, thorough, now = Bridge(policy, 0.0), Thorough(policy, 0.0), 0.0
    for pause, event in [(0.0, ev.CallerJoined("MZ1")), (0.0, ev.ModelReady("sess_1", "model")), *happenings]:
        ends_at = now + pause
        while (due := min(thorough.deadline() or ends_at, bridge.deadline() or ends_at)) < ends_at:
            now = max(now, due)
            assert bridge.handle(ev.Woke(), now) == thorough.handle(ev.Woke(), now)
        now = ends_at
        assert bridge.handle(event, now) == thorough.handle(event, now)


@settings(max_examples=60, deadline=None)
@given(POLICIES, st.lists(st.tuples(st.sampled_from([0.0, 0.3, 2.0]), EVENTS), max_size=30))
def test_a_call_can_always_be_ended_politely(policy: Policy, happenings: list[tuple[float, ev.Event]]) -> None:
    bridge, now = Bridge(policy, 0.0), 0.0
    witness = Witness(bridge)
    for pause, event in happenings:
        now += pause
        witness.tell(event, now)
        witness.wake(now)
    witness.tell(ev.GoodbyeAsked("operator"), now)
    ends_at = now + LONGEST_S + 0.1
    while (deadline := bridge.deadline()) is not None:
        assert deadline <= ends_at, "a goodbye has an end"
        now = max(now, deadline)
        witness.wake(now)
    check_record(witness.said)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["talk", "talk", "wait", "listen", "press", "say"]), st.sampled_from([0.0, 0.1, 0.4, 1.5, 5.0])
    ),
    min_size=1,
    max_size=12,
)
LAWFUL = st.builds(
    Policy,
    greeting=st.sampled_from(["", "Say hello."]),
    barge_in=st.booleans(),
    audio_format=st.just("pcmu"),
    model_answers=st.booleans(),
    model_interrupts=st.booleans(),
    may_end=st.booleans(),
    colleague=st.sampled_from([None, Colleague("+15551230009"), Colleague("sip:desk@pbx.example", "One moment.")]),
    filler_after_s=st.sampled_from([0.0, 0.5]),
    fillers=st.sampled_from([(), (("menu", "One moment."),)]),
    idle=st.sampled_from([Idle(), Idle(3.0, 1, "Goodbye, then.")]),
    media_stall_s=st.sampled_from([0.0, 5.0]),
)


@settings(max_examples=120, deadline=None)
@given(LAWFUL, st.integers(0, 2**32), STEPS)
def test_between_far_sides_that_keep_to_their_protocols_nothing_is_ever_refused(
    policy: Policy, seed: int, steps: list[tuple[str, float]]
) -> None:
    scene = FarModel(policy, Random(seed))  # noqa: S311 - drawn, to be drawn again
    scene.play(steps)
    check_record([command for _, command in scene.said])
