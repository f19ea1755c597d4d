"""The emulated text model, held against the `openai` package: its client asks, its types read every answer."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from voice_gateway.emulator.faculties import Say, UseTool
from voice_gateway.emulator.mind import RuleMind
from voice_gateway.emulator.responses_server import REFUSAL, ResponsesServer, TextFaults
from voice_gateway.emulator.scenarios import ScriptedMind, When
from voice_gateway.emulator.text_mind import TextMind

LOOK: Any = {
    "type": "function",
    "name": "look",
    "description": "Look something up.",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    "strict": False,
}


@pytest.fixture
async def far():
    """A server with a script, and the official client."""
    replies = [When("weather", (UseTool("look", {"query": "weather"}),)), When("sun", (Say("Sunny."),))]
    mind = ScriptedMind([*replies, When("", (Say("It says {output}"),), tool="look")], otherwise="Hello there.")
    server = ResponsesServer(mind=mind, api_key="good")
    async with server, AsyncOpenAI(api_key="good", base_url=server.url, max_retries=0) as client:
        yield server, client


def held(server: ResponsesServer) -> Response:
    """The last answer, as strictly as the package's types can be read."""
    return Response.model_validate(server.answers[-1])


async def test_it_answers_in_words(far):
    server, client = far
    answer = await client.responses.create(model=server.model, input="Good day", instructions="Be brief.")
    assert (answer.status, answer.output_text) == ("completed", "Hello there.")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    assert held(server).instructions == "Be brief."


async def test_a_tool_is_called_and_its_output_is_spoken_of(far):
    server, client = far
    history: list[Any] = [{"role": "user", "content": "the weather?"}]
    first = await client.responses.create(model=server.model, input=history, tools=[LOOK], store=False)
    (call,) = first.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"query": "weather"}
    held(server)
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    history += [item.model_dump(exclude_none=True) for item in first.output] + [output]
    second = await client.responses.create(model=server.model, input=history, tools=[LOOK], store=False)
    assert second.output_text == "It says rain"
    held(server)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"input": "x", "max_tokens": 5}, "max_tokens"),
        ({"input": "x", "max_output_tokens": 1}, "max_output_tokens"),
        ({"input": "x", "reasoning": {"effort": "heroic"}}, "reasoning.effort"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "{}"}]}, "input"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}]}, "input"),
        ({"input": "x", "tools": [{"type": "function", "name": "n"}]}, "tools[0].parameters"),
    ],
)
async def test_what_cannot_be_is_refused_by_its_name(far, given, named):
    server, client = far
    with pytest.raises(openai.BadRequestError) as refused:
        await client.post("/responses", body={"model": server.model, **given}, cast_to=object)
    assert refused.value.param == named


async def test_keys_and_models_are_looked_at(far):
    server, client = far
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="bad").responses.create(model=server.model, input="x")
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="gpt-nothing", input="x")


@pytest.mark.parametrize(
    ("status", "raised"),
    [(401, openai.AuthenticationError), (429, openai.RateLimitError), (500, openai.InternalServerError)],
)
async def test_it_refuses_on_demand(far, status, raised):
    server, client = far
    server.faults = TextFaults(status=status, retry_after_s=7)
    with pytest.raises(raised) as refused:
        await client.responses.create(model=server.model, input="x")
    assert refused.value.response.headers["retry-after"] == "7"


async def test_it_refuses_for_a_while_and_then_works(far):
    server, client = far
    server.faults = TextFaults(status=429, retry_after_s=0.01, times=1)
    answer = await client.with_options(max_retries=1).responses.create(model=server.model, input="x")
    assert (answer.output_text, len(server.requests)) == ("Hello there.", 2)


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
async def test_it_breaks_off_on_demand(far, reason):
    server, client = far
    server.faults = TextFaults(incomplete=reason)
    answer = await client.responses.create(model=server.model, input="x")
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == reason
    held(server)


async def test_it_declines_fails_falls_silent_rambles_and_calls_for_ever(far):
    server, client = far
    server.faults = TextFaults(refuse=True)
    declined = await client.responses.create(model=server.model, input="x")
    assert declined.output[0].content[0].refusal == REFUSAL  # type: ignore[union-attr]
    held(server)
    server.faults = TextFaults(fail="server_error")
    failed = await client.responses.create(model=server.model, input="x")
    assert failed.error is not None
    assert (failed.status, failed.error.code) == ("failed", "server_error")
    held(server)
    server.faults = TextFaults(empty=True)
    assert (await client.responses.create(model=server.model, input="x")).output_text == ""
    server.faults = TextFaults(long=100_000)
    assert len((await client.responses.create(model=server.model, input="x")).output_text) > 99_000
    server.faults = TextFaults(tool_for_ever=True)
    for _ in range(2):
        again = await client.responses.create(model=server.model, input="x", tools=[LOOK])
        assert again.output[0].type == "function_call"
    server.faults = TextFaults(garbage=True)
    with pytest.raises(ValueError, match=r".+"):
        await client.responses.create(model=server.model, input="x")


async def test_a_call_handed_over_as_data_is_read_as_one():
    told = {
        "transcript": [
            {"speaker": "assistant", "said": "Good day."},
            {"speaker": "caller", "said": "What is on the menu with beer?"},
            {"speaker": "assistant", "said": "One moment."},
        ],
        "context": "They look for beer",
    }
    async with (
        ResponsesServer(mind=TextMind(RuleMind())) as server,
        AsyncOpenAI(api_key="any", base_url=server.url, max_retries=0) as client,
    ):
        answer = await client.responses.create(model=server.model, input=json.dumps(told), tools=[LOOK])
        (call,) = answer.output
        assert call.type == "function_call"
        assert "beer" in json.loads(call.arguments)["query"]
