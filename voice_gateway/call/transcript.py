"""The transcript: who said what, in the order it was said, and of our own words only those that were heard.

The model's text runs ahead of its audio and carries no times. When a turn is cut, the text is cut in proportion: at the
share of the item's audio that was heard, at the end of the last whole word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voice_gateway.call import commands as do

CUT = " — [interrupted]"
"""Behind the last word that was heard of a turn that was cut."""
SPEAKING_RATE = 15.0
"""Characters a second of ordinary speech: the measure while an item's whole length is not known yet."""


@dataclass(slots=True)
class Turn:
    """One item. text: as heard (equal to generated unless cut); None while nothing is known of it.

    speaker: `caller`, `assistant`, or `house` for a remark of ours that nobody said. persona: who led the call then.
    """

    speaker: str
    item_id: str
    text: str | None = None
    generated: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    latency_ms: int | None = None
    interrupted: bool = False
    persona: str = ""

    @property
    def unsaid(self) -> str:
        """The words of ours that the caller never heard."""
        return self.generated.removeprefix(self.text or "").strip() if self.interrupted else ""


def cut_text(text: str, share: float) -> str:
    """The whole words within this share (0 to 1) of a text's characters."""
    if share >= 1.0:
        return text
    end = int(len(text) * max(0.0, share))
    if end < len(text) and not text[end].isspace():
        end = text.rfind(" ", 0, end + 1)
    return text[: max(0, end)].rstrip()


@dataclass(frozen=True, slots=True)
class Use:
    """A tool that was asked and has answered."""

    call_id: str
    name: str
    arguments: str
    output: str


class Transcript:
    """Turns in the order in which they began. log: with the tools that were used among them. persona: who leads."""

    def __init__(self, earlier: str = "") -> None:
        """earlier: what was said before the caller was put through and came back."""
        self._earlier = earlier
        self._turns: dict[str, Turn] = {}
        self.log: list[Turn | Use] = []
        self.persona = ""

    def turn(self, speaker: str, item_id: str) -> Turn:
        """The turn of this item, begun now when it is new."""
        turn = self._turns.get(item_id)
        if turn is None:
            turn = self._turns[item_id] = Turn(speaker, item_id, persona=self.persona)
            self.log.append(turn)
        return turn

    def use(self, tool: Use) -> None:
        self.log.append(tool)

    def remark(self, text: str) -> None:
        """Put down what happened between two turns."""
        self.turn("house", f"remark {len(self._turns)}").text = text

    @property
    def has_ours(self) -> bool:
        """Did we say anything yet, or begin to?"""
        return any(turn.speaker == "assistant" for turn in self._turns.values())

    @property
    def is_unsettled(self) -> bool:
        """Is the receipt for something of ours still on its way?"""
        return any(
            turn.speaker == "assistant" and turn.text is None and turn.start_ms is not None
            for turn in self._turns.values()
        )

    @property
    def unwritten(self) -> tuple[str, ...]:
        """The items of the caller's that may still be written down."""
        return tuple(turn.item_id for turn in self._turns.values() if turn.speaker == "caller" and turn.text is None)

    def hear_assistant(self, item_id: str, heard_ms: int, total_ms: int, *, whole: bool) -> Turn:
        """Close a turn of ours. whole: all of its audio was received, so total_ms is its true length."""
        turn = self.turn("assistant", item_id)
        if whole and heard_ms >= total_ms:
            turn.text = turn.generated
            return turn
        spoken_ms = float(total_ms)
        if not whole:
            spoken_ms = max(spoken_ms, len(turn.generated) * 1000 / SPEAKING_RATE)
        turn.text = cut_text(turn.generated, heard_ms / spoken_ms if spoken_ms else 0.0)
        turn.interrupted = True
        return turn

    def render(self) -> str:
        """One line a turn: `Caller: ...` or `Assistant: ...`; a cut turn ends in `CUT`, an unheard one is left out."""
        lines = [self._earlier] if self._earlier else []
        for turn in self._turns.values():
            if not turn.text:
                continue
            if turn.speaker == "house":
                lines.append(f"[{turn.text}]")
                continue
            name = "Assistant" if turn.speaker == "assistant" else "Caller"
            lines.append(f"{name}: {turn.text.strip()}{CUT if turn.interrupted else ''}")
        return "\n".join(lines)


RETOLD_CHARACTERS = 60_000
LONGEST_OUTPUT = 4_000


def retold(log: Sequence[Turn | Use], *, but: str) -> list[do.ModelCommand]:
    """What a session is told that was not there, the newest `RETOLD_CHARACTERS` of it. but: a tool that is left out.

    Of our own words those that were heard. A tool's answer that is too long for that is left out, and said so.
    """
    told: list[list[do.ModelCommand]] = []
    left = RETOLD_CHARACTERS
    for each in reversed(log):
        commands = _use_retold(each) if isinstance(each, Use) else _turn_retold(each)
        if isinstance(each, Use) and each.name == but:
            continue
        left -= sum(len(text) for text in _texts(each))
        if left < 0:
            told.append([do.AddNote("What was said before this is left out here, because the call is long.")])
            break
        told.append(commands)
    return [command for commands in reversed(told) for command in commands]


def _texts(each: Turn | Use) -> tuple[str, ...]:
    return (each.text or "",) if isinstance(each, Turn) else (each.arguments, each.output[:LONGEST_OUTPUT])


def _turn_retold(turn: Turn) -> list[do.ModelCommand]:
    text = (turn.generated if turn.speaker == "assistant" and turn.text is None else turn.text or "").strip()
    if not text:
        return []
    if turn.speaker == "house":
        return [do.AddNote(text)]
    return [do.AddLine("caller" if turn.speaker == "caller" else "assistant", text)]


def _use_retold(use: Use) -> list[do.ModelCommand]:
    output = use.output if len(use.output) <= LONGEST_OUTPUT else '{"left_out":"the answer was too long to be retold"}'
    return [do.AddToolCall(use.call_id, use.name, use.arguments), do.SendToolOutput(use.call_id, output)]
