"""The dialect beyond the written dialogues: hostile messages, samples cut in half, and the session's echo."""

from __future__ import annotations

import base64
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent

from voice_gateway.call import events as ev
from voice_gateway.call.usage import Usage
from voice_gateway.model.catalogue import FATAL_CODES, SERVER_EVENTS, is_retryable
from voice_gateway.model.realtime import Dialect
from voice_gateway.model.settings import ModelSettings, check_session, session_payload

OFFICIAL = {get_args(event.model_fields["type"].annotation)[0] for event in get_args(get_args(RealtimeServerEvent)[0])}
EVENT_CLASSES = get_args(ev.ModelEvent)
FIELDS = ["item_id", "response_id", "call_id", "delta", "transcript", "item", "response", "session", "error", "audio"]
FIELDS += [
    "id",
    "input",
    "format",
    "status",
    "status_details",
    "output",
    "usage",
    "content_index",
    "audio_start_ms",
    "code",
    "type",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=12,
)
messages = st.builds(
    lambda name, fields: fields | {"type": name},
    st.sampled_from(sorted(SERVER_EVENTS)),
    st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=10),
)


def delta(audio: bytes | str, **fields: Any) -> str:
    text = audio if isinstance(audio, str) else base64.b64encode(audio).decode()
    wire = {"type": "response.output_audio.delta", "response_id": "r", "item_id": "a", "content_index": 0}
    return json.dumps(wire | {"delta": text} | fields)


def heard(dialect: Dialect, *deltas: str) -> list[bytes]:
    events = [event for raw in deltas for event in dialect.read(raw)]
    return [event.audio for event in events if isinstance(event, ev.AudioReceived)]


def test_every_event_of_the_official_package_is_known_by_name() -> None:
    assert OFFICIAL == SERVER_EVENTS


def test_all_that_is_handled_is_in_the_catalogue() -> None:
    assert Dialect(ModelSettings())._handlers.keys() <= SERVER_EVENTS


@pytest.mark.parametrize("name", sorted(SERVER_EVENTS))
def test_a_known_event_without_its_fields_is_survived(name: str) -> None:
    dialect = Dialect(ModelSettings())
    assert dialect.read(json.dumps({"type": name, "event_id": "e"})) == ()
    assert not dialect.unknown
    assert dialect.malformed.keys() == ({name} if name in dialect._handlers else set())


def test_an_unknown_event_is_counted_and_survived() -> None:
    dialect = Dialect(ModelSettings())
    assert dialect.read(b'{"type":"response.audio.delta","delta":"AAAA"}') == ()
    assert dialect.unknown == {"response.audio.delta": 1}


def test_a_server_that_invents_names_cannot_fill_the_memory() -> None:
    dialect = Dialect(ModelSettings())
    for number in range(500):
        dialect.read(json.dumps({"type": f"{number}-{'x' * 1000}"}))
    assert len(dialect.unknown) <= 65
    assert dialect.unknown.total() == 500
    assert max(map(len, dialect.unknown)) <= 80


@pytest.mark.parametrize(
    ("raw", "kind"),
    [(b"", "json"), (b"{", "json"), (b"\xff\xfe", "json"), (b"[]", "shape"), (b"7", "shape"), (b"{}", "type")],
)
def test_a_message_that_is_none_is_counted(raw: bytes, kind: str) -> None:
    dialect = Dialect(ModelSettings())
    assert dialect.read(raw) == ()
    assert dialect.malformed == {kind: 1}


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_bytes_and_no_text_make_the_dialect_raise(raw: bytes | str) -> None:
    assert isinstance(Dialect(ModelSettings()).read(raw), tuple)


@given(st.lists(messages, max_size=6))
def test_no_message_of_a_known_name_makes_the_dialect_raise(sent: list[dict[str, Any]]) -> None:
    dialect = Dialect(ModelSettings())
    dialect.configure()
    for message in sent:
        raw = json.dumps(message, allow_nan=True)
        assert all(isinstance(event, EVENT_CLASSES) for event in dialect.read(raw))


@given(messages)
def test_what_is_told_has_the_types_that_it_promises(message: dict[str, Any]) -> None:
    for event in Dialect(ModelSettings()).read(json.dumps(message)):
        for name, value in ((name, getattr(event, name)) for name in event.__slots__):
            wanted = {"audio": bytes, "content_index": int, "audio_start_ms": int, "audio_end_ms": int}.get(name, str)
            optional = {"event_id": type(None), "usage": (type(None), Usage)}.get(name, wanted)
            assert isinstance(value, (wanted, *(optional if isinstance(optional, tuple) else (optional,)))), name


