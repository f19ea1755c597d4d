"""Items that were cut before any of their sound could be heard."""

from __future__ import annotations

from scene import Scene

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev


def interrupted(scene: Scene) -> None:
    """The model has begun an item, and the caller speaks before its first sound."""
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ItemStarted("resp_1", "item_1", "message"))
    assert scene.caller_speaks() == []


def test_sound_that_comes_after_the_cut_is_truncated_at_nothing_once(scene: Scene) -> None:
    interrupted(scene)
    scene.speak("resp_1", "item_1", 0.5)
    scene.tell(ev.ResponseFinished("resp_1", "cancelled", "turn_detected"))
    assert scene.all(do.TruncateItem) == [do.TruncateItem("item_1", 0, 0)]
    assert scene.all(do.DeleteItem) == []
    assert scene.all(do.PlayAudio) == []


def test_an_item_without_any_sound_is_deleted_at_the_end_of_its_response(scene: Scene) -> None:
    interrupted(scene)
    scene.tell(ev.ItemStarted("resp_1", "item_2", "function_call"))
    scene.tell(ev.ResponseFinished("resp_1", "cancelled", "turn_detected"))
    assert scene.all(do.DeleteItem) == [do.DeleteItem("item_1")], "a call of a tool is no sound that was not heard"
    assert scene.all(do.TruncateItem) == []


def test_what_was_truncated_where_it_was_heard_is_not_truncated_again(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 2.0, done=False)
    scene.pass_until(scene.now + 1.0)
    scene.caller_speaks()
    (truncate,) = scene.all(do.TruncateItem)
    assert truncate.audio_end_ms > 500
    scene.speak("resp_1", "item_1", 0.5)
    scene.tell(ev.ResponseFinished("resp_1", "cancelled", "turn_detected"))
    assert scene.all(do.TruncateItem) == [truncate]
    assert scene.all(do.DeleteItem) == []


def test_an_item_without_sound_in_a_response_that_was_not_cut_stays(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ItemStarted("resp_1", "item_1", "message"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    assert scene.all(do.DeleteItem) == []


def test_an_empty_delta_is_no_sound_and_is_never_truncated(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ItemStarted("resp_1", "item_1", "message"))
    scene.tell(ev.AudioReceived("resp_1", "item_1", 0, b""))
    scene.caller_speaks()
    scene.tell(ev.ResponseFinished("resp_1", "cancelled", "turn_detected"))
    assert scene.all(do.TruncateItem) == []
    assert scene.all(do.DeleteItem) == [do.DeleteItem("item_1")]


def test_more_of_an_item_that_seemed_finished_is_truncated_on_one_account(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 1.0, done=False)
    scene.tell(ev.AudioFinished("resp_1", "item_1", 0))
    scene.speak("resp_1", "item_1", 3.0)
    scene.pass_until(scene.now + 2.0)
    scene.caller_speaks()
    (truncate,) = scene.all(do.TruncateItem)
    assert abs(truncate.audio_end_ms - scene.truths[0] / 8) <= 2
