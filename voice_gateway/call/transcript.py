"""The transcript: who said what, in the order it was said, and of our own words only those that were heard.

The model's text runs ahead of its audio and carries no times. When a turn is cut, the text is cut in proportion: at the
share of the item's audio that was heard, at the end of the last whole word.
"""

from __future__ import annotations

from dataclasses import dataclass

CUT = " — [interrupted]"
"""Behind the last word that was heard of a turn that was cut."""
SPEAKING_RATE = 15.0
"""Characters a second of ordinary speech: the measure while an item's whole length is not known yet."""


@dataclass(slots=True)
class Turn:
    """One item. text: as heard (equal to generated unless cut); None while nothing is known of it."""

    speaker: str
    item_id: str
    text: str | None = None
    generated: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    latency_ms: int | None = None
    interrupted: bool = False

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


class Transcript:
    """Turns in the order in which they began."""

    def __init__(self, earlier: str = "") -> None:
        """earlier: what was said before the caller was put through and came back."""
        self._earlier = earlier
        self._turns: dict[str, Turn] = {}

    def turn(self, speaker: str, item_id: str) -> Turn:
        """The turn of this item, begun now when it is new."""
        turn = self._turns.get(item_id)
        if turn is None:
            turn = self._turns[item_id] = Turn(speaker, item_id)
        return turn

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
            name = "Assistant" if turn.speaker == "assistant" else "Caller"
            lines.append(f"{name}: {turn.text.strip()}{CUT if turn.interrupted else ''}")
        return "\n".join(lines)
