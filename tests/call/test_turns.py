"""Whose turn it is, as dialogues with the bridge."""

from __future__ import annotations

import pytest
from scene import Scene

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy


def greeting() -> Scene:
    return Scene(Policy(greeting="Say hello.", audio_format="pcmu"))


def test_the_greeting_waits_for_the_caller() -> None:
    scene = greeting()
    scene.tell(ev.ModelReady("sess_1", "m"))
    assert scene.all(do.CreateResponse) == []
    scene.tell(ev.CallerJoined("MZ1"))
    assert scene.all(do.CreateResponse) == [do.CreateResponse("Say hello.")]


def test_the_greeting_waits_for_the_model_and_the_caller_is_not_lost_meanwhile() -> None:
    scene = greeting()
    scene.tell(ev.CallerJoined("MZ1"))
    for number in range(5):
        scene.tell(ev.CallerAudio(bytes([number]) * 160, number * 20))
    assert scene.all(do.AppendAudio) == []
    scene.tell(ev.ModelReady("sess_1", "m"))
    heard = b"".join(append.audio for append in scene.all(do.AppendAudio))
    assert heard == b"".join(bytes([number]) * 160 for number in range(5))
    assert len(scene.all(do.CreateResponse)) == 1


def test_while_the_model_is_missing_only_the_newest_ten_seconds_are_kept() -> None:
    scene = greeting()
    scene.tell(ev.CallerJoined("MZ1"))
    for number in range(1000):
        scene.tell(ev.CallerAudio(b"\x22" * 160, number * 20))
    scene.tell(ev.ModelReady("sess_1", "m"))
    assert sum(len(append.audio) for append in scene.all(do.AppendAudio)) == 80_000


def test_a_response_that_starts_while_the_caller_already_speaks_is_cancelled_by_its_id() -> None:
    scene = greeting()
    scene.begin()
    scene.caller_speaks()
    assert scene.tell(ev.ResponseStarted("resp_1")) == [do.CancelResponse("resp_1")]
    scene.speak("resp_1", "item_1", 0.3)
    assert scene.all(do.PlayAudio) == []


@pytest.mark.parametrize("barge_in", [True, False])
def test_an_answer_that_starts_when_the_caller_speaks_again_is_cancelled_where_he_may_interrupt(barge_in: bool) -> None:  # noqa: FBT001 - what is drawn
    scene = Scene(Policy(audio_format="pcmu", barge_in=barge_in))
    scene.begin()
    scene.caller_speaks()
    scene.caller_stops()
    scene.caller_speaks("user_2")
    cancelled = scene.tell(ev.ResponseStarted("resp_1")) == [do.CancelResponse("resp_1")]
    scene.speak("resp_1", "item_1", 0.5)
    assert (cancelled, scene.all(do.PlayAudio) == []) == (barge_in, barge_in)


def test_what_was_asked_for_before_the_caller_spoke_is_not_said_over_him_even_if_he_may_not_interrupt() -> None:
    scene = Scene(Policy(greeting="Say hello.", audio_format="pcmu", barge_in=False))
    scene.begin()
    scene.caller_speaks()
    assert scene.tell(ev.ResponseStarted("resp_1")) == [do.CancelResponse("resp_1")]


def test_a_cancel_that_came_too_late_is_no_fault(scene: Scene) -> None:
    scene.tell(ev.ModelErred("response_cancel_not_active", "no active response found"))
    assert scene.entries(entries.FaultSeen) == []


def test_a_tools_output_goes_to_the_model_at_once_but_the_model_speaks_after_its_response(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    commands = scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "lookup_menu", '{"query": "beer"}'))
    assert do.RunTool("call_1", "lookup_menu", '{"query": "beer"}') in commands
    commands = scene.tell(ev.ToolFinished("call_1", '{"items": []}'))
    assert commands[0] == do.SendToolOutput("call_1", '{"items": []}')
    assert scene.all(do.CreateResponse) == []
    assert do.CreateResponse() in scene.tell(ev.ResponseFinished("resp_1", "completed"))


