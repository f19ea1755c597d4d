"""The exceptions of the house: what this program raises on purpose for the person who runs it.

Each says what is wrong and what to do, in words that may be printed as they are: no secret and no full phone number.
"""

from __future__ import annotations

from collections.abc import Sequence


class GatewayError(Exception):
    """Anything the gateway raises on purpose. A command line prints the text and leaves the traceback out."""


class ConfigError(GatewayError):
    """The settings cannot be used. `problems` holds one sentence for each of them, all of them at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = "1 setting" if len(self.problems) == 1 else f"{len(self.problems)} settings"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{count} cannot be used (environment or .env; .env.example explains each):{lines}")


class MissingPartError(GatewayError):
    """An optional part is not installed. The text names the command that installs it."""
