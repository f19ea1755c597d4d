"""Responses of the emulated model on request, what they cost, and answers that are cut."""

from __future__ import annotations

import pytest

from voice_gateway.emulator.scenarios import ScriptedMind

LONG = "This answer is long enough that much can be asked while it is still being made, word after word after word."


def text_item(text, role="user", **more):
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **more}


# --- truncation -------------------------------------------------------------------------------------------------


def truncate(talk, audio_end_ms, item_id=None):
    where = {"item_id": item_id or talk.answer.id, "content_index": 0, "audio_end_ms": audio_end_ms}
    return talk.send("conversation.item.truncate", event_id="cut", **where)


def answered(dialogue, text=LONG):
    talk = dialogue(ScriptedMind([text, "And then?"]))
    talk.send("response.create")
    talk.until("response.done")
    return talk


@pytest.mark.parametrize("audio_end_ms", [0, 1, 1340, 60 * len(LONG)])
def test_an_answer_is_cut_where_the_client_says_and_loses_its_transcript(dialogue, audio_end_ms):
    talk = answered(dialogue)
    (event,) = truncate(talk, audio_end_ms)
    assert event["type"] == "conversation.item.truncated"
    assert (event["item_id"], event["audio_end_ms"], event["content_index"]) == (talk.answer.id, audio_end_ms, 0)
    assert talk.session.truncations == [(talk.answer.id, audio_end_ms)]
    (retrieved,) = talk.send("conversation.item.retrieve", item_id=talk.answer.id)
    assert retrieved["item"]["content"] == [{"type": "output_audio"}]
    assert talk.answer.audio_ms == 60 * len(LONG), "the sound keeps its length"


def test_the_mind_knows_as_much_of_a_cut_answer_as_was_heard(dialogue):
    talk = answered(dialogue)
    truncate(talk, 60 * 20)
    talk.send("response.create")
    talk.until("response.done")
    assert talk.mind.situations[-1].lines[0].text == LONG[:20]


def test_a_cut_behind_the_end_is_refused(dialogue):
    talk = answered(dialogue)
    truncate(talk, 57340)
    error = talk.error()
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "audio_end_ms", "cut")
    assert error["message"] == f"Audio content of {60 * len(LONG)}ms is already shorter than 57340ms"
    assert talk.session.truncations == []
    assert talk.answer.truncated_ms is None


def test_an_answer_can_be_cut_while_it_is_generated_but_not_behind_what_was_sent(dialogue):
    talk = dialogue(ScriptedMind([LONG]))
    talk.send("response.create")
    talk.until("response.output_audio.delta")
    truncate(talk, 51)
    assert talk.error()["message"] == "Audio content of 50ms is already shorter than 51ms"
    assert truncate(talk, 50)[0]["type"] == "conversation.item.truncated"


def test_an_answer_without_sound_yet_cannot_be_cut(dialogue):
    talk = dialogue()
    talk.send("response.create")
    talk.until("conversation.item.added")
    truncate(talk, 0)
    assert talk.error()["code"] == "unsupported_content_type"
    assert talk.error()["message"] == "Only model output audio messages can be truncated"


def test_only_spoken_answers_can_be_cut(dialogue):
    talk = dialogue()
    talk.speak()
    truncate(talk, 0, talk.session.items[0].id)
    assert talk.error()["code"] == "unsupported_content_type"


def test_an_unknown_item_cannot_be_cut(dialogue):
    talk = dialogue()
    truncate(talk, 0, "item_none")
    assert talk.error()["code"] == "item_truncate_invalid_item_id"


# --- responses --------------------------------------------------------------------------------------------------


def test_one_default_response_at_a_time(dialogue):
    talk = dialogue(ScriptedMind([LONG]))
    talk.send("response.create")
    created = talk.until("response.created")["response"]["id"]
    talk.send("response.create", event_id="again")
    error = talk.error()
    assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "again")
    assert error["message"] == (
        f"Conversation already has an active response in progress: {created}. "
        "Wait until the response is finished before creating a new one."
    )
    talk.until("response.done")
    talk.send("response.create")
    talk.until("response.created")


def test_out_of_band_runs_beside_and_leaves_no_trace(dialogue):
    talk = dialogue(ScriptedMind([LONG, "A summary."]))
    talk.send("response.create")
    talk.until("response.output_audio.delta")
    aside = {"conversation": "none", "output_modalities": ["text"], "metadata": {"purpose": "summary"}}
    talk.send("response.create", response={**aside, "instructions": "Sum up."})
    done = talk.until("response.done")["response"]
    assert done["metadata"] == {"purpose": "summary"}
    assert done["conversation_id"] is None
    assert done["output"][0]["content"] == [{"type": "output_text", "text": "A summary."}]
    assert talk.mind.situations[-1].instructions == "Sum up."
    assert [situation.aside for situation in talk.mind.situations] == [False, True]
    assert "".join(event["delta"] for event in talk.all("response.output_text.delta")) == "A summary."
    talk.until("response.done")
    assert [item.text for item in talk.session.items] == [LONG]


