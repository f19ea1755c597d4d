"""What a caller hears while a tool works for long, as dialogues."""

from __future__ import annotations

import itertools

from scene import Line, Scene

from voice_gateway.audio import hum
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.policy import Idle
from voice_gateway.call.thinking import LONGEST_S

FILLERS = (("look_up", "One moment, I am looking."),)


def asked(*, fillers: tuple[tuple[str, str], ...] = FILLERS, sound: bool = True, line: Line | None = None) -> Scene:
    """A caller has asked for something, and the model has begun to look it up, without a word."""
    policy = Policy(
        audio_format="pcmu", filler_after_s=0.8, fillers=fillers, thinking_sound=sound, idle=Idle(5.0, 1, "Goodbye.")
    )
    scene = Scene(policy, line)
    scene.begin()
    scene.pass_until(1.0)
    scene.caller_speaks()
    scene.pass_until(2.0)
    scene.caller_stops()
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "look_up", "{}"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    return scene


def notes_at(scene: Scene) -> list[float]:
    """When a note began to be heard."""
    sound = [(at, ulaw) for at, ulaw in scene.line.sound if ulaw != b"\xff" * 160]
    whole = b"".join(ulaw for _, ulaw in sound)
    starts = [n * len(hum.note(0)) for n in range(len(whole) // len(hum.note(0)))]
    return [at for at, ulaw in sound if any(ulaw.startswith(hum.note(n)[:100]) for n in (0, 1))] if starts else []


def fillers_asked(scene: Scene) -> list[do.CreateResponse]:
    return [ask for ask in scene.all(do.CreateResponse) if "I am looking" in (ask.instructions or "")]


def test_a_quick_tool_has_no_filler() -> None:
    scene = asked()
    scene.pass_until(2.7)
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(6.0)
    assert fillers_asked(scene) == []
    assert notes_at(scene) == []


def test_a_long_tools_filler_is_said_and_then_its_answer() -> None:
    scene = asked(sound=False)
    scene.pass_until(2.81)
    (filler,) = fillers_asked(scene)
    assert not filler.may_use_tools
    scene.answer("resp_2", "item_2", 1.0, text="One moment, I am looking.")
    scene.pass_until(3.2)
    scene.tell(ev.ToolFinished("call_1", '{"found":1}'))
    assert scene.all(do.CreateResponse)[-1] == do.CreateResponse(), "the tool's answer has a response of its own"
    scene.answer("resp_3", "item_3", 1.0, text="There is one.")
    scene.pass_until(8.0)
    spoken = [turn.text for turn in scene.entries(entries.AssistantSpoke)]
    assert spoken == ["One moment, I am looking.", "There is one."]
    assert len(fillers_asked(scene)) == 1


def test_each_stretch_of_work_has_its_filler() -> None:
    scene = asked(sound=False)
    scene.pass_until(2.81)
    scene.answer("resp_2", "item_2", 1.0, text="One moment, I am looking.")
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.answer("resp_3", "item_3", 0.5, text="There is one. And the other?")
    scene.pass_until(6.0)
    scene.tell(ev.ResponseStarted("resp_4"))
    scene.tell(ev.ToolCalled("resp_4", "item_g", "call_2", "look_up", "{}"))
    scene.tell(ev.ResponseFinished("resp_4", "completed"))
    scene.pass_until(7.0)
    assert len(fillers_asked(scene)) == 2


def test_a_filler_that_crosses_the_tools_answer_is_no_answer() -> None:
    scene = asked(sound=False)
    scene.pass_until(2.81)
    assert len(fillers_asked(scene)) == 1
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.pass_until(3.4)
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.speak("resp_2", "item_2", 0.5)
    assert len(scene.all(do.CreateResponse)) == 1, "one response at a time"
    scene.tell(ev.AudioFinished("resp_2", "item_2", 0))
    assert scene.tell(ev.ResponseFinished("resp_2", "completed"))[-1] == do.CreateResponse()


def test_a_filler_is_not_said_after_the_answer() -> None:
    scene = asked(sound=False)
    scene.pass_until(2.81)
    scene.caller_speaks("user_2")
    scene.pass_until(3.5)
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.caller_stops("user_2")
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(10.0)
    assert len(fillers_asked(scene)) == 1, "asked for once, before the caller spoke"


def test_a_soft_sound_fills_the_silence_until_the_answer() -> None:
    scene = asked(line=Line(0.05, 0.0))
    scene.pass_until(2.81)
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(8.0)
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.pass_until(9.5)
    heard = notes_at(scene)
    assert heard, str(scene)
    assert heard[0] > 3.9 + 0.7, "not while the filler is heard, nor right behind it"
    assert all(abs(after - before - hum.EVERY_S) < 0.03 for before, after in itertools.pairwise(heard))
    assert heard[-1] > 8.0, "until the answer is heard, and it is not there yet"
    scene.answer("resp_3", "item_3", 2.0)
    begins = min(at for at, ulaw in scene.line.sound if at > 9.4 and b"\x10" in ulaw)
    assert begins < 9.5 + 0.05 + hum.NOTE_MS / 1000 + 0.01, "the answer waits for the end of a note at most"
    scene.pass_until(15.0)
    assert notes_at(scene) == heard


def test_a_long_tool_without_a_filler_has_the_sound_alone() -> None:
    scene = asked(fillers=(), line=Line(0.05, 0.0))
    scene.pass_until(5.0)
    assert scene.all(do.CreateResponse) == []
    assert abs(notes_at(scene)[0] - 2.85) < 0.03


def test_the_sound_stops_when_the_caller_speaks() -> None:
    scene = asked(fillers=(), line=Line(0.05, 0.0))
    scene.pass_until(5.3)
    before = len(notes_at(scene))
    commands = scene.caller_speaks("user_2")
    assert commands == [], "nothing of ours is cut, for nothing was said"
    scene.pass_until(9.0)
    assert len(notes_at(scene)) == before
    scene.caller_stops("user_2")
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(10.0)
    assert len(notes_at(scene)) == before, "he is answered while the tool works"


def test_the_sound_is_no_turn_of_ours_and_nothing_to_interrupt() -> None:
    scene = asked(fillers=())
    scene.pass_until(2.86)
    assert len(scene.all(do.PlayAudio)) > 0
    assert not scene.bridge._speaking.playout.is_audible(scene.now)
    scene.caller_speaks("user_2")
    assert scene.all(do.ClearPlayout) == []
    assert scene.entries(entries.BargedIn) == []
    scene.tell(ev.CallerLeft("hangup"))
    assert scene.entries(entries.AssistantSpoke) == []


def test_what_is_heard_after_the_sound_is_still_known_exactly() -> None:
    scene = asked(fillers=(), line=Line(0.05, 0.06))
    scene.pass_until(4.5)
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.answer("resp_2", "item_2", 4.0)
    scene.pass_until(6.0)
    scene.line.spans = [(at, len(ulaw)) for at, ulaw in scene.line.sound if b"\x10" in ulaw]
    scene.caller_speaks("user_2")
    (barged_in,) = scene.entries(entries.BargedIn)
    assert abs(barged_in.heard_ms - scene.truths[-1] / 8) <= 20


def test_a_caller_who_is_silent_hears_no_sound() -> None:
    scene = asked(fillers=())
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(8.5)
    assert notes_at(scene) == []
    assert len(scene.entries(entries.CallerPrompted)) == 1, "he is asked whether he is there, as ever"


def test_the_sound_has_an_end() -> None:
    scene = asked(fillers=())
    scene.pass_until(3.0 + 2 * LONGEST_S)
    heard = notes_at(scene)
    assert heard[-1] < 3.0 + LONGEST_S
    assert len(heard) > 40


def test_without_the_wish_there_is_neither() -> None:
    scene = Scene(Policy(audio_format="pcmu", fillers=FILLERS, thinking_sound=True))
    scene.begin()
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "look_up", "{}"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(20.0)
    assert scene.all(do.CreateResponse) == []
    assert notes_at(scene) == []
