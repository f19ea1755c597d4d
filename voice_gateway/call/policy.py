"""How a call is led: what may differ from call to call and is settled before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from voice_gateway.call.clip import Clip
from voice_gateway.call.usage import Tariff


@dataclass(frozen=True, slots=True)
class Idle:
    """What becomes of a caller who says nothing.

    prompt_after_s: seconds of quiet before he is asked whether he is still there; 0: we do not count, the model may.
    prompts: how often he is asked before he is bidden goodbye. goodbye: the words; empty leaves them to the model.
    """

    prompt_after_s: float = 0.0
    prompts: int = 2
    goodbye: str = ""


@dataclass(frozen=True, slots=True)
class Colleague:
    """A human to whom a caller can be put through. transfer_number: of his telephone, or a SIP address.

    announcement: what the caller is told before; empty leaves the words to the model.
    """

    transfer_number: str = field(repr=False)
    announcement: str = ""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was of a call before its caller was put through and came back. note: what the model is told of it.

    transcript: of it. model_usd: what it had cost, without the line.
    """

    note: str = field(repr=False)
    transcript: str = field(default="", repr=False)
    model_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Guard:
    """What is checked of a call, beside it (`guardrail`), and what comes of a breach.

    instructions: what must not be, in words for a model. labels: what a breach may be called. on: whose turns. action:
    `note` puts it on the record, `interrupt` also cuts our voice and has the model put it right, `end` ends the call
    with the sentence.
    """

    instructions: str
    labels: tuple[str, ...] = ("breach",)
    on: Literal["assistant", "caller", "both"] = "assistant"
    action: Literal["note", "interrupt", "end"] = "note"
    sentence: str = "I am sorry, I have to end this call here. Goodbye."
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """How a call is led.

    greeting: instructions for the first response; empty: the model waits for the caller. clip: a greeting that is
    played instead of being asked for. greeting_to_keep: the words of a greeting that is to become a clip when the model
    has spoken it well; empty: none is. earlier: of a caller who was put through and came back. duplex: False gives the
    model silence while our voice plays. audio_format: of the model leg.

    barge_in: False lets our voice finish. barge_in_mode: who hears the caller over our voice, the model alone
    (`server`) or a detector of ours before it (`edge`), which the bridge must then be given. confirm_s: how long a hold
    waits for the model's word. min_speech_ms: how long the caller must have spoken to interrupt. protect_greeting: the
    greeting is heard to its end. speech_prefix_ms: what the model takes off the time at which it says speech began.
    model_interrupts: it cancels its response by itself when it hears the caller.

    model_answers: False where the model waits to be asked after the caller's turn. may_end: the model has the tool
    `end_call`. colleague: whom the tool `transfer_to_human` puts the caller through to; None where it has no such tool.
    filler_after_s: after so long a silence while a tool works the caller hears something, 0 never: fillers, words by
    the names of tools, and thinking_sound, a soft sound. media_stall_s, response_stall_s: how long the caller's sound
    and an open response may stand still before something is done about it; 0: his sound is not watched.

    persona, name: who leads it, by key and as he is called. introduction: what he says first when he takes over a call;
    None leaves the words to the model, empty says nothing. keys: what pressed alone hands over to which persona.
    transcribed: what the caller says is written down.

    tariff, text_tariff, transcription_usd_per_minute, line_usd_per_minute: what the call is billed, see `costs`.
    max_cost_usd: 0 for no limit. guard: what is checked beside the call; None checks nothing.
    """

    greeting: str = ""
    clip: Clip | None = None
    earlier: Earlier | None = None
    greeting_to_keep: str = ""
    barge_in: bool = True
    barge_in_mode: Literal["server", "edge"] = "server"
    confirm_s: float = 0.6
    min_speech_ms: int = 0
    protect_greeting: bool = False
    speech_prefix_ms: int = 300
    model_interrupts: bool = True
    duplex: bool = True
    audio_format: Literal["pcm16", "pcmu"] = "pcm16"
    lead_s: float = 0.4
    mark_every_s: float = 0.2
    model_answers: bool = True
    may_end: bool = False
    colleague: Colleague | None = None
    filler_after_s: float = 0.0
    fillers: tuple[tuple[str, str], ...] = ()
    thinking_sound: bool = False
    idle: Idle = field(default_factory=Idle)
    media_stall_s: float = 0.0
    response_stall_s: float = 8.0
    max_duration_s: float = 3600.0
    failed_sentence: str = "I am sorry, something went wrong. Please call again."
    tariff: Tariff | None = None
    text_tariff: Tariff | None = None
    transcription_usd_per_minute: float = 0.0
    line_usd_per_minute: float = 0.0
    max_cost_usd: float = 0.0
    guard: Guard | None = None
    budget_sentence: str = "We have to end this call here. Please call again tomorrow. Goodbye."
    persona: str = ""
    name: str = ""
    introduction: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    transcribed: bool = True
    limit_sentence: str = "We have reached the longest time for a call. Goodbye."
