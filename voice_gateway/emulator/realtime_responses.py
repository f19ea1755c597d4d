"""The responses of a session: which may begin, how they go on, what ends them (reference sections 5.2, 7.3 to 7.6)."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from voice_gateway.emulator.faculties import Act, Situation
from voice_gateway.emulator.realtime_items import Conversation, Item, Wire, item_from_client, lines
from voice_gateway.emulator.realtime_reply import AskMind, AskVoice, NextSound, Pause, Plan, Reply, Until
from voice_gateway.emulator.realtime_schema import Refused
from voice_gateway.emulator.realtime_settings import reasons
from voice_gateway.emulator.realtime_sound import Format
from voice_gateway.emulator.realtime_stage import Speak, Stage, Think
from voice_gateway.emulator.realtime_usage import Tokens, of_context

STRAGGLERS: Final = 2
TOKENS_PER_MINUTE: Final = 200_000


class Responses:
    """All responses of one session.

    unheard: items whose words the ear has not told yet; nobody thinks before it has.
    ended: told of every default response that was completed, with the length of its sound in milliseconds.
    """

    def __init__(
        self, stage: Stage, conversation: Conversation, unheard: set[str], ended: Callable[[float], None]
    ) -> None:
        self.finished: list[Wire] = []
        self._stage = stage
        self._conversation = conversation
        self._unheard = unheard
        self._ended = ended
        self._active_id: str | None = None
        self._replies: dict[str, Reply] = {}
        self._begun = 0
        self._cached: tuple[str, Tokens] = ("", Tokens())

    @property
    def generating(self) -> bool:
        """Whether a default response is active, or was accepted and is about to be."""
        return self._active_id is not None

    def create(self, settings: Wire, own: Wire, delay_s: float) -> None:
        """Accept a `response.create`, or the detector's equivalent. own: the event's `response`, may be empty.

        Raises Refused when a default response is active, and for references to items that do not exist.
        """
        default = own.get("conversation") != "none"
        if default and self._active_id is not None:
            raise Refused(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._active_id}. "
                "Wait until the response is finished before creating a new one.",
            )
        given = self._given_items(own["input"]) if own.get("input") is not None else None
        response_id = self._stage.new_id("resp")
        reply = Reply(
            response_id,
            self._plan(settings, own, given),
            self._conversation if default else None,
            self._stage.new_id,
            self._stage.rng,
        )
        if default:
            self._active_id = response_id
        if delay_s > 0:
            self._stage.later(delay_s, partial(self._begin, reply))
        else:
            self._begin(reply)

    def cancel(self, response_id: str | None) -> None:
        """A client's `response.cancel`; without an id it means the default response. Raises Refused if none is active.

        A response that was accepted but not yet created cannot be cancelled: it starts all the same.
        """
        reply = self._replies.get(response_id or self._active_id or "")
        if reply is None or reply.interrupted:
            raise Refused("response_cancel_not_active", "Cancellation failed: no active response found")
        self._cut(reply, "client_cancelled")

    def interrupt(self) -> None:
        """Somebody speaks: the default response ends soon, after what was on its way already."""
        reply = self._replies.get(self._active_id or "")
        if reply is None or reply.interrupted:
            return
        reply.interrupted, reply.hurry = True, STRAGGLERS
        if reply.waits_for is None:
            self._advance(reply, None)
        if reply.status == "in_progress":
            self._stage.later(self._stage.profile.latency.cancelled_s, partial(self._cut, reply, "turn_detected"))

    def thought(self, response_id: str, acts: Sequence[Act]) -> None:
        reply = self._replies.get(response_id)
        if reply is not None:
            self._resume(reply, acts)

    def failed(self, response_id: str) -> None:
        """The mind or the voice gave up."""
        reply = self._replies.get(response_id)
        if reply is None:
            return
        reply.status = "failed"
        for item in reply.items:
            item.status = "incomplete" if item.status == "in_progress" else item.status
        self._stage.emit("response.done", response=reply.wire())
        self._end(reply)

    def spoke(self, response_id: str, index: int, sound: bytes | None) -> None:
        reply = self._replies.get(response_id)
        if reply is None:
            return
        reply.sounds.setdefault(index, deque()).append(sound)
        if reply.waits_for == NextSound(index):
            self._resume(reply, reply.sounds[index].popleft())

    def heard(self) -> None:
        """The ear told something: who waited for it may think now."""
        for reply in list(self._replies.values()):
            if isinstance(reply.waits_for, AskMind) and not reply.asked:
                self._ask_mind(reply)

    # --- how one begins ---------------------------------------------------------------------------------------

    def _given_items(self, wires: Sequence[Wire]) -> list[Item]:
        items: list[Item] = []
        for index, wire in enumerate(wires):
            if wire["type"] != "item_reference":
                items.append(item_from_client(wire, self._stage.new_id("item"), self._stage.new_id("call")))
                continue
            found = self._conversation.find(wire["id"])
            if found is None:
                message = f"Item with ID '{wire['id']}' not found in conversation."
                raise Refused("invalid_value", message, f"response.input[{index}].id")
            items.append(found)
        return items

    def _plan(self, settings: Wire, own: Wire, given: list[Item] | None) -> Plan:
        profile = self._stage.profile
        audio = {**settings["audio"]["output"], **((own.get("audio") or {}).get("output") or {})}
        modalities = own.get("output_modalities") or settings["output_modalities"]
        limit = own.get("max_output_tokens") or settings["max_output_tokens"]
        self._begun += 1
        return Plan(
            sound=Format.of(audio["format"]),
            speaks=modalities == ["audio"],
            instructions=settings["instructions"] if own.get("instructions") is None else own["instructions"],
            tools=tuple(settings["tools"] if own.get("tools") is None else own["tools"]),
            tool_choice=own.get("tool_choice") or settings["tool_choice"],
            given=given,
            max_output_tokens=limit,
            shown={
                "output_modalities": modalities,
                "max_output_tokens": limit,
                "audio": {"output": {"format": audio["format"], "voice": audio["voice"]}},
                "metadata": own.get("metadata"),
            },
            reasoning=reasons(settings["model"]),
            speed=profile.speed,
            delta_ms=profile.delta_ms,
            latency=profile.latency,
            faults=profile.faults,
            fails=self._begun <= profile.faults.fail_response,
        )

    def _begin(self, reply: Reply) -> None:
        self._replies[reply.id] = reply
        reply.began_at = self._stage.now
        self._advance(reply, None)

    # --- how it goes on ---------------------------------------------------------------------------------------

    def _resume(self, reply: Reply, answer: Any) -> None:
        reply.waits_for = None
        if not reply.interrupted:
            self._advance(reply, answer)

    def _advance(self, reply: Reply, answer: Any) -> None:
        """Run the script until it waits for a time or an answer."""
        self._stage.agenda.strike(reply.wake_number)
        reply.wake_number = None
        while True:
            try:
                step = reply.steps.send(answer)
            except StopIteration:
                self._end(reply)
                return
            answer = None
            if isinstance(step, dict):
                self._send(step)
                if reply.interrupted and self._last_straggler(reply, step["type"]):
                    return
            elif isinstance(step, AskVoice):
                self._stage.work.append(Speak(reply.id, step.index, step.text, reply.plan.sound))
            elif isinstance(step, NextSound) and reply.sounds.get(step.index):
                answer = reply.sounds[step.index].popleft()
            elif isinstance(step, AskMind | NextSound):
                reply.waits_for = step
                if isinstance(step, AskMind):
                    self._ask_mind(reply)
                return
            elif self._waits(reply, step):
                return

    def _send(self, step: Wire) -> None:
        fields = dict(step)
        kind = fields.pop("type")
        self._stage.emit(kind, **fields)
        if kind == "response.created":
            self._stage.storm(1)

    @staticmethod
    def _last_straggler(reply: Reply, kind: str) -> bool:
        if kind.endswith(".delta") and kind != "response.output_audio_transcript.delta":
            reply.hurry -= 1
        return reply.hurry <= 0

    def _waits(self, reply: Reply, step: Pause | Until) -> bool:
        if reply.interrupted:
            return False
        now = self._stage.now
        due = now + step.seconds if isinstance(step, Pause) else reply.began_at + step.seconds
        if due <= now:
            return False
        reply.wake_number = self._stage.agenda.at(due, partial(self._advance, reply, None))
        return True

    def _ask_mind(self, reply: Reply) -> None:
        """Hand the question out, unless the ear is still busy with something the mind must know."""
        plan = reply.plan
        items = list(self._conversation) if plan.given is None else plan.given
        if any(item.id in self._unheard for item in items):
            return
        reply.asked = True
        situation = Situation(plan.instructions, lines(items), plan.tools, plan.tool_choice, reply.conversation is None)
        self._stage.work.append(Think(reply.id, situation))
        reply.head = plan.instructions + json.dumps(plan.tools)
        reply.context = of_context(reply.head, items)
        head, had = self._cached
        reply.cached = reply.context.in_blocks(had) if head == reply.head else Tokens()

    # --- how it ends ------------------------------------------------------------------------------------------

    def _cut(self, reply: Reply, reason: str) -> None:
        if reply.id not in self._replies:
            return
        reply.steps.close()
        for event in reply.cut(reason):
            self._send(event)
        self._end(reply)

    def _end(self, reply: Reply) -> None:
        self._stage.agenda.strike(reply.wake_number)
        del self._replies[reply.id]
        self.finished.append(reply.wire())
        if reply.conversation is not None:
            self._active_id = None
            self._cached = (reply.head, reply.context + reply.output)
        spent = reply.context.total + reply.output.total
        limit = {"name": "tokens", "limit": TOKENS_PER_MINUTE, "remaining": max(TOKENS_PER_MINUTE - spent, 0)}
        limit["reset_seconds"] = spent / TOKENS_PER_MINUTE * 60
        self._stage.emit("rate_limits.updated", rate_limits=[limit])
        if reply.conversation is not None and reply.status == "completed":
            self._ended(reply.audio_ms)
