"""Who may come in."""

from __future__ import annotations

import pytest

from voice_gateway.web.bearer import bears, is_token

TOKEN = "k9-a-long-random-token"


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
def test_the_token_opens(header: str) -> None:
    assert bears(header, TOKEN)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer é"]
)
def test_nothing_else_does(header: str) -> None:
    assert not bears(header, TOKEN)


def test_where_no_token_is_set_none_is_right() -> None:
    assert not bears("Bearer ", "")
    assert not is_token("", "")