def test_what_is_said_aside_can_be_written_down_apart(dialogue):
    talk = dialogue(ScriptedMind(["first", "second"], asides=["A summary."]))
    aside = {"conversation": "none", "output_modalities": ["text"], "metadata": {"purpose": "summary"}}
    talk.send("response.create")
    talk.until("response.done")
    outputs = []
    for _ in range(2):
        talk.send("response.create", response=aside)
        outputs.append(talk.until("response.done")["response"]["output"])
    assert outputs[0][0]["content"] == [{"type": "output_text", "text": "A summary."}]
    assert outputs[1] == [], "nothing more was written down"
    talk.send("response.create")
    talk.until("response.done")
    assert [item.text for item in talk.session.items] == ["first", "second"]


def test_speech_does_not_cancel_what_is_out_of_band(dialogue):
    talk = dialogue(ScriptedMind([LONG]))
    talk.send("response.create", response={"conversation": "none"})
    talk.until("response.output_audio.delta")
    talk.write(0.2, 0.3)
    talk.until("response.done")
    assert talk.session.responses[0]["status"] == "completed"


def test_a_response_can_have_an_input_of_its_own(dialogue):
    talk = dialogue(ScriptedMind(["a", "b", "c"]))
    talk.send("conversation.item.create", item=text_item("first", id="i1"))
    talk.send("conversation.item.create", item=text_item("second", id="i2"))
    given_items = [{"type": "item_reference", "id": "i1"}, text_item("classify")]
    talk.send("response.create", response={"conversation": "none", "input": given_items})
    talk.until("response.done")
    talk.send("response.create", response={"conversation": "none", "input": []})
    talk.until("response.done")
    assert [[line.text for line in situation.lines] for situation in talk.mind.situations] == [
        ["first", "classify"],
        [],
    ]
    talk.send("response.create", response={"input": [{"type": "item_reference", "id": "i3"}]})
    assert talk.error()["param"] == "response.input[0].id"


def test_cancel_ends_the_active_response(dialogue):
    talk = dialogue(ScriptedMind([LONG]))
    talk.send("response.create")
    talk.until("response.output_audio.delta")
    done = talk.send("response.cancel")[0]
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    mark = len(talk.seen)
    talk.wait(10)
    assert talk.kinds(mark) == []


def test_cancel_without_a_response_says_so(dialogue):
    talk = dialogue()
    talk.send("response.cancel", event_id="c")
    error = talk.error()
    assert error["code"] == "response_cancel_not_active"
    assert error["message"] == "Cancellation failed: no active response found"
    assert error["event_id"] == "c"


def test_cancel_before_the_response_is_created_does_not_stop_it(dialogue):
    talk = dialogue()
    talk.send("response.create")
    talk.send("response.cancel")
    assert talk.error()["code"] == "response_cancel_not_active"
    assert talk.until("response.done")["response"]["status"] == "completed"


def test_cancel_by_id_reaches_a_response_out_of_band_and_no_other(dialogue):
    talk = dialogue(ScriptedMind([LONG, LONG]))
    talk.send("response.create")
    talk.send("response.create", response={"conversation": "none"})
    talk.until("response.output_audio.delta")
    default, aside = (event["response"]["id"] for event in talk.all("response.created"))
    talk.send("response.cancel", response_id=aside)
    assert talk.session.responses[0]["id"] == aside
    assert talk.until("response.done")["response"]["id"] == default


def test_a_limit_on_tokens_ends_an_answer_early(dialogue):
    talk = dialogue(ScriptedMind([LONG]))
    talk.send("response.create", response={"max_output_tokens": 20})
    response = talk.until("response.done")["response"]
    assert response["status"] == "incomplete"
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"
    assert talk.answer.audio_ms < 1000


def test_metadata_has_limits(dialogue):
    talk = dialogue()
    talk.send("response.create", response={"metadata": {str(n): "x" for n in range(17)}})
    assert talk.error()["param"] == "response.metadata"


def test_usage_counts_sound_by_its_length_and_the_past_again(dialogue):
    talk = dialogue(ScriptedMind([LONG, LONG]))
    talk.speak(1.0)
    first = talk.until("response.done")["response"]["usage"]
    assert first["input_token_details"]["audio_tokens"] == 15
    assert first["output_token_details"]["audio_tokens"] == -(-60 * len(LONG) // 50)
    assert first["input_token_details"]["cached_tokens"] == 0
    assert first["total_tokens"] == first["input_tokens"] + first["output_tokens"]
    talk.send("response.create")
    second = talk.until("response.done")["response"]["usage"]
    details = second["input_token_details"]
    assert details["audio_tokens"] == 15 + first["output_token_details"]["audio_tokens"]
    assert 0 < details["cached_tokens_details"]["audio_tokens"] <= details["audio_tokens"]
    assert details["cached_tokens_details"]["audio_tokens"] % 64 == 0


def test_new_instructions_empty_the_cache(dialogue):
    talk = dialogue(ScriptedMind([LONG, LONG]))
    talk.send("response.create")
    talk.until("response.done")
    talk.configure(instructions="Otherwise.")
    talk.send("response.create")
    assert talk.until("response.done")["response"]["usage"]["input_token_details"]["cached_tokens"] == 0


def test_a_truncated_answer_costs_what_is_left_of_it(dialogue):
    talk = answered(dialogue)
    truncate(talk, 500)
    talk.send("response.create")
    assert talk.until("response.done")["response"]["usage"]["input_token_details"]["audio_tokens"] == 10
