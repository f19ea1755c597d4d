"""What can happen to a call. Past participles; each is told to `Bridge.handle` together with the time it happened.

Three groups: from the caller leg, from the model leg, and from inside the house (tools, the operator, the clock).
Audio is raw bytes and its format is named in the field: `ulaw` is G.711 µ-law at 8 kHz (8 bytes a millisecond),
`audio` is in the model leg's format as negotiated (PCM16 little-endian at 24 kHz: 48 bytes a millisecond, or µ-law).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from voice_gateway.call.policy import Policy
from voice_gateway.call.usage import Usage

# --- the caller leg ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallerJoined:
    """The media stream started and its token was good: from now on audio may be sent to the caller."""

    stream_sid: str


@dataclass(frozen=True, slots=True)
class CallerAudio:
    """Sound from the caller.

    ulaw: G.711 µ-law at 8 kHz; normally one frame of 160 bytes, but any length is fine.
    timestamp_ms: the carrier's media clock at the first byte, milliseconds since the stream's start.
    """

    ulaw: bytes
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class DigitPressed:
    """A key of the caller's telephone: 0-9, `*` or `#`."""

    digit: str


@dataclass(frozen=True, slots=True)
class MarkReached:
    """The carrier's receipt: everything sent before this mark was played, or was cleared."""

    name: str


@dataclass(frozen=True, slots=True)
class CallerLeft:
    """The caller leg is gone. reason: `hangup` (a stop message), `lost` (the socket died without one) or `stalled`."""

    reason: Literal["hangup", "lost", "stalled"]


# --- the model leg ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelReady:
    """The model's session is configured and its formats are those that were asked for."""

    session_id: str
    model: str


@dataclass(frozen=True, slots=True)
class ModelUnavailable:
    """No session could be had: key refused, no credit, wrong formats, timeout. code is the protocol's, or our own."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ModelLost:
    """A session that had worked is gone."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ModelErred:
    """A non-fatal `error` event: the session lives on."""

    code: str
    message: str
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The model's voice activity detection hears the caller.

    audio_start_ms: milliseconds of *written* input audio, prefix padding included (not wall clock).
    item_id: the user item that will hold this speech.
    """

    item_id: str
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The model's voice activity detection hears the caller's turn end. audio_end_ms: as in `SpeechStarted`."""

    item_id: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class TurnCommitted:
    """The caller's speech became a user item of the conversation."""

    item_id: str


@dataclass(frozen=True, slots=True)
class IdleTimedOut:
    """The model noticed that nobody spoke for its `idle_timeout_ms`; it will prompt by itself."""

    item_id: str


@dataclass(frozen=True, slots=True)
class UserTranscribed:
    """What the caller said, as text. May arrive late, out of order, or never.

    billed_s: seconds of speech billed for it beside the session, 0 where the model does not say.
    """

    item_id: str
    text: str
    billed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class UserTranscriptionFailed:
    """No text for this user item. The model itself heard the audio all the same."""

    item_id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """`response.created`: the model is generating."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ItemStarted:
    """An output item of a response was opened. kind: `message`, `function_call` or another of the protocol's."""

    response_id: str
    item_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class AudioReceived:
    """A delta of the model's voice, in the model leg's format. Faster than real time, any length."""

    response_id: str
    item_id: str
    content_index: int
    audio: bytes


@dataclass(frozen=True, slots=True)
class AudioFinished:
    """All audio of this content part was received (not heard)."""

    response_id: str
    item_id: str
    content_index: int


@dataclass(frozen=True, slots=True)
class TextReceived:
    """A delta of what the voice says, as text; runs ahead of the audio."""

    response_id: str
    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class TextFinished:
    """The whole text of this item's voice."""

    response_id: str
    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model finished a function call. arguments: the JSON text as received (it may hold odd white space)."""

    response_id: str
    item_id: str
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ResponseFinished:
    """`response.done`: generation is over; much of its audio is normally still unplayed.

    status: completed, cancelled, failed or incomplete. reason: `turn_detected`, `client_cancelled`,
    `max_output_tokens`, `content_filter` or an error code; empty when completed.
    """

    response_id: str
    status: str
    reason: str = ""
    message: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class AsideFinished:
    """A response outside the conversation is over. text: all that was written. status, reason: as above."""

    response_id: str
    purpose: str
    status: str
    text: str = field(repr=False)
    reason: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class SessionUpdated:
    """The model confirms that its session is this persona's. differences: what is not as asked, but tolerable."""

    persona: str
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateRefused:
    """The model refuses to make its session this persona's; it is as it was."""

    persona: str
    code: str
    message: str


