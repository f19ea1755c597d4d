"""The offline voice: ear, mind and voices made from packages alone, behind the interfaces of `faculties`.

This is the one door. Importing it costs nothing; each class imports its packages when it is made and raises
SpeechMissing, saying what to install, when the extra `[local]` is absent. The mind needs none of them.
"""

from __future__ import annotations

from voice_gateway.emulator.ear import Hearing, WhisperEar
from voice_gateway.emulator.local import SpeechMissing, missing
from voice_gateway.emulator.mind import Manners, RuleMind
from voice_gateway.emulator.vocabulary import vocabulary
from voice_gateway.emulator.voice import HibariVoice, NanoVoice, SileroActivity, speakable

__all__ = [
    "Hearing",
    "HibariVoice",
    "Manners",
    "NanoVoice",
    "RuleMind",
    "SileroActivity",
    "SpeechMissing",
    "WhisperEar",
    "missing",
    "speakable",
    "vocabulary",
]
