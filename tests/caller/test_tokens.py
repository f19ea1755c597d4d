"""Stream tokens: one call, a short time, once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.caller.tokens import StreamTokens, TokenVerdict

SECRET, CALL, NOW = b"0123456789abcdef", "CA" + "1" * 32, 1_800_000_000.0


@pytest.fixture
def tokens() -> StreamTokens:
    return StreamTokens(SECRET, ttl_s=30.0)


def test_a_token_is_good_once(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    assert tokens.redeem(token, CALL, NOW + 2) is TokenVerdict.OK
    assert tokens.redeem(token, CALL, NOW + 2) is TokenVerdict.REPLAYED


def test_each_token_of_a_call_is_its_own(tokens: StreamTokens) -> None:
    first, second = tokens.mint(CALL, NOW), tokens.mint(CALL, NOW)
    assert first != second
    assert tokens.redeem(second, CALL, NOW)
    assert tokens.redeem(first, CALL, NOW)


def test_another_call_cannot_use_it_and_does_not_burn_it(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    assert tokens.redeem(token, "CA" + "2" * 32, NOW) is TokenVerdict.WRONG_CALL
    assert tokens.redeem(token, "", NOW) is TokenVerdict.WRONG_CALL
    assert tokens.redeem(token, CALL, NOW) is TokenVerdict.OK


def test_it_expires(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    assert tokens.redeem(token, CALL, NOW + 30) is TokenVerdict.EXPIRED
    assert tokens.redeem(token, CALL, NOW + 29.9) is TokenVerdict.EXPIRED  # for the clock never goes back


def test_the_last_moment_still_counts(tokens: StreamTokens) -> None:
    assert tokens.redeem(tokens.mint(CALL, NOW), CALL, NOW + 29.9) is TokenVerdict.OK


def test_a_process_with_the_same_secret_takes_it_and_one_with_another_does_not(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    assert StreamTokens(b"another secret..").redeem(token, CALL, NOW) is TokenVerdict.FORGED
    assert StreamTokens(SECRET).redeem(token, CALL, NOW) is TokenVerdict.OK


def test_every_changed_character_is_found_out(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    for at, character in enumerate(token):
        other = "A" if character != "A" else "B"
        verdict = tokens.redeem(token[:at] + other + token[at + 1 :], CALL, NOW)
        assert verdict in {TokenVerdict.FORGED, TokenVerdict.MALFORMED}
    assert tokens.redeem(token, CALL, NOW) is TokenVerdict.OK


@given(st.one_of(st.text(alphabet=st.characters(), max_size=120), st.binary(min_size=68, max_size=68).map(bytes.hex)))
def test_any_text_gets_a_verdict_and_none_is_good(text: str) -> None:
    assert not StreamTokens(SECRET).redeem(text, CALL, NOW)


def test_a_second_spelling_of_the_same_bytes_is_no_token(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) + 1]  # only bits beyond the last byte differ
    assert tokens.redeem(twin, CALL, NOW) is TokenVerdict.MALFORMED


def test_what_is_remembered_is_forgotten_with_the_tokens(tokens: StreamTokens) -> None:
    for second in range(1_000):
        assert tokens.redeem(tokens.mint(CALL, NOW + second), CALL, NOW + second)
    assert len(tokens._used) == len(tokens._by_expiry) <= 31


def test_a_clock_set_back_revives_no_used_token(tokens: StreamTokens) -> None:
    token = tokens.mint(CALL, NOW)
    assert tokens.redeem(token, CALL, NOW)
    assert tokens.redeem(tokens.mint(CALL, NOW + 60), CALL, NOW + 60)  # the first one's nonce is forgotten by now
    assert tokens.redeem(token, CALL, NOW) is TokenVerdict.EXPIRED
    assert tokens.redeem(tokens.mint(CALL, NOW), CALL, NOW) is TokenVerdict.OK  # and new ones still work


def test_a_poor_secret_or_no_time_to_live_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        StreamTokens(b"short")
    with pytest.raises(ValueError, match="ttl_s"):
        StreamTokens(SECRET, ttl_s=0)


def test_the_secret_does_not_show(tokens: StreamTokens) -> None:
    assert SECRET.decode() not in repr(tokens)
