"""Barge-in, as dialogues. The truth is the carrier's: what it had really played when the clear reached it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import Line, Scene

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy


def test_barge_in_truncates_at_what_was_heard(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 6.0, text="word " * 30)
    scene.pass_until(scene.now + 3.0)
    commands = scene.caller_speaks()
    assert isinstance(commands[0], do.ClearPlayout)
    (truncate,) = scene.all(do.TruncateItem)
    assert (truncate.item_id, truncate.content_index) == ("item_1", 0)
    assert abs(truncate.audio_end_ms - scene.truths[0] / 8) <= 5
    (barge_in,) = scene.entries(entries.BargedIn)
    assert barge_in.heard_ms == truncate.audio_end_ms
    assert barge_in.unheard_ms == 6000 - truncate.audio_end_ms


@given(
    one_way=st.floats(0.0, 0.15),
    jitter_buffer=st.floats(0.0, 0.08),
    after_first_mark=st.floats(0.03, 5.0),
)
def test_what_was_heard_is_known_within_20_ms_on_any_steady_line(
    one_way: float, jitter_buffer: float, after_first_mark: float
) -> None:
    scene = Scene(line=Line(one_way, jitter_buffer))
    scene.begin()
    scene.pass_until(1.0)
    scene.answer("resp_1", "item_1", 6.0)
    scene.pass_until(1.0 + 2 * one_way + jitter_buffer + after_first_mark)
    scene.caller_speaks()
    (truncate,) = scene.all(do.TruncateItem)
    assert abs(truncate.audio_end_ms - scene.truths[0] / 8) <= 20, str(scene)


def test_the_carriers_start_delay_is_learnt_for_the_next_answer() -> None:
    scene = Scene(line=Line(one_way_s=0.1, jitter_buffer_s=0.0))
    scene.begin()
    scene.answer("resp_1", "item_1", 1.0)
    scene.pass_until(4.0)
    scene.answer("resp_2", "item_2", 3.0)
    scene.pass_until(4.15)
    scene.caller_speaks()
    (truncate,) = scene.all(do.TruncateItem)
    assert abs(truncate.audio_end_ms - (scene.truths[0] / 8 - 1000)) <= 2, str(scene)


def test_with_two_items_queued_the_audible_one_is_cut_and_the_other_was_never_heard(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 3.0)
    scene.answer("resp_2", "item_2", 6.0)
    scene.pass_until(scene.now + 1.5)
    scene.caller_speaks()
    first, second = scene.all(do.TruncateItem)
    assert first.item_id == "item_1"
    assert abs(first.audio_end_ms - scene.truths[0] / 8) <= 5
    assert second == do.TruncateItem("item_2", 0, 0)


def test_an_item_heard_to_its_end_is_never_truncated(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 1.0)
    scene.answer("resp_2", "item_2", 3.0)
    scene.pass_until(scene.now + 2.0)
    scene.caller_speaks()
    (truncate,) = scene.all(do.TruncateItem)
    assert truncate.item_id == "item_2"
    assert [turn.interrupted for turn in scene.entries(entries.AssistantSpoke)] == [False, True]


def test_speech_after_everything_was_heard_clears_and_truncates_nothing(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 1.0, text="All of it.")
    scene.pass_until(scene.now + 3.0)
    assert scene.caller_speaks() == []
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert (spoke.text, spoke.heard_ms, spoke.interrupted) == ("All of it.", 1000, False)


def test_speech_before_any_delta_only_cuts_the_response(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ItemStarted("resp_1", "item_1", "message"))
    assert scene.caller_speaks() == []
    scene.speak("resp_1", "item_1", 0.5)
    assert scene.all(do.PlayAudio) == []


def test_deltas_of_a_cut_response_never_reach_the_caller(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 1.0, done=False)
    scene.pass_until(scene.now + 0.5)
    scene.caller_speaks()
    played = len(scene.all(do.PlayAudio))
    scene.speak("resp_1", "item_1", 1.0)
    scene.tell(ev.ResponseFinished("resp_1", "cancelled", "turn_detected"))
    scene.pass_until(scene.now + 2.0)
    assert len(scene.all(do.PlayAudio)) == played
    assert scene.bridge.dropped_deltas == 10


def test_never_more_is_truncated_than_was_received(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 0.4, done=False)
    scene.pass_until(scene.now + 2.0)
    scene.caller_speaks()
    (truncate,) = scene.all(do.TruncateItem)
    assert truncate.audio_end_ms <= 400


def test_a_stall_of_the_model_is_no_heard_time(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 1.0, done=False)
    scene.pass_until(scene.now + 3.0)
    scene.speak("resp_1", "item_1", 3.0)
    scene.pass_until(scene.now + 1.0)
    scene.caller_speaks()
    (truncate,) = scene.all(do.TruncateItem)
    assert abs(truncate.audio_end_ms - scene.truths[0] / 8) <= 5, str(scene)
    assert 1800 < truncate.audio_end_ms < 2100


@pytest.mark.parametrize("overlap", [0.0, 0.05, 0.09, 0.11, 0.15, 0.2])
@pytest.mark.parametrize("after", [0.06, 0.12, 0.25])
def test_an_answer_right_after_another_is_not_measured_by_the_others_last_mark(overlap: float, after: float) -> None:
    scene = Scene(line=Line(one_way_s=0.08, jitter_buffer_s=0.06))
    scene.begin()
    scene.pass_until(1.0)
    scene.answer("resp_1", "item_1", 1.0)
    scene.pass_until(2.0 + overlap)
    scene.answer("resp_2", "item_2", 3.0)
    scene.pass_until(scene.now + after)
    scene.caller_speaks()
    truncate = scene.all(do.TruncateItem)[-1]
    assert truncate.item_id == "item_2"
    assert abs(truncate.audio_end_ms - max(0.0, scene.truths[0] / 8 - 1000)) <= 5, str(scene)


def test_marks_that_a_clear_returned_say_nothing(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 6.0)
    scene.pass_until(scene.now + 2.0)
    scene.caller_speaks()
    scene.caller_stops()
    scene.answer("resp_2", "item_2", 6.0)
    scene.pass_until(scene.now + 1.0)
    scene.caller_speaks("user_2")
    last = scene.all(do.TruncateItem)[-1]
    assert last.item_id == "item_2"
    assert abs(last.audio_end_ms - scene.truths[1] / 8) <= 10, str(scene)


class Deaf(Line):
    """A carrier that returns no receipt."""

    def mark(self, sent_at: float, name: str) -> float:  # noqa: ARG002 - the Line's shape
        return float("inf")


def test_without_receipts_our_voice_still_ends_and_the_next_answer_is_paced() -> None:
    scene = Scene(line=Deaf())
    scene.begin()
    scene.answer("resp_1", "item_1", 2.0)
    scene.pass_until(8.0)
    before = len(scene.all(do.PlayAudio))
    scene.answer("resp_2", "item_2", 20.0)
    at_once = sum(len(command.ulaw) for command in scene.all(do.PlayAudio)[before:])
    assert at_once <= 0.4 * 8000
    scene.pass_until(18.0)
    scene.caller_speaks()
    (truncate,) = scene.all(do.TruncateItem)
    assert truncate.item_id == "item_2"
    assert 6000 < truncate.audio_end_ms < scene.truths[0] / 8 - 2000


def test_two_barge_ins_in_quick_succession_cut_once(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 6.0)
    scene.pass_until(scene.now + 1.0)
    scene.caller_speaks()
    scene.caller_stops()
    scene.pass_until(scene.now + 0.3)
    assert not any(isinstance(command, do.TruncateItem) for command in scene.caller_speaks("user_2"))


def test_with_barge_in_off_our_voice_goes_on() -> None:
    scene = Scene(Policy(audio_format="pcmu", barge_in=False))
    scene.begin()
    scene.answer("resp_1", "item_1", 2.0)
    scene.pass_until(1.0)
    assert scene.caller_speaks() == []
    scene.pass_until(4.0)
    assert sum(len(play.ulaw) for play in scene.all(do.PlayAudio)) == 16000


def test_no_cancel_is_sent_where_the_server_interrupts_by_itself(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 2.0, done=False)
    scene.pass_until(scene.now + 0.5)
    scene.caller_speaks()
    assert scene.all(do.CancelResponse) == []


def test_the_transcript_of_a_cut_turn_holds_what_was_heard_and_what_was_not(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 4.0, text="one two three four five six seven eight nine ten")
    scene.pass_until(scene.now + 2.0)
    scene.caller_speaks()
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert spoke.text in {"one two three four", "one two three four five"}
    assert spoke.unsaid.endswith("nine ten")
    assert f"{spoke.text} {spoke.unsaid}" == spoke.generated
    assert spoke.interrupted


@pytest.mark.parametrize("audio_format", ["pcm16", "pcmu"])
def test_the_filters_delay_is_no_heard_time(audio_format: str) -> None:
    scene = Scene(Policy(audio_format=audio_format))  # type: ignore[arg-type]  # one of the two literals
    scene.begin()
    scene.pass_until(1.0)
    per_100_ms = b"\x00" * 4800 if audio_format == "pcm16" else b"\xff" * 800
    scene.tell(ev.ResponseStarted("resp_1"))
    for _ in range(40):
        scene.tell(ev.AudioReceived("resp_1", "item_1", 0, per_100_ms))
    scene.pass_until(3.0)
    scene.caller_speaks()
    (truncate,) = scene.all(do.TruncateItem)
    delay_ms = 3 if audio_format == "pcm16" else 0
    assert abs(truncate.audio_end_ms - (scene.truths[0] / 8 - delay_ms)) <= 2
