"""The text model: asked through OpenAI's Responses API, or a server that speaks it, by the official client.

The package takes a second to import and megabytes to hold, so only `start` imports it, in a thread, and only a gateway
that has a text model starts one. Nothing is kept over there (`store`): each question brings along all that it needs.

`ask` never raises: what went wrong is the `fault` of the reply, a short code. A refusal for a while (429, 5xx, a
connection that was lost) is tried again by the client itself, which heeds `retry-after`; whoever asks has a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from voice_gateway.call.usage import Usage
from voice_gateway.store.records import clean_text

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Wire: TypeAlias = dict[str, Any]

MOST_TOKENS: Final = 4096
"""Of an answer, its reasoning included."""
_CARRIED_ON: Final = frozenset({"message", "function_call", "reasoning"})
_BROKEN: Final = (LookupError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True)
class Ask:
    """A question.

    items: the conversation so far, as the API has it. tools: function tools. forced_words: none of them may be called
    any more. effort: of reasoning, empty for the model's own. caller: a stable name for whoever the answer is for, that
    tells nobody who he is.
    """

    instructions: str
    items: Sequence[Wire]
    tools: Sequence[Mapping[str, Any]] = ()
    forced_words: bool = False
    effort: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the text model wants used. arguments: JSON text as it wrote it."""

    call_id: str
    name: str
    arguments: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    items: as they must stand before the next question. fault: empty, or why this is no answer: `refused`,
    `content_filter`, `incomplete`, `malformed`, `failed`, `timeout`, `connection_failed`, `http_429` ...
    """

    text: str = field(default="", repr=False)
    calls: tuple[ToolCall, ...] = ()
    items: tuple[Wire, ...] = field(default=(), repr=False)
    response_id: str = ""
    usage: Usage | None = None
    fault: str = ""
    detail: str = ""


class TextModel:
    def __init__(self, model: str, *, api_key: str, base_url: str, retries: int = 2) -> None:
        """base_url: without `/responses`. retries: after a refusal that may pass."""
        self.model = model
        self._api_key = api_key
        self._base_url = base_url
        self._retries = retries
        self._client: AsyncOpenAI | None = None

    async def start(self) -> None:
        self._client = await asyncio.to_thread(self._make)

    def _make(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI  # noqa: PLC0415 - see above

        return AsyncOpenAI(api_key=self._api_key, base_url=self._base_url, max_retries=self._retries)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def ask(self, question: Ask, *, timeout_s: float) -> Reply:
        """Have an answer, or say why there is none. timeout_s: for each attempt; whoever asks has a deadline."""
        if self._client is None:
            return Reply(fault="not_started")
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError  # noqa: PLC0415 - as above

        try:
            response = await self._client.responses.create(**self._request(question), timeout=timeout_s)
            return _read(response.to_dict(mode="json", warnings=False))
        except APITimeoutError:
            return Reply(fault="timeout")
        except APIConnectionError as error:
            return Reply(fault="connection_failed", detail=type(error.__cause__ or error).__name__)
        except APIStatusError as error:
            return Reply(fault=f"http_{error.status_code}", detail=str(error.code or ""))
        except (OpenAIError, *_BROKEN) as error:  # half a body, a list for an object, a text where a number should be
            return Reply(fault="malformed", detail=type(error).__name__)

    def _request(self, question: Ask) -> Wire:
        """Only what is needed: a server that merely speaks the protocol may know no more."""
        request: Wire = {
            "model": self.model,
            "instructions": question.instructions,
            "input": list(question.items),
            "max_output_tokens": MOST_TOKENS,
            "store": False,
        }
        if question.tools:
            request["tools"] = [{**tool, "strict": False} for tool in question.tools]
            request["tool_choice"] = "none" if question.forced_words else "auto"
        if question.effort:
            request["reasoning"] = {"effort": question.effort}
        if question.caller:
            request["safety_identifier"] = question.caller
        return request


def _read(wire: Wire) -> Reply:
    """A response as the API has it. Raises one of `_BROKEN` where it is not like that."""
    items = tuple(item for item in wire["output"] if item["type"] in _CARRIED_ON)
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    calls = tuple(
        ToolCall(str(item["call_id"]), str(item["name"]), clean_text(str(item["arguments"])))
        for item in items
        if item["type"] == "function_call"
    )
    text = "".join(str(part["text"]) for part in parts if part["type"] == "output_text")
    fault, detail = _fault(wire, refused=any(part["type"] == "refusal" for part in parts))
    return Reply(clean_text(text), calls, items, str(wire.get("id") or ""), _usage(wire.get("usage")), fault, detail)


def _fault(wire: Wire, *, refused: bool) -> tuple[str, str]:
    status = wire.get("status") or "completed"
    if status == "incomplete":
        reason = str((wire.get("incomplete_details") or {}).get("reason") or "")
        return ("content_filter" if reason == "content_filter" else "incomplete"), reason
    if status != "completed":
        return "failed", str((wire.get("error") or {}).get("code") or status)
    return ("refused", "") if refused else ("", "")


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    cached = (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(
        input_text=max(0, int(usage["input_tokens"])),
        cached_text=max(0, int(cached)),
        output_text=max(0, int(usage["output_tokens"])),
    )
