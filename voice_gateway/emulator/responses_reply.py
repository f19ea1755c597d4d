"""The `response` object: what a mind does, as the Responses API writes it (`types/responses/response.py`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from string import ascii_lowercase, digits
from typing import Any, Final

from voice_gateway.emulator.faculties import Act, UseTool
from voice_gateway.emulator.realtime_items import Wire
from voice_gateway.emulator.realtime_usage import CACHE_BLOCK, of_text

_LETTERS: Final = ascii_lowercase + digits
_ECHOED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
}
"""Fields of a request that the answer repeats, with what stands there where the request says nothing."""


class Writer:
    """Makes responses. Ids repeat with the seed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)
        self._seen = ""

    def write(self, body: Wire, acts: Sequence[Act], *, now: float) -> Wire:
        """A completed response. now: Unix seconds."""
        return self._response(body, [self._item(act) for act in acts], now)

    def refusal(self, body: Wire, words: str, *, now: float) -> Wire:
        return self._response(body, [self._message({"type": "refusal", "refusal": words})], now)

    def incomplete(self, body: Wire, acts: Sequence[Act], reason: str, *, now: float) -> Wire:
        """One that was broken off. reason: `max_output_tokens` or `content_filter`."""
        items = [{**self._item(act), "status": "incomplete"} for act in acts if not isinstance(act, UseTool)]
        told = {"status": "incomplete", "incomplete_details": {"reason": reason}, "completed_at": None}
        return {**self._response(body, items, now), **told}

    def failed(self, body: Wire, code: str, *, now: float) -> Wire:
        error = {"code": code, "message": "The model failed to generate a response."}
        told = {"status": "failed", "error": error, "usage": None, "completed_at": None}
        return {**self._response(body, [], now), **told}

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{''.join(self._random.choices(_LETTERS, k=32))}"

    def _response(self, body: Wire, items: list[Wire], now: float) -> Wire:
        echoed = {name: default if body.get(name) is None else body[name] for name, default in _ECHOED.items()}
        return {
            **echoed,
            "id": self.new_id("resp"),
            "object": "response",
            "created_at": int(now),
            "completed_at": int(now),
            "status": "completed",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": body["model"],
            "output": items,
            "previous_response_id": None,
            "usage": self._usage(body, items),
        }

    def _item(self, act: Act) -> Wire:
        if isinstance(act, UseTool):
            return {
                "type": "function_call",
                "id": self.new_id("fc"),
                "call_id": self.new_id("call"),
                "name": act.name,
                "arguments": act.arguments
                if isinstance(act.arguments, str)
                else json.dumps(act.arguments, ensure_ascii=False),
                "status": "completed",
            }
        return self._message({"type": "output_text", "text": act.text, "annotations": [], "logprobs": []})

    def _message(self, part: Wire) -> Wire:
        return {
            "type": "message",
            "id": self.new_id("msg"),
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }

    def _usage(self, body: Wire, items: Sequence[Wire]) -> Wire:
        """Text by its letters; what the request before began with, too, counts as cached, in whole blocks."""
        context = json.dumps([body.get(name) for name in ("instructions", "tools", "input")], ensure_ascii=False)
        shared = next((place for place, (a, b) in enumerate(zip(context, self._seen, strict=False)) if a != b), 0)
        self._seen = context
        used, written = (
            of_text(context),
            of_text(
                "".join(
                    json.dumps(item["content"]) if "content" in item else item["name"] + item["arguments"]
                    for item in items
                )
            ),
        )
        return {
            "input_tokens": used,
            "input_tokens_details": {
                "cached_tokens": min(used, of_text(context[:shared])) // CACHE_BLOCK * CACHE_BLOCK,
                "cache_write_tokens": 0,
            },
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used + written,
        }
