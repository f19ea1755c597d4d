"""The shapes of the API: what it takes and what it answers. The OpenAPI document is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

MOST_CHARACTERS: Final = 5000
_CONTROL: Final = r"\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F"
_BLANK: Final = r"\x09-\x0D \xA0\u1680\u2000-\u200F\u2028-\u202F\u205F-\u2064\u3000\uFEFF"
READABLE: Final = f"^[^{_CONTROL}]*[^{_CONTROL}{_BLANK}][^{_CONTROL}]*$"
"""Something to read, and no control characters but tabs and line breaks."""
IDENTIFIER: Final = r"^[A-Za-z0-9_-]{1,64}$"
PERSONA: Final = r"^[a-z][a-z0-9_-]{0,31}$"
PATTERNS: Final = {
    READABLE: "must hold something to read, and no control characters but tabs and line breaks",
    IDENTIFIER: "must be letters, digits, _ and -, 64 at most",
    PERSONA: "must be small letters, digits, _ and -, 32 at most, and begin with a letter",
}
"""What each of them asks for."""

Text: TypeAlias = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MOST_CHARACTERS,
        pattern=READABLE,
        description="What to say or to ask. No control characters but tabs and line breaks, and not blank.",
    ),
]
CallSid: TypeAlias = Annotated[
    str, Field(pattern=IDENTIFIER, description="A live call: its CallSid, as `GET /ai/calls` lists it.")
]
SessionId: TypeAlias = Annotated[
    str, Field(pattern=IDENTIFIER, description="A text session of yours, by a name of your choice.")
]
PersonaKey: TypeAlias = Annotated[str, Field(pattern=PERSONA, description="A key that `GET /ai/personas` lists.")]


_IN_A_CALL: Final = "goes with the call_sid of a live call alone"
_IN_WRITING: Final = "goes with no call_sid: it is of the conversations in writing"


class Shape(BaseModel):
    """Exactly these fields, of exactly these types."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    ELSEWHERE: ClassVar[Mapping[str, str]] = {}
    """Fields that the same door takes in another shape, and when."""


# --- saying something -------------------------------------------------------------------------------------------


class SayInCall(Shape):
    """Say something in a live call."""

    ELSEWHERE = {"session_id": _IN_WRITING, "stream": _IN_WRITING}

    text: Text
    call_sid: CallSid
    mode: Literal["speak", "ask"] = Field(
        "speak",
        description="`speak`: the caller hears this text, word for word. `ask`: the model is told it as a note from "
        "the house, and speaks to the caller as it asks for.",
    )
    interrupt: bool = Field(
        False,  # noqa: FBT003 - a default
        description="Break off what we are saying. Without it a quiet moment is waited for, 60 s at most. The caller "
        "is never interrupted.",
    )
    wait: bool = Field(
        False,  # noqa: FBT003 - a default
        description="Answer when it was heard to its end, or was not. Without it: as soon as the call has it.",
    )
    persona: PersonaKey | None = Field(None, description="Have this persona lead the call from now on.")


class SayInWriting(Shape):
    """Say something to the model in writing."""

    ELSEWHERE = {"mode": _IN_A_CALL, "interrupt": _IN_A_CALL, "wait": _IN_A_CALL}

    text: Text
    call_sid: None = Field(None, description="Without one, or null: in writing.")
    session_id: SessionId = Field("default", description="Which of your text sessions; it is begun if there is none.")
    persona: PersonaKey | None = Field(None, description="Who is to answer from now on in this session.")
    stream: bool = Field(
        False,  # noqa: FBT003 - a default
        description="Answer with server-sent events, as the reply is written. `Accept: text/event-stream` asks for the "
        "same.",
    )


class ToolReport(Shape):
    """A tool that the model used for this answer."""

    name: str
    ok: bool


class SaidInCall(Shape):
    """What became of it in the call."""

    ok: Literal[True] = True
    call_sid: str
    saying_id: str = Field(description="Its name in the call's events SAYING_ASKED and SAYING_ENDED.")
    status: Literal["accepted", "heard", "interrupted"] = Field(
        description="accepted: the call has it. With `wait` instead: heard to its end, or interrupted by the caller."
    )
    heard: str | None = Field(default=None, description="With `wait`: the words that the caller heard.")
    heard_ms: int | None = Field(
        default=None, description="With `wait`: how much sound of it he heard, in milliseconds."
    )


class SaidInWriting(Shape):
    """The model's answer in writing."""

    ok: Literal[True] = True
    session_id: str
    record_id: str = Field(description="The session's name on the record: `calls.call_sid`.")
    persona: str
    reply: str
    tools: list[ToolReport]


# --- who answers ------------------------------------------------------------------------------------------------


class PersonaInCall(Shape):
    """Have another persona lead a live call."""

    ELSEWHERE = {"session_id": _IN_WRITING}

    key: PersonaKey
    call_sid: CallSid


class PersonaInWriting(Shape):
    """Have another persona answer in one of your text sessions."""

    key: PersonaKey
    call_sid: None = Field(None, description="Without one, or null: in writing.")
    session_id: SessionId = Field("default", description="Which of your text sessions; it is begun if there is none.")


class PersonaAnswer(Shape):
    """Who answers."""

    ok: Literal[True] = True
    active: str
    pending: bool = Field(description="In a call: whether the change waits for a quiet moment still.")


class PersonaInfo(Shape):
    """A persona. Empty texts: as configured, and any language or market."""

    key: str
    name: str
    language: str
    market: str
    voice: str
    model: str
    tools: list[str]


class Personas(Shape):
    """All personas."""

    ok: Literal[True] = True
    default: str = Field(description="Who answers where nothing else is said (DEFAULT_PERSONA).")
    personas: list[PersonaInfo]


class ToolInfo(Shape):
    """A tool, as a model is told of it, and who uses it."""

    name: str
    description: str
    parameters: dict[str, Any] = Field(description="The arguments' JSON schema.")
    has_effect: bool = Field(description="It changes something; the same wish is done once.")
    in_call: bool = Field(description="It is of use in a live call alone.")
    timeout_s: float
    personas: list[str]


class ToolList(Shape):
    """All tools that a persona uses."""

    ok: Literal[True] = True
    tools: list[ToolInfo]


# --- a call's recording ----------------------------------------------------------------------------------------


class Pause(Shape):
    """Pause a call's recording, or let it go on."""

    paused: bool


# --- what is there ----------------------------------------------------------------------------------------------


class CallInfo(Shape):
    """A live call. Numbers are masked."""

    call_sid: str
    persona: str
    direction: str
    from_number: str
    to_number: str
    seconds: float = Field(description="Since the carrier's webhook.")
    streaming: bool = Field(description="Its media stream is up: something may be said in it.")


class Calls(Shape):
    """The calls of this process that are live now."""

    ok: Literal[True] = True
    calls: list[CallInfo]


class SessionEnded(Shape):
    """A text session has ended."""

    ok: Literal[True] = True
    session_id: str


class Health(Shape):
    """The process lives."""

    ok: Literal[True] = True
    persona: str = Field(description="DEFAULT_PERSONA")
    service: str
    realtime_enabled: bool = Field(description="AI_REALTIME_ENABLED")
