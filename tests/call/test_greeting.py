"""First words, as dialogues: a greeting becomes a clip, a clip is played, and the model knows what was heard of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scene import FRAME, Line, Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.clip import Clip
from voice_gateway.call.greeting import ITEM

TEXT = "Hello, and welcome! What can I get you today?"
CLIP = Clip(b"\x10" * 16_000, TEXT)  # 2 s
KEPT = Policy(greeting=f"Say: {TEXT}", audio_format="pcmu", clip=CLIP)
SPOKEN = Policy(greeting=f"Say: {TEXT}", audio_format="pcmu", greeting_to_keep=TEXT)
READY = ev.ModelReady("sess_1", "test-model")
JOINED = ev.CallerJoined("MZ1")


def kept(policy: Policy = KEPT) -> Scene:
    """A call that has begun with a clip, the model ready before."""
    scene = Scene(policy)
    scene.begin()
    return scene


def told(scene: Scene) -> list[do.Command]:
    """What the model was told of the clip."""
    return [
        command
        for _, command in scene.said
        if isinstance(command, do.AddFirstWords)
        or (isinstance(command, do.DeleteItem) and command.item_id.startswith(ITEM))
    ]


def place(commands: list[do.Command], kind: type) -> int:
    return next(at for at, command in enumerate(commands) if isinstance(command, kind))


# --- a clip is played -------------------------------------------------------------------------------------------


def test_a_clip_begins_with_the_stream_before_the_model_is_there() -> None:
    scene = Scene(KEPT)
    commands = scene.tell(JOINED)
    played = b"".join(command.ulaw for command in commands if isinstance(command, do.PlayAudio))
    assert len(played) > 1600
    assert CLIP.ulaw.startswith(played)
    scene.pass_until(3.0)
    assert b"".join(command.ulaw for command in scene.all(do.PlayAudio)) == CLIP.ulaw


def test_a_clip_that_is_heard_enters_the_models_history_and_the_record_as_a_spoken_greeting_does() -> None:
    scene = kept()
    scene.pass_until(1.9)
    assert told(scene) == []
    scene.pass_until(3.0)
    assert told(scene) == [do.AddFirstWords(ITEM, TEXT)]
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert (spoke.item_id, spoke.text, spoke.generated) == (ITEM, TEXT, TEXT)
    assert (spoke.heard_ms, spoke.total_ms, spoke.interrupted) == (2000, 2000, False)
    assert (spoke.start_ms, spoke.latency_ms) == (0, None)
    scene.tell(ev.CallerLeft("hangup"))
    assert ended(scene).transcript == f"Assistant: {TEXT}"


def test_the_model_is_not_asked_for_a_greeting_that_is_kept() -> None:
    scene = kept()
    scene.pass_until(10.0)
    assert scene.all(do.CreateResponse) == []


def test_a_clip_that_is_cut_enters_the_models_history_as_far_as_it_was_heard() -> None:
    scene = kept()
    scene.pass_until(1.0)
    commands = scene.caller_speaks()
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert spoke.interrupted
    assert spoke.text in {"Hello, and", "Hello, and welcome!"}
    assert abs(spoke.heard_ms - scene.truths[0] / 8) <= 5
    assert told(scene) == [do.AddFirstWords(ITEM, spoke.text)]
    assert place(commands, do.ClearPlayout) <= 1
    (barge_in,) = scene.entries(entries.BargedIn)
    assert (barge_in.item_id, barge_in.heard_ms, barge_in.response_id) == (ITEM, spoke.heard_ms, "")
    scene.pass_until(4.0)
    assert len(told(scene)) == 1


def test_a_clip_is_never_truncated_at_the_model_which_has_no_such_item() -> None:
    scene = kept()
    scene.pass_until(1.0)
    scene.caller_speaks()
    assert scene.all(do.TruncateItem) == []


def test_of_a_clip_that_nobody_heard_the_model_is_told_nothing() -> None:
    scene = kept()
    scene.caller_speaks()
    scene.pass_until(3.0)
    assert told(scene) == []
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert (spoke.text, spoke.heard_ms) == ("", 0)


def test_speech_after_the_clip_was_heard_cuts_nothing() -> None:
    scene = kept()
    scene.pass_until(3.0)
    assert scene.caller_speaks() == []
    assert told(scene) == [do.AddFirstWords(ITEM, TEXT)]


@pytest.mark.parametrize("delay_ms", [0.0, 3.0])
def test_speech_between_the_last_sound_and_its_receipt_cuts_nothing(delay_ms: float) -> None:
    scene = Scene(replace(KEPT, audio_format="pcm16" if delay_ms else "pcmu"), Line(one_way_s=0.1))
    scene.begin()
    scene.pass_until(2.0 + 0.1 + 0.06 + 0.05)
    scene.caller_speaks()
    assert told(scene) == [do.AddFirstWords(ITEM, TEXT)], "known before the receipt is here"
    scene.pass_until(3.0)
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert not spoke.interrupted
    assert len(told(scene)) == 1


# --- when the model comes later ---------------------------------------------------------------------------------


def test_what_was_heard_waits_for_a_model_that_comes_after_the_clip() -> None:
    scene = Scene(KEPT)
    scene.tell(JOINED)
    scene.pass_until(3.0)
    scene.tell(ev.CallerAudio(FRAME, 3000))
    assert told(scene) == []
    commands = scene.tell(READY)
    assert commands[0] == do.AddFirstWords(ITEM, TEXT)
    assert place(commands, do.AppendAudio) > 0
    assert scene.all(do.CreateResponse) == []


def test_a_model_that_comes_during_the_clip_learns_of_it_before_it_hears_the_caller() -> None:
    scene = Scene(KEPT)
    scene.tell(JOINED)
    scene.tell(ev.CallerAudio(FRAME, 0))
    scene.pass_until(1.0)
    commands = scene.tell(READY)
    assert commands[0] == do.AddFirstWords(ITEM, TEXT)
    scene.pass_until(3.0)
    assert len(told(scene)) == 1


def test_what_was_told_before_the_cut_is_taken_back_and_told_as_it_was_heard() -> None:
    scene = Scene(KEPT)
    scene.tell(JOINED)
    scene.tell(ev.CallerAudio(FRAME, 0))
    scene.pass_until(1.0)
    scene.tell(READY)
    scene.caller_speaks()
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert told(scene) == [
        do.AddFirstWords(ITEM, TEXT),
        do.DeleteItem(ITEM),
        do.AddFirstWords("greeting_heard", spoke.text),
    ]


def test_without_a_model_the_caller_hears_today_s_sentence() -> None:
    scene = Scene(KEPT)
    scene.tell(JOINED)
    scene.pass_until(1.0)
    scene.tell(ev.ModelUnavailable("timeout", "no model"))
    (end,) = scene.all(do.EndCall)
    assert end.say == KEPT.failed_sentence
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert spoke.interrupted
    assert told(scene) == []


# --- while it plays ---------------------------------------------------------------------------------------------


def test_a_caller_who_hangs_up_during_the_clip_is_on_record_with_what_he_heard() -> None:
    scene = kept()
    scene.pass_until(1.0)
    commands = scene.tell(ev.CallerLeft("hangup"))
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert spoke.interrupted
    assert spoke.text.startswith("Hello, and")
    assert ended(scene).transcript == f"Assistant: {spoke.text} — [interrupted]"
    assert not any(isinstance(command, do.AddFirstWords) for command in commands), (
        "the model hears no more of this call"
    )


def test_where_nobody_may_cut_in_the_model_learns_of_the_clip_before_it_answers() -> None:
    scene = kept(replace(KEPT, barge_in=False))
    scene.pass_until(1.0)
    scene.caller_speaks()
    assert told(scene) == [do.AddFirstWords(ITEM, TEXT)]
    scene.caller_stops()
    scene.answer("resp_1", "item_1", 1.0)
    scene.pass_until(6.0)
    assert len(told(scene)) == 1
    assert [spoke.item_id for spoke in scene.entries(entries.AssistantSpoke)] == [ITEM, "item_1"]


def test_keys_pressed_during_the_clip_are_answered_by_a_model_that_knows_of_it() -> None:
    scene = kept()
    scene.pass_until(0.5)
    commands = scene.tell(ev.DigitPressed("#"))
    assert place(commands, do.AddFirstWords) < place(commands, do.CreateResponse)
    scene.answer("resp_1", "item_1", 2.0, text="You pressed the hash key.")
    scene.pass_until(1.0)
    scene.caller_speaks()
    (spoke, unheard) = scene.entries(entries.AssistantSpoke)
    assert scene.all(do.TruncateItem) == [do.TruncateItem("item_1", 0, 0)]
    assert told(scene)[1:] == [do.DeleteItem(ITEM), do.AddFirstWords("greeting_heard", spoke.text)]
    assert (unheard.item_id, unheard.text) == ("item_1", "")


def test_an_answer_after_the_clip_is_truncated_where_it_was_cut() -> None:
    scene = kept()
    scene.pass_until(3.0)
    scene.caller_speaks()
    scene.caller_stops()
    scene.answer("resp_1", "item_1", 3.0)
    scene.pass_until(4.0)
    scene.caller_speaks("user_2")
    (truncate,) = scene.all(do.TruncateItem)
    assert truncate.item_id == "item_1"
    assert abs(truncate.audio_end_ms - (scene.truths[0] - len(CLIP.ulaw)) / 8) <= 5


def test_a_cut_by_a_frame_of_the_callers_is_told_at_once() -> None:
    scene = kept(replace(KEPT, min_speech_ms=200))
    scene.pass_until(0.8)
    scene.caller_speaks()
    loud = b"\x10\x90" * 80
    while not scene.entries(entries.AssistantSpoke):
        assert scene.now < 1.5
        commands = scene.tell(ev.CallerAudio(loud, round(scene.now * 1000)))
        scene.now += 0.02
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert do.AddFirstWords("greeting_heard", spoke.text) in commands


def test_a_protected_clip_is_heard_to_its_end() -> None:
    scene = kept(replace(KEPT, protect_greeting=True))
    scene.pass_until(1.0)
    scene.caller_speaks()
    scene.pass_until(3.0)
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert not spoke.interrupted
    assert told(scene) == [do.AddFirstWords(ITEM, TEXT)]


def test_half_duplex_covers_the_clip() -> None:
    scene = kept(replace(KEPT, duplex=False))
    loud = b"\x10" * 160
    scene.pass_until(1.0)
    assert scene.tell(ev.CallerAudio(loud, 1000)) == [do.AppendAudio(FRAME)]
    scene.pass_until(3.0)
    assert do.AppendAudio(loud) in scene.tell(ev.CallerAudio(loud, 1020))


# --- a greeting becomes a clip ----------------------------------------------------------------------------------


def spoken(policy: Policy = SPOKEN, *, done: bool = True, text: str = TEXT) -> Scene:
    """A call that the model has just greeted, all at once and long before it is heard."""
    scene = Scene(policy)
    scene.begin()
    scene.answer("resp_1", "item_1", 2.0, text=text, done=done)
    return scene


def test_the_models_own_greeting_is_kept_as_soon_as_it_is_whole() -> None:
    assert spoken().all(do.KeepGreeting) == [do.KeepGreeting(b"\x10" * 16_000, TEXT)]


def test_a_barge_in_after_the_greeting_was_received_does_not_cut_what_is_kept() -> None:
    scene = spoken()
    scene.pass_until(0.7)
    scene.caller_speaks()
    assert len(scene.all(do.TruncateItem)) == 1
    assert scene.all(do.KeepGreeting) == [do.KeepGreeting(b"\x10" * 16_000, TEXT)]


def test_a_greeting_that_was_cut_while_it_was_made_is_not_kept() -> None:
    scene = spoken(done=False)
    scene.pass_until(0.7)
    scene.caller_speaks()
    scene.tell(ev.AudioFinished("resp_1", "item_1", 0))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    assert scene.all(do.KeepGreeting) == []


@pytest.mark.parametrize("status", ["cancelled", "failed", "incomplete"])
def test_a_greeting_that_did_not_complete_is_not_kept(status: str) -> None:
    scene = spoken(done=False)
    scene.tell(ev.AudioFinished("resp_1", "item_1", 0))
    scene.tell(ev.ResponseFinished("resp_1", status))
    assert scene.all(do.KeepGreeting) == []


def test_words_other_than_those_asked_for_are_not_kept() -> None:
    assert spoken(text="Sorry, I did not hear you.").all(do.KeepGreeting) == []


def test_an_answer_to_a_caller_who_spoke_first_is_not_kept() -> None:
    scene = Scene(SPOKEN)
    scene.begin()
    scene.caller_speaks()
    scene.caller_stops()
    scene.answer("resp_1", "item_1", 2.0, text=TEXT)
    assert scene.all(do.KeepGreeting) == []


def test_only_the_first_response_is_kept() -> None:
    scene = spoken()
    scene.answer("resp_2", "item_2", 2.0, text=TEXT)
    assert len(scene.all(do.KeepGreeting)) == 1


def test_a_greeting_with_a_tool_call_in_it_is_not_kept() -> None:
    scene = spoken(done=False)
    scene.tell(ev.ItemStarted("resp_1", "item_2", "function_call"))
    scene.tell(ev.AudioFinished("resp_1", "item_1", 0))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    assert scene.all(do.KeepGreeting) == []


def test_nothing_is_kept_where_nothing_is_to_be_kept() -> None:
    assert spoken(replace(SPOKEN, greeting_to_keep="")).all(do.KeepGreeting) == []
    assert kept().all(do.KeepGreeting) == []


def test_the_filters_tail_is_part_of_what_is_kept() -> None:
    scene = Scene(replace(SPOKEN, audio_format="pcm16"))
    scene.begin()
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ItemStarted("resp_1", "item_1", "message"))
    scene.tell(ev.TextFinished("resp_1", "item_1", TEXT))
    loud = (b"\x00\x10" * 5 + b"\x00\xf0" * 5) * 4800  # 2 s
    scene.tell(ev.AudioReceived("resp_1", "item_1", 0, loud))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    (command,) = scene.all(do.KeepGreeting)
    assert len(command.ulaw) == 16_000 + 160, "3 ms more, in whole frames"
