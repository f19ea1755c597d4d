"""Our socket against the emulated model: two readings of one protocol, written apart, have to agree."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hearing import hear

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.emulator.faculties import Act, Samples, Say, Situation, UseTool
from voice_gateway.emulator.realtime import INSTANT, Faults, RealtimeServer
from voice_gateway.model.realtime import Dialect
from voice_gateway.model.settings import ModelSettings, SemanticVad, Transcription
from voice_gateway.model.socket import ModelRefused, ModelSocket

KEY = "sk-test-1234567890abcdef"
ANSWER = "Welcome, what would you like to eat?"
SOUND = (8000 * np.sin(np.arange(24_000) / 12)).astype(np.int16)


class Waiter:
    """Asks the menu when told to, and else welcomes."""

    def respond(self, situation: Situation) -> Sequence[Act]:
        return [UseTool("look_up_menu", {"dish": "taco"})] if "menu" in situation.instructions else [Say(ANSWER)]


class Hum:
    """One second of a tone for any text."""

    rate_hz = 24_000

    def speak(self, text: str) -> Iterator[Samples]:
        assert text
        yield SOUND


@pytest.fixture
async def emulator() -> AsyncIterator[RealtimeServer]:
    server = RealtimeServer(mind=Waiter(), voice=Hum(), api_key=KEY, latency=INSTANT, speed=50)
    async with server:
        yield server


async def meet(emulator: RealtimeServer, settings: ModelSettings, **options: Any) -> ModelSocket:
    return await ModelSocket.open(emulator.url, **({"api_key": KEY, "settings": settings} | options))


async def say(model: ModelSocket, *commands: do.ModelCommand) -> None:
    for command in commands:
        model.send(model.dialect.write(command))


def is_clean(dialect: Dialect) -> bool:
    return not (dialect.malformed or dialect.unknown or dialect.warnings)


@pytest.mark.parametrize("audio_format", ["pcm16", "pcmu"])
async def test_it_takes_our_settings_and_speaks(emulator, settings, audio_format) -> None:
    model = await meet(emulator, ModelSettings(tools=settings.tools, audio_format=audio_format))
    await say(model, do.CreateResponse("Greet the caller."))
    told = await hear(model, ev.ResponseFinished)
    sound = b"".join(event.audio for event in told if isinstance(event, ev.AudioReceived))
    assert [type(event) for event in told][:2] == [ev.ResponseStarted, ev.ItemStarted]
    assert len(sound) == {"pcm16": 48_000, "pcmu": 8_000}[audio_format]
    assert audio_format == "pcmu" or sound == SOUND.tobytes()
    assert "".join(event.text for event in told if isinstance(event, ev.TextReceived)) == ANSWER
    assert [event.text for event in told if isinstance(event, ev.TextFinished)] == [ANSWER]
    assert told[-1].status == "completed"
    assert told[-1].usage.output_audio > 0
    assert is_clean(model.dialect)
    await model.close()


async def test_it_takes_every_setting_that_we_can_send(emulator, settings) -> None:
    everything = ModelSettings(
        tools=settings.tools,
        turn_detection=SemanticVad("low", interrupt_response=False),
        transcription=Transcription("gpt-transcribe", "en", ("taco",)),
        noise_reduction="near_field",
        reasoning_effort="low",
        parallel_tool_calls=True,
        max_output_tokens=900,
        truncation=0.8,
        speed=1.2,
        tool_choice="auto",
    )
    model = await meet(emulator, everything)
    assert is_clean(model.dialect)
    await model.close()


async def test_a_tool_is_called_answered_and_spoken_about(emulator, settings) -> None:
    model = await meet(emulator, settings)
    await say(model, do.CreateResponse("Use the menu."))
    told = await hear(model, ev.ResponseFinished)
    (called,) = [event for event in told if isinstance(event, ev.ToolCalled)]
    assert (called.name, "taco" in called.arguments) == ("look_up_menu", True)
    await say(model, do.SendToolOutput(called.call_id, '{"price": 3}'), do.CreateResponse())
    assert (await hear(model, ev.ResponseFinished))[-1].status == "completed"
    assert is_clean(model.dialect)
    await model.close()


async def test_it_answers_in_writing_and_takes_an_earlier_conversation(emulator, settings) -> None:
    model = await meet(emulator, ModelSettings(tools=settings.tools, output="text", turn_detection=None))
    await say(
        model,
        do.AddLine("caller", "Is there any taco?"),
        do.AddToolCall("call_0", "look_up_menu", '{"dish": "taco"}'),
        do.SendToolOutput("call_0", '{"price": 3}'),
        do.AddLine("assistant", "There is, for three."),
        do.AddLine("caller", "Good."),
        do.CreateResponse(),
    )
    told = await hear(model, ev.ResponseFinished)
    assert "".join(event.text for event in told if isinstance(event, ev.TextReceived)) == ANSWER
    assert [event.text for event in told if isinstance(event, ev.TextFinished)] == [ANSWER]
    assert not [event for event in told if isinstance(event, ev.AudioReceived)]
    assert told[-1].usage.output_text > 0
    assert told[-1].usage.output_audio == 0
    assert [item.kind for item in emulator.sessions[0].items][:3] == [
        "message",
        "function_call",
        "function_call_output",
    ]
    assert is_clean(model.dialect)
    await model.close()


async def test_it_accepts_our_truncation_note_and_deletion_and_names_our_mistakes(emulator, settings) -> None:
    model = await meet(emulator, settings)
    await say(model, do.CreateResponse())
    told = await hear(model, ev.ResponseFinished)
    item_id = next(event.item_id for event in told if isinstance(event, ev.AudioReceived))
    await say(model, do.TruncateItem(item_id, 0, 340), do.AddNote("The caller pressed 5."))
    await say(model, do.DeleteItem(item_id), do.CancelResponse("resp_gone"))
    (erred,) = await hear(model, ev.ModelErred)
    assert erred.code == "response_cancel_not_active"
    assert erred.event_id is not None
    assert erred.event_id.startswith("response.cancel:")
    assert is_clean(model.dialect)
    await model.close()


@pytest.mark.parametrize(
    ("faults", "options", "code"),
    [
        (Faults(), {"api_key": "sk-wrong-1234567890"}, "invalid_api_key"),
        (Faults(), {"headers": {"OpenAI-Beta": "realtime=v1"}}, "beta_api_shape_disabled"),
        (Faults(), {"settings": ModelSettings(model="gpt-nonesuch")}, "model_not_found"),
        (Faults(handshake_status=403), {}, "forbidden"),
        (Faults(refuse_code="insufficient_quota"), {}, "insufficient_quota"),
        (Faults(wrong_format=True), {}, "format_mismatch"),
        (Faults(connect_stall_s=5), {"connect_timeout_s": 0.1}, "timeout"),
        (Faults(stall_after_s=0), {"connect_timeout_s": 0.1}, "timeout"),
    ],
)
async def test_its_refusals_are_understood(emulator, settings, faults, options, code) -> None:
    emulator.faults = faults
    with pytest.raises(ModelRefused) as caught:
        await meet(emulator, **({"settings": settings} | options))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("close_code", "code"), [(1001, "session_expired"), (1006, "closed_1006"), (1011, "closed_1011")]
)
async def test_its_ends_are_understood(emulator, settings, close_code, code) -> None:
    emulator.faults = Faults(close_after_s=0.1, close_code=close_code)
    model = await meet(emulator, settings)
    told = await hear(model, ev.ModelLost)
    assert [event.code for event in told] == [code]
    await model.close()


async def test_strange_doubled_and_failing_events_change_nothing_in_what_is_told(emulator, settings) -> None:
    emulator.faults = Faults(unknown_events=True, duplicate_events=True)
    model = await meet(emulator, settings)
    await say(model, do.CreateResponse())
    told = await hear(model, ev.ResponseFinished)
    once = [event for event in told if not isinstance(event, ev.AudioReceived | ev.TextReceived)]
    kinds = [ev.ResponseStarted, ev.ItemStarted, ev.AudioFinished, ev.TextFinished, ev.ResponseFinished]
    assert [type(event) for event in once] == kinds
    assert model.dialect.unknown
    assert not model.dialect.malformed
    await model.close()
