"""The settings: what is read, what is refused and how, what is warned about, and that no secret ever shows."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway import config, values
from voice_gateway.config import Settings
from voice_gateway.errors import ConfigError

SECRETS = {
    "OPENAI_API_KEY": "sk-proj-4fj29dk20fkd93kfd9",
    "TWILIO_AUTH_TOKEN": "0f1e2d3c4b5a69788796a5b4c3d2e1f0,ffeeddccbbaa99887766554433221100",
    "TWILIO_SHARED_KEY": "shared-key-of-webhooks",
    "STREAM_TOKEN_SECRET": "a-secret-for-stream-tokens",
    "SUPABASE_SECRET_KEY": "sb_secret_k3k3k3k3k3k3",
    "SUPABASE_SERVICE_ROLE_KEY": "older-service-role-key",
    "SUPABASE_URL": "https://project.supabase.co",
}
READY = {
    "OPENAI_API_KEY": "sk-1234567890123456",
    "TWILIO_AUTH_TOKEN": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "PUBLIC_BASE_URL": "https://voice.example.com",
}


def load(**environment: str) -> Settings:
    return config.load(environment, None)


def problems(**environment: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(**environment)
    return caught.value.problems


# --- reading ---


def test_an_empty_environment_gives_the_defaults():
    settings = load()
    assert settings.openai_realtime_model == "gpt-realtime-2.1"
    assert settings.openai_realtime_endpoint == "wss://api.openai.com/v1/realtime"
    assert settings.port == 8787
    assert settings.twilio_webhook_auth is True
    assert settings.answer_sentence == "Connecting you to our AI assistant"


def test_the_environment_goes_before_the_file(tmp_path: Path):
    env_file = tmp_path / ".env"
    env_file.write_text("PORT=9000\nMAX_CALLS=7\n", encoding="utf-8")
    settings = config.load({"PORT": "9001"}, env_file)
    assert (settings.port, settings.max_calls) == (9001, 7)


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MAX_CALLS", "12")
    assert config.load(env_file=tmp_path / "absent").max_calls == 12


def test_an_empty_value_is_not_set_except_where_nothing_is_a_choice():
    settings = load(PORT="", OPENAI_REALTIME_MODEL="", ANSWER_SENTENCE="", OPENAI_TRANSCRIPTION_MODEL="")
    assert (settings.port, settings.openai_realtime_model) == (8787, "gpt-realtime-2.1")
    assert (settings.answer_sentence, settings.openai_transcription_model) == ("", "")


def test_a_dollar_sign_and_a_byte_order_mark_in_the_file_are_read_as_meant(tmp_path: Path):
    env_file = tmp_path / ".env"
    env_file.write_text("\ufeffTWILIO_AUTH_TOKEN=a$HOME${X}b\n", encoding="utf-8")
    assert config.load({}, env_file).twilio_auth_tokens == ("a$HOME${X}b",)


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1  # type: ignore[misc]


def test_several_tokens_are_separated_by_commas():
    assert load(TWILIO_AUTH_TOKEN="first , second,").twilio_auth_tokens == ("first", "second")
    assert load().twilio_auth_tokens == ()


def test_clients_of_the_api_have_names_and_keys_and_every_key_is_a_secret():
    settings = load(AI_API_KEYS="shop:0123456789abcdef , desk:fedcba:9876543210,")
    assert settings.ai_clients == {"shop": "0123456789abcdef", "desk": "fedcba:9876543210"}
    assert set(settings.ai_clients.values()) <= set(settings.secrets())
    assert load().ai_clients == {}


def test_the_secret_key_goes_before_the_service_role_key():
    url = {"SUPABASE_URL": "https://p.supabase.co"}
    assert load(**url, SUPABASE_SERVICE_ROLE_KEY="older").supabase_key == "older"
    assert load(**url, SUPABASE_SERVICE_ROLE_KEY="older", SUPABASE_SECRET_KEY="newer").supabase_key == "newer"


@pytest.mark.parametrize(
    ("given_url", "base", "stream"),
    [
        ("https://voice.example.com/", "https://voice.example.com", "wss://voice.example.com/ws/twilio"),
        ("https://Voice.Example.com:443", "https://Voice.Example.com", "wss://Voice.Example.com/ws/twilio"),
        ("https://voice.example.com:8443", "https://voice.example.com:8443", "wss://voice.example.com:8443/ws/twilio"),
        ("http://127.0.0.1:8787", "http://127.0.0.1:8787", "ws://127.0.0.1:8787/ws/twilio"),
        ("http://gateway:8787", "http://gateway:8787", "ws://gateway:8787/ws/twilio"),
    ],
)
def test_public_addresses_are_normalised_and_the_stream_follows_them(given_url: str, base: str, stream: str):
    settings = load(PUBLIC_BASE_URL=given_url)
    assert (settings.public_base_url, settings.stream_url) == (base, stream)


def test_a_stream_address_of_its_own_is_used():
    settings = load(PUBLIC_BASE_URL="https://a.example.com", PUBLIC_WS_URL="wss://b.example.com:443/w3/ws/")
    assert settings.stream_url == "wss://b.example.com/w3/ws"


def test_a_number_may_be_written_as_people_write_it():
    assert load(TWILIO_FROM_NUMBER="+1 (555) 123-4567").twilio_from_number == "+15551234567"


# --- refusing ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "80a"),
        ("AI_API_KEYS", "0123456789abcdef"),
        ("AI_API_KEYS", "shop:tooshort"),
        ("AI_API_KEYS", "Shop:0123456789abcdef"),
        ("AI_API_KEYS", "shop:0123456789abcdef,shop:fedcba9876543210"),
        ("AI_API_KEYS", "shop:0123456789abcdef,desk:0123456789abcdef"),
        ("AI_RATE_LIMIT", "many"),
        ("AI_RATE_LIMIT", "0/minute"),
        ("PORT", "65536"),
        ("FORWARDED_ALLOW_IPS", "*"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1/8"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1,,"),
        ("LOG_LEVEL", "loud"),
        ("TWILIO_WEBHOOK_AUTH", "maybe"),
        ("OPENAI_AUDIO_FORMAT", "mp3"),
        ("OPENAI_REALTIME_ENDPOINT", "https://api.openai.com/v1/realtime"),
        ("OPENAI_REALTIME_ENDPOINT", "wss://api.openai.com/v1/realtime?model=x"),
        ("OPENAI_REALTIME_ENDPOINT", "wss://host:port/"),
        ("OPENAI_REALTIME_MODEL", "two words"),
        ("PUBLIC_BASE_URL", "voice.example.com"),
        ("PUBLIC_BASE_URL", "https://voice.example.com/twilio"),
        ("PUBLIC_BASE_URL", "http://voice.example.com"),
        ("PUBLIC_WS_URL", "wss://voice.example.com"),
        ("PUBLIC_WS_URL", "wss://voice.example.com/ws?token=1"),
        ("PUBLIC_WS_URL", "https://voice.example.com/ws"),
        ("TWILIO_ACCOUNT_SID", "SK" + "0" * 32),
        ("TWILIO_FROM_NUMBER", "5551234567"),
        ("MAX_CALLS", "0"),
        ("START_TIMEOUT_SECONDS", "0"),
        ("START_TIMEOUT_SECONDS", "nan"),
        ("OPENAI_API_KEY", "sk-two words"),
        ("OPENAI_API_KEY", "sk-..."),
        ("OPENAI_API_KEY", '"sk-quoted-twice"'),
        ("TWILIO_AUTH_TOKEN", "tökenwithumlaut"),
        ("STREAM_TOKEN_SECRET", "short"),
        ("ANSWER_SENTENCE", "x" * 501),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_with_what_it_should_hold(name: str, value: str):
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name} holds ")
    assert " and should hold " in problem
    assert str(Settings.model_fields[name.lower()].description) in problem


def test_all_problems_are_told_at_once():
    found = problems(PORT="x", LOG_LEVEL="y", OPENAI_API_KEY="a b")
    assert [problem.split()[0] for problem in found] == ["OPENAI_API_KEY", "PORT", "LOG_LEVEL"]


def test_the_message_holds_the_value_but_never_a_secret_a_number_or_a_password():
    with pytest.raises(ConfigError) as caught:
        load(
            PORT="80a",
            OPENAI_API_KEY="sk secret value",
            TWILIO_FROM_NUMBER="15551234567",
            PUBLIC_BASE_URL="https://user:hunter22@h.example.com",
        )
    text = "".join(traceback.format_exception(caught.value, chain=True)) + repr(caught.value)
    assert 'PORT holds "80a"' in text
    assert "OPENAI_API_KEY holds a value of 15 characters" in text
    for hidden in ("secret value", "15551234567", "hunter22"):
        assert hidden not in text
    assert caught.value.__context__ is None


def test_supabase_needs_address_and_key_together():
    assert "SUPABASE_SECRET_KEY" in problems(SUPABASE_URL="https://p.supabase.co")[0]
    assert "SUPABASE_URL" in problems(SUPABASE_SECRET_KEY="sb_secret_abcdefgh")[0]


def test_a_misspelt_name_in_the_file_is_refused_and_a_foreign_one_is_not(tmp_path: Path):
    env_file = tmp_path / ".env"
    env_file.write_text("BARGEIN_ENABLED=false\nTUNNEL_TOKEN=x\nOPENAI_ORG_ID=y\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"BARGEIN_ENABLED is no setting. Is BARGE_IN_ENABLED meant\?") as caught:
        config.load({}, env_file)
    assert len(caught.value.problems) == 1


def test_a_file_in_another_encoding_is_refused_in_words(tmp_path: Path):
    env_file = tmp_path / ".env"
    env_file.write_bytes("ANSWER_SENTENCE=Grüß".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        config.load({}, env_file)


# --- secrets ---


def test_secrets_never_print():
    settings = load(**SECRETS)
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {settings.public()}"
    for secret in settings.secrets():
        assert secret not in shown
    assert settings.public()["OPENAI_API_KEY"] == "set, 26 characters"
    assert load().public()["OPENAI_API_KEY"] == "not set"


def test_every_secret_value_is_given_to_the_scrubber():
    given_values = [SECRETS[name] for name in SECRETS if name != "SUPABASE_URL"]
    assert set(load(**SECRETS).secrets()) >= {*given_values, *SECRETS["TWILIO_AUTH_TOKEN"].split(",")}
    assert load().secrets() == ()


def test_the_number_is_masked_where_settings_are_shown():
    assert load(TWILIO_FROM_NUMBER="+15551234567").public()["TWILIO_FROM_NUMBER"] == "+1555***4567"


@given(st.dictionaries(st.sampled_from([name.upper() for name in Settings.model_fields]), st.text(max_size=40)))
def test_any_environment_loads_or_is_refused_in_words(environment: dict[str, str]):
    try:
        settings = config.load(environment, None)
    except ConfigError as error:
        assert error.problems  # noqa: PT017  # either outcome is fine; neither is another exception
    else:
        assert load(**environment) == settings


# --- what is missing, what is warned about ---


def test_missing_settings_are_named_until_a_call_can_be_served():
    assert [sentence.split()[0] for sentence in load().missing()] == [
        "OPENAI_API_KEY",
        "TWILIO_AUTH_TOKEN",
        "PUBLIC_BASE_URL",
    ]
    assert load(**READY).missing() == ()
    assert load(VOICE_AGENT_ENABLED="false").missing() == ()


def test_an_unsigned_trial_needs_no_token():
    without = {name: value for name, value in READY.items() if name != "TWILIO_AUTH_TOKEN"}
    assert load(**without, TWILIO_WEBHOOK_AUTH="false").missing() == ()
    assert load(**without, TWILIO_SHARED_KEY="shared-secret").missing() == ()


def test_defaults_give_no_warning():
    assert load(**READY).warnings_at_start() == ()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"OPENAI_REALTIME_MODEL": "gpt-realtime"}, "2027-01-20. Use gpt-realtime-2.1."),
        ({"OPENAI_REALTIME_MODEL": "gpt-realtime-mini-2025-12-15"}, "2027-01-20. Use gpt-realtime-2.1-mini."),
        ({"OPENAI_REALTIME_MODEL": "gpt-4o-realtime-preview-2024-12-17"}, "has been shut down"),
        ({"OPENAI_TRANSCRIPTION_MODEL": "whisper-1"}, "2027-02-26"),
        ({"OPENAI_TRANSCRIPTION_MODEL": "gpt-4o-transcribe"}, "2027-02-26"),
        ({"OPENAI_REALTIME_VOICE": "marian"}, "OPENAI_REALTIME_VOICE is marian"),
        ({"TWILIO_WEBHOOK_AUTH": "no"}, "TWILIO_WEBHOOK_AUTH is false"),
        ({"OPENAI_REALTIME_ENDPOINT": "ws://model.example.com/v1/realtime"}, "unencrypted"),
        ({"MAX_CALL_SECONDS": "7200"}, "60 minutes"),
        ({"MARK_EVERY_MS": "900"}, "MARK_EVERY_MS"),
    ],
)
def test_settings_that_should_be_looked_at_are_warned_about(environment: dict[str, str], words: str):
    (warning,) = load(**READY, **environment).warnings_at_start()
    assert words in warning


@pytest.mark.parametrize("model", ["gpt-realtime-2.1", "gpt-realtime-2.1-mini", "gpt-realtime-2", "my-own-model"])
def test_current_and_foreign_models_are_not_warned_about(model: str):
    assert load(OPENAI_REALTIME_MODEL=model).warnings_at_start() == ()


def test_an_unencrypted_model_nearby_is_not_warned_about():
    assert load(OPENAI_REALTIME_ENDPOINT="ws://127.0.0.1:9100/v1/realtime").warnings_at_start() == ()


# --- the diary and its tools ---


@pytest.mark.parametrize(
    ("variable", "good", "bad"),
    [
        ("DIARY_ZONE", "Africa/Kigali", "Africa/Atlantis"),
        ("DIARY_DAYS", "mon-fri, SUN", "mon-someday"),
        ("DIARY_HOURS", "08:30-12:00", "17:00-09:00"),
        ("DIARY_SLOT_MINUTES", "45", "4"),
        ("CALENDAR_URLS", "webcal://a.example/x?key=1, /etc/own.ics", "ftp://a.example/x.ics"),
        ("CALENDAR_URLS", "https://a.example/x?key=1", "http://a.example/x.ics"),
        ("CALENDAR_URLS", "http://127.0.0.1:9/x", "calendar.doc"),
        ("TOOLS_MODULES", "shop.tools, /etc/shop.py", "shop,,tools"),
    ],
)
def test_what_the_diary_and_the_tools_may_be_told(variable: str, good: str, bad: str) -> None:
    load(**{variable: good})
    (problem,) = problems(**{variable: bad})
    assert problem.startswith(f"{variable} holds ")
    assert "should hold" in problem


def test_days_and_hours_are_read_as_they_are_meant() -> None:
    assert values.read_weekdays("fri-mon,wed") == {4, 5, 6, 0, 2}
    assert [f"{each:%H:%M}" for each in values.read_opening("08:30 - 23:00")] == ["08:30", "23:00"]


def test_the_addresses_of_calendars_are_secrets() -> None:
    settings = load(CALENDAR_URLS="https://a.example/private-key-1.ics, /etc/own.ics,https://b.example/private-key-2")
    assert settings.calendar_addresses[1] == "/etc/own.ics"
    assert {"https://a.example/private-key-1.ics", "https://b.example/private-key-2"} <= set(settings.secrets())
    assert "private-key" not in str(settings.public())


def test_a_gateway_for_texts_alone_is_told_of_its_missing_key() -> None:
    (told,) = load(VOICE_AGENT_ENABLED="false", AI_API_KEYS="shop:0123456789abcdef").warnings_at_start()
    assert "OPENAI_API_KEY is not set" in told


@pytest.mark.parametrize("spaced", ["shop: {0}, desk: {1}", " shop :{0} ,desk:{1} ", "shop:{0},\n desk:{1}"])
def test_clients_may_be_written_with_spaces(spaced: str) -> None:
    keys = ("0123456789abcdef", "fedcba9876543210")
    assert load(AI_API_KEYS=spaced.format(*keys)).ai_clients == dict(zip(("shop", "desk"), keys, strict=True))


@pytest.mark.parametrize("between", [" ", ";", "; "])
def test_clients_that_run_together_are_refused_and_not_taken_for_one(between: str) -> None:
    (told,) = problems(AI_API_KEYS=f"shop:0123456789abcdef{between}desk:fedcba9876543210")
    assert "shop:<key>,desk:<key>" in told
    assert "0123456789abcdef" not in told


def test_everything_that_is_incomplete_is_told_at_once() -> None:
    told = problems(
        TOOLS_STORE="supabase", RECORDINGS_BUCKET="recordings", CALL_WEBHOOK_URL="https://a.example/x", PORT="many"
    )
    names = [sentence.split()[0] for sentence in told]
    assert names == ["PORT", "TOOLS_STORE", "CALL_WEBHOOK_URL", "RECORDINGS_BUCKET"]


def test_tools_in_supabase_want_a_project() -> None:
    (problem,) = problems(TOOLS_STORE="supabase")
    assert "TOOLS_STORE is supabase but SUPABASE_URL is not set" in problem
    assert (
        load(TOOLS_STORE="Supabase", SUPABASE_URL="https://a.example", SUPABASE_SECRET_KEY="k").tools_store
        == "supabase"
    )


def test_a_file_that_never_ends_is_not_waited_for(tmp_path: Path):
    pipe, large, dots = tmp_path / "pipe.toml", tmp_path / "large.toml", tmp_path / "dots.toml"
    os.mkfifo(pipe)
    large.write_text("a = 1\n" * 200_000)
    dots.write_text("[ok]\n" + "a." * 100_000 + "a = 1\n")
    for path, told in ((pipe, "no plain file"), (tmp_path, "directory"), (large, "larger than 1 MB")):
        with pytest.raises(OSError, match=told):
            values.read_toml(path)
    with pytest.raises(ValueError, match="line 2 has more than 1000 dots"):
        values.read_toml(dots)


def test_a_file_of_another_machine_is_read_with_its_own_line_ends(tmp_path: Path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"a = 1\r\nb = 2\r")
    assert values.read_toml(path) == ({"a": 1, "b": 2}, "a = 1\nb = 2\n")
