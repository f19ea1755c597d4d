"""Signatures, made by Twilio's own package and checked by ours."""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import sha1
from io import BytesIO

import pytest
from starlette.datastructures import FormData, Headers, UploadFile
from twilio.request_validator import HMAC_SHA256, RequestValidator

from voice_gateway.caller.signature import SignatureCheck, SignatureVerdict, public_url

TOKEN, OTHER_TOKEN, SHARED_KEY = "0123456789abcdef" * 2, "fedcba9876543210" * 2, "a shared secret"
URL = "https://voice.example.com/twilio/answer?line=2"
WS_URL = "wss://voice.example.com/ws/twilio"
FORM = {"CallSid": "CA1", "From": "+15550001111", "CallerName": "", "To": "+15550002222"}
SETTINGS = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"


def signed(url: str, params: dict[str, str], token: str = TOKEN) -> dict[str, str]:
    return {"X-Twilio-Signature": RequestValidator(token).compute_signature(url, params)}


def signed_sha256(url: str, params: dict[str, str], settings: str = SETTINGS) -> dict[str, str]:
    signature = RequestValidator(SHARED_KEY).compute_signature(url, params, HMAC_SHA256)
    return {"X-Twilio-Signature": signature, "X-Twilio-Webhooks-Signature-Settings": settings}


def test_a_webhook_signed_with_the_auth_token_is_good() -> None:
    assert SignatureCheck([TOKEN]).check_http(URL, FORM, signed(URL, FORM)) is SignatureVerdict.OK


def test_the_signature_is_the_published_recipe_and_not_only_what_the_package_makes() -> None:
    text = URL + "".join(name + FORM[name] for name in sorted(FORM))
    signature = b64encode(hmac.digest(TOKEN.encode(), text.encode(), sha1)).decode()
    assert SignatureCheck([TOKEN]).check_http(URL, FORM, {"X-Twilio-Signature": signature})


def test_the_header_s_case_does_not_matter() -> None:
    signature = signed(WS_URL, {})["X-Twilio-Signature"]
    check = SignatureCheck([TOKEN])
    assert check.check_websocket(WS_URL, {"x-twilio-signature": signature})
    assert check.check_websocket(WS_URL, Headers({"X-TWILIO-Signature": signature}))


def test_a_form_with_repeated_fields_is_good() -> None:
    form = FormData([("To", "b"), ("To", "a"), ("To", "b"), ("CallSid", "CA1")])
    headers = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(URL, form)}
    assert SignatureCheck([TOKEN]).check_http(URL, form, headers)


def test_a_get_request_is_signed_over_its_query() -> None:
    check = SignatureCheck([TOKEN])
    assert check.check_http(URL, {}, signed(URL, {}))
    assert check.check_http(URL.replace("2", "3"), {}, signed(URL, {})) is SignatureVerdict.WRONG


def test_a_request_without_a_signature_is_told_apart() -> None:
    check = SignatureCheck([TOKEN])
    assert check.check_http(URL, FORM, {}) is SignatureVerdict.MISSING
    assert check.check_websocket(WS_URL, {"X-Twilio-Signature": ""}) is SignatureVerdict.MISSING


@pytest.mark.parametrize(
    ("url", "form"),
    [
        (URL, FORM | {"From": "+15550003333"}),
        (URL, FORM | {"Extra": "1"}),
        (URL, {name: value for name, value in FORM.items() if name != "CallerName"} | {"From": ""}),
        (URL + "&more=1", FORM),
        (URL.replace("https", "http"), FORM),
        (URL.replace("voice.", "evil."), FORM),
    ],
)
def test_one_changed_byte_makes_it_wrong(url: str, form: dict[str, str]) -> None:
    assert SignatureCheck([TOKEN]).check_http(url, form, signed(URL, FORM)) is SignatureVerdict.WRONG


@pytest.mark.parametrize("signature", ["x", "é" * 28, "\udce9", "A" * 28, "A" * 100_000])
def test_nonsense_as_a_signature_is_wrong_and_raises_nothing(signature: str) -> None:
    headers = {"X-Twilio-Signature": signature}
    assert SignatureCheck([TOKEN]).check_http(URL, FORM, headers) is SignatureVerdict.WRONG


def test_an_uploaded_file_or_half_a_character_is_wrong_and_raises_nothing() -> None:
    check, headers = SignatureCheck([TOKEN]), signed(URL, FORM)
    upload = FormData([("From", UploadFile(file=BytesIO(b""), filename="a"))])
    assert check.check_http(URL, upload, headers) is SignatureVerdict.WRONG
    assert check.check_http(URL, {"From": "\ud800"}, headers) is SignatureVerdict.WRONG


