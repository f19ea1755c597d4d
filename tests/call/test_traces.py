"""Calls that were traced once are led again: every file in `traces/` is a test."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import Scene
from test_any_order import EVENTS, POLICIES

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.trace.folder import Reel, TracedBridge
from voice_gateway.trace.notes import Heading, Trace, read
from voice_gateway.trace.replay import accepted, first_difference, first_unwoken, same, side_by_side, told

TRACES = sorted(Path(__file__).with_name("traces").glob("*.jsonl*"))


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name)
def test_a_traced_call_is_led_as_it_was(path: Path) -> None:
    difference = first_difference(read(path))
    assert difference is None, (
        f"This call would be led otherwise today. To see how: voice-gateway replay {os.path.relpath(path)}. "
        f"If that is meant: voice-gateway replay --accept {os.path.relpath(path)}"
    )


def test_there_are_traces_to_be_led_again() -> None:
    assert TRACES


def traced(policy: Policy, happenings: list[tuple[float, ev.Event]]) -> Trace:
    """The trace of a call, by way of its file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "call.jsonl")
        reel = Reel(file, Heading(ev.CallFacts("CA1"), policy, 0.0), 10**9, lambda line: line)
        bridge = TracedBridge(Bridge(policy, 0.0), reel)
        for now, event in happenings:
            bridge.handle(event, now)
        reel.write(last=True)
        return read(file) if file.exists() else Trace(Heading(ev.CallFacts("CA1"), policy, 0.0), ())


@settings(max_examples=60, deadline=None)
@given(POLICIES, st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.3, 2.0, 12.0]), EVENTS), max_size=40))
def test_any_call_is_replayed_as_it_was(policy: Policy, happenings: list[tuple[float, ev.Event]]) -> None:
    now, timed = 0.0, []
    for pause, event in happenings:
        now += pause
        timed.append((now, event))
    trace = traced(policy, timed)
    assert [(note.at, note.event) for note in trace.notes] == timed[: len(trace.notes)]
    if len(trace.notes) < len(timed):
        assert "EndCall" in trace.notes[-1].do[-1], "what comes after the end is nobody's business"
    assert first_difference(trace) is None


@pytest.fixture
def barge_in(monkeypatch: pytest.MonkeyPatch) -> Trace:
    """A call with a barge-in two seconds into an answer."""
    happened: list[tuple[float, ev.Event]] = []
    handle = Bridge.handle

    def noted(bridge: Bridge, event: ev.Event, now: float) -> list[do.Command]:
        happened.append((now, event))
        return handle(bridge, event, now)

    with monkeypatch.context() as patched:
        patched.setattr(Bridge, "handle", noted)
        scene = Scene()
        scene.begin()
        scene.pass_until(1.0)
        scene.answer("resp_1", "item_1", 4.0, text="It is quite a long answer.")
        scene.pass_until(3.0)
        scene.caller_speaks()
        scene.pass_until(5.0)
        scene.tell(ev.CallerLeft("hangup"))
    return traced(Policy(audio_format="pcmu"), happened)


