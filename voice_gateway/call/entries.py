"""What is remembered of a call. Past tense; `event_type` is the name in the table `call_events`.

An entry is a fact, complete in itself. The journal adds who (call_sid), when (wall clock) and in which order (seq).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from voice_gateway.call.usage import Usage


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The carrier's webhook was answered: the call exists."""

    event_type: ClassVar[str] = "CALL_STARTED"
    from_number: str
    to_number: str
    direction: str
    persona: str


@dataclass(frozen=True, slots=True)
class MediaStarted:
    """The caller's media stream is up."""

    event_type: ClassVar[str] = "MEDIA_STARTED"
    stream_sid: str


@dataclass(frozen=True, slots=True)
class ModelJoined:
    """The model's session is ready for this call. waited_ms: from the caller's joining, 0 when it was ready before."""

    event_type: ClassVar[str] = "MODEL_JOINED"
    session_id: str
    model: str
    waited_ms: int


@dataclass(frozen=True, slots=True)
class UserSpoke:
    """A caller's turn as text. start_ms, end_ms: milliseconds of the call's input audio."""

    event_type: ClassVar[str] = "TRANSCRIPT_USER"
    item_id: str
    text: str
    start_ms: int | None
    end_ms: int | None


@dataclass(frozen=True, slots=True)
class AssistantSpoke:
    """A turn of ours, once all of it was heard or it was cut.

    text: what was heard, to our best knowledge. generated: all that the model had written; the same unless cut.
    unsaid: the rest of it, which the caller never heard. persona: who said it; empty for the one who began the call.
    heard_ms, total_ms: audio heard, audio received. start_ms: on the caller's media clock.
    latency_ms: from the caller's last sound (the end of the turn before) to the first audio handed to the carrier.
    """

    event_type: ClassVar[str] = "TRANSCRIPT_ASSISTANT"
    item_id: str
    text: str
    generated: str
    heard_ms: int
    total_ms: int
    interrupted: bool
    start_ms: int | None = None
    latency_ms: int | None = None
    unsaid: str = ""
    persona: str = ""


@dataclass(frozen=True, slots=True)
class BargedIn:
    """The caller spoke while we were audible. heard_ms: of item_id; unheard_ms: what was dropped."""

    event_type: ClassVar[str] = "BARGE_IN"
    item_id: str
    heard_ms: int
    unheard_ms: int
    response_id: str


@dataclass(frozen=True, slots=True)
class HeldInVain:
    """Our voice was held for what sounded like the caller, nobody confirmed it, and it went on. held_ms: the pause."""

    event_type: ClassVar[str] = "HELD_IN_VAIN"
    item_id: str
    held_ms: int


@dataclass(frozen=True, slots=True)
class ToolAsked:
    """The model called a tool. arguments: JSON text. by: empty for the voice; `supervisor` when that did it for her."""

    event_type: ClassVar[str] = "TOOL_CALL"
    call_id: str
    name: str
    arguments: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class ToolAnswered:
    """A tool came back. output: JSON text. by: as in `ToolAsked`."""

    event_type: ClassVar[str] = "TOOL_RESULT"
    call_id: str
    name: str
    output: str
    ok: bool
    duration_ms: int
    by: str = ""


@dataclass(frozen=True, slots=True)
class SupervisorAnswered:
    """A question to the supervisor is over; the question and what came of it stand as the tool's call and result.

    outcome: `answered`, `replaced` by a newer question, or why the voice went on without: `deadline`, `refused`,
    `failed`. rounds: how often the text model was asked. tools: the names of those it used, in order.
    """

    event_type: ClassVar[str] = "SUPERVISOR_ANSWERED"
    outcome: str
    model: str
    rounds: int
    tools: tuple[str, ...]
    duration_ms: int


@dataclass(frozen=True, slots=True)
class GuardrailTripped:
    """A turn broke the rules that it was checked by. label: which, by the persona's list. action: what came of it."""

    event_type: ClassVar[str] = "GUARDRAIL"
    item_id: str
    speaker: str
    label: str
    action: str


@dataclass(frozen=True, slots=True)
class DigitReceived:
    """A key was pressed."""

    event_type: ClassVar[str] = "DTMF"
    digit: str


@dataclass(frozen=True, slots=True)
class KeysPlayed:
    """Telephone keys were pressed for the far side to hear. keys: how many. whole: all of them were played."""

    event_type: ClassVar[str] = "DTMF_SENT"
    keys: int
    whole: bool


