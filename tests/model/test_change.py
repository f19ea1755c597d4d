"""A session becomes another persona's: what is sent for it, what is left alone, and whether it is in effect."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from test_outgoing import SETTINGS, check

from voice_gateway.call import events as ev
from voice_gateway.model.realtime import Dialect
from voice_gateway.model.settings import (
    ModelSettings,
    SemanticVad,
    ServerVad,
    Transcription,
    needs_another_session,
    session_payload,
)

TOOL = {"type": "function", "name": "find", "description": "Find.", "parameters": {"type": "object", "properties": {}}}
WAITER = ModelSettings(instructions="You wait.", tools=(TOOL,), transcription=Transcription(language="en"))
CFO = replace(WAITER, instructions="You count.", tools=())


def in_use(settings: ModelSettings) -> Dialect:
    dialect = Dialect(settings)
    dialect.configure()
    assert isinstance(dialect.read(updated(settings))[0], ev.ModelReady)
    return dialect


def updated(settings: ModelSettings, **wrong: Any) -> str:
    return json.dumps({"type": "session.updated", "session": session_payload(settings) | {"id": "sess_1"} | wrong})


def refused(event_id: str) -> str:
    error = {"code": "invalid_value", "message": "No.", "event_id": event_id}
    return json.dumps({"type": "error", "error": error})


def change(before: ModelSettings, after: ModelSettings) -> dict[str, Any]:
    return dict(check(in_use(before).change(after, "cfo"))["session"])


@pytest.mark.parametrize("after", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("before", SETTINGS.values(), ids=SETTINGS)
def test_a_change_makes_one_session_the_other_and_names_no_format_and_no_voice(
    before: ModelSettings, after: ModelSettings
) -> None:
    sent = change(before, replace(after, audio_format=before.audio_format, voice=before.voice))
    audio = sent.get("audio", {})
    assert "format" not in audio.get("input", {})
    assert not {"format", "voice"} & audio.get("output", {}).keys()
    # What a server then has is what it would have had from the beginning.
    had, wanted = session_payload(before), session_payload(after)
    has = {**had, **{name: value for name, value in sent.items() if name != "audio"}}
    heard = {**had["audio"]["input"], **audio.get("input", {})}
    assert {**heard, "format": None} == {**wanted["audio"]["input"], "format": None}
    defaults = {"max_output_tokens": "inf", "parallel_tool_calls": True, "reasoning": {"effort": "low"}}
    for name in has.keys() - {"audio"}:
        assert has[name] == wanted.get(name, {**defaults, "truncation": "auto"}.get(name)), name
    speed = audio.get("output", {}).get("speed", had["audio"]["output"].get("speed", 1.0))
    assert speed == wanted["audio"]["output"].get("speed", 1.0)


def test_what_is_as_it_was_is_not_sent() -> None:
    assert change(WAITER, CFO) == {"type": "realtime", "instructions": "You count.", "tools": []}
    slower = replace(WAITER, turn_detection=ServerVad(silence_duration_ms=900))
    sent = change(WAITER, slower)
    assert sent.keys() == {"type", "audio"}
    assert sent["audio"].keys() == {"input"}
    assert sent["audio"]["input"].keys() == {"turn_detection"}


@pytest.mark.parametrize(
    ("after", "needs"),
    [
        (CFO, False),
        (replace(CFO, turn_detection=SemanticVad(), speed=1.2, reasoning_effort="high"), False),
        (replace(CFO, voice="cedar"), True),
        (replace(CFO, model="gpt-realtime-2.1-mini"), True),
        (replace(CFO, audio_format="pcmu"), True),
    ],
)
def test_another_voice_model_or_format_needs_another_session(after: ModelSettings, *, needs: bool) -> None:
    assert needs_another_session(WAITER, after) == needs


def test_it_is_in_effect_when_the_server_says_so() -> None:
    dialect = in_use(WAITER)
    dialect.change(CFO, "cfo")
    assert dialect.settings == WAITER
    assert dialect.read(updated(CFO)) == (ev.SessionUpdated("cfo"),)
    assert dialect.settings == CFO
    assert dialect.read(updated(CFO)) == (), "an update that nobody asked for"


def test_changes_are_confirmed_in_their_order() -> None:
    dialect = in_use(WAITER)
    dialect.change(CFO, "cfo")
    back = json.loads(dialect.change(WAITER, "waiter"))
    assert back["session"] == {"type": "realtime", "instructions": "You wait.", "tools": [TOOL]}
    assert dialect.read(updated(CFO)) == (ev.SessionUpdated("cfo"),)
    assert dialect.read(updated(WAITER)) == (ev.SessionUpdated("waiter"),)


def test_a_refused_change_changes_nothing() -> None:
    dialect = in_use(WAITER)
    event_id = json.loads(dialect.change(CFO, "cfo"))["event_id"]
    assert dialect.read(refused(event_id)) == (ev.UpdateRefused("cfo", "invalid_value", "No."),)
    assert dialect.settings == WAITER
    assert dialect.read(updated(WAITER)) == ()


def test_what_differs_is_told_and_another_format_is_the_end_of_it() -> None:
    dialect = in_use(WAITER)
    dialect.change(CFO, "cfo")
    assert dialect.read(updated(CFO, tools=[TOOL])) == (
        ev.SessionUpdated("cfo", ('tools: asked for [], got ["find"]',)),
    )
    dialect.change(WAITER, "waiter")
    (lost,) = dialect.read(updated(replace(WAITER, audio_format="pcmu")))
    assert isinstance(lost, ev.ModelLost)
    assert lost.code == "format_mismatch"