@pytest.mark.parametrize("broken", ["not base64!", "A", "AAA", "ÄÄÄÄ", "AAAA!AAAA", "AAAA AAAA"])
def test_audio_that_is_not_base64_is_counted_and_makes_no_sound(broken: str) -> None:
    dialect = Dialect(ModelSettings())
    assert heard(dialect, delta(broken)) == []
    assert dialect.malformed == {"response.output_audio.delta": 1}


@given(st.lists(st.binary(max_size=9), max_size=8))
def test_pcm_leaves_in_whole_samples_and_loses_at_most_half_of_one(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    out = heard(Dialect(ModelSettings(audio_format="pcm16")), *map(delta, pieces))
    assert all(len(audio) % 2 == 0 for audio in out)
    assert b"".join(out) == whole[: len(whole) // 2 * 2]


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=8))
def test_ulaw_leaves_as_it_came(pieces: list[bytes]) -> None:
    assert heard(Dialect(ModelSettings(audio_format="pcmu")), *map(delta, pieces)) == pieces


def test_half_a_sample_of_one_item_never_shifts_the_next_one() -> None:
    dialect = Dialect(ModelSettings())
    assert heard(dialect, delta(b"\x01\x02\x03"), delta(b"\x04\x05", item_id="b")) == [b"\x01\x02", b"\x04\x05"]
    done = {"type": "response.output_audio.done", "response_id": "r", "item_id": "b", "content_index": 0}
    assert heard(dialect, delta(b"\x06", item_id="b"), json.dumps(done), delta(b"\x07\x08", item_id="b")) == [
        b"\x07\x08"
    ]


def test_an_event_that_arrives_twice_happened_once() -> None:
    dialect = Dialect(ModelSettings())
    done = b'{"type":"response.done","event_id":"e1","response":{"id":"r","status":"completed"}}'
    committed = b'{"type":"input_audio_buffer.committed","event_id":"e2","item_id":"u"}'
    told = [event for raw in (done, committed, done, committed) for event in dialect.read(raw)]
    assert told == [ev.ResponseFinished("r", "completed"), ev.TurnCommitted("u")]
    assert dialect.repeated == 2


def test_equal_pieces_of_sound_and_events_without_a_number_are_not_repetitions() -> None:
    dialect = Dialect(ModelSettings())
    assert len(heard(dialect, *[delta(b"\0\0", event_id="always the same")] * 3)) == 3
    started = b'{"type":"input_audio_buffer.speech_started","item_id":"u","audio_start_ms":0}'
    assert len(dialect.read(started) + dialect.read(started)) == 2
    assert dialect.repeated == 0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"conversation_id": None},
        {"conversation_id": None, "metadata": {}},
        {"conversation_id": "c", "metadata": {"a": "b"}},
    ],
)
def test_a_response_is_the_calls_unless_it_is_plainly_another(fields: dict[str, Any]) -> None:
    raw = json.dumps({"type": "response.created", "response": {"id": "r"} | fields})
    assert Dialect(ModelSettings()).read(raw) == (ev.ResponseStarted("r"),)


def test_something_said_into_an_idle_timeout_is_still_heard() -> None:
    dialect = Dialect(ModelSettings())
    dialect.read(b'{"type":"input_audio_buffer.timeout_triggered","item_id":"u"}')
    raw = b'{"type":"conversation.item.input_audio_transcription.completed","item_id":"u","transcript":"I am here"}'
    assert dialect.read(raw) == (ev.UserTranscribed("u", "I am here"),)


@pytest.mark.parametrize("code", sorted(FATAL_CODES))
def test_a_fatal_error_is_the_loss_of_the_model(code: str) -> None:
    raw = json.dumps({"type": "error", "error": {"code": code, "message": "M"}})
    assert Dialect(ModelSettings()).read(raw) == (ev.ModelLost(code, "M"),)


def test_broken_usage_is_counted_as_nothing() -> None:
    usage = {"input_token_details": {"text_tokens": "many", "audio_tokens": True}, "output_token_details": []}
    raw = json.dumps({"type": "response.done", "response": {"id": "r", "status": "completed", "usage": usage}})
    assert Dialect(ModelSettings()).read(raw) == (ev.ResponseFinished("r", "completed", usage=Usage()),)


