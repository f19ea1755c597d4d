"""Which greeting a call begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from voice_gateway.agent.greetings import Greetings
from voice_gateway.agent.personas import Persona
from voice_gateway.call.events import CallFacts
from voice_gateway.call.greeting import Clip
from voice_gateway.store.clips import Clips

HOST = Persona("host", "Host", "Be kind.", greeting="Hello!")
CALL = CallFacts("CA1")
CLIP = Clip(b"\x10" * 8000, "Hello!")
SERVER = {"voice": "marin", "model": "gpt-realtime-2.1", "endpoint": "wss://api.openai.com/v1/realtime"}


def greetings(folder: Path, persona: Persona = HOST, **server: str) -> Greetings:
    return Greetings(Clips(folder), persona, **(SERVER | server))


def files(folder: Path) -> int:
    return len(list(folder.iterdir()))


async def test_a_greeting_is_wanted_until_it_is_kept_and_survives_a_restart(tmp_path: Path) -> None:
    first = greetings(tmp_path)
    await first.start()
    assert (first.clip, first.to_keep) == (None, "Hello!")
    first.keep(CALL, CLIP)
    assert (first.clip, first.to_keep) == (CLIP, "")
    await first.close()
    second = greetings(tmp_path)
    assert second.clip is None
    await second.start()
    assert (second.clip, second.to_keep) == (CLIP, "")


async def test_a_second_greeting_of_the_same_kind_is_not_kept(tmp_path: Path) -> None:
    host = greetings(tmp_path)
    host.keep(CALL, CLIP)
    host.keep(CALL, Clip(b"\x20" * 8000, "Hello."))
    await host.close()
    assert host.clip == CLIP
    assert files(tmp_path) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"persona": replace(HOST, greeting="Good evening!")},
        {"persona": replace(HOST, instructions="Be brief.")},
        {"persona": replace(HOST, key="guide")},
        {"voice": "cedar"},
        {"model": "gpt-realtime-2.1-mini"},
        {"endpoint": "ws://127.0.0.1:8790/v1/realtime"},
    ],
    ids=str,
)
async def test_whatever_is_changed_is_spoken_anew(tmp_path: Path, changed: dict) -> None:
    host = greetings(tmp_path)
    host.keep(CALL, CLIP)
    await host.close()
    other = greetings(tmp_path, **changed)
    await other.start()
    assert other.clip is None
    assert other.to_keep


@pytest.mark.parametrize("persona", [replace(HOST, greeting_clip=False), replace(HOST, greeting="")], ids=str)
async def test_a_persona_that_wants_no_clip_or_has_no_greeting_keeps_none(tmp_path: Path, persona: Persona) -> None:
    await _keeps_none(greetings(tmp_path, persona), tmp_path)


async def test_switched_off_none_is_kept_and_none_is_played(tmp_path: Path) -> None:
    await _keeps_none(Greetings(None, HOST, **SERVER), tmp_path)


async def _keeps_none(one: Greetings, folder: Path) -> None:
    await one.start()
    assert one.to_keep == ""
    one.keep(CALL, CLIP)
    await one.close()
    assert one.clip is None
    assert files(folder) == 0
