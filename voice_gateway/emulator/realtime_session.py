"""The emulated model's side of one session: a state machine without a clock, a socket or a thread.

Rules, from the reference:
- `handle(event, now)` takes a client's event and returns the server's events that are due; `wake(now)` returns those
  whose time has come, and `deadline()` says when that will be. A list of (now, event) repeats a session exactly.
- What must be heard, thought or spoken is work: `take_work()` hands it out, `finished()` and `spoke()` bring it back.
- At most one response of the default conversation is active, from `response.create` to `response.done`; responses out
  of band run beside it.
- Speech interrupts a response that is still being generated, and nothing else: no item is cut but by the client.
- An event that is refused changes nothing and is answered with one `error` that carries its `event_id`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, Final

import pybase64

from voice_gateway.emulator.realtime_input import InputAudio
from voice_gateway.emulator.realtime_items import Conversation, Item, Wire, item_from_client, lines
from voice_gateway.emulator.realtime_responses import Responses
from voice_gateway.emulator.realtime_schema import Refused, check_client_event
from voice_gateway.emulator.realtime_settings import default_session, expected_words, updated
from voice_gateway.emulator.realtime_sound import Format
from voice_gateway.emulator.realtime_stage import STORM, Close, Hear, Profile, Speak, Stage, Think, Work
from voice_gateway.emulator.realtime_usage import of_transcription
from voice_gateway.emulator.realtime_vad import Change, Started

IDLE_NOTE: Final = "The user has been silent for a while. Ask in a few words whether they are still there."


class RealtimeSession:
    """One session. `items`, `input_ms`, `truncations`, `sent` and `received` are there to compare a client with.

    epoch: now as seconds since 1970, for `expires_at`.
    """

    def __init__(self, model: str, profile: Profile, *, seed: int = 0, now: float = 0.0, epoch: float = 0.0) -> None:
        self._stage = Stage(profile, seed, now)
        self._epoch = epoch
        self.truncations: list[tuple[str, int]] = []
        self.settings = default_session(model, self._stage.new_id("sess"), int(epoch + profile.session_s))
        self._conversation = Conversation(self._stage.new_id("conv"))
        self._input = InputAudio(self.settings["audio"]["input"], listens=profile.listens)
        self._unheard: set[str] = set()
        self._responses = Responses(self._stage, self._conversation, self._unheard, self._expect_idleness)
        self._speech_item_id = ""
        self._speech_from_ms = 0
        self._answers_from = now
        self._idle: int | None = None
        self._handlers: dict[str, Callable[[Wire], None]] = {
            "session.update": self._update,
            "input_audio_buffer.commit": self._commit_by_client,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve,
            "conversation.item.truncate": self._truncate,
            "conversation.item.delete": self._delete,
            "response.create": self._create_response,
            "response.cancel": self._cancel,
            "output_audio_buffer.clear": self._clear_output,
        }

    # --- what others see --------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return str(self.settings["id"])

    @property
    def items(self) -> list[Item]:
        """The conversation in order."""
        return list(self._conversation)

    @property
    def responses(self) -> list[Wire]:
        """The response objects of all `response.done` so far."""
        return list(self._responses.finished)

    @property
    def input_ms(self) -> int:
        """Sound written by the client so far."""
        return self._input.written_ms

    @property
    def sent(self) -> list[Wire]:
        """The last events sent, with the sound left out."""
        return list(self._stage.sent)

    @property
    def received(self) -> list[Wire]:
        """The last events received; appends in a row are one entry with `count` and `written_ms`."""
        return list(self._stage.received)

    @property
    def exchanged(self) -> list[tuple[str, Wire]]:
        """The last events of both sides in their order, `->` received and `<-` sent, without appends."""
        return list(self._stage.exchanged)

    @property
    def closing(self) -> Close | None:
        """Set when the server is to close the socket, after what was returned with it."""
        return self._stage.closing

    # --- the entrances ----------------------------------------------------------------------------------------

    def open(self, now: float, refusal: Refused | None = None) -> list[Wire]:
        """The first events. refusal: an error and a close instead of a session."""
        stage, faults = self._stage, self._stage.profile.faults
        stage.now = stage.opened_at = now
        if refusal is None and faults.refuse_code:
            refusal = Refused(faults.refuse_code, f"The session was refused: {faults.refuse_code}.")
        if refusal is not None:
            stage.close(4000 if refusal.code == "beta_api_shape_disabled" else 3000, refusal)
            return stage.flush()
        stage.emit("session.created", session=deepcopy(self.settings))
        stage.later(stage.profile.session_s, partial(stage.close, 1001))
        if faults.close_after_s is not None:
            stage.later(faults.close_after_s, partial(stage.close, faults.close_code))
        return stage.flush()

    def handle(self, event: Mapping[str, Any], now: float) -> list[Wire]:
        """Take one event of the client. Returns what is due by now, this event's own answer last."""
        self._stage.run_due(now)
        try:
            if event.get("type") == "input_audio_buffer.append":
                self._append(event)
            else:
                self._stage.note(event)
                check_client_event(event)
                self._handlers[event["type"]](dict(event))
        except Refused as refused:
            self._stage.error(refused, event.get("event_id"))
        return self._stage.flush()

    def garbled(self, now: float) -> list[Wire]:
        """A message came that holds no JSON object."""
        self._stage.run_due(now)
        self._stage.error(Refused("invalid_event", "The message is not a JSON object."))
        return self._stage.flush()

    def wake(self, now: float) -> list[Wire]:
        """The events whose time has come."""
        self._stage.run_due(now)
        return self._stage.flush()

    def deadline(self) -> float | None:
        """When to `wake`, unless something else happens before."""
        return None if self._stage.closing else self._stage.agenda.next_at()

    def take_work(self) -> list[Work]:
        """What is to be heard, thought and spoken since the last time."""
        work, self._stage.work = self._stage.work, []
        return work

    def finished(self, work: Hear | Think, result: Any, now: float) -> list[Wire]:
        """Bring back a text for `Hear` or acts for `Think`."""
        self._stage.run_due(now)
        if isinstance(work, Hear):
            self._heard(work.item_id, result)
        else:
            self._responses.thought(work.response_id, result)
        return self._stage.flush()

    def spoke(self, work: Speak, sound: bytes | None, now: float) -> list[Wire]:
        """Bring back a piece of sound; None is its end."""
        self._stage.run_due(now)
        self._responses.spoke(work.response_id, work.index, sound)
        return self._stage.flush()

    def failed(self, work: Work, now: float) -> list[Wire]:
        """The ear, the mind or the voice gave up on this."""
        self._stage.run_due(now)
        if isinstance(work, Hear):
            self._deaf(work.item_id)
        else:
            self._responses.failed(work.response_id)
        return self._stage.flush()

    # --- the caller's sound -----------------------------------------------------------------------------------

    def _append(self, event: Mapping[str, Any]) -> None:
        changes = self._input.append(event.get("audio"))
        self._stage.note_sound(self._input.written_ms)
        for change in changes:
            self._on_change(change)

    def _on_change(self, change: Change) -> None:
        detection = self._input.turn_detection or {}
        if isinstance(change, Started):
            self._speech_item_id = self._stage.new_id("item")
            self._speech_from_ms = change.at_ms
            self._stay_alert()
            start = {"audio_start_ms": change.at_ms, "item_id": self._speech_item_id}
            self._stage.emit("input_audio_buffer.speech_started", **start)
            if detection.get("interrupt_response"):
                self._responses.interrupt()
            return
        stop = {"audio_end_ms": change.at_ms, "item_id": self._speech_item_id}
        self._stage.emit("input_audio_buffer.speech_stopped", **stop)
        sound = self._input.take(self._speech_from_ms, change.at_ms)
        self._commit(self._speech_item_id, sound, change.at_ms - self._speech_from_ms)
        if detection.get("create_response"):
            self._respond()

    def _respond(self) -> None:
        """The detector asks for a response. While one is active it gets none, and says so."""
        try:
            self._responses.create(self.settings, {}, 0.0)
        except Refused as refused:
            self._stage.error(refused)

    def _commit(self, item_id: str, sound: bytes, length_ms: int) -> None:
        item = Item(item_id, "message", "user", audio_ms=length_ms, sound=sound)
        previous = self._conversation.last_id
        self._stage.emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        self._put(item)
        if not sound or not self._stage.profile.hears:
            self._heard(item_id, "")
            return
        self._listen(item, self._input.format)

    def _listen(self, item: Item, sound: Format) -> None:
        self._unheard.add(item.id)
        words = expected_words(self.settings, lines(self._conversation))
        self._stage.work.append(Hear(item.id, sound.decode(item.sound), sound.rate_hz, words))

    def _put(self, item: Item, after: str | None = None) -> None:
        previous = self._conversation.add(item, after)
        for kind in ("conversation.item.added", "conversation.item.done"):
            self._stage.emit(kind, previous_item_id=previous, item=item.wire())

    def _heard(self, item_id: str, text: str) -> None:
        self._unheard.discard(item_id)
        item = self._conversation.find(item_id)
        if item is not None:
            item.text = text
            if not item.parts:
                self._transcribe(item)
        self._responses.heard()

    def _deaf(self, item_id: str) -> None:
        self._unheard.discard(item_id)
        if self.settings["audio"]["input"]["transcription"] is not None:
            error = {"type": "server_error", "code": "audio_unintelligible", "message": "The audio was not understood."}
            where = {"item_id": item_id, "content_index": 0}
            self._stage.emit("conversation.item.input_audio_transcription.failed", **where, error=error)
        self._responses.heard()

    def _transcribe(self, item: Item) -> None:
        """Tell the words of a user item some time later; text and response race each other (section 7.1)."""
        settings = self.settings["audio"]["input"]["transcription"]
        if settings is None:
            return
        rng, model = self._stage.rng, settings.get("model") or "gpt-realtime-whisper"
        # Mostly soon, now and then much later: the mean is 1.
        total_s = self._stage.profile.latency.transcript_s * (0.3 + rng.expovariate(1 / 0.7))
        words = item.text.split()
        pieces = [words[start : start + 3] for start in range(0, len(words), 3)]
        for number, piece in enumerate(pieces):
            text = (" " if number else "") + " ".join(piece)
            self._stage.later(total_s * (number + 1) / (len(pieces) + 1), partial(self._transcript_delta, item, text))
        self._stage.later(total_s, partial(self._transcript_done, item, model))

    def _transcript_delta(self, item: Item, text: str) -> None:
        where = {"item_id": item.id, "content_index": 0}
        self._stage.emit("conversation.item.input_audio_transcription.delta", **where, delta=text)

    def _transcript_done(self, item: Item, model: str) -> None:
        item.transcript = item.text
        # A turn nobody spoke in is billed as none.
        usage = of_transcription(model, item.audio_ms if item.sound else 0, item.text)
        where = {"item_id": item.id, "content_index": 0, "transcript": item.text}
        self._stage.emit("conversation.item.input_audio_transcription.completed", **where, usage=usage)

    # --- nobody speaks (section 7.7) --------------------------------------------------------------------------

    def _stay_alert(self) -> None:
        self._stage.agenda.strike(self._idle)
        self._idle = None

    def _expect_idleness(self, audio_ms: float) -> None:
        """After an answer: wait until it must have been played, and then as long as the session says."""
        self._stay_alert()
        timeout_ms = (self._input.turn_detection or {}).get("idle_timeout_ms")
        if timeout_ms is not None and not self._input.speaking:
            self._idle = self._stage.later(audio_ms / 1000, partial(self._count_idleness, timeout_ms / 1000))

    def _count_idleness(self, timeout_s: float) -> None:
        self._idle = self._stage.later(timeout_s, partial(self._idle_out, self._input.written_ms))

    def _idle_out(self, start_ms: int) -> None:
        self._idle = None
        if self._responses.generating:
            return
        item_id, end_ms = self._stage.new_id("item"), self._input.written_ms
        span = {"audio_start_ms": start_ms, "audio_end_ms": end_ms, "item_id": item_id}
        self._stage.emit("input_audio_buffer.timeout_triggered", **span)
        note = {"type": "input_text", "text": IDLE_NOTE}
        self._put(Item(self._stage.new_id("item"), "message", "system", IDLE_NOTE, parts=(note,)))
        self._input.clear()
        self._commit(item_id, b"", 0)  # silence costs nothing
        self._respond()

    # --- the client's requests --------------------------------------------------------------------------------

    def _update(self, event: Wire) -> None:
        stage = self._stage
        self.settings = updated(
            self.settings,
            event["session"],
            has_spoken=self._conversation.has_spoken,
            responding=self._responses.generating,
        )
        self._input.configure(self.settings["audio"]["input"])
        shown = deepcopy(self.settings)
        if stage.profile.faults.wrong_format:
            asked = shown["audio"]["output"]["format"]["type"]
            other = {"type": "audio/pcmu"} if asked == "audio/pcm" else {"type": "audio/pcm", "rate": 24000}
            shown["audio"]["output"]["format"] = other
        self._answers_from = max(stage.now, self._answers_from) + stage.profile.latency.session_updated_s
        self._at_its_turn(partial(self._updated, shown))

    def _updated(self, shown: Wire) -> None:
        self._stage.emit("session.updated", session=shown)
        self._stage.storm(STORM)

    def _at_its_turn(self, do: Callable[[], None]) -> None:
        """At once, or after the updates that are still being answered."""
        if self._answers_from <= self._stage.now:
            do()
        else:
            self._stage.agenda.at(self._answers_from, do)

    def _commit_by_client(self, _event: Wire) -> None:
        sound, length_ms = self._input.commit()
        self._commit(self._stage.new_id("item"), sound, length_ms)

    def _clear(self, _event: Wire) -> None:
        self._input.clear()
        self._stage.emit("input_audio_buffer.cleared")

    def _create_item(self, event: Wire) -> None:
        wire = event["item"]
        item = item_from_client(wire, self._stage.new_id("item"), self._stage.new_id("call"))
        spoken = [part["audio"] for part in wire.get("content", ()) if part.get("audio")]
        if spoken:
            self._take_sound(item, spoken)
        self._put(item, event.get("previous_item_id"))
        if item.sound and not item.text and self._stage.profile.hears:
            self._listen(item, self._input.format)

    def _take_sound(self, item: Item, spoken: list[str]) -> None:
        try:
            item.sound = b"".join(pybase64.b64decode(part, validate=True) for part in spoken)
        except ValueError:
            message = "Invalid 'audio'. Expected base64-encoded audio bytes."
            raise Refused("invalid_value", message, "item.content[0].audio") from None
        sample_bytes = self._input.format.sample_bytes
        item.sound = item.sound[: len(item.sound) // sample_bytes * sample_bytes]
        item.audio_ms = len(item.sound) / self._input.format.bytes_per_ms

    def _retrieve(self, event: Wire) -> None:
        item = self._conversation.find(event["item_id"])
        if item is None:
            message = f"Error retrieving item: the item with ID '{event['item_id']}' does not exist."
            raise Refused("item_retrieve_invalid_item_id", message, "item_id")
        wire = item.wire()
        if item.sound:
            wire["content"] = [{**wire["content"][0], "audio": pybase64.b64encode_as_string(item.sound)}]
        self._stage.emit("conversation.item.retrieved", item=wire)

    def _truncate(self, event: Wire) -> None:
        item_id, audio_end_ms = event["item_id"], event["audio_end_ms"]
        self._conversation.truncate(item_id, audio_end_ms)
        self.truncations.append((item_id, audio_end_ms))
        where = {"item_id": item_id, "content_index": 0, "audio_end_ms": audio_end_ms}
        self._stage.emit("conversation.item.truncated", **where)

    def _delete(self, event: Wire) -> None:
        self._conversation.delete(event["item_id"])
        self._stage.emit("conversation.item.deleted", item_id=event["item_id"])

    def _create_response(self, event: Wire) -> None:
        self._stay_alert()
        stage = self._stage
        delay_s = max(self._answers_from - stage.now, 0.0) + stage.profile.latency.response_created_s
        self._responses.create(self.settings, event.get("response") or {}, delay_s)

    def _cancel(self, event: Wire) -> None:
        self._responses.cancel(event.get("response_id"))

    def _clear_output(self, _event: Wire) -> None:
        message = "output_audio_buffer.clear is only available on WebRTC and SIP connections."
        raise Refused("invalid_event", message, "type")
