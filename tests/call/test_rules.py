"""The rules at the heads of the modules are held by tests: each rule names at least one, and each named one exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADING = "Rules\n-----\n"
UNNAMED = {
    "call/heard.py", "call/playout.py", "call/recording.py", "model/realtime.py", "store/recordings.py",
    "store/uploads.py", "trace/folder.py",
}  # fmt: skip
"""What they say is held by whole files of tests, mostly of properties, and not rule by rule."""


def _rules() -> dict[str, str]:
    """The rules by the modules that open with them."""
    house = ROOT / "voice_gateway"
    texts = {path.relative_to(house).as_posix(): path.read_text(encoding="utf-8") for path in house.rglob("*.py")}
    return {
        module: (ast.get_docstring(ast.parse(text), clean=False) or "").partition(HEADING)[2]
        for module, text in texts.items()
        if HEADING in text
    }


RULES = _rules()
THERE_ARE = frozenset(
    name
    for path in (ROOT / "tests").glob("*/test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.mark.parametrize("module", sorted(RULES.keys() - UNNAMED))
def test_every_rule_names_a_test_that_exists(module: str) -> None:
    rules = re.split(r"^\d+\. ", RULES[module], flags=re.MULTILINE)[1:]
    assert rules
    for number, rule in enumerate(rules, 1):
        named = set(re.findall(r"\btest_\w+", rule))
        assert named, f"rule {number} names no test"
        assert named <= THERE_ARE, f"rule {number} names {named - THERE_ARE}, which no file here holds"
