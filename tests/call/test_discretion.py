"""What is said while a recording is paused: nobody can read it afterwards."""

from __future__ import annotations

from scene import FRAME, Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.discretion import HIDDEN_JSON, NOT_KEPT

CARD = "4111 1111 1111 1111"


def hear(scene: Scene, seconds: float) -> None:
    """The caller's line stays open for so long."""
    for _ in range(round(seconds * 50)):
        scene.pass_until(scene.now + 0.02)
        scene.tell(ev.CallerAudio(FRAME, round(scene.now * 1000)))


def caller_says(scene: Scene, item: str, text: str, seconds: float = 1.0) -> None:
    written_ms = round(scene.bridge._hearing.written_ms)
    scene.tell(ev.SpeechStarted(item, written_ms))
    hear(scene, seconds)
    scene.tell(ev.SpeechStopped(item, written_ms + round(seconds * 1000)))
    scene.tell(ev.UserTranscribed(item, text))


def stored(scene: Scene) -> str:
    return "\n".join(str(c.entry) for _, c in scene.said if isinstance(c, do.WriteEntry))


def test_what_is_said_during_a_pause_is_on_no_entry_and_not_in_the_transcript(scene: Scene) -> None:
    hear(scene, 0.2)
    caller_says(scene, "u1", "I want to pay by card.")
    scene.tell(ev.PauseAsked("tool"))
    caller_says(scene, "u2", f"My card is {CARD}.")
    scene.answer("r1", "a1", 1.0, text=f"I heard {CARD}.")
    hear(scene, 2.0)
    scene.tell(ev.DigitPressed("7"))
    scene.tell(ev.ToolCalled("r1", "f1", "c1", "pay", f'{{"card":"{CARD}"}}'))
    scene.tell(ev.ToolFinished("c1", f'{{"charged":"{CARD}"}}'))
    hear(scene, 1.0)
    scene.tell(ev.ResumeAsked("api"))
    caller_says(scene, "u3", "Thank you.")
    scene.answer("r2", "a2", 1.0, text="You are welcome.")
    hear(scene, 2.0)
    scene.tell(ev.CallerLeft("hangup"))
    assert "4111" not in stored(scene)
    assert [entry.text for entry in scene.entries(entries.UserSpoke)] == [
        "I want to pay by card.",
        NOT_KEPT,
        "Thank you.",
    ]
    assert [entry.generated for entry in scene.entries(entries.AssistantSpoke)] == [NOT_KEPT, "You are welcome."]
    assert [entry.digit for entry in scene.entries(entries.DigitReceived)] == ["x"]
    assert ended(scene).transcript.splitlines() == [
        "Caller: I want to pay by card.",
        f"Caller: {NOT_KEPT}",
        f"Assistant: {NOT_KEPT}",
        "Caller: Thank you.",
        "Assistant: You are welcome.",
    ]
    assert [entry.by for entry in scene.entries(entries.RecordingPaused)] == ["tool"]
    assert [entry.by for entry in scene.entries(entries.RecordingResumed)] == ["api"]
    assert CARD in scene.all(do.SendToolOutput)[0].output, "the model still learns it"


def test_words_that_become_text_after_the_pause_are_judged_by_when_they_were_said(scene: Scene) -> None:
    hear(scene, 0.2)
    scene.tell(ev.SpeechStarted("before", 0))
    hear(scene, 1.0)
    scene.tell(ev.SpeechStopped("before", 900))
    scene.tell(ev.PauseAsked("tool"))
    scene.tell(ev.SpeechStarted("during", 1300))
    hear(scene, 1.0)
    scene.tell(ev.SpeechStopped("during", 2000))
    scene.tell(ev.ResumeAsked("tool"))
    hear(scene, 1.0)
    scene.tell(ev.UserTranscribed("during", CARD))
    scene.tell(ev.UserTranscribed("before", "Can I pay by card?"))
    assert [entry.text for entry in scene.entries(entries.UserSpoke)] == [NOT_KEPT, "Can I pay by card?"]


