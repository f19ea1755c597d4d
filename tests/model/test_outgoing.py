"""Everything that we send, held against the types of the official package: right values and no key too many."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import BaseModel, ValidationError

from voice_gateway.call import commands as do
from voice_gateway.model.realtime import Dialect
from voice_gateway.model.settings import ModelSettings, SemanticVad, ServerVad, Transcription, session_update

CLIENT_CLASSES = {
    get_args(event.model_fields["type"].annotation)[0]: event for event in get_args(get_args(RealtimeClientEvent)[0])
}
# Type lists of the package are behind the service: it takes null here (and so says the package's own description).
NULL_IS_MEANT = ("noise_reduction", "transcription", "turn_detection")
TOOL = {"type": "function", "name": "find", "description": "Find.", "parameters": {"type": "object", "properties": {}}}

SETTINGS = {
    "defaults": ModelSettings(),
    "pcmu": ModelSettings(audio_format="pcmu", tools=(TOOL,), instructions="Hello"),
    "everything": ModelSettings(
        turn_detection=ServerVad(idle_timeout_ms=6000, interrupt_response=False),
        transcription=Transcription("gpt-transcribe", "en", ("taco",)),
        noise_reduction="near_field",
        reasoning_effort="low",
        parallel_tool_calls=True,
        max_output_tokens=900,
        truncation=0.8,
        speed=1.2,
        tool_choice="required",
        voice="voice_1234",
    ),
    "semantic": ModelSettings(turn_detection=SemanticVad("low"), transcription=Transcription(language="en")),
    "written": ModelSettings(output="text", transcription=None, turn_detection=None),
    "nothing": ModelSettings(turn_detection=None, transcription=None, truncation="disabled"),
}
COMMANDS = [
    do.AppendAudio(b"\x00\xff" * 80),
    do.CreateResponse(),
    do.CreateResponse("Greet the caller."),
    do.CancelResponse("resp_1"),
    do.TruncateItem("item_1", 0, 1340),
    do.DeleteItem("item_1"),
    do.SendToolOutput("call_1", '{"ok": true}'),
    do.AddNote("The caller pressed 5."),
    do.AddLine("caller", "Hello?"),
    do.AddLine("assistant", "Hello!"),
    do.AddToolCall("call_0", "find", '{"dish": "taco"}'),
    do.AddFirstWords("greeting", "Hello, and"),
    do.CheckTurn("guardrail:1", "Check it.", "caller", 'He said "no".'),
    do.AskAside("summary", "Sum up.", '{"transcript": "Caller: Hello"}'),
]


def unknown_keys(value: Any, path: str = "") -> Iterator[str]:
    """The keys that no class of the package has a field for (the classes keep them as extras)."""
    if isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from unknown_keys(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for part in value:
            yield from unknown_keys(part, f"{path}[]")


def check(raw: bytes) -> dict[str, Any]:
    message = json.loads(raw)
    # Chosen by name: the package's own reader takes the first class of the union for a type that it does not know.
    parsed = CLIENT_CLASSES[message["type"]].model_validate_json(raw, strict=True)
    assert not list(unknown_keys(parsed))
    return message


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_session_update_is_one_of_the_official_type(settings: ModelSettings) -> None:
    message = check(session_update(settings, "session.update:1"))
    assert message["event_id"] == "session.update:1"
    assert message["session"]["type"] == "realtime"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_is_an_event_of_the_official_type(command: do.ModelCommand) -> None:
    check(Dialect(ModelSettings()).write(command))


def test_the_check_itself_sees_a_key_too_many_and_a_wrong_value() -> None:
    update = json.loads(session_update(ModelSettings(), "x"))
    update["session"]["audio"]["input"]["format"]["beat"] = 1
    with pytest.raises(AssertionError, match=r"format\.beat"):
        check(json.dumps(update).encode())
    with pytest.raises(ValidationError):
        check(b'{"type":"conversation.item.truncate","item_id":"i","content_index":0,"audio_end_ms":"soon"}')


def test_every_event_but_audio_has_an_id_of_its_own() -> None:
    dialect = Dialect(ModelSettings())
    sent = [json.loads(dialect.configure()), *(json.loads(dialect.write(command)) for command in COMMANDS)]
    ids = [message.get("event_id") for message in sent if message["type"] != "input_audio_buffer.append"]
    assert None not in ids
    assert len(set(ids)) == len(ids) == len(COMMANDS)
    assert all(id_.startswith(message["type"]) for id_, message in zip(ids, sent[:1] + sent[2:], strict=True))


@given(st.binary(max_size=4000))
def test_appended_audio_is_the_audio(audio: bytes) -> None:
    message = check(Dialect(ModelSettings()).write(do.AppendAudio(audio)))
    assert base64.b64decode(message["audio"], validate=True) == audio


def test_the_two_formats_are_written_as_the_service_wants_them() -> None:
    def formats(settings: ModelSettings) -> list[Any]:
        audio = json.loads(session_update(settings, "x"))["session"]["audio"]
        return [audio["input"]["format"], audio["output"]["format"]]

    assert formats(ModelSettings(audio_format="pcm16")) == [{"type": "audio/pcm", "rate": 24000}] * 2
    assert formats(ModelSettings(audio_format="pcmu")) == [{"type": "audio/pcmu"}] * 2


def test_nothing_of_the_beta_and_no_model_or_prompt_is_sent() -> None:
    session = json.loads(session_update(SETTINGS["everything"], "x"))["session"]
    assert not {"modalities", "voice", "temperature", "input_audio_format", "model", "prompt"} & session.keys()


def test_what_is_off_is_sent_as_null_so_that_a_change_turns_it_off() -> None:
    heard = json.loads(session_update(SETTINGS["nothing"], "x"))["session"]["audio"]["input"]
    assert [heard[name] for name in NULL_IS_MEANT] == [None, None, None]


def test_a_language_goes_where_the_transcriber_wants_it() -> None:
    assert Transcription(language="de").payload() == {"model": "gpt-realtime-whisper", "language": "de"}
    assert Transcription("gpt-live-transcribe", "de").payload() == {"model": "gpt-live-transcribe", "languages": ["de"]}
    assert "keywords" not in Transcription(keywords=("taco",)).payload()


@given(st.text(st.characters(codec=None)))
def test_any_text_of_a_tool_can_be_sent(text: str) -> None:
    sent = json.loads(Dialect(ModelSettings()).write(do.SendToolOutput("call_1", text)))["item"]["output"]
    assert sent == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def test_words_that_the_model_did_not_speak_are_its_own_words_before_all_others() -> None:
    sent = check(Dialect(ModelSettings()).write(do.AddFirstWords("greeting", "Hello, and")))
    assert sent["previous_item_id"] == "root"
    assert sent["item"] == {
        "id": "greeting",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Hello, and"}],
    }


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    sent = json.loads(Dialect(ModelSettings()).write(do.AddNote("a\ud800b")))
    assert sent["item"]["content"][0]["text"] == "a\ufffdb"


def test_a_command_for_somebody_else_is_refused() -> None:
    with pytest.raises(TypeError, match="ClearPlayout is not a command"):
        Dialect(ModelSettings()).write(do.ClearPlayout())  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"audio_format": "opus"}, "choose one of pcm16, pcmu"),
        ({"speed": 2.0}, "speed is 2.0"),
        ({"max_output_tokens": 0}, "1 or more"),
        ({"truncation": 1.5}, "truncation is 1.5"),
        ({"tools": (TOOL, TOOL)}, "the same name"),
        ({"tools": ({"name": "find"},)}, "a tool must be"),
    ],
)
def test_settings_that_the_service_would_refuse_are_refused_here(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ModelSettings(**wrong)


@pytest.mark.parametrize("wrong", [{"threshold": 1.1}, {"idle_timeout_ms": 4000}, {"silence_duration_ms": -1}])
def test_turn_detection_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ServerVad(**wrong)
