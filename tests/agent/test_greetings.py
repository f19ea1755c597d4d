"""Which greeting a call begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from voice_gateway.agent.greetings import Greetings
from voice_gateway.agent.personas import Persona
from voice_gateway.call.clip import Clip
from voice_gateway.model.settings import ServerVad
from voice_gateway.store.clips import Clips

HOST = Persona("host", "Host", "Be kind.", greeting="Hello!")
GUIDE = Persona("guide", "Guide", "Be kind.", greeting="Hello!")
CLIP = Clip(b"\x10" * 8000, "Hello!")
SERVER = {"model": "gpt-realtime-2.1", "endpoint": "wss://api.openai.com/v1/realtime"}


def greetings(folder: Path, **server: str) -> Greetings:
    return Greetings(Clips(folder), **(SERVER | server))


def files(folder: Path) -> int:
    return len(list(folder.iterdir()))


async def test_a_greeting_is_wanted_until_it_is_kept_and_survives_a_restart(tmp_path: Path) -> None:
    first = greetings(tmp_path)
    await first.start()
    assert (first.clip(HOST, "marin"), first.to_keep(HOST, "marin")) == (None, "Hello!")
    first.keep(HOST, "marin", CLIP)
    assert (first.clip(HOST, "marin"), first.to_keep(HOST, "marin")) == (CLIP, "")
    await first.close()
    second = greetings(tmp_path)
    assert second.clip(HOST, "marin") is None
    await second.start()
    assert (second.clip(HOST, "marin"), second.to_keep(HOST, "marin")) == (CLIP, "")


async def test_each_persona_has_a_greeting_of_its_own(tmp_path: Path) -> None:
    both = greetings(tmp_path)
    both.keep(HOST, "marin", CLIP)
    assert both.to_keep(GUIDE, "marin") == "Hello!"
    both.keep(GUIDE, "marin", Clip(b"\x20" * 8000, "Hello."))
    await both.close()
    assert both.clip(HOST, "marin") != both.clip(GUIDE, "marin")
    assert files(tmp_path) == 2


async def test_a_second_greeting_of_the_same_kind_is_not_kept(tmp_path: Path) -> None:
    kept = greetings(tmp_path)
    kept.keep(HOST, "marin", CLIP)
    kept.keep(HOST, "marin", Clip(b"\x20" * 8000, "Hello."))
    await kept.close()
    assert kept.clip(HOST, "marin") == CLIP
    assert files(tmp_path) == 1


@pytest.mark.parametrize(
    ("persona", "voice", "server"),
    [
        (replace(HOST, greeting="Good evening!"), "marin", {}),
        (replace(HOST, instructions="Be brief."), "marin", {}),
        (HOST, "cedar", {}),
        (HOST, "marin", {"model": "gpt-realtime-2.1-mini"}),
        (HOST, "marin", {"endpoint": "ws://127.0.0.1:8790/v1/realtime"}),
    ],
    ids=["greeting", "instructions", "voice", "model", "server"],
)
async def test_whatever_is_changed_is_spoken_anew(
    tmp_path: Path, persona: Persona, voice: str, server: dict[str, str]
) -> None:
    first = greetings(tmp_path)
    first.keep(HOST, "marin", CLIP)
    await first.close()
    changed = greetings(tmp_path, **server)
    await changed.start()
    assert changed.clip(persona, voice) is None
    assert changed.to_keep(persona, voice)


@pytest.mark.parametrize(
    "persona",
    [
        replace(HOST, greeting_clip=False),
        replace(HOST, greeting=""),
        replace(HOST, turn_detection=ServerVad(idle_timeout_ms=8000)),
    ],
    ids=["off", "no greeting", "a model that prompts after its own voice"],
)
async def test_a_persona_whose_greeting_is_the_models_own_keeps_none(tmp_path: Path, persona: Persona) -> None:
    await _keeps_none(greetings(tmp_path), persona, tmp_path)


async def test_switched_off_none_is_kept_and_none_is_played(tmp_path: Path) -> None:
    await _keeps_none(Greetings(None, **SERVER), HOST, tmp_path)


async def _keeps_none(off: Greetings, persona: Persona, folder: Path) -> None:
    await off.start()
    assert off.to_keep(persona, "marin") == ""
    off.keep(persona, "marin", CLIP)
    await off.close()
    assert off.clip(persona, "marin") is None
    assert files(folder) == 0