# --- the session ------------------------------------------------------------------------------------------------


def updated(session: object) -> str:
    return json.dumps({"type": "session.updated", "session": session})


def asked(settings: ModelSettings) -> Dialect:
    dialect = Dialect(settings)
    dialect.configure()
    return dialect


def test_the_session_that_was_asked_for_is_ready_once(settings: ModelSettings) -> None:
    dialect = asked(settings)
    echo = updated(session_payload(settings) | {"id": "sess_1", "model": "gpt-realtime-2.1"})
    assert "event_id" not in echo
    assert dialect.read(echo) == (ev.ModelReady("sess_1", "gpt-realtime-2.1"),)
    assert dialect.read(echo) == ()
    assert dialect.warnings == ()


def test_an_update_that_we_did_not_ask_for_makes_nothing_ready(settings: ModelSettings) -> None:
    dialect = Dialect(settings)
    assert dialect.read(updated(session_payload(settings))) == ()
    assert not dialect.ready


@pytest.mark.parametrize("leg", ["input", "output"])
@pytest.mark.parametrize(
    "wrong", [{"type": "audio/pcmu"}, {"type": "audio/pcm", "rate": 16000}, {"type": "audio/pcma"}, {}, None]
)
def test_another_audio_format_is_the_end_of_it(settings: ModelSettings, leg: str, wrong: Any) -> None:
    session = session_payload(settings)
    session["audio"][leg]["format"] = wrong
    (lost,) = asked(settings).read(updated(session))
    assert isinstance(lost, ev.ModelLost)
    assert lost.code == "format_mismatch"
    assert f'audio.{leg}.format: asked for {{"type":"audio/pcm","rate":24000}}' in lost.message


def test_the_format_may_not_change_later_either(settings: ModelSettings) -> None:
    dialect = asked(settings)
    dialect.read(updated(session_payload(settings)))
    (lost,) = dialect.read(updated(session_payload(ModelSettings(audio_format="pcmu"))))
    assert isinstance(lost, ev.ModelLost)


@pytest.mark.parametrize(("audio_format", "rate"), [("pcm16", None), ("pcmu", 8000)])
def test_a_rate_that_goes_without_saying_is_fine(audio_format: Any, rate: int | None) -> None:
    settings = ModelSettings(audio_format=audio_format)
    session = session_payload(settings)
    kind = {"type": session["audio"]["input"]["format"]["type"]}
    session["audio"]["input"]["format"] = kind if rate is None else kind | {"rate": rate}
    assert check_session(settings, session) == ()


def test_everything_else_that_differs_is_a_warning(settings: ModelSettings) -> None:
    session = session_payload(settings) | {"tools": [], "output_modalities": ["text"]}
    session["audio"]["output"]["voice"] = "alloy"
    session["audio"]["input"]["turn_detection"] = {"type": "semantic_vad", "interrupt_response": True}
    session["audio"]["input"]["transcription"] = None
    dialect = asked(settings)
    (ready,) = dialect.read(updated(session))
    assert isinstance(ready, ev.ModelReady)
    assert [str(warning) for warning in dialect.warnings] == [
        'output_modalities: asked for ["audio"], got ["text"]',
        'audio.output.voice: asked for "marin", got "alloy"',
        'audio.input.turn_detection.type: asked for "server_vad", got "semantic_vad"',
        "audio.input.turn_detection.create_response: asked for true, got nothing",
        "audio.input.turn_detection.silence_duration_ms: asked for 500, got nothing",
        'audio.input.transcription.model: asked for "gpt-realtime-whisper", got nothing',
        'tools: asked for ["look_up_menu"], got []',
    ]


@given(json_values)
def test_any_echo_is_survived_and_none_of_them_is_taken_for_the_right_one(session: Any) -> None:
    assert any(mismatch.fatal for mismatch in check_session(ModelSettings(), session))


@pytest.mark.parametrize(
    ("code", "again"),
    [
        ("insufficient_quota", False),
        ("invalid_api_key", False),
        ("http_401", False),
        ("http_403", False),
        ("http_429", True),
        ("http_503", True),
        ("closed_1006", True),
        ("closed_1013", True),
        ("closed_1008", False),
        ("closed_4000", False),
        ("rate_limit_exceeded", True),
        ("server_error", True),
        ("timeout", True),
        ("format_mismatch", False),
        ("never_heard_of_it", True),
    ],
)
def test_trying_again_is_worth_it(code: str, again: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_retryable(code) is again
