"""Whatever happens in whatever order: nothing raises, the bridge never asks to be woken in vain, the record closes."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.call.greeting import Clip

RESPONSES = st.sampled_from(["resp_1", "resp_2"])
ITEMS = st.sampled_from(["item_1", "item_2", "item_3"])
CALLS = st.sampled_from(["call_1", "call_2"])
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
    st.builds(ev.UserTranscribed, ITEMS, TEXT),
    st.builds(ev.ResponseStarted, RESPONSES),
    st.builds(ev.ItemStarted, RESPONSES, ITEMS, st.just("message")),
    st.builds(ev.AudioReceived, RESPONSES, ITEMS, st.integers(0, 1), SOUND),
    st.builds(ev.AudioFinished, RESPONSES, ITEMS, st.integers(0, 1)),
    st.builds(ev.TextReceived, RESPONSES, ITEMS, TEXT),
    st.builds(ev.TextFinished, RESPONSES, ITEMS, TEXT),
    st.builds(ev.ToolCalled, RESPONSES, ITEMS, CALLS, st.just("menu"), TEXT),
    st.builds(ev.ToolFinished, CALLS, TEXT, st.booleans()),
    st.builds(ev.ResponseFinished, RESPONSES, st.sampled_from(["completed", "cancelled", "incomplete", "failed"])),
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
)


@settings(max_examples=150, deadline=None)
@given(POLICIES, st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.3, 2.0, 12.0]), EVENTS), max_size=60))
def test_no_order_of_events_breaks_the_bridge_or_keeps_it_awake(
    policy: Policy, happenings: list[tuple[float, ev.Event]]
) -> None:
    bridge, now = Bridge(policy, 0.0), 0.0
    said: list[do.Command] = []
    for pause, event in happenings:
        now += pause
        said += bridge.handle(event, now)
        said += _woken_until_it_waits(bridge, now)
    said += bridge.handle(ev.CallerLeft("hangup"), now)
    assert bridge.deadline() is None
    closed = [c for c in said if isinstance(c, do.WriteEntry) and isinstance(c.entry, entries.CallEnded)]
    assert len(closed) == 1
    assert all(command.audio_end_ms >= 0 for command in said if isinstance(command, do.TruncateItem))
    assert _greetings_in_history(said) <= {0, 1}
    for spoke in (
        c.entry for c in said if isinstance(c, do.WriteEntry) and isinstance(c.entry, entries.AssistantSpoke)
    ):
        assert 0 <= spoke.heard_ms <= spoke.total_ms


def _greetings_in_history(said: list[do.Command]) -> set[int]:
    """How many greetings of ours the model's conversation has held, at one time or another."""
    changes = {do.AddFirstWords: 1, do.DeleteItem: -1}
    return {0, *accumulate(changes[type(command)] for command in said if type(command) in changes)}


def _woken_until_it_waits(bridge: Bridge, now: float) -> list[do.Command]:
    """Wake it as the session does; a deadline that being woken does not move would be a loop without rest."""
    said: list[do.Command] = []
    for _ in range(5):
        deadline = bridge.deadline()
        if deadline is None or deadline > now:
            return said
        said += bridge.handle(ev.Woke(), now)
    raise AssertionError(f"woken five times at {now}, and it still wants to be")