# --- inside the house -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool's answer. output: the text for the model (JSON). ok: False when the tool failed or ran out of time."""

    call_id: str
    output: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class HangUpAsked:
    """Somebody inside wants the call to end: the switchboard draining, an operator, a limit, or a fault of ours."""

    reason: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class GoodbyeAsked:
    """Somebody inside wants the call to end politely: when what is being said was heard, and no sooner.

    sentence: the last word, for the model to say; empty when it is said already. transfer_number: the telephone number
    or SIP address that the caller goes on to; empty when the call is over then.
    """

    reason: str
    sentence: str = ""
    transfer_number: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class SayAsked:
    """Somebody inside wants something said in a call that goes on.

    saying_id: comes back in `SayingEnded`. mode: `speak` says the text word for word, `ask` tells it to the model,
    which then speaks. interrupt: our own voice is cut for it. by: whose wish it is, for the record.
    """

    saying_id: str
    text: str = field(repr=False)
    mode: Literal["speak", "ask"] = "speak"
    interrupt: bool = False
    by: str = ""


@dataclass(frozen=True, slots=True)
class KeysAsked:
    """Telephone keys are to be pressed for the far side to hear. digits: as `audio.dtmf.read_digits` gives them."""

    digits: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LanguageAsked:
    """The call is to go on in another language. language: ISO 639-1, one of the persona's."""

    language: str


@dataclass(frozen=True, slots=True)
class SendBlocked:
    """A leg does not take what we send. waited_s: for how long by now."""

    leg: Literal["caller", "model"]
    waited_s: float


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """What is said from now on must not be kept, such as a card number. by: `tool` or `api`."""

    by: str


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """What is said may be kept again."""

    by: str


@dataclass(frozen=True, slots=True)
class ConsentWithdrawn:
    """The caller does not want to be recorded after all: what was recorded is removed. by: as above."""

    by: str


@dataclass(frozen=True, slots=True)
class HandoffAsked:
    """Another persona is to lead the call. by: `tool`, `api` or `keypad`. cut: our sentence is not waited for."""

    persona: str
    by: str
    reason: str = field(default="", repr=False)
    cut: bool = False


@dataclass(frozen=True, slots=True)
class SupervisorCalledTool:
    """The call's supervisor uses a tool. arguments: JSON text as the text model wrote it."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class SupervisorToolFinished:
    """Its tool's answer. output: JSON text."""

    call_id: str
    output: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class SupervisorFinished:
    """A question to the supervisor is over.

    outcome: `answered`; `replaced` by a newer question; or why the voice goes on without: `deadline`, `refused`,
    `failed`. model: the text model. rounds: how often it was asked. tools: the names of those it used, in order.
    """

    outcome: str
    model: str
    rounds: int
    tools: tuple[str, ...]
    took_s: float


@dataclass(frozen=True, slots=True)
class TextModelAnswered:
    """A text model was asked on the call's behalf, and this is what it used. purpose: what for.

    fault: empty, or why the answer is of no use.
    """

    response_id: str
    purpose: str
    model: str
    fault: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class HandoffReady:
    """What `PrepareHandoff` asked for is there. policy: how the persona leads the call.

    session_id, model: of another session that stands ready for it; empty where the one in use will do.
    """

    persona: str
    policy: Policy
    session_id: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class HandoffFailed:
    """What `PrepareHandoff` asked for cannot be had, or is gone."""

    persona: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Woke:
    """The time that `Bridge.deadline` asked for has come."""


@dataclass(frozen=True, slots=True)
class CallFacts:
    """Who calls whom, known before any media. Numbers are as the carrier gave them, never assumed to be E.164.

    digits: the keys that the caller has pressed so far, as a tool is told them. channel: `twilio`, or `api` for what
    is said in writing. language: the one that was chosen during the call, ISO 639-1; empty for the persona's own.
    """

    call_sid: str
    from_number: str = ""
    to_number: str = ""
    direction: str = "inbound"
    correlation_id: str = ""
    persona: str = ""
    digits: str = field(default="", repr=False)
    channel: str = "twilio"
    language: str = ""


CallerEvent: TypeAlias = CallerJoined | CallerAudio | DigitPressed | MarkReached | CallerLeft
ModelEvent: TypeAlias = (
    ModelReady
    | ModelUnavailable
    | ModelLost
    | ModelErred
    | SpeechStarted
    | SpeechStopped
    | TurnCommitted
    | IdleTimedOut
    | UserTranscribed
    | UserTranscriptionFailed
    | ResponseStarted
    | ItemStarted
    | AudioReceived
    | AudioFinished
    | TextReceived
    | TextFinished
    | ToolCalled
    | ResponseFinished
    | AsideFinished
    | SessionUpdated
    | UpdateRefused
)
InnerEvent: TypeAlias = (
    ToolFinished
    | SupervisorCalledTool
    | SupervisorToolFinished
    | SupervisorFinished
    | TextModelAnswered
    | HangUpAsked
    | GoodbyeAsked
    | SayAsked
    | KeysAsked
    | LanguageAsked
    | SendBlocked
    | PauseAsked
    | ResumeAsked
    | ConsentWithdrawn
    | HandoffAsked
    | HandoffReady
    | HandoffFailed
    | Woke
)
Event: TypeAlias = CallerEvent | ModelEvent | InnerEvent
