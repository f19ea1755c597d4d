"""What a client may ask of the emulated model, what it is refused, and that a refusal changes nothing."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voice_gateway.emulator.realtime import Profile, RealtimeSession
from voice_gateway.emulator.scenarios import ScriptedMind

LONG = "This answer is long enough that much can be asked while it is still being made, word after word after word."


# --- the session ------------------------------------------------------------------------------------------------


def test_a_session_begins_with_all_its_settings(dialogue):
    talk = dialogue()
    (created,) = talk.all("session.created")
    session = created["session"]
    assert session["id"].startswith("sess_")
    assert session["object"] == "realtime.session"
    assert session["type"] == "realtime"
    assert session["model"] == "gpt-realtime-2.1"
    assert session["expires_at"] == 3600
    assert session["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "voice": "marin",
        "speed": 1.0,
    }
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    assert session["reasoning"] == {"effort": "low"}


def test_an_older_model_has_the_older_defaults(dialogue):
    session = dialogue(model="gpt-realtime").all("session.created")[0]["session"]
    assert session["audio"]["output"]["voice"] == "alloy"
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200
    assert "reasoning" not in session


def test_an_update_is_merged_and_the_whole_session_echoed_65_ms_later(dialogue):
    talk = dialogue()
    tool = {"type": "function", "name": "look_up", "description": "Find it.", "parameters": {"type": "object"}}
    assert talk.configure(instructions="Be brief.", tools=[tool], audio={"output": {"voice": "cedar"}}) == []
    session = talk.until("session.updated")["session"]
    assert talk.now == pytest.approx(0.065)
    assert session["instructions"] == "Be brief."
    assert session["tools"] == [tool]
    assert session["audio"]["output"]["voice"] == "cedar"
    assert session["audio"]["output"]["speed"] == 1.0
    assert session["audio"]["input"] == talk.seen[0]["session"]["audio"]["input"]


def test_an_update_can_clear_what_was_set(dialogue):
    talk = dialogue()
    talk.configure(instructions="Be brief.", audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    talk.configure(instructions="", tools=[], audio={"input": {"turn_detection": None}})
    talk.wait(1)
    session = talk.all("session.updated")[-1]["session"]
    assert session["instructions"] == ""
    assert session["audio"]["input"]["turn_detection"] is None
    assert talk.all("session.updated")[0]["session"]["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }


def test_a_response_that_is_asked_for_behind_an_update_comes_behind_its_echo(dialogue):
    talk = dialogue()
    talk.configure(instructions="Be brief.")
    talk.send("response.create")
    talk.until("response.created")
    assert talk.kinds() == ["session.created", "session.updated", "response.created"]


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"instructions": "x"}, "missing_required_parameter", "session.type"),
        ({"type": "realtime", "input_audio_format": "g711_ulaw"}, "unknown_parameter", "session.input_audio_format"),
        ({"type": "realtime", "temperature": 0.8}, "unknown_parameter", "session.temperature"),
        ({"type": "realtime", "modalities": ["audio"]}, "unknown_parameter", "session.modalities"),
        (
            {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcm"}}}},
            "missing_required_parameter",
            "session.audio.output.format.rate",
        ),
        (
            {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8000}}}},
            "unknown_parameter",
            "session.audio.input.format.rate",
        ),
        (
            {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        ({"type": "realtime", "output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
        ({"type": "realtime", "audio": {"output": {"voice": "bob"}}}, "invalid_value", "session.audio.output.voice"),
        ({"type": "realtime", "audio": {"output": {"speed": 2}}}, "invalid_value", "session.audio.output.speed"),
        ({"type": "realtime", "max_output_tokens": 0}, "invalid_value", "session.max_output_tokens"),
        (
            {"type": "realtime", "audio": {"input": {"turn_detection": {"threshold": 0.7}}}},
            "missing_required_parameter",
            "session.audio.input.turn_detection.type",
        ),
        (
            {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "eagerness": "low"}}}},
            "unknown_parameter",
            "session.audio.input.turn_detection.eagerness",
        ),
        (
            {"type": "realtime", "tools": [{"type": "function", "name": "a"}, {"type": "function"}]},
            "missing_required_parameter",
            "session.tools[1].name",
        ),
        ({"type": "transcription"}, "invalid_value", "session.type"),
    ],
)
def test_an_update_that_is_wrong_anywhere_is_refused_as_a_whole(dialogue, session, code, param):
    talk = dialogue()
    before = json.dumps(talk.session.settings)
    talk.send("session.update", event_id="mine", session={**session, "instructions": "changed"})
    error = talk.error()
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    assert error["type"] == "invalid_request_error"
    assert json.dumps(talk.session.settings) == before
    talk.wait(1)
    assert "session.updated" not in talk.kinds()


def test_the_sentence_for_an_unknown_parameter_is_the_protocols(dialogue):
    talk = dialogue()
    talk.configure(input_audio_format="pcm16")
    assert talk.error()["message"] == "Unknown parameter: 'session.input_audio_format'."


def test_a_voice_may_change_until_the_first_sound(dialogue):
    talk = dialogue()
    talk.configure(audio={"output": {"voice": "cedar"}})
    talk.send("response.create")
    talk.until("response.done")
    talk.configure(audio={"output": {"voice": "cedar"}})
    talk.wait(1)
    talk.configure(audio={"output": {"voice": "marin"}})
    assert talk.error()["code"] == "cannot_update_voice"
    assert talk.error()["message"] == "Cannot update a conversation's voice if assistant audio is present."
    assert len(talk.all("session.updated")) == 2


def test_speed_may_change_between_responses_alone(dialogue):
    talk = dialogue(ScriptedMind([LONG]))
    talk.send("response.create")
    talk.until("response.output_audio.delta")
    talk.configure(audio={"output": {"speed": 1.2}})
    assert talk.error()["param"] == "session.audio.output.speed"
    talk.until("response.done")
    talk.configure(audio={"output": {"speed": 1.2}})
    assert talk.until("session.updated")["session"]["audio"]["output"]["speed"] == 1.2


def test_tracing_cannot_change_once_it_is_on(dialogue):
    talk = dialogue()
    talk.configure(tracing="auto")
    talk.configure(tracing="auto")
    talk.configure(tracing=None)
    assert talk.error()["param"] == "session.tracing"


def test_the_model_is_fixed_by_the_address(dialogue):
    talk = dialogue()
    talk.configure(model="gpt-realtime")
    assert talk.until("session.updated")["session"]["model"] == "gpt-realtime-2.1"


# --- the input buffer -------------------------------------------------------------------------------------------


def pcm(milliseconds):
    return base64.b64encode(bytes(48 * milliseconds)).decode()


def test_a_manual_turn_is_committed_and_answered_when_asked(dialogue):
    talk = dialogue()
    talk.configure(audio={"input": {"turn_detection": None}})
    talk.wait(1)
    talk.send("input_audio_buffer.append", audio=pcm(240))
    talk.send("input_audio_buffer.commit")
    assert talk.kinds()[2:] == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    assert talk.session.items[0].audio_ms == 240
    talk.wait(5)
    assert "response.created" not in talk.kinds()
    talk.send("response.create")
    assert talk.until("response.done")["response"]["usage"]["input_token_details"]["audio_tokens"] == 3


def test_a_commit_below_100_ms_is_refused(dialogue):
    talk = dialogue()
    talk.send("input_audio_buffer.append", audio=pcm(99))
    talk.send("input_audio_buffer.commit")
    assert talk.error()["code"] == "input_audio_buffer_commit_empty"
    assert talk.error()["message"] == (
        "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
        "but buffer only has 99.00ms of audio."
    )


def test_a_cleared_buffer_is_empty_and_its_clock_goes_on(dialogue):
    talk = dialogue()
    talk.send("input_audio_buffer.append", audio=pcm(500))
    assert [event["type"] for event in talk.send("input_audio_buffer.clear")] == ["input_audio_buffer.cleared"]
    talk.send("input_audio_buffer.commit")
    assert talk.error()["code"] == "input_audio_buffer_commit_empty"
    assert talk.session.input_ms == 500


def test_a_format_may_change_and_the_clock_goes_on(dialogue):
    talk = dialogue()
    talk.send("input_audio_buffer.append", audio=pcm(200))
    talk.configure(audio={"input": {"format": {"type": "audio/pcmu"}}})
    talk.write(1.0, 0.0)
    talk.speak()
    assert talk.all("input_audio_buffer.speech_started")[0]["audio_start_ms"] == 900
    assert talk.session.input_ms == 200 + 2600


@pytest.mark.parametrize("audio", ["%%%", "AAA", base64.b64encode(b"odd").decode(), 7, None])
def test_sound_that_is_none_is_refused(dialogue, audio):
    talk = dialogue()
    talk.send("input_audio_buffer.append", audio=audio, event_id="a1")
    assert (talk.error()["code"], talk.error()["param"], talk.error()["event_id"]) == ("invalid_value", "audio", "a1")
    assert talk.session.input_ms == 0


def test_without_listening_bytes_are_counted_and_nobody_is_heard(dialogue):
    talk = dialogue(listens=False, hears=False)
    talk.speak(2.0)
    assert talk.session.input_ms == 2600
    assert talk.kinds() == ["session.created"]
    talk.send("response.create")
    talk.until("response.done")


# --- items ------------------------------------------------------------------------------------------------------


def text_item(text, role="user", **more):
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **more}


def test_items_find_their_place(dialogue):
    talk = dialogue()
    talk.send("conversation.item.create", item=text_item("two", id="item_two"))
    talk.send("conversation.item.create", item=text_item("one", "system", id="item_one"), previous_item_id="root")
    talk.send("conversation.item.create", item=text_item("between", "assistant", id="b"), previous_item_id="item_one")
    assert [item.id for item in talk.session.items] == ["item_one", "b", "item_two"]
    assert [event["previous_item_id"] for event in talk.all("conversation.item.added")] == [None, None, "item_one"]
    assert talk.kinds(1) == ["conversation.item.added", "conversation.item.done"] * 3
    talk.send("response.create")
    talk.until("response.done")
    assert [line.text for line in talk.mind.situations[0].lines] == ["one", "between", "two"]


@pytest.mark.parametrize(
    ("item", "previous", "code", "param"),
    [
        (text_item("x", id="there"), None, "item_create_duplicate_item_id", "item.id"),
        (text_item("x"), "nowhere", "item_create_invalid_previous_item_id", "previous_item_id"),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "output_audio", "audio": "AAAA"}]},
            None,
            "missing_required_parameter",
            "item.content[0].text",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "text"}]},
            None,
            "invalid_value",
            "item.content[0].type",
        ),
        ({"type": "message", "content": []}, None, "missing_required_parameter", "item.role"),
        ({"type": "dream"}, None, "invalid_value", "item.type"),
    ],
)
def test_items_that_are_refused(dialogue, item, previous, code, param):
    talk = dialogue()
    talk.send("conversation.item.create", item=text_item("first", id="there"))
    talk.send("conversation.item.create", item=item, previous_item_id=previous, event_id="e")
    error = talk.error()
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "e")
    assert len(talk.session.items) == 1


def test_spoken_items_of_the_client_are_heard(dialogue):
    talk = dialogue()
    part = {"type": "input_audio", "audio": pcm(300)}
    talk.send("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})
    assert talk.session.items[0].text == "one"
    assert talk.session.items[0].audio_ms == 300
    assert talk.all("conversation.item.added")[0]["item"]["content"] == [{"type": "input_audio"}]


def test_a_turn_can_be_retrieved_with_its_sound(dialogue):
    talk = dialogue()
    talk.speak()
    item = talk.session.items[0]
    (event,) = talk.send("conversation.item.retrieve", item_id=item.id)
    assert len(base64.b64decode(event["item"]["content"][0]["audio"])) == item.audio_ms * 48


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("conversation.item.retrieve", "item_retrieve_invalid_item_id"),
        ("conversation.item.delete", "item_delete_invalid_item_id"),
    ],
)
def test_items_that_do_not_exist(dialogue, kind, code):
    talk = dialogue()
    talk.send(kind, item_id="item_none")
    assert talk.error()["code"] == code


def test_a_deleted_item_is_forgotten(dialogue):
    talk = dialogue()
    talk.send("conversation.item.create", item=text_item("secret", id="s"))
    (event,) = talk.send("conversation.item.delete", item_id="s")
    assert (event["type"], event["item_id"]) == ("conversation.item.deleted", "s")
    talk.send("response.create")
    talk.until("response.done")
    assert talk.mind.situations[0].lines == ()


# --- anything at all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({}, "missing_required_parameter", "type"),
        ({"type": "response.make"}, "invalid_event", "type"),
        ({"type": ["session.update"]}, "invalid_event", "type"),
        ({"type": "session.update"}, "missing_required_parameter", "session"),
        ({"type": "response.cancel", "when": "now"}, "unknown_parameter", "when"),
        ({"type": "response.create", "response": {"voice": "ash"}}, "unknown_parameter", "response.voice"),
        ({"type": "response.cancel", "event_id": "x" * 513}, "invalid_value", "event_id"),
        ({"type": "output_audio_buffer.clear"}, "invalid_event", "type"),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0},
            "missing_required_parameter",
            "audio_end_ms",
        ),
    ],
)
def test_events_that_are_none(dialogue, event, code, param):
    talk = dialogue()
    talk._perform(talk.session.handle(event, 0.0))
    assert (talk.error()["code"], talk.error()["param"]) == (code, param)


def test_a_message_that_is_no_json_is_answered_with_an_error(dialogue):
    talk = dialogue()
    talk._perform(talk.session.garbled(0.0))
    assert talk.error()["code"] == "invalid_event"


KINDS = st.sampled_from(
    [
        "session.update",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "conversation.item.create",
        "conversation.item.truncate",
        "response.create",
        "response.cancel",
    ]
)
NAMES = st.sampled_from(
    [
        "session",
        "audio",
        "item",
        "item_id",
        "response",
        "type",
        "role",
        "content",
        "audio_end_ms",
        "content_index",
        "id",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | st.sampled_from(["realtime", "message", "user", "AAAA", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(st.tuples(KINDS, st.dictionaries(NAMES, VALUES, max_size=4)), max_size=6))
def test_whatever_comes_the_session_lives_and_answers_in_valid_events(checked, events):
    session = RealtimeSession("gpt-realtime-2.1", Profile(hears=False))
    out = session.open(0.0)
    for number, (kind, fields) in enumerate(events):
        out += session.handle({**fields, "type": kind}, number * 0.01)
    out += session.wake(10.0)
    assert session.closing is None
    for event in out:
        checked(event)
        json.dumps(event)
    answers = sum(event["type"] == "error" for event in out)
    assert answers <= len(events), "one refusal for one event"


def test_the_same_events_at_the_same_times_give_the_same_session(dialogue):
    def play(seed):
        talk = dialogue(ScriptedMind([LONG, "Yes."]), seed=seed)
        talk.configure(audio={"input": {"transcription": {"model": "gpt-realtime-whisper"}}})
        talk.speak()
        talk.wait(0.7)
        talk.speak()
        talk.wait(5)
        return list(zip(talk.times, talk.seen, strict=True))

    assert play(3) == play(3)
    assert play(3) != play(4)