def test_a_turn_that_only_begins_before_the_pause_or_ends_after_it_is_not_kept_either(scene: Scene) -> None:
    hear(scene, 0.2)
    scene.tell(ev.SpeechStarted("u1", 100))
    hear(scene, 0.5)
    scene.tell(ev.PauseAsked("api"))
    hear(scene, 0.5)
    scene.tell(ev.SpeechStopped("u1", 1100))
    scene.tell(ev.UserTranscribed("u1", CARD))
    scene.answer("r1", "a1", 3.0, text="A long answer that is cut by the caller.")
    hear(scene, 0.5)
    scene.tell(ev.ResumeAsked("api"))
    scene.caller_speaks("u2")
    assert scene.entries(entries.UserSpoke)[0].text == NOT_KEPT
    spoke = scene.entries(entries.AssistantSpoke)[0]
    assert (spoke.generated, spoke.unsaid) == (NOT_KEPT, NOT_KEPT)


def test_pausing_twice_and_resuming_twice_is_one_pause(scene: Scene) -> None:
    for event in (ev.ResumeAsked("api"), ev.PauseAsked("api"), ev.PauseAsked("tool")):
        scene.tell(event)
    for event in (ev.ResumeAsked("tool"), ev.ResumeAsked("api")):
        scene.tell(event)
    assert len(scene.entries(entries.RecordingPaused)) == len(scene.entries(entries.RecordingResumed)) == 1


def test_a_call_that_ends_while_paused_keeps_nothing_of_what_was_being_said(scene: Scene) -> None:
    scene.tell(ev.PauseAsked("tool"))
    scene.answer("r1", "a1", 5.0, text=f"Your number is {CARD}, is that right?")
    hear(scene, 1.0)
    scene.tell(ev.CallerLeft("lost"))
    assert "4111" not in stored(scene)
    assert ended(scene).transcript == f"Assistant: {NOT_KEPT} — [interrupted]"


def test_what_a_tool_was_given_in_a_pause_is_no_less_secret_when_it_answers_afterwards(scene: Scene) -> None:
    scene.tell(ev.PauseAsked("tool"))
    scene.tell(ev.ToolCalled("r1", "f1", "c1", "take_payment", f'{{"card":"{CARD}"}}'))
    scene.tell(ev.ResumeAsked("tool"))
    scene.tell(ev.ToolFinished("c1", f'{{"charged":"{CARD}"}}'))
    scene.tell(ev.ToolCalled("r2", "f2", "c2", "lookup_menu", '{"query":"tea"}'))
    scene.tell(ev.ToolFinished("c2", '{"found":[]}'))
    assert "4111" not in stored(scene)
    assert [entry.output for entry in scene.entries(entries.ToolAnswered)] == [HIDDEN_JSON, '{"found":[]}']


def test_why_a_call_was_handed_over_in_a_pause_is_not_kept_though_it_is_over_by_then(scene: Scene) -> None:
    scene.tell(ev.PauseAsked("tool"))
    scene.tell(ev.HandoffAsked("cfo", "tool", f"to charge {CARD}"))
    scene.tell(ev.ResumeAsked("tool"))
    hear(scene, 0.2)
    scene.tell(ev.HandoffReady("cfo", Policy(audio_format="pcmu", persona="cfo")))
    scene.tell(ev.SessionUpdated("cfo"))
    (handed,) = scene.entries(entries.HandedOff)
    assert handed.reason == NOT_KEPT


def test_the_tools_that_pause_are_no_secret(scene: Scene) -> None:
    scene.tell(ev.ToolCalled("r1", "f1", "c1", "pause_recording", "{}"))
    scene.tell(ev.PauseAsked("tool"))
    scene.tell(ev.ToolFinished("c1", '{"paused":true}'))
    assert scene.entries(entries.ToolAnswered)[0].output == '{"paused":true}'
