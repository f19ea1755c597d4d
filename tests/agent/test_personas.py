"""Personas: read from TOML, with complaints that name the file and the field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from voice_gateway.agent.personas import Interruptions, Limits, Persona, PersonaError, load_persona, load_personas
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.toolbox.ending import end_call
from voice_gateway.call.goodbye import END_CALL
from voice_gateway.call.policy import Guard, Idle
from voice_gateway.caller.consent import Wish
from voice_gateway.model.settings import ModelSettings, SemanticVad, ServerVad

SOUND = 'name = "Host"\ninstructions = "Be kind."\n'


def write(folder: Path, text: str, name: str = "host.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_waiter_comes_with_the_program_and_has_its_tools() -> None:
    waiter = load_personas()["waiter"]
    assert waiter.name == "Waiter"
    assert waiter.greeting
    assert waiter.greeting in waiter.greeting_instructions
    assert "lookup_menu" in waiter.instructions
    tools = house_toolbox().pick(waiter.tools)
    assert tools.names == ("lookup_menu", "recommend_pairing", "place_order", "handoff_to", END_CALL)
    ModelSettings(instructions=waiter.instructions, tools=tuple(tools.specs()), turn_detection=waiter.turn_detection)


def test_every_persona_of_the_house_has_a_greeting_and_tools_it_is_told_to_use() -> None:
    personas = load_personas()
    assert set(personas) == {"bartender", "cfo", "member-services", "receptionist", "waiter"}
    for persona in personas.values():
        tools = house_toolbox().pick(persona.tools)
        ModelSettings(instructions=persona.instructions, tools=tuple(tools.specs()))
        assert persona.greeting
        named = {name for name in house_toolbox().names if name in persona.instructions}
        assert named <= set(tools.names), f"{persona.key} is told of tools that it has not"
        assert set(tools.names) - named <= {END_CALL, "get_menu"}, f"{persona.key} has tools that it is not told of"


def test_every_field_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        SOUND + 'greeting = " Hi. "\ngreeting_clip = false\nvoice = "cedar"\nlanguage = "rw"\ntools = ["lookup_menu"]\n'
        "[turn_detection]\nthreshold = 0.7\nsilence_duration_ms = 900\nidle_timeout_ms = 8000\n"
        "[barge_in]\nmin_speech_ms = 400\nprotect_greeting = true\n",
    )
    assert load_persona(path) == Persona(
        key="host", name="Host", instructions="Be kind.", greeting="Hi.", greeting_clip=False, voice="cedar",
        language="rw", tools=("lookup_menu",),
        turn_detection=ServerVad(threshold=0.7, silence_duration_ms=900, idle_timeout_ms=8000),
        barge_in=Interruptions(min_speech_ms=400, protect_greeting=True),
    )  # fmt: skip


def test_only_name_and_instructions_are_needed(tmp_path: Path) -> None:
    persona = load_persona(write(tmp_path, SOUND))
    assert persona == Persona("host", "Host", "Be kind.")
    assert persona.greeting_instructions == ""
    assert persona.turn_detection == ServerVad()


def test_every_setting_of_turn_detection_is_read(tmp_path: Path) -> None:
    semantic = '[turn_detection]\ntype = "semantic_vad"\neagerness = "high"\ncreate_response = false\n'
    assert load_persona(write(tmp_path, SOUND + semantic)).turn_detection == SemanticVad("high", create_response=False)
    server = (
        "[turn_detection]\nthreshold = 1\nprefix_padding_ms = 100\nsilence_duration_ms = 900\nidle_timeout_ms = 5000\n"
        "create_response = false\ninterrupt_response = false\n"
    )
    assert load_persona(write(tmp_path, SOUND + server)).turn_detection == ServerVad(1.0, 100, 900, 5000, False, False)  # noqa: FBT003 - in the file's order


def test_what_becomes_of_a_silent_caller_is_read(tmp_path: Path) -> None:
    idle = '[idle]\nprompt_after_s = 12\nprompts = 3\ngoodbye = "Bye, then."\n'
    assert load_persona(write(tmp_path, SOUND + idle)).idle == Idle(12, 3, "Bye, then.")
    own = "[turn_detection]\nidle_timeout_ms = 8000\n[idle]\nprompts = 0\n"
    assert load_persona(write(tmp_path, SOUND + own)).idle == Idle(prompts=0), "the model notices, we count"


def test_model_limits_and_consent_are_read(tmp_path: Path) -> None:
    own = load_persona(
        write(
            tmp_path,
            SOUND + 'model = "gpt-realtime-2.1-mini"\nreasoning_effort = "high"\nmarket = "rw"\n'
            "[limits]\nmax_call_seconds = 600\nmax_call_usd = 0.5\n"
            '[consent]\nmethod = "keypress"\nwording = "May we? Press 1."\nlanguage = "en-GB"\n'
            '[hours]\nzone = "Africa/Kigali"\nsay = "Closed."\n[hours.open]\nmon = "08:00-17:00"\n',
        )
    )
    assert (own.model, own.reasoning_effort, own.market) == ("gpt-realtime-2.1-mini", "high", "RW")
    assert own.limits == Limits(600, 0.5)
    assert own.consent == Wish("keypress", "May we? Press 1.", "en-GB")
    assert own.hours is not None
    assert own.hours.say == "Closed."


def test_the_colleague_is_read_and_the_model_is_told_who_it_is(tmp_path: Path) -> None:
    text = 'tools = ["transfer_to_human"]\nfiller_after_s = 2\nthinking_sound = false\n'
    text += '[transfer]\nto = "+1 555 010-0009"\n'
    own = load_persona(write(tmp_path, SOUND + text + 'name = "the manager"\nwhisper = "For you: {reason}."\n'))
    assert own.transfer is not None
    assert (own.transfer.number, own.transfer.rings_s) == ("+15550100009", 25)
    assert own.transfer.whispered(" a  refund", "") == "For you: a refund."
    assert "transfer_to_human puts the caller through to the manager." in own.role_instructions
    assert (own.filler_after_s, own.thinking_sound) == (2.0, False)
    assert "+1" not in repr(own), "whose number it is stays out of every error and log"


def test_of_several_languages_the_first_is_spoken_first_and_none_is_forced_on_the_transcription(tmp_path: Path) -> None:
    several = load_persona(write(tmp_path, SOUND + 'languages = ["fr", "en", "rw"]\n'))
    assert (several.language, several.transcribed_in("")) == ("fr", "")
    assert "fr, en, rw. Begin in fr;" in several.role_instructions
    assert several.role_instructions.startswith("Be kind.\n\n")
    assert several.transcribed_in("rw") == "rw"
    assert "fr, en, rw. You now speak rw;" in several.instructions_in("rw")
    assert several.instructions_in("de") == several.role_instructions
    one = load_persona(write(tmp_path, SOUND + 'language = "fr"\n'))
    assert (one.language, one.transcribed_in("rw"), one.instructions_in("rw")) == ("fr", "fr", "Be kind.")


def test_the_calls_own_tool_has_the_name_that_the_call_knows() -> None:
    assert end_call.__name__ == END_CALL
    (spec,) = house_toolbox().pick([END_CALL]).specs()
    assert spec["parameters"].get("required", []) == []
    assert "goodbye" in spec["description"]


@pytest.mark.parametrize(
    ("wish", "left"),
    [("", True), ("enabled = false", False), ("min_speech_ms = 300", False), ("protect_greeting = true", False)],
)
def test_the_model_interrupts_itself_only_where_the_persona_has_no_wish(tmp_path: Path, wish: str, left: bool) -> None:  # noqa: FBT001 - what is expected
    persona = load_persona(write(tmp_path, f"{SOUND}[barge_in]\n{wish}\n"))
    assert persona.barge_in.left_to_the_model is left


def test_a_later_folder_wins(tmp_path: Path) -> None:
    write(tmp_path, SOUND, "waiter.toml")
    write(tmp_path, SOUND)
    personas = load_personas(tmp_path)
    assert set(personas) == {*load_personas(), "host"}
    assert personas["waiter"].name == "Host"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "cannot be read as TOML"),
        ("number = " + "9" * 5000, "cannot be read as TOML"),
        ('name = "Host"\n', "instructions: is missing or empty"),
        ('name = " "\ninstructions = "x"\n', "name: is missing or empty"),
        (SOUND + "greeting = 3\n", "greeting: must be a text, not 3"),
        (SOUND + 'greting = "Hi"\n', "greting: no such field; there are name, instructions, greeting"),
        (SOUND + 'greting = "Hi"\n', "guardrail, keys; did you mean greeting?"),
        (SOUND + 'tools = "lookup_menu"\n', "tools: must be a list of names"),
        (SOUND + "tools = [1]\n", "tools: must be a list of names"),
        (SOUND + 'language = "English"\n', "language: must be an ISO 639 code such as en or rw, not 'English'"),
        (SOUND + 'languages = ["en", "French"]\n', "languages: must be an ISO 639 code such as en or rw, not 'French'"),
        (SOUND + "languages = []\n", "languages: name at least one, or leave it out for any"),
        (SOUND + 'languages = ["en", "en"]\n', "languages: names one of them twice"),
        (SOUND + 'language = "en"\nlanguages = ["en"]\n', "languages: set this or language, not both"),
        (SOUND + 'market = "Rwanda"\n', "market: must be a country of two letters such as RW or MT, not 'Rwanda'"),
        (SOUND + 'reasoning_effort = "most"\n', "reasoning_effort: must be one of minimal, low, medium, high, xhigh"),
        (SOUND + "reasoning_effort = 3\n", "reasoning_effort: must be a text, not 3"),
        (SOUND + 'model = "gpt realtime"\n', "model: must be a name without spaces"),
        (SOUND + "limits = 3\n", "limits: must be a table, not 3"),
        (SOUND + "[limits]\nmax_call_seconds = 5\n", "limits: max_call_seconds is 5; it must be from 10 to 86400"),
        (SOUND + "[limits]\nmax_call_usd = -1\n", "limits: max_call_usd is -1; it must be from 0 to 1000"),
        (
            SOUND + "[limits]\nmax_usd = 1\n",
            "limits.max_usd: no such field; there are max_call_seconds, max_call_usd; did you mean max_call_usd?",
        ),
        (SOUND + "[consent]\nmethod = 'maybe'\n", "consent.method: Input should be 'notice', 'keypress'"),
        (
            SOUND + "[consent]\nmethod = 'keypress'\nwording = 'Yes?'\n",
            "consent.wording: the wording does not say that 1",
        ),
        (SOUND + "language = 'rw'\n[consent]\nmethod = 'notice'\n", "consent.wording: there is no sentence of ours in"),
        (
            SOUND + f"[consent]\nmethod = 'notice'\nwording = '{'x' * 301}'\n",
            "consent.wording: has 301 characters; 300",
        ),
        (
            SOUND + "[consent]\nmethod = 'notice'\nlanguage = 'English!'\n",
            "consent.language: must be one such as en-GB",
        ),
        (SOUND + "filler_after_s = 'soon'\n", "filler_after_s: must be a number of seconds from 0 to 30, not 'soon'"),
        (SOUND + "filler_after_s = true\n", "filler_after_s: must be a number"),
        (SOUND + "thinking_sound = 1\n", "thinking_sound: must be true or false, not 1"),
        (SOUND + 'tools = ["transfer_to_human"]\n', "transfer: transfer_to_human stands in tools, so name the human"),
        (SOUND + "transfer = '+15550100009'\n", "transfer: must be a table, not"),
        (SOUND + "[transfer]\nname = 'x'\n", "transfer.to: Field required"),
        (SOUND + "[transfer]\nto = '112'\n", "transfer: to: must be a number with + and country code"),
        (SOUND + "[transfer]\nto = '+15550100009'\nrings_s = 1\n", "transfer: rings_s is 1; it must be from 5 to 120"),
        (SOUND + "[transfer]\nto = '+15550100009'\nwhisper = '{who}'\n", "transfer: whisper: there is no {who}, only"),
        (SOUND + "[transfer]\nto = '+15550100009'\nunanswered = ' '\n", "transfer: unanswered: must not be empty"),
        (
            SOUND + 'language = "en"\ntools = ["set_language"]\n',
            "languages: set_language stands in tools, so name at least",
        ),
        (SOUND + "hours = 3\n", "hours: must be a table with zone and open, not 3"),
        (SOUND + "turn_detection = 1\n", "turn_detection: must be a table"),
        (SOUND + "barge_in = false\n", "barge_in: must be a table, not False"),
        (
            SOUND + "[barge_in]\nminimum = 1\n",
            "barge_in.minimum: no such field; there are enabled, min_speech_ms, protect_greeting",
        ),
        (SOUND + "[barge_in]\nmin_speech_ms = 0.4\n", "barge_in.min_speech_ms: Input should be a valid integer"),
        (SOUND + "[barge_in]\nmin_speech_ms = -1\n", "barge_in: min_speech_ms is -1; it must be from 0 to 3000"),
        (SOUND + "[barge_in]\nenabled = 'no'\n", "barge_in.enabled: Input should be a valid boolean"),
        (
            SOUND + '[turn_detection]\ntype = "magic"\n',
            "turn_detection.type: must be one of server_vad, semantic_vad, not 'magic'",
        ),
        (SOUND + '[turn_detection]\ntype = "none"\n', "turn_detection.type: with none nobody would notice"),
        (SOUND + "idle = 3\n", "idle: must be a table, not 3"),
        (SOUND + "[idle]\nafter = 3\n", "idle.after: no such field; there are prompt_after_s, prompts, goodbye"),
        (SOUND + "[idle]\nprompt_after_s = -1\n", "idle.prompt_after_s: must be from 1 to 600, or 0"),
        (SOUND + "[idle]\nprompts = -1\n", "idle.prompts: must be from 0 to 20, not -1"),
        (SOUND + "[idle]\ngoodbye = 1\n", "idle.goodbye: Input should be a valid string"),
        (
            SOUND + "[turn_detection]\nidle_timeout_ms = 8000\n[idle]\nprompt_after_s = 8\n",
            "idle.prompt_after_s: turn_detection.idle_timeout_ms lets the model prompt; set one of the two",
        ),
        (
            SOUND + "[turn_detection]\neagerness = 'low'\n",
            "turn_detection.eagerness: no such field of server_vad; there are threshold",
        ),
        (SOUND + "[turn_detection]\nthreshold = '0.5'\n", "turn_detection.threshold: Input should be a valid number"),
        (SOUND + "[turn_detection]\nthreshold = 2.0\n", "turn_detection: threshold is 2.0; it must be from 0 to 1"),
        (
            SOUND + "[turn_detection]\ntype = 'semantic_vad'\neagerness = 'mild'\n",
            "turn_detection.eagerness: Input should",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_field(text: str, complaint: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PersonaError) as caught:
        load_persona(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PersonaError) as caught:
        load_persona(write(tmp_path, "voice = 1\n", "No-Name.toml"))
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "the file name is the persona's key", "voice", "name", "instructions",
    ]  # fmt: skip


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PersonaError, match=r"PERSONAS_DIR: .*none is no folder"):
        load_personas(tmp_path / "none")


def test_a_greeting_cannot_break_out_of_its_quotes() -> None:
    said = Persona("a", "A", "x", greeting='Hello, "friend"!').greeting_instructions
    assert said.count('"') == 2


def test_whom_a_persona_hands_over_to_is_read(tmp_path: Path) -> None:
    text = SOUND + 'handoff = ["cfo"]\nintroduction = " Here. "\n[keys]\n9 = "cfo"\n"*1" = "waiter"\n'
    persona = load_persona(write(tmp_path, text))
    assert (persona.handoff, persona.introduction) == (("cfo",), "Here.")
    assert persona.keys == {"9": "cfo", "*1": "waiter"}
    assert load_persona(write(tmp_path, SOUND)).introduction is None
    assert load_persona(write(tmp_path, SOUND + "introduction = false\n")).introduction == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('handoff = "cfo"\n', "handoff: must be a list of names"),
        ("introduction = true\n", "introduction: must be a text"),
        ('keys = "9"\n', 'keys: must be a table such as { "9" = "cfo" }'),
        ('[keys]\nnine = "cfo"\n', "keys: 'nine' is nothing to press; 1 to 6 of 0-9, * and #"),
        ("[keys]\n9 = 1\n", "keys.9: must be the key of a persona, not 1"),
    ],
)
def test_a_handoff_that_cannot_be_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(PersonaError, match=re.escape(told)):
        load_persona(write(tmp_path, SOUND + text))


GUARDED = """
name = "Porter"
instructions = "You open doors."
[guardrail]
instructions = "No medical advice."
"""


def test_a_guardrail_is_a_table_with_what_must_not_be_said(tmp_path: Path) -> None:
    path = tmp_path / "porter.toml"
    path.write_text(GUARDED + 'labels = ["medical_advice"]\non = "both"\naction = "interrupt"\n')
    assert load_persona(path).guardrail == Guard(
        "No medical advice.", ("medical_advice",), on="both", action="interrupt", enabled=True
    )
    path.write_text(GUARDED.split("[guardrail]", maxsplit=1)[0])
    assert load_persona(path).guardrail is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('labels = ["none"]', "labels: holds none"),
        ("labels = []", "labels: holds nothing"),
        ('labels = ["Very bad"]', "labels: holds Very bad"),
        ('on = "dog"', "guardrail.on: Input should be"),
        ('action = "shout"', "guardrail.action: Input should be"),
        ('action = "end"\nsentence = " "', "sentence: is empty"),
        ("volume = 3", "guardrail.volume: no such field; there are instructions"),
    ],
)
def test_a_guardrail_that_cannot_be_is_told_by_its_field(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "porter.toml"
    path.write_text(f"{GUARDED}{line}\n")
    with pytest.raises(PersonaError) as problem:
        load_persona(path)
    assert told in str(problem.value)
    path.write_text(GUARDED.replace("No medical advice.", ""))
    with pytest.raises(PersonaError, match="say what must not be said"):
        load_persona(path)