def test_parallel_tools_lead_to_one_response(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "a", "{}"))
    scene.tell(ev.ToolCalled("resp_1", "item_g", "call_2", "b", "{}"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.tell(ev.ToolFinished("call_2", "{}"))
    assert scene.all(do.CreateResponse) == []
    scene.tell(ev.ToolFinished("call_1", "{}"))
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]


def test_a_tool_that_answers_before_the_next_one_is_called_does_not_get_a_response_of_its_own(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "a", "{}"))
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.tell(ev.ToolCalled("resp_1", "item_g", "call_2", "b", "{}"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    assert scene.all(do.CreateResponse) == []
    scene.tell(ev.ToolFinished("call_2", "{}"))
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]


def test_a_caller_who_speaks_during_a_tool_is_answered_first(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "slow", "{}"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.caller_speaks()
    scene.pass_until(scene.now + 1.0)
    scene.tell(ev.ToolFinished("call_1", "{}"))
    assert scene.all(do.CreateResponse) == []
    scene.caller_stops()
    scene.pass_until(scene.now + 0.3)
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.tell(ev.ResponseFinished("resp_2", "completed"))
    assert scene.all(do.CreateResponse) == [], "the answer that started after the output has seen it"


def test_an_output_that_came_too_late_for_the_running_answer_gets_one_of_its_own(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "slow", "{}"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.caller_speaks()
    scene.caller_stops()
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.tell(ev.ToolFinished("call_1", "{}"))
    assert scene.all(do.CreateResponse) == []
    assert do.CreateResponse() in scene.tell(ev.ResponseFinished("resp_2", "completed"))


def test_the_model_that_forgets_to_answer_is_asked_after_three_seconds(scene: Scene) -> None:
    scene.caller_speaks()
    scene.caller_stops()
    scene.pass_until(scene.now + 2.9)
    assert scene.all(do.CreateResponse) == []
    scene.pass_until(scene.now + 0.2)
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]


def test_a_refused_ask_is_repeated_when_the_other_response_is_done(scene: Scene) -> None:
    scene.tell(ev.ToolCalled("resp_0", "item_f", "call_1", "a", "{}"))
    scene.tell(ev.ToolFinished("call_1", "{}"))
    assert len(scene.all(do.CreateResponse)) == 1
    scene.tell(ev.ModelErred("conversation_already_has_active_response", "wait"))
    assert len(scene.all(do.CreateResponse)) == 1
    scene.tell(ev.ResponseFinished("another", "completed"))
    assert len(scene.all(do.CreateResponse)) == 2


def test_an_ask_refused_for_a_response_that_nobody_knows_is_not_repeated_without_pause(scene: Scene) -> None:
    scene.tell(ev.ToolCalled("resp_0", "item_f", "call_1", "a", "{}"))
    scene.tell(ev.ToolFinished("call_1", "{}"))
    for _ in range(5):
        scene.pass_until(scene.now + 2.0)
        scene.tell(ev.ModelErred("conversation_already_has_active_response", "wait"))
    assert 2 < len(scene.all(do.CreateResponse)) < 5
    assert not scene.bridge.has_ended


def test_what_was_asked_for_and_never_came_is_asked_for_again() -> None:
    scene = greeting()
    scene.begin()
    scene.tell(ev.ModelErred("server_error", "try again"))
    scene.pass_until(2.9)
    assert len(scene.all(do.CreateResponse)) == 1
    scene.pass_until(3.1)
    assert scene.all(do.CreateResponse) == [do.CreateResponse("Say hello.")] * 2
    scene.answer("resp_1", "item_1", 0.5)
    scene.pass_until(20.0)
    assert len(scene.all(do.CreateResponse)) == 2


def test_a_model_that_never_answers_is_lost_and_the_caller_hears_a_polite_word() -> None:
    scene = greeting()
    scene.begin()
    scene.pass_until(8.9)
    assert not scene.bridge.has_ended
    scene.pass_until(9.1)
    assert scene.all(do.EndCall) == [do.EndCall("model_stalled", Policy().failed_sentence, status="failed")]
    assert [fault.code for fault in scene.entries(entries.FaultSeen)] == ["model_stalled"]


def test_a_model_that_falls_silent_in_a_response_is_asked_again(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 1.0, done=False)
    scene.pass_until(scene.now + 7.0)
    scene.tell(ev.TextReceived("resp_1", "item_1", "it lives"))
    scene.pass_until(scene.now + 7.0)
    scene.tell(ev.UserTranscribed("user_0", "Another voice, no sign of life of this response."))
    scene.pass_until(scene.now + 1.1)
    assert scene.all(do.CancelResponse) == [do.CancelResponse("resp_1")]
    assert [fault.code for fault in scene.entries(entries.FaultSeen)] == ["response_stalled"]
    assert "response_stalled" in [figure.figure for figure in scene.all(do.Observe)]
    assert scene.all(do.CreateResponse) == [], "not before the model says that it is over"
    scene.speak("resp_1", "item_1", 1.0)
    scene.tell(ev.ResponseFinished("resp_1", "cancelled", "client_cancelled"))
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]
    assert scene.bridge.dropped_deltas == 10
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(scene.now + 60.0)
    assert len(scene.all(do.CreateResponse)) == 1


def test_a_stalled_response_that_is_never_ended_is_waited_for_no_longer_than_the_patience(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.pass_until(scene.now + 10.9)
    assert scene.all(do.CreateResponse) == []
    scene.pass_until(scene.now + 0.2)
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]


def test_a_stalled_response_whose_tool_is_at_work_wakes_nobody_in_vain(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ToolCalled("resp_1", "item_1", "call_1", "menu", "{}"))
    scene.pass_until(scene.now + 20.0)
    assert (scene.bridge.deadline() or 0.0) > scene.now
    scene.tell(ev.ToolFinished("call_1", "{}"))
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]


