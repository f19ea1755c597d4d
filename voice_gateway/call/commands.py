"""What the bridge wants done. Imperatives; the session performs them in the order given, one leg at a time.

Audio formats are those of `events`: `ulaw` is G.711 µ-law at 8 kHz, `audio` is in the model leg's format.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from voice_gateway.call.entries import Entry

# --- to the caller leg ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlayAudio:
    """Hand sound to the carrier. It plays everything in order, in real time."""

    ulaw: bytes


@dataclass(frozen=True, slots=True)
class SendMark:
    """Ask the carrier for a receipt when everything sent so far was played."""

    name: str


@dataclass(frozen=True, slots=True)
class ClearPlayout:
    """Drop what the carrier has not played yet. It returns all pending marks at once."""


# --- to the model leg -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AppendAudio:
    """Let the model hear the caller. It has no acknowledgement."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class CreateResponse:
    """Ask the model to speak now. instructions: for this response alone; None leaves the session's own.

    may_use_tools: False where it is to speak and do nothing else.
    """

    instructions: str | None = None
    may_use_tools: bool = True


@dataclass(frozen=True, slots=True)
class CancelResponse:
    """Stop a generation. Always by id: a cancel without one was seen killing the next response."""

    response_id: str


@dataclass(frozen=True, slots=True)
class TruncateItem:
    """Tell the model how much of its voice was heard, in whole milliseconds, never more than was received."""

    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class DeleteItem:
    """Take an item that was never heard at all out of the conversation."""

    item_id: str


@dataclass(frozen=True, slots=True)
class SendToolOutput:
    """Give the model a tool's answer. It stays silent until the next response is created."""

    call_id: str
    output: str


@dataclass(frozen=True, slots=True)
class AddNote:
    """Write a system message into the conversation, such as a pressed key."""

    text: str


@dataclass(frozen=True, slots=True)
class AddLine:
    """Add a line to the end of the conversation, in writing."""

    speaker: Literal["caller", "assistant"]
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AddToolCall:
    """Add a tool call that was made in an earlier session of the same conversation; its output follows."""

    call_id: str
    name: str
    arguments: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AddFirstWords:
    """Put words at the beginning of the conversation that the caller heard from us and the model did not speak itself.

    item_id: of the item that they become; our own choice, so that they can be taken out again.
    """

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class AskAside:
    """Have the model write about a text, outside the conversation and unheard; `AsideFinished` comes back.

    purpose: a name for this question. text: what it is about, as data. most_tokens: of the answer.
    """

    purpose: str
    instructions: str
    text: str = field(repr=False)
    most_tokens: int = 1000


@dataclass(frozen=True, slots=True)
class UpdateSession:
    """Make the model's session that of another persona; `SessionUpdated` or `UpdateRefused` comes back."""

    persona: str


@dataclass(frozen=True, slots=True)
class SwapModel:
    """Put the session that stands ready for a persona in the place of the one in use; all that follows goes to it."""

    persona: str


@dataclass(frozen=True, slots=True)
class CheckTurn:
    """Have the model say in a word what it makes of a turn, outside the conversation; `AsideFinished` comes back.

    purpose: a name for this question. speaker: `caller` or `assistant`. said: the words, as data.
    """

    purpose: str
    instructions: str
    speaker: str
    said: str = field(repr=False)
    most_tokens: int = 200


@dataclass(frozen=True, slots=True)
class SetLanguage:
    """Have the model's session, which is this persona's, go on in another of its languages. language: ISO 639-1."""

    language: str
    persona: str


# --- inside the house -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeepGreeting:
    """Keep the model's spoken greeting for later calls. ulaw: all of it, without the silence around it."""

    ulaw: bytes
    text: str


@dataclass(frozen=True, slots=True)
class PrepareHandoff:
    """See what a persona needs to take over, and open a session for it if it needs its own.

    `HandoffReady` or `HandoffFailed` comes back. language: one that was chosen just now; empty for that of the call.
    """

    persona: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class DropHandoff:
    """What was prepared is not needed any more."""


@dataclass(frozen=True, slots=True)
class RunTool:
    """Start a tool; `ToolFinished` comes back as one more event. arguments: JSON text as the model wrote it.

    digits: the keys that the caller has pressed in this call so far.
    """

    call_id: str
    name: str
    arguments: str
    digits: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class WriteEntry:
    """Put a fact on the record of the call."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Observe:
    """A figure for the operators, not for the record: `heard_error`, `response_latency`, ... value: in seconds."""

    figure: str
    value: float


@dataclass(frozen=True, slots=True)
class EndCall:
    """Close both legs: the call is over. say: a last sentence for the caller by the carrier's voice, if it can.

    transfer_number: the telephone number or SIP address that the carrier puts the caller through to then; empty hangs
    up. status: of the call on record.
    """

    reason: str
    say: str = ""
    transfer_number: str = field(default="", repr=False)
    status: str = "completed"


CallerCommand: TypeAlias = PlayAudio | SendMark | ClearPlayout
ModelCommand: TypeAlias = (
    AppendAudio
    | CreateResponse
    | CancelResponse
    | TruncateItem
    | DeleteItem
    | SendToolOutput
    | AddNote
    | AddLine
    | AddToolCall
    | AddFirstWords
    | AskAside
    | CheckTurn
)
HandoffCommand: TypeAlias = PrepareHandoff | DropHandoff | UpdateSession | SwapModel | SetLanguage
Command: TypeAlias = (
    CallerCommand | ModelCommand | HandoffCommand | KeepGreeting | RunTool | WriteEntry | Observe | EndCall
)
