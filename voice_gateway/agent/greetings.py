"""The greeting of a persona: played from a clip where one is kept, else spoken by the model and kept for the next call.

Off, or for a persona that wants to be spoken anew each time, the model greets every call. So it does where it is to
prompt silent callers by itself (`idle_timeout_ms`), because it counts from the end of its own voice.
"""

from __future__ import annotations

import asyncio

from voice_gateway.agent.personas import Persona
from voice_gateway.call.clip import Clip
from voice_gateway.model.settings import ServerVad
from voice_gateway.store.clips import ClipKey, Clips


class Greetings:
    """All personas' greetings. voice: the one that a persona speaks with in this call."""

    def __init__(self, clips: Clips | None, *, model: str, endpoint: str) -> None:
        """clips: None keeps none. model: of personas that name none.

        endpoint: the model's server; another one has other voices of the same names.
        """
        self._clips = clips
        self._model = model
        self._endpoint = endpoint
        self._writing: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Read what is kept."""
        if self._clips is not None:
            await asyncio.to_thread(self._clips.load)

    def clip(self, persona: Persona, voice: str) -> Clip | None:
        """What a call that begins now is to play."""
        return self._clips.find(self._key(persona, voice)) if self._clips and _wants_clip(persona) else None

    def to_keep(self, persona: Persona, voice: str) -> str:
        """The words of the greeting, while it has to be kept still; else empty."""
        wanted = self._clips is not None and _wants_clip(persona) and self.clip(persona, voice) is None
        return persona.greeting if wanted else ""

    def keep(self, persona: Persona, voice: str, clip: Clip) -> None:
        """Have a clip from the next call on, and write it down beside the event loop."""
        key = self._key(persona, voice)
        if self._clips is None or not _wants_clip(persona) or not self._clips.keep(key, clip):
            return
        writing = asyncio.get_running_loop().run_in_executor(None, self._clips.write, key, clip)
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writing:
            await asyncio.gather(*self._writing, return_exceptions=True)

    def _key(self, persona: Persona, voice: str) -> ClipKey:
        # The instructions colour how a greeting is spoken.
        asked = (persona.greeting_instructions, persona.role_instructions, self._endpoint)
        return ClipKey.of(persona.key, voice, persona.model or self._model, *asked)


def _wants_clip(persona: Persona) -> bool:
    detection = persona.turn_detection
    # The model's idle timeout counts from the end of its own voice: one that never spoke would never prompt.
    model_prompts = isinstance(detection, ServerVad) and detection.idle_timeout_ms is not None
    return persona.greeting_clip and bool(persona.greeting) and not model_prompts