def test_a_model_that_keeps_falling_silent_is_lost(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.pass_until(scene.now + 12.0)
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.pass_until(scene.now + 8.1)
    assert scene.all(do.EndCall) == [do.EndCall("model_stalled", Policy().failed_sentence, status="failed")]


def test_a_wish_waits_until_the_caller_is_silent_and_wishes_do_not_add_up(scene: Scene) -> None:
    for call in ("call_1", "call_2"):
        scene.tell(ev.ToolCalled("resp_0", "item_f", call, "a", "{}"))
    scene.caller_speaks()
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.tell(ev.ToolFinished("call_2", "{}"))
    scene.tell(ev.DigitPressed("#"))
    scene.pass_until(scene.now + 5.0)
    assert scene.all(do.CreateResponse) == []
    scene.caller_stops()
    scene.pass_until(scene.now + 10.0)
    assert len(scene.all(do.CreateResponse)) == 3, "one, and again what is not answered"
    assert len(scene.all(do.AddNote)) == 1


def test_a_model_that_does_not_answer_by_itself_is_asked_when_the_turn_is_whole() -> None:
    scene = Scene(Policy(audio_format="pcmu", model_answers=False))
    scene.begin()
    scene.caller_speaks()
    scene.caller_stops()
    assert scene.all(do.CreateResponse) == []
    assert scene.tell(ev.TurnCommitted("user_1")) == [do.CreateResponse()]


def test_a_turn_that_is_whole_has_ended_even_if_its_end_was_never_told(scene: Scene) -> None:
    scene.caller_speaks()
    scene.tell(ev.TurnCommitted("user_1"))
    scene.pass_until(scene.now + 3.1)
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]


def test_a_caller_is_answered_while_a_slow_tool_is_at_work(scene: Scene) -> None:
    scene.tell(ev.ToolCalled("resp_0", "item_f", "call_1", "slow", "{}"))
    scene.caller_speaks()
    scene.caller_stops()
    scene.pass_until(scene.now + 3.1)
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]
    scene.answer("resp_1", "item_1", 1.0)
    assert do.CreateResponse() in scene.tell(ev.ToolFinished("call_1", "{}"))


