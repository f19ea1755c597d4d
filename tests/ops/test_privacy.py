"""No full phone number and no secret comes through; ids and times that logs live from do."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voice_gateway.ops.privacy import Scrubber, mask_number, scrub

_spec = spec_from_file_location("log_guard", Path(__file__).with_name("log_guard.py"))
assert _spec is not None
assert _spec.loader is not None
log_guard = module_from_spec(_spec)
_spec.loader.exec_module(log_guard)

e164 = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
prose = st.text(st.characters(codec="utf-8", exclude_characters="+", exclude_categories=("Nd", "Cs")), max_size=30)


def digits(text: str) -> str:
    return re.sub(r"\D", "", text)


# --- one number ---


@pytest.mark.parametrize(
    ("number", "masked"),
    [
        ("+15551234567", "+1555***4567"),
        ("+1 (555) 123-4567", "+1555***4567"),
        ("+35699123456", "+3569***3456"),
        ("5551234567", "5551***67"),
        ("1234567", "12***67"),
        ("12345", "***5"),
        ("911", "***"),
        ("anonymous", "anonymous"),
        ("Restricted", "Restricted"),
        ("", ""),
        ("client:alice", "client:a***"),
        ("sip:alice@example.com", "sip:a***@example.com"),
        ("sip:+15551234567@example.com;transport=tls;x=+15557654321", "sip:+1555***4567@example.com"),
        ("sip:1001@pbx", "sip:***1@pbx"),
        ("tel:+15551234567", "tel:+1555***4567"),
        ("whatsapp:+15551234567", "whatsapp:+1555***4567"),
        ("Bob Smith", "B***"),
    ],
)
def test_a_number_is_masked(number: str, masked: str):
    assert mask_number(number) == masked


@given(e164)
def test_masking_hides_at_least_three_digits_and_keeps_the_country_hint(number: str):
    masked = mask_number(number)
    assert len(digits(number)) - len(digits(masked)) >= 3
    assert masked.startswith(number[:3])
    assert masked.endswith(number[-2:])


@given(st.one_of(e164, st.text(max_size=25), st.from_regex(r"(sip|client|tel):[a-z0-9+@.;=]{0,20}", fullmatch=True)))
@example("sip:1001@pbx")
def test_masking_twice_changes_nothing(text: str):
    assert mask_number(mask_number(text)) == mask_number(text)


@given(st.from_regex(r"\+?[0-9](?:[ ().-]{0,2}[0-9]){6,17}", fullmatch=True))
def test_masking_hides_at_least_three_digits_of_a_number_in_any_spelling(written: str):
    assert len(digits(written)) - len(digits(mask_number(written))) >= 3


# --- free text ---


@pytest.mark.parametrize(
    "written",
    [
        "+15551234567",
        "+1 (555) 123-4567",
        "+1-555-123-4567",
        "+1.555.123.4567",
        "+44 20 7946 0958",
        "15551234567",
        "5551234567",
        "(555) 123-4567",
        "555-123-4567",
        "555.123.4567",
        "%2B15551234567",
        "0015551234567",
        "020 7946 0958",
        "0788 123 456",
        "5 5 5 1 2 3 4 5 6 7",
        "5, 5, 5, 1, 2, 3, 4, 5, 6, 7",
        "250788123456",
    ],
)
@pytest.mark.parametrize("around", ["{}", "call from {} ended", "From={}&To=x", '"{}"', "tel:{};ext=1", "<{}>", "_{}_"])
def test_a_number_is_found_however_it_is_written(written: str, around: str):
    text = scrub(around.format(written))
    assert written not in text
    assert digits(written) not in digits(text)
    assert "***" in text


@pytest.mark.parametrize(
    "text",
    [
        "CA" + "0123456789" * 3 + "12",
        "MZ" + "1" * 32,
        "0190b5b0-1234-7123-8123-123456789012",
        "12345678-1234-4234-8234-123456789012",
        "2026-11-21T20:00:00.000Z",
        "2026-11-21 20:00:00,123",
        "2026-11-21T20:00:00.123456+01:00",
        "Sat, 21 Nov 2026 20:00:00 +0000",
        "1763755200",
        "1763755200123",
        "item_Ck9x123456789012345678901",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "127.0.0.1:54321",
        "192.168.100.200",
        "took 0.1234567890123 s",
        "12345678 bytes in 200 frames",
        '127.0.0.1:40404 - "GET /health HTTP/1.1" 200',
        "twilio.session.started",
        "a task-based-approach-to-everything",
        "token expired",
        "",
    ],
)
def test_ids_times_and_plain_words_are_left_alone(text: str):
    assert scrub(text) == text


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("key sk-proj-abcDEF123_456-789 refused", "key sk-*** refused"),
        ("ek_68af296e8e408191a1120ab6383263c2", "ek_***"),
        ("sb_secret_AbCdEfGh12345678", "sb_***"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whs***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZSJ9.c2lnbmF0dXJl", "eyJ***"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("authorization: basic QUM6dG9rZW4=", "authorization: basic ***"),
        ("wss://x.supabase.co/realtime?apikey=abc123&vsn=1.0.0", "wss://x.supabase.co/realtime?apikey=***&vsn=1.0.0"),
        ("{'token': 'one-time', 'from': 'x'}", "{'token': '***', 'from': 'x'}"),
        ('{"auth_token": "abc"}', '{"auth_token": "***"}'),
        ("redis://user:hunter2@cache:6379/0", "redis://***@cache:6379/0"),
        ("X-Twilio-Signature: RSOYDt4T1cUTdK1PDd93/VVr8B8=", "X-Twilio-Signature: ***"),
    ],
)
def test_keys_are_hidden_and_the_words_around_them_stay(text: str, scrubbed: str):
    assert scrub(text) == scrubbed


def test_registered_secrets_are_hidden_in_plain_and_in_urls():
    scrubber = Scrubber(["0f1e2d3c4b5a6978", "with/slash+plus", "short"])
    text = scrubber.scrub("token 0f1e2d3c4b5a6978 and with/slash+plus and with%2Fslash%2Bplus are short")
    assert text == "token *** and *** and *** are short"
    assert "0f1e2d3c4b5a6978" not in repr(scrubber)


def test_the_longer_of_two_registered_secrets_is_hidden_whole():
    assert Scrubber(["abcdef", "abcdefgh"]).scrub("x abcdefgh y") == "x *** y"


@given(prose, e164, prose)
def test_no_full_number_survives_in_any_prose(before: str, number: str, after: str):
    assert digits(number) not in digits(scrub(f"{before}{number} {after}"))


@given(st.uuids(), st.datetimes(datetime(2020, 1, 1), datetime(2032, 1, 1)), st.binary(min_size=16, max_size=16))  # noqa: DTZ001  # hypothesis wants naive bounds
def test_ids_and_times_survive_in_any_line(some_id: uuid.UUID, moment: datetime, noise: bytes):
    moment = moment.replace(tzinfo=UTC)
    line = f"call CA{noise.hex()} of {some_id} at {moment.isoformat()} and {moment.timestamp():.0f}"
    assert scrub(line) == line


@given(st.one_of(st.text(max_size=100), st.text("0123456789+-. ()abx", max_size=60)))
def test_the_guard_finds_nothing_in_scrubbed_text(text: str):
    assert not log_guard.find_leaks(scrub(text))


@pytest.mark.parametrize("unit", ["+1", "sk-", "eyJa.", "://a:", "0-", "1 ", "(", "Bearer ", "abcdef01"])
def test_hostile_text_is_scrubbed_in_time(unit: str):
    assert len(scrub(unit * 20_000)) < 10_000


def test_a_long_text_is_cut_and_what_the_cut_left_of_a_key_is_gone():
    key = "sk-abcdefghijklmnopqrstuvwxyz"
    text = scrub("x " * 4090 + key + " y" * 100)
    assert "sk-" not in text
    assert text.endswith("characters)")


# --- values ---


def test_values_are_scrubbed_at_any_depth_and_bytes_are_not_shown():
    value = {"to": ["+15551234567", ("sk-abcdefghijklmnop",)], "+15557654321": 1, "audio": b"\xff" * 160, "n": 7}
    assert Scrubber().scrub_value(value) == {
        "to": ["+1555***4567", ["sk-***"]],
        "+1555***4321": 1,
        "audio": "<160 bytes>",
        "n": 7,
    }


def test_a_value_that_holds_itself_or_cannot_be_written_is_survived():
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    endless: list[object] = []
    endless.append(endless)
    assert "..." in str(Scrubber().scrub_value(endless))
    assert Scrubber().scrub_value(Mute()) == "<Mute>"


# --- the guard of the tests itself ---


@pytest.mark.parametrize(
    "leaking",
    ["from +15551234567", "from 15551234567", "to 5551234567", "555-123-4567", "sk-abcdefghijklmnop", "Bearer abcdefg"],
)
def test_the_guard_finds_what_looks_like_a_leak(leaking: str):
    assert log_guard.find_leaks(leaking)


def test_the_guard_finds_known_secrets_and_known_numbers_in_any_spelling():
    assert log_guard.find_leaks("a my-token b", secrets=["my-token"])
    assert log_guard.find_leaks("5 5 5, 1 2 3, 4 5 6 7", numbers=["5551234567"])
    assert not log_guard.find_leaks("+1555***4567", secrets=["my-token"], numbers=["+15551234567"])


def test_the_guard_passes_a_masked_line():
    line = f'{{"time":"2026-11-21T20:00:00.000Z","callSid":"CA{"1" * 32}","from":"+1555***4567","pid":1234}}'
    assert log_guard.find_leaks(line) == []
