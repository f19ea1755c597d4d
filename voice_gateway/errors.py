"""The exceptions of the house: what this program raises on purpose for the person who runs it.

Each says what is wrong and what to do, in words that may be printed as they are: no secret and no full phone number.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Sequence

LONGEST_MISTAKE = 64
"""Letters of a name that are looked at for what may have been meant."""


def there_are(known: Iterable[str], *missing: str) -> str:
    """The names there are, after one that is not; at the end those that may have been meant."""
    names = [*known]
    near = {each: None for name in missing for each in difflib.get_close_matches(name[:LONGEST_MISTAKE], names, n=1)}
    return f"there are {', '.join(names) or 'none'}" + (f"; did you mean {', '.join(near)}?" if near else "")


class GatewayError(Exception):
    """Anything the gateway raises on purpose. A command line prints the text and leaves the traceback out."""


class ConfigError(GatewayError):
    """The settings cannot be used. `problems` holds one sentence for each of them, all of them at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = "1 setting" if len(self.problems) == 1 else f"{len(self.problems)} settings"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{count} cannot be used (environment or .env; .env.example explains each):{lines}")


@contextlib.contextmanager
def gathered(problems: list[str]) -> Iterator[None]:
    """Go on after what is raised here on purpose, so that it can be told together with what else is wrong."""
    try:
        yield
    except GatewayError as error:
        problems.append(str(error))