@dataclass(frozen=True, slots=True)
class LanguageSet:
    """The call goes on in another language. language: ISO 639-1."""

    event_type: ClassVar[str] = "LANGUAGE_SET"
    language: str


@dataclass(frozen=True, slots=True)
class CallerPrompted:
    """The caller said nothing for so long that he was asked whether he is still there. count: since he last spoke."""

    event_type: ClassVar[str] = "IDLE_PROMPT"
    count: int


@dataclass(frozen=True, slots=True)
class HandedOff:
    """Another persona leads the call from now on.

    by: as in `HandoffAsked`. waited_ms: since it was asked for. another_session: the model's session is another one,
    because voice or model is.
    """

    event_type: ClassVar[str] = "HANDED_OFF"
    from_persona: str
    to_persona: str
    by: str
    reason: str = ""
    waited_ms: int = 0
    another_session: bool = False


@dataclass(frozen=True, slots=True)
class GoodbyeBegun:
    """We are about to end the call. reason: as in `CallEnded`."""

    event_type: ClassVar[str] = "GOODBYE"
    reason: str


@dataclass(frozen=True, slots=True)
class TransferEnded:
    """What became of a caller who was put through, as the carrier tells it. duration_s: of their conversation.

    outcome: `completed`, or `busy`, `no-answer`, `failed`, `canceled` where there was none.
    """

    event_type: ClassVar[str] = "TRANSFER_RESULT"
    outcome: str
    duration_s: int = 0


@dataclass(frozen=True, slots=True)
class CallResumed:
    """A caller who was put through, and whom nobody answered, is back: the call goes on. spent_usd: its cost so far."""

    event_type: ClassVar[str] = "CALL_RESUMED"
    outcome: str
    spent_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class GoodbyeTakenBack:
    """The caller spoke into our goodbye, and the call goes on."""

    event_type: ClassVar[str] = "GOODBYE_TAKEN_BACK"
    reason: str


@dataclass(frozen=True, slots=True)
class SayingAsked:
    """Somebody inside wants something said. The fields are those of `SayAsked`."""

    event_type: ClassVar[str] = "SAYING_ASKED"
    saying_id: str
    by: str
    mode: str
    text: str
    interrupt: bool


