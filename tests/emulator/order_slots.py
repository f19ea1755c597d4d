"""Spoken coffee orders: where they lie, the tool they are for, and when what was understood is what was ordered."""

from __future__ import annotations

import json
import os
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from voice_gateway.emulator.wording import words

REPOSITORY = Path(__file__).resolve().parents[2]
ORDER_TOOL: dict[str, Any] = json.loads((REPOSITORY / "tests/data/order_tool.json").read_text())


def orders_folder() -> Path | None:
    """The recorded orders: in $VOICE_GATEWAY_SHARED, else in `shared` beside the checkout. None when absent."""
    shared = Path(os.environ.get("VOICE_GATEWAY_SHARED") or REPOSITORY.parent / "shared")
    folder = shared / "data" / "orders"
    return folder if (folder / "labels.json").is_file() else None


def same_slots(expected: Mapping[str, str], got: Mapping[str, Any]) -> bool:
    """Every slot named and no other, each with the same words; numbers and plurals may be written either way.

    The amount belongs to it: "some almond milk" is neither "almond milk" nor "some milk".
    """
    return {name: words(value) for name, value in expected.items()} == {
        name: words(str(value)) for name, value in got.items()
    }


def read_wav(path: Path) -> tuple[np.ndarray[Any, np.dtype[np.int16]], int]:
    """The samples of a mono 16-bit WAV and their rate."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16), file.getframerate()
