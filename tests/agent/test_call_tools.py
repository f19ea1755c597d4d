"""The tools that a call has of its own: what they ask of it, and what they say where there is no call."""

from __future__ import annotations

import pytest

from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.tools import ToolContext
from voice_gateway.call.dialling import SEND_DTMF
from voice_gateway.call.errands import SET_LANGUAGE
from voice_gateway.call.events import InnerEvent, KeysAsked, LanguageAsked
from voice_gateway.call.goodbye import TRANSFER


async def press(digits: str, *, live: bool = True) -> tuple[str, bool, list[InnerEvent]]:
    told: list[InnerEvent] = []

    def tell(event: InnerEvent) -> bool:
        told.append(event)
        return live

    found = await house_toolbox().run("send_dtmf", f'{{"digits":"{digits}"}}', ToolContext(tell=tell))
    return found.output, found.ok, told


async def test_keys_are_pressed_in_the_call() -> None:
    output, ok, told = await press("1 2-3 #")
    assert (ok, told) == (True, [KeysAsked("123#")])
    assert "123#" in output


def test_the_call_knows_by_their_names_the_tools_that_it_refuses_itself() -> None:
    assert {SEND_DTMF, SET_LANGUAGE} <= set(house_toolbox().names)


@pytest.mark.parametrize("digits", ["", "call them", "1" * 65])
async def test_what_is_no_key_is_told_to_the_model(digits: str) -> None:
    output, ok, told = await press(digits)
    assert (ok, told) == (False, [])
    assert "digits are 1 to 64 of 0-9" in output


async def test_without_a_live_call_no_key_is_pressed() -> None:
    output, ok, _ = await press("1", live=False)
    assert not ok
    assert "not on the line" in output


async def test_where_nobody_is_there_a_caller_is_not_put_through() -> None:
    found = await house_toolbox().run(TRANSFER, '{"reason":"wants a refund"}', ToolContext())
    assert not found.ok
    assert "Offer to take a message" in found.output


@pytest.mark.parametrize("language", ["fr", "FR", " fr-CA "])
async def test_a_call_goes_on_in_a_language_of_its_persona(language: str) -> None:
    told: list[InnerEvent] = []

    def tell(event: InnerEvent) -> bool:
        told.append(event)
        return True

    context = ToolContext(language="en", languages=("en", "fr"), tell=tell)
    found = await house_toolbox().run("set_language", f'{{"language":"{language}"}}', context)
    assert found.ok
    assert told == [LanguageAsked("fr")]


@pytest.mark.parametrize("language", ["de", "", "French"])
async def test_a_language_that_the_persona_does_not_speak_is_refused(language: str) -> None:
    context = ToolContext(language="en", languages=("en", "fr"), tell=lambda _event: True)
    found = await house_toolbox().run("set_language", f'{{"language":"{language}"}}', context)
    assert not found.ok
    assert "The languages of this call are: en, fr." in found.output