def test_a_caller_is_answered_while_a_tool_works_where_the_model_waits_to_be_asked() -> None:
    scene = Scene(Policy(audio_format="pcmu", model_answers=False))
    scene.begin()
    scene.tell(ev.ToolCalled("resp_0", "item_f", "call_1", "slow", "{}"))
    scene.caller_speaks()
    scene.caller_stops()
    assert scene.tell(ev.TurnCommitted("user_1")) == [do.CreateResponse()]


def test_a_tools_answer_does_not_talk_over_the_caller(scene: Scene) -> None:
    scene.tell(ev.ToolCalled("resp_0", "item_f", "call_1", "slow", "{}"))
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.caller_speaks()
    assert scene.tell(ev.ResponseStarted("resp_1")) == [do.CancelResponse("resp_1")], "it was asked for before"
    scene.speak("resp_1", "item_1", 1.0)
    assert scene.all(do.PlayAudio) == []


def test_a_tool_that_nobody_asked_for_has_no_answer(scene: Scene) -> None:
    assert scene.tell(ev.ToolFinished("call_9", "{}")) == []
    scene.tell(ev.ToolCalled("resp_0", "item_f", "call_1", "a", "{}"))
    scene.tell(ev.ToolCalled("resp_0", "item_f", "call_1", "a", "{}"))
    scene.tell(ev.ToolFinished("call_1", "{}"))
    assert scene.tell(ev.ToolFinished("call_1", "{}")) == []
    assert len(scene.all(do.RunTool)) == len(scene.all(do.SendToolOutput)) == 1


def test_a_tool_is_told_the_keys_that_were_pressed(scene: Scene) -> None:
    for digit in "12#":
        scene.tell(ev.DigitPressed(digit))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "check_pin", "{}"))
    scene.tell(ev.DigitPressed("4"))
    scene.tell(ev.ToolCalled("resp_1", "item_g", "call_2", "check_pin", "{}"))
    assert [run.digits for run in scene.all(do.RunTool)] == ["12#", "12#4"]


def spoken(scene: Scene) -> bytes:
    return b"".join(play.ulaw for play in scene.all(do.PlayAudio))