@dataclass(frozen=True, slots=True)
class SayingEnded:
    """What became of it: `heard` to its end, `interrupted` by the caller or a goodbye, or never begun.

    Then it `expired`, `failed` for the model's part, found the call `ending` or too many before it (`full`); or the
    call was over (`call_ended`). item_ids: of our turns that said it, as far as they were heard.
    """

    event_type: ClassVar[str] = "SAYING_ENDED"
    saying_id: str
    outcome: str
    item_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResponseMetered:
    """A response is finished and this is what it used. usage is None where the model gave none.

    cost_usd: of this response, None where no price is known. total_usd: of the call so far, model and line. model: who
    made it. price_book: by which list of prices, and since when they count; empty where no price is known. purpose:
    empty for the conversation; what else it was made for, and heard by nobody: `supervisor`, `guardrail`.
    """

    event_type: ClassVar[str] = "RESPONSE_DONE"
    response_id: str
    status: str
    reason: str
    usage: Usage | None
    cost_usd: float | None = None
    total_usd: float = 0.0
    model: str = ""
    price_book: str = ""
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class FaultSeen:
    """Something went wrong that the call survived, or did not. where: `model`, `caller`, `tool` or `gateway`."""

    event_type: ClassVar[str] = "ERROR"
    where: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call is over.

    status: completed, failed, no_answer or canceled. duration_ms: from the webhook to the end. transcript: the whole
    conversation as heard, a turn a line. level_dbfs: the caller's speech level. padded_ms: silence put into gaps.
    cost_usd: model and line together, as far as their prices are known.
    """

    event_type: ClassVar[str] = "CALL_ENDED"
    reason: str
    status: str
    duration_ms: int
    transcript: str = ""
    level_dbfs: float | None = None
    padded_ms: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class CallSummarised:
    """What the call was about. Comes after `CallEnded`, and only where the caller said something.

    intent: a short label in snake_case. caller_name, reason: as the caller told them. All but summary may be empty.
    summary_by: the model's name, or `extract` where no model did it and the caller's own words are quoted. usage,
    cost_usd, model, price_book: of asking the model, as in `ResponseMetered`, whether its answer was of use or not.
    total_usd: of the call with it; 0 where nobody was asked.
    """

    event_type: ClassVar[str] = "CALL_SUMMARY"
    summary: str
    intent: str
    caller_name: str
    reason: str
    summary_by: str
    response_id: str = ""
    usage: Usage | None = None
    cost_usd: float | None = None
    total_usd: float = 0.0
    model: str = ""
    price_book: str = ""


@dataclass(frozen=True, slots=True)
class ConsentGiven:
    """The caller may be recorded: he pressed the key for yes, or heard the notice to its end and stayed.

    method: `keypress` or `notice`. wording: what he was told, word for word. evidence: the key.
    """

    event_type: ClassVar[str] = "CONSENT_GIVEN"
    method: str
    wording: str
    language: str = ""
    evidence: str = ""
    kind: str = "recording"


@dataclass(frozen=True, slots=True)
class ConsentRefused:
    """The caller is not recorded: he did not press the key for yes (evidence: what he pressed, if anything).

    method: `keypress`; or `spoken`, when he took his consent back during the call.
    """

    event_type: ClassVar[str] = "CONSENT_REFUSED"
    method: str
    wording: str
    language: str = ""
    evidence: str = ""
    kind: str = "recording"


@dataclass(frozen=True, slots=True)
class RecordingStarted:
    """From now on the call is recorded.

    path: below RECORDINGS_DIR. consent: what it rests on, as `method` above; `none` where nobody needs to be asked.
    """

    event_type: ClassVar[str] = "RECORDING_STARTED"
    recording_id: str
    path: str
    consent: str


@dataclass(frozen=True, slots=True)
class RecordingPaused:
    """From now on nothing that is said is kept, neither as sound nor as text. by: `tool` or `api`."""

    event_type: ClassVar[str] = "RECORDING_PAUSED"
    by: str


@dataclass(frozen=True, slots=True)
class RecordingResumed:
    """What is said is kept again."""

    event_type: ClassVar[str] = "RECORDING_RESUMED"
    by: str


@dataclass(frozen=True, slots=True)
class RecordingFinished:
    """The recording is a whole file, safe on the disk. Comes after `CallEnded`. keep_days: until it is removed."""

    event_type: ClassVar[str] = "RECORDING_FINISHED"
    recording_id: str
    path: str
    duration_ms: int
    size: int
    sha256: str
    keep_days: int = 0


@dataclass(frozen=True, slots=True)
class RecordingUploaded:
    """The recording lies in a bucket of Supabase Storage, under `path`. local: the file is kept here as well."""

    event_type: ClassVar[str] = "RECORDING_UPLOADED"
    recording_id: str
    path: str
    bucket: str
    local: bool


@dataclass(frozen=True, slots=True)
class RecordingRemoved:
    """The recording's time is over: it was removed here and, where bucket names one, from the storage."""

    event_type: ClassVar[str] = "RECORDING_REMOVED"
    recording_id: str
    path: str
    bucket: str


@dataclass(frozen=True, slots=True)
class RecordingFailed:
    """The recording ended before its call, or could not be made. What there is of it is duration_ms long.

    size, sha256: of its file, which is kept like a whole one; 0 and empty where there is none. keep_days: as there.
    """

    event_type: ClassVar[str] = "RECORDING_FAILED"
    recording_id: str
    path: str
    reason: str
    duration_ms: int = 0
    size: int = 0
    sha256: str = ""
    keep_days: int = 0


@dataclass(frozen=True, slots=True)
class RecordingDiscarded:
    """The recording was removed at once: the consent was taken back, or there was nothing in it."""

    event_type: ClassVar[str] = "RECORDING_DISCARDED"
    recording_id: str
    path: str
    reason: str


Entry: TypeAlias = (
    CallStarted
    | MediaStarted
    | ModelJoined
    | UserSpoke
    | AssistantSpoke
    | BargedIn
    | HeldInVain
    | ToolAsked
    | ToolAnswered
    | SupervisorAnswered
    | GuardrailTripped
    | DigitReceived
    | KeysPlayed
    | LanguageSet
    | CallerPrompted
    | HandedOff
    | GoodbyeBegun
    | TransferEnded
    | CallResumed
    | GoodbyeTakenBack
    | SayingAsked
    | SayingEnded
    | ResponseMetered
    | FaultSeen
    | ConsentGiven
    | ConsentRefused
    | RecordingStarted
    | RecordingPaused
    | RecordingResumed
    | RecordingFinished
    | RecordingUploaded
    | RecordingRemoved
    | RecordingFailed
    | RecordingDiscarded
    | CallEnded
    | CallSummarised
)
