"""A gateway that records, for whole calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from voice_gateway.cli.stage import Stage
from voice_gateway.emulator.phone_call import PhoneCall

Settings = Callable[..., dict[str, str]]
TOKEN = "a-token-of-the-tests-0123456789"


@pytest.fixture
def recorded(tmp_path: Path) -> Settings:
    """Settings of a gateway that records."""
    (tmp_path / "recordings").mkdir(mode=0o700)

    def settings(**more: str) -> dict[str, str]:
        return {"RECORDING_ENABLED": "true", "RECORDINGS_DIR": str(tmp_path / "recordings"), **more}

    return settings


async def post(running: Stage, call: PhoneCall, body: Any, token: str = TOKEN) -> httpx.Response:
    async with httpx.AsyncClient(base_url=running.base_url) as client:
        return await client.post(
            f"/calls/{call.call_sid}/recording", json=body, headers={"Authorization": f"Bearer {token}".strip()}
        )
