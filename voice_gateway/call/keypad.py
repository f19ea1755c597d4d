"""Keypad: keys pressed on the telephone become one note for the model when the caller pauses or presses `#`."""

from __future__ import annotations

DIGITS_SETTLE = 1.5


class Keypad:
    """pressed: every key of this call, the first 100. due: when those not told yet are, unless more come."""

    def __init__(self) -> None:
        self._digits = ""
        self.pressed = ""
        self.due: float | None = None

    def press(self, digit: str, now: float) -> None:
        self._digits += digit
        self.pressed = (self.pressed + digit)[:100]
        self.due = now if digit == "#" else now + DIGITS_SETTLE

    def take(self, now: float) -> str:
        """The keys that are due, and forget them; empty when it is too early or there are none."""
        if self.due is None or now < self.due:
            return ""
        digits, self._digits, self.due = self._digits, "", None
        return digits