def test_a_bridge_that_truncates_elsewhere_is_told_by_the_first_command_that_differs(
    barge_in: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = Bridge.handle

    def changed(bridge: Bridge, event: ev.Event, now: float) -> list[do.Command]:
        return [
            do.TruncateItem(command.item_id, command.content_index, command.audio_end_ms + 20)
            if isinstance(command, do.TruncateItem)
            else command
            for command in handle(bridge, event, now)
        ]

    assert first_difference(barge_in) is None
    monkeypatch.setattr(Bridge, "handle", changed)
    difference = first_difference(barge_in)
    assert difference is not None
    assert isinstance(difference.then.event, ev.SpeechStarted)
    assert barge_in.notes[difference.number - 1] == difference.then
    (pair,) = [pair for pair in side_by_side(difference) if not pair.same]
    assert pair.then.startswith("TruncateItem item_id=item_1 content_index=0 audio_end_ms=1,")
    assert pair.now.startswith("TruncateItem item_id=item_1 content_index=0 audio_end_ms=1,")
    assert first_difference(accepted(barge_in)) is None


def test_a_command_that_is_missing_stands_beside_nothing(barge_in: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Bridge.handle

    def changed(bridge: Bridge, event: ev.Event, now: float) -> list[do.Command]:
        return [command for command in handle(bridge, event, now) if not isinstance(command, do.ClearPlayout)]

    monkeypatch.setattr(Bridge, "handle", changed)
    difference = first_difference(barge_in)
    assert difference is not None
    (pair,) = [pair for pair in side_by_side(difference) if not pair.same]
    assert pair == ("ClearPlayout", "", False)


def test_a_bridge_that_raises_is_a_difference(barge_in: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_bridge: Bridge, _event: ev.Event, _now: float) -> list[do.Command]:
        raise ZeroDivisionError("no")

    monkeypatch.setattr(Bridge, "handle", broken)
    difference = first_difference(barge_in)
    assert difference is not None
    assert (difference.number, difference.now.raised) == (1, "ZeroDivisionError: no")
    same_today = accepted(barge_in)
    assert first_difference(same_today) is None
    assert first_unwoken(same_today) is None, "and it is led to its end, as the command line does with such a trace"


def test_a_limit_that_the_bridge_of_then_had_not_is_told(barge_in: Trace) -> None:
    assert first_unwoken(barge_in) is None
    sooner = replace(barge_in.heading, policy=replace(barge_in.heading.policy, max_duration_s=3.5))
    limited = replace(barge_in, heading=sooner)
    assert first_unwoken(limited) == 3.5


EQUAL, OTHER = "equal", "other"
SOUND = {"PlayAudio": {"ulaw": "/wCA"}}


@pytest.mark.parametrize(
    ("then", "now", "outcome"),
    [
        ({"Observe": {"figure": "f", "value": 0.1}}, {"Observe": {"figure": "f", "value": 0.1 + 1e-12}}, EQUAL),
        ({"Observe": {"figure": "f", "value": 0.1}}, {"Observe": {"figure": "f", "value": 0.101}}, OTHER),
        ({"Observe": {"figure": "f", "value": 0}}, {"Observe": {"figure": "f", "value": 0.0}}, EQUAL),
        ({"T": {"ms": 100}}, {"T": {"ms": 101}}, OTHER),
        ({"T": {"old": 1, "ms": 2}}, {"T": {"ms": 2, "new": 3}}, EQUAL),
        ({"T": {"old": 1}}, {"T": {"new": 1}}, OTHER),
        ({"T": {}}, {"U": {}}, OTHER),
        ({"T": {"usage": None}}, {"T": {"usage": {"Usage": {}}}}, OTHER),
        ({"Appended": {"length": 960, "dbfs": -20.0}}, {"Appended": {"length": 960, "dbfs": -20.4}}, EQUAL),
        ({"Appended": {"length": 960, "dbfs": -20.0}}, {"Appended": {"length": 960, "dbfs": -96.0}}, OTHER),
        (SOUND, SOUND, EQUAL),
        (SOUND, {"PlayAudio": {"ulaw": "fgGB"}}, EQUAL),
        (SOUND, {"PlayAudio": {"ulaw": "/wCD"}}, OTHER),
        (SOUND, {"PlayAudio": {"ulaw": "/wA="}}, OTHER),
    ],
)
def test_what_counts_as_equal(then: dict[str, object], now: dict[str, object], outcome: str) -> None:
    assert same(then, now) is (outcome == EQUAL)


def test_a_command_is_told_in_words_and_its_sound_by_its_length() -> None:
    assert told(SOUND) == "PlayAudio ulaw=3 bytes"
    assert told({"WriteEntry": {"entry": {"DigitReceived": {"digit": "4"}}}}) == "WriteEntry DigitReceived digit=4"
    assert told({"EndCall": {"reason": "hangup", "say": ""}}) == "EndCall reason=hangup say=''"
