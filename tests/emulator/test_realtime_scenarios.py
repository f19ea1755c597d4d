"""The scripted faculties and the named scenarios."""

from __future__ import annotations

import numpy as np
import pytest

from voice_gateway.emulator.faculties import Line, Say, Situation, UseTool
from voice_gateway.emulator.scenarios import (
    SCENARIOS,
    HangUp,
    InterruptAfter,
    Press,
    SayText,
    Scenario,
    ScriptedMind,
    StaySilent,
    ToneVoice,
    TypedEar,
    WaitForAnswer,
    When,
    scenario_named,
)


def after(*lines: Line) -> Situation:
    return Situation("", lines)


def user(text: str) -> Line:
    return Line("user", text)


# --- the mind ---------------------------------------------------------------------------------------------------


def test_texts_are_used_up_in_order_and_then_the_last_resort():
    mind = ScriptedMind(["one", [Say("two"), UseTool("look", {})]], otherwise="what?")
    replies = [list(mind.respond(after(user("x")))) for _ in range(3)]
    assert replies == [[Say("one")], [Say("two"), UseTool("look", {})], [Say("what?")]]


def test_what_fits_the_callers_last_line_comes_first():
    mind = ScriptedMind(["hello", When("LATTE|coffee", (Say("You said: {heard}"),))])
    assert list(mind.respond(after(user("a latte please")))) == [Say("You said: a latte please")]
    assert list(mind.respond(after(user("a latte"), Line("assistant", "ok"), user("bye")))) == [Say("hello")]


def test_the_output_of_a_tool_is_answered_by_what_was_written_for_it():
    mind = ScriptedMind(
        ["no", When("latte", (UseTool("price", {}),)), When("", (Say("It is {output}."),), tool="price")]
    )
    asked, called = user("latte"), Line("tool_call", "{}", "price", "c")
    assert list(mind.respond(after(asked))) == [UseTool("price", {})]
    assert list(mind.respond(after(asked, called, Line("tool_output", "4.50", "price", "c")))) == [Say("It is 4.50.")]
    assert list(mind.respond(after(asked, called, Line("tool_output", "4.50", "clock", "c")))) == [Say("no")]


# --- the voice --------------------------------------------------------------------------------------------------


def pitch_of(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * 24000 / len(samples)


def test_a_text_has_its_length_and_a_pitch_of_its_own():
    voice = ToneVoice()
    texts = ["The first answer.", "Another one, a bit longer.", "The third."]
    for text in texts:
        sound = np.concatenate(list(voice.speak(text)))
        assert len(sound) == 60 * len(text) * 24
        assert pitch_of(sound) == pytest.approx(voice.pitch_hz(text), abs=3)
    assert len({voice.pitch_hz(text) for text in texts}) == 3
    assert voice.spoken == texts


def test_the_same_text_sounds_the_same():
    voice = ToneVoice()
    first, second = (np.concatenate(list(voice.speak("again"))) for _ in range(2))
    assert (first == second).all()


def test_the_hum_is_loud_enough_for_any_detector_and_begins_and_ends_softly():
    sound = np.concatenate(list(ToneVoice().speak("a whole sentence of some length"))).astype(float)
    frames = sound[: len(sound) // 480 * 480].reshape(-1, 480)
    rms_dbfs = 20 * np.log10(np.sqrt((frames**2).mean(axis=1)) / 32768)
    assert rms_dbfs[1:-1].min() > -38
    assert rms_dbfs.max() < -12
    assert abs(sound[0]) < 50
    assert abs(sound[-1]) < 100


# --- the ear ----------------------------------------------------------------------------------------------------


def test_typed_texts_are_heard_in_order_and_then_nothing():
    ear = TypedEar(["one"])
    ear.type("two")
    heard = [ear.transcribe(np.zeros(800, np.int16), 8000, vocabulary=["x"]) for _ in range(3)]
    assert heard == ["one", "two", ""]
    assert ear.lengths_s == [0.1] * 3


# --- the scenarios ----------------------------------------------------------------------------------------------


def test_the_scenarios_there_are():
    assert set(SCENARIOS) >= {"menu", "silent", "impatient", "keypad"}
    assert scenario_named("menu") is SCENARIOS["menu"]
    with pytest.raises(KeyError, match=r"no scenario is called 'manu'; there are: menu, .*keypad"):
        scenario_named("manu")


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=str)
def test_every_scenario_ends_with_hanging_up_and_begins_by_listening(scenario: Scenario):
    assert isinstance(scenario.steps[-1], HangUp)
    assert isinstance(scenario.steps[0], WaitForAnswer)
    assert sum(isinstance(step, HangUp) for step in scenario.steps) == 1


def test_what_the_named_callers_do():
    def kinds(name: str) -> list[type]:
        return [type(step) for step in scenario_named(name).steps]

    assert kinds("menu").count(InterruptAfter) == 1
    assert kinds("impatient").count(InterruptAfter) == 2
    assert SayText not in kinds("silent")
    assert StaySilent in kinds("silent")
    assert Press in kinds("keypad")


@pytest.mark.parametrize("name", ["menu", "impatient"])
def test_the_scripted_model_answers_every_line_of_a_scenarios_caller(name):
    scenario = scenario_named(name)
    mind, ear = scenario.mind(), scenario.ear()
    said = [mind.respond(after())[0]]
    for line in scenario.lines:
        assert ear.transcribe(np.zeros(8000, np.int16), 8000) == line
        said.append(mind.respond(after(user(line)))[0])
    assert Say("Sorry, I did not get that.") not in said
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("name", ["menu", "impatient"])
def test_an_answer_is_long_enough_to_be_interrupted(name):
    scenario = scenario_named(name)
    mind = scenario.mind()
    mind.respond(after())
    answers = {line: mind.respond(after(user(line)))[0] for line in scenario.lines}
    for line, step in zip(scenario.lines, scenario.steps[2:], strict=False):
        if isinstance(step, InterruptAfter):
            assert 60 * len(answers[line].text) > step.seconds * 1000 + 2000