@pytest.mark.parametrize("token", [TOKEN, OTHER_TOKEN])
def test_several_auth_tokens_are_good_at_once(token: str) -> None:
    check = SignatureCheck([TOKEN, OTHER_TOKEN])
    assert check.check_http(URL, FORM, signed(URL, FORM, token))
    assert check.check_websocket(WS_URL, signed(WS_URL, {}, token))


def test_a_token_that_is_not_ours_is_wrong() -> None:
    assert SignatureCheck([TOKEN]).check_http(URL, FORM, signed(URL, FORM, OTHER_TOKEN)) is SignatureVerdict.WRONG


def test_an_upgrade_is_signed_over_the_wss_url_byte_for_byte() -> None:
    check = SignatureCheck([TOKEN])
    assert check.check_websocket(WS_URL, signed(WS_URL, {})) is SignatureVerdict.OK
    for other in (WS_URL.replace("wss", "https"), WS_URL + "/", WS_URL + "?a=1", WS_URL.replace("voice", "Voice")):
        assert check.check_websocket(WS_URL, signed(other, {})) is SignatureVerdict.WRONG


@pytest.mark.parametrize(
    ("configured", "used"),
    [
        ("https://voice.example.com/a", "https://voice.example.com:443/a"),
        ("https://voice.example.com:443/a", "https://voice.example.com/a"),
        ("wss://voice.example.com/a", "wss://voice.example.com:443/a"),
        ("wss://voice.example.com:443/a", "wss://voice.example.com/a"),
        ("http://127.0.0.1:8787/a", "http://127.0.0.1:8787/a"),
    ],
)
def test_the_usual_port_may_be_named_or_not(configured: str, used: str) -> None:
    assert SignatureCheck([TOKEN]).check_http(configured, FORM, signed(used, FORM))


def test_a_port_that_is_not_the_usual_one_must_be_there() -> None:
    headers = signed("https://voice.example.com/a", FORM)
    check = SignatureCheck([TOKEN])
    assert check.check_http("https://voice.example.com:8443/a", FORM, headers) is SignatureVerdict.WRONG


def test_the_sha256_form_is_checked_with_the_shared_key() -> None:
    check = SignatureCheck([TOKEN], [SHARED_KEY])
    assert check.check_http(URL, FORM, signed_sha256(URL, FORM)) is SignatureVerdict.OK
    assert check.check_websocket(WS_URL, signed_sha256(WS_URL, {})) is SignatureVerdict.OK
    assert check.check_http(URL, FORM | {"To": ""}, signed_sha256(URL, FORM)) is SignatureVerdict.WRONG


def test_the_auth_token_is_no_shared_key_and_the_other_way_round() -> None:
    check = SignatureCheck([TOKEN], [SHARED_KEY])
    with_settings = signed(URL, FORM) | {"X-Twilio-Webhooks-Signature-Settings": SETTINGS}
    assert check.check_http(URL, FORM, with_settings) is SignatureVerdict.WRONG
    assert check.check_http(URL, FORM, signed(URL, FORM, SHARED_KEY)) is SignatureVerdict.WRONG


def test_an_algorithm_we_have_no_key_for_is_told_apart() -> None:
    md5 = signed_sha256(URL, FORM, "key=webhooks_sharedkey_1,algorithm=HMAC_MD5")
    check = SignatureCheck([TOKEN], [SHARED_KEY])
    assert check.check_http(URL, FORM, md5) is SignatureVerdict.UNSUPPORTED_ALGORITHM
    no_shared_key = SignatureCheck([TOKEN])
    assert no_shared_key.check_http(URL, FORM, signed_sha256(URL, FORM)) is SignatureVerdict.UNSUPPORTED_ALGORITHM


def test_a_check_without_keys_or_with_an_empty_one_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no key"):
        SignatureCheck([])
    with pytest.raises(ValueError, match="empty key"):
        SignatureCheck([TOKEN, " "])
    with pytest.raises(ValueError, match="empty key"):
        SignatureCheck([TOKEN], [""])


def test_a_check_does_not_show_its_keys() -> None:
    check = SignatureCheck([TOKEN], [SHARED_KEY])
    assert TOKEN not in f"{check!r} {vars(check)!r}"


@pytest.mark.parametrize(
    ("base", "path", "query", "url"),
    [
        ("https://a.example", "/twilio/answer", "", "https://a.example/twilio/answer"),
        ("https://a.example/", b"/twilio/answer", b"x=%20y&z=", "https://a.example/twilio/answer?x=%20y&z="),
        ("https://a.example/voice", "/twilio/%C3%A9", b"", "https://a.example/voice/twilio/%C3%A9"),
        ("https://a.example", "//double", "", "https://a.example//double"),
    ],
)
def test_the_public_url_is_the_configured_one_with_the_request_s_path(
    base: str, path: str | bytes, query: str | bytes, url: str
) -> None:
    assert public_url(base, path, query) == url
