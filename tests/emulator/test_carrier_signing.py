"""The carrier's signatures, judged by Twilio's own validator."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator, get_signature_algorithm

from voice_gateway.emulator.carrier_signing import SETTINGS_HEADER, SIGNATURE_HEADER, SharedKey, Signer

TOKEN = "0123456789abcdef0123456789abcdef"
URL = "https://voice.example.com/twilio/answer?line=1"
KEY = SharedKey("webhooks_sharedkey_01", "shared secret")
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(fields=st.dictionaries(words, words, max_size=8))
def test_any_form_is_signed_as_twilio_validates_it(fields):
    signed = Signer(TOKEN).headers(URL, fields)[SIGNATURE_HEADER]
    assert RequestValidator(TOKEN).validate(URL, fields, signed)


def test_a_websocket_upgrade_is_signed_over_its_wss_url_alone():
    url = "wss://voice.example.com/ws/twilio"
    signed = Signer(TOKEN).headers(url, {})[SIGNATURE_HEADER]
    assert RequestValidator(TOKEN).validate(url, {}, signed)
    assert not RequestValidator(TOKEN).validate("https://voice.example.com/ws/twilio", {}, signed)
    assert not RequestValidator(TOKEN).validate(url + "/", {}, signed)


def test_a_shared_key_signs_with_sha256_and_says_so():
    headers = Signer(TOKEN, "sha256", KEY).headers(URL, {"CallSid": "CA1"})
    algorithm = get_signature_algorithm(headers[SETTINGS_HEADER])
    assert algorithm == "HMAC_SHA256"
    validator = RequestValidator(KEY.secret)
    assert validator.validate(URL, {"CallSid": "CA1"}, headers[SIGNATURE_HEADER], algorithm=algorithm)
    assert not validator.validate(URL, {"CallSid": "CA1"}, headers[SIGNATURE_HEADER])


def test_a_wrong_signature_is_refused_and_none_is_absent():
    signed = Signer(TOKEN, "wrong").headers(URL, {})[SIGNATURE_HEADER]
    assert not RequestValidator(TOKEN).validate(URL, {}, signed)
    assert Signer(TOKEN, "none").headers(URL, {}) == {}


def test_sha256_without_a_key_is_refused_with_advice():
    with pytest.raises(ValueError, match="needs a shared_key"):
        Signer(TOKEN, "sha256")


def test_secrets_do_not_show_in_reprs():
    shown = repr(Signer(TOKEN, "sha256", KEY))
    assert TOKEN not in shown
    assert KEY.secret not in shown
