"""The faults of the emulated model: each does what it says, and nothing else breaks."""

from __future__ import annotations

from collections import Counter

import pytest

from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.scenarios import ScriptedMind

LONG = "This answer is long enough that much can be asked while it is still being made, word after word after word."


def test_a_session_is_refused_with_an_error_and_a_close(dialogue):
    talk = dialogue(faults=Faults(refuse_code="insufficient_quota"))
    assert talk.kinds() == ["error"]
    assert talk.error()["code"] == "insufficient_quota"
    assert talk.session.closing.code == 3000
    assert talk.session.closing.reason == "invalid_request_error.insufficient_quota"
    assert talk.send("response.create") == []


def test_a_session_ends_after_an_hour(dialogue):
    talk = dialogue()
    talk.wait(3599)
    assert talk.session.closing is None
    talk.wait(1)
    assert talk.error()["code"] == "session_expired"
    assert talk.session.closing.code == 1001
    assert talk.session.closing.reason == "Your session hit the maximum duration of 60 minutes."


@pytest.mark.parametrize(("code", "told"), [(1001, True), (1006, False), (1011, False)])
def test_a_session_can_be_ended_on_demand(dialogue, code, told):
    talk = dialogue(faults=Faults(close_after_s=2.0, close_code=code))
    talk.wait(2)
    assert talk.session.closing.code == code
    assert bool(talk.all("error")) is told
    assert talk.session.deadline() is None


def test_a_stalled_session_says_nothing_any_more(dialogue):
    talk = dialogue(ScriptedMind([LONG]), faults=Faults(stall_after_s=0.6))
    talk.send("response.create")
    talk.wait(20)
    assert talk.times[-1] < 0.6
    assert "response.output_audio.delta" in talk.kinds()
    assert talk.send("response.cancel") == []
    assert talk.session.closing is None


def test_responses_can_fail_and_then_work(dialogue):
    talk = dialogue(faults=Faults(fail_response=1))
    talk.send("response.create")
    response = talk.until("response.done")["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == "inference_rate_limit_exceeded"
    assert response["usage"] is None
    talk.send("response.create")
    assert talk.until("response.done")["response"]["status"] == "completed"


def test_the_first_sound_can_be_late(dialogue):
    talk = dialogue(faults=Faults(slow_first_audio_s=4.0))
    talk.send("response.create")
    talk.until("response.output_audio.delta")
    assert talk.now == pytest.approx(4.43)


def test_sound_can_come_without_a_transcript(dialogue):
    talk = dialogue(faults=Faults(no_transcript=True))
    talk.send("response.create")
    output = talk.until("response.done")["response"]["output"]
    assert output[0]["content"] == [{"type": "output_audio"}]
    assert not [kind for kind in talk.kinds() if "transcript" in kind]


def test_an_answer_can_come_as_two_items(dialogue):
    talk = dialogue(ScriptedMind(["First this. Then that."]), faults=Faults(two_items=True))
    talk.send("response.create")
    output = talk.until("response.done")["response"]["output"]
    assert [item["content"][0]["transcript"] for item in output] == ["First this.", "Then that."]
    assert {event["output_index"] for event in talk.all("response.output_audio.delta")} == {0, 1}


def test_the_echo_can_name_another_format(dialogue):
    talk = dialogue(faults=Faults(wrong_format=True))
    talk.configure(audio={"output": {"format": {"type": "audio/pcmu"}}})
    echoed = talk.until("session.updated")["session"]["audio"]["output"]["format"]
    assert echoed == {"type": "audio/pcm", "rate": 24000}


def test_events_can_come_twice_but_sound_never(dialogue):
    talk = dialogue(faults=Faults(duplicate_events=True))
    talk.send("response.create")
    talk.until("response.done")
    whole = Counter(event["event_id"] for event in talk.seen if not event["type"].endswith(".delta"))
    deltas = Counter(event["event_id"] for event in talk.seen if event["type"].endswith(".delta"))
    assert set(whole.values()) == {2}
    assert set(deltas.values()) == {1}


def test_events_nobody_knows_can_come_between(dialogue):
    talk = dialogue(faults=Faults(unknown_events=True))
    talk.send("response.create")
    talk.until("response.done")
    assert talk.all("conversation.mood.updated")


def test_errors_can_come_in_a_storm(dialogue):
    talk = dialogue(faults=Faults(error_storm=True))
    talk.configure(instructions="x")
    talk.send("response.create")
    talk.until("response.done")
    assert len(talk.all("error")) == 21
    assert talk.session.responses[0]["status"] == "completed"
