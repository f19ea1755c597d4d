"""`.env.example` and the settings say the same: every variable, its true default, and a word about it."""

from __future__ import annotations

import re
from pathlib import Path

from dotenv import dotenv_values
from pydantic import SecretStr

from voice_gateway import config
from voice_gateway.config import Settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_every_setting_is_in_the_example_and_nothing_else_is():
    assert set(dotenv_values(EXAMPLE)) == {name.upper() for name in Settings.model_fields}


def test_the_example_shows_the_true_defaults():
    shown = dotenv_values(EXAMPLE)
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        text = "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        assert shown[name.upper()] == text, name


def test_the_example_copied_as_it_is_loads_and_equals_an_empty_environment():
    assert config.load({}, EXAMPLE) == config.load({}, None)


def test_every_variable_is_explained_right_above_it():
    paragraphs = EXAMPLE.read_text(encoding="utf-8").split("\n\n")
    for name in dotenv_values(EXAMPLE):
        (paragraph,) = [p for p in paragraphs if re.search(rf"^{name}=", p, re.MULTILINE)]
        comment, *variables = re.split(r"^(?=[A-Z_]+=)", paragraph, flags=re.MULTILINE)
        assert len(variables) == 1, f"{name} shares its paragraph"
        assert len(comment.strip()) > 20, f"{name} has no explanation"


def test_every_setting_says_what_it_should_hold():
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_the_example_holds_no_secret():
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, SecretStr):
            assert dotenv_values(EXAMPLE)[name.upper()] == "", name
