"""The greeting of a persona: played from a clip where one is kept, else spoken by the model and kept for the next call.

Off, or for a persona that wants to be spoken anew each time, the model greets every call.
"""

from __future__ import annotations

import asyncio

from voice_gateway.agent.personas import Persona
from voice_gateway.call.events import CallFacts
from voice_gateway.call.greeting import Clip
from voice_gateway.store.clips import ClipKey, Clips


class Greetings:
    def __init__(self, clips: Clips | None, persona: Persona, *, voice: str, model: str, endpoint: str) -> None:
        """clips: None keeps none. voice: the one the persona speaks with. endpoint: the model's server.

        The instructions colour how a greeting is spoken, and another server has other voices of the same names: so a
        change of any of them makes another clip.
        """
        wanted = persona.greeting_clip and bool(persona.greeting)
        self._clips = clips if wanted else None
        self._greeting = persona.greeting
        asked = (persona.greeting_instructions, persona.instructions, endpoint)
        self._key = ClipKey.of(persona.key, voice, model, *asked)
        self._writing: set[asyncio.Future[None]] = set()

    @property
    def clip(self) -> Clip | None:
        """What a call that begins now is to play."""
        return self._clips.find(self._key) if self._clips is not None else None

    @property
    def to_keep(self) -> str:
        """The words of the greeting, while it has to be kept still; else empty."""
        return self._greeting if self._clips is not None and self.clip is None else ""

    async def start(self) -> None:
        """Read what is kept."""
        if self._clips is not None:
            await asyncio.to_thread(self._clips.load)

    def keep(self, _call: CallFacts, clip: Clip) -> None:
        """Have a clip from the next call on, and write it down beside the event loop: `session.Service`."""
        if self._clips is None or not self._clips.keep(self._key, clip):
            return
        writing = asyncio.get_running_loop().run_in_executor(None, self._clips.write, self._key, clip)
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writing:
            await asyncio.gather(*self._writing, return_exceptions=True)