def test_a_commentary_is_said_before_the_answer_even_if_their_sound_comes_interleaved(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    for number, item in enumerate(["comment", "answer"]):
        scene.tell(ev.ItemStarted("resp_1", item, "message"))
        scene.tell(ev.TextReceived("resp_1", item, f"{item} text"))
        scene.tell(ev.AudioReceived("resp_1", item, 0, bytes([number]) * 800))
    scene.tell(ev.AudioReceived("resp_1", "comment", 0, b"\0" * 800))
    scene.tell(ev.AudioFinished("resp_1", "comment", 0))
    scene.tell(ev.AudioReceived("resp_1", "answer", 0, b"" * 800))
    scene.tell(ev.AudioFinished("resp_1", "answer", 0))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(scene.now + 3.0)
    assert spoken(scene) == b"\0" * 1600 + b"" * 1600
    told = scene.entries(entries.AssistantSpoke)
    assert [(turn.item_id, turn.heard_ms, turn.interrupted) for turn in told] == [
        ("comment", 200, False), ("answer", 200, False),
    ]  # fmt: skip


def test_an_item_whose_end_is_never_told_ends_with_its_response(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    for number, item in enumerate(["first", "second", "third", "second"]):
        scene.tell(ev.AudioReceived("resp_1", item, 0, bytes([number]) * 800))
    scene.tell(ev.AudioFinished("resp_1", "second", 0))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(scene.now + 3.0)
    assert spoken(scene) == b"\0" * 800 + b"" * 800 + b"" * 800 + b"" * 800
    assert len(scene.entries(entries.AssistantSpoke)) == 3


def test_a_barge_in_cuts_what_was_held_back_as_well(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.speak("resp_1", "comment", 1.0)
    scene.speak("resp_1", "answer", 1.0)
    scene.pass_until(scene.now + 0.5)
    scene.caller_speaks()
    first, second = scene.all(do.TruncateItem)
    assert (first.item_id, second) == ("comment", do.TruncateItem("answer", 0, 0))
    assert 200 < first.audio_end_ms < 500


def test_while_a_commentary_plays_the_tool_works_and_the_answer_follows(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.speak("resp_1", "comment", 3.0)
    scene.tell(ev.AudioFinished("resp_1", "comment", 0))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "lookup_menu", "{}"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(scene.now + 0.3)
    assert scene.tell(ev.ToolFinished("call_1", "{}"))[-1] == do.CreateResponse(), "the answer is made meanwhile"
    scene.answer("resp_2", "answer", 1.0)
    scene.pass_until(scene.now + 6.0)
    assert [turn.item_id for turn in scene.entries(entries.AssistantSpoke)] == ["comment", "answer"]
    assert len(spoken(scene)) == 32_000


def test_nothing_is_asked_for_again_while_the_caller_speaks() -> None:
    scene = greeting()
    scene.begin()
    scene.pass_until(1.0)
    scene.caller_speaks()
    scene.pass_until(10.0)
    assert len(scene.all(do.CreateResponse)) == 1


def test_keys_become_one_note_when_the_caller_pauses(scene: Scene) -> None:
    for digit in "12":
        scene.tell(ev.DigitPressed(digit))
    assert scene.all(do.AddNote) == []
    scene.pass_until(scene.now + 2.0)
    (note,) = scene.all(do.AddNote)
    assert note.text.endswith("1 2")
    assert len(scene.all(do.CreateResponse)) == 1
    assert [entry.digit for entry in scene.entries(entries.DigitReceived)] == ["1", "2"]


def test_keys_pressed_before_the_model_is_there_wait_for_it() -> None:
    scene = Scene()
    scene.tell(ev.CallerJoined("MZ1"))
    scene.tell(ev.DigitPressed("5"))
    scene.now = 4.0
    scene.tell(ev.Woke())
    deadline = scene.bridge.deadline()
    assert deadline is not None
    assert deadline > 4.0, "the past is no time to be woken at"
    scene.tell(ev.ModelReady("sess_1", "test-model"))
    assert [note.text[-1] for note in scene.all(do.AddNote)] == ["5"]


def test_the_hash_key_ends_the_keys_at_once(scene: Scene) -> None:
    scene.tell(ev.DigitPressed("7"))
    scene.tell(ev.DigitPressed("#"))
    assert [note.text[-3:] for note in scene.all(do.AddNote)] == ["7 #"]


def test_the_latency_of_an_answer_counts_from_the_callers_last_sound(scene: Scene) -> None:
    for number in range(100):
        scene.tell(ev.CallerAudio(b"\x22" * 160, number * 20))
    scene.tell(ev.SpeechStarted("user_1", 500))
    scene.tell(ev.SpeechStopped("user_1", 1500))
    scene.pass_until(scene.now + 0.3)
    scene.answer("resp_1", "item_1", 0.5)
    (figure,) = [figure for figure in scene.all(do.Observe) if figure.figure == "response_latency"]
    assert abs(figure.value - 0.8) < 1e-6
    scene.pass_until(scene.now + 1.0)
    assert scene.entries(entries.AssistantSpoke)[0].latency_ms == 800


def test_half_duplex_gives_the_model_silence_while_our_voice_plays() -> None:
    scene = Scene(Policy(audio_format="pcmu", duplex=False))
    scene.begin()
    scene.answer("resp_1", "item_1", 1.0)
    scene.pass_until(0.5)
    scene.tell(ev.CallerAudio(b"\x22" * 160, 500))
    scene.pass_until(2.0)
    scene.tell(ev.CallerAudio(b"\x22" * 160, 520))
    first, second = (append.audio for append in scene.all(do.AppendAudio)[-2:])
    assert set(first) == {0xFF}
    assert set(second) == {0x22}
