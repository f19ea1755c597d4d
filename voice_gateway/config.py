"""The settings: read once from the environment and `.env`, checked all together, then never changed.

`load` is the only place that looks at the environment. Every field is the environment variable of the same name in
capitals; `.env.example` explains them to the person who sets them, and a test holds the two against each other. A
field's `description` says what it should hold, and that is what an error repeats.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from voice_gateway import values
from voice_gateway.errors import ConfigError
from voice_gateway.ops.privacy import mask_number, scrub
from voice_gateway.values import Name, Secret, Sentence, Switch

STREAM_PATH: Final = "/ws/twilio"

_MODEL_SESSION_SECONDS: Final = 3600


# --- the settings -----------------------------------------------------------------------------------------------


class Settings(BaseModel):
    """Everything that can be set. Frozen; secrets print as stars, and `public` is what may be shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    openai_api_key: Secret = Field(SecretStr(""), description="the key of the model's server, in one piece")
    openai_realtime_model: Name = Field("gpt-realtime-2.1", description="a Realtime model, such as gpt-realtime-2.1")
    openai_realtime_voice: Name = Field("marin", description="a voice of the model, such as marin or cedar")
    openai_realtime_endpoint: Annotated[str, AfterValidator(values.endpoint)] = Field(
        "wss://api.openai.com/v1/realtime", description="a full wss:// or ws:// URL without a query"
    )
    openai_transcription_model: str = Field(
        "gpt-realtime-whisper",
        pattern=r"^[A-Za-z0-9._:-]*$",
        description="a transcription model such as gpt-realtime-whisper, or nothing for none",
    )
    openai_responses_endpoint: Annotated[str, AfterValidator(values.api_url)] = Field(
        "https://api.openai.com/v1",
        description="https:// and the API's base, without /responses (http:// only for a host nearby)",
    )
    openai_connect_timeout_seconds: float = Field(10, gt=0, le=60, description="a number above 0, up to 60")
    openai_audio_format: Literal["pcm16", "pcmu"] = Field("pcm16", description="pcm16 or pcmu")

    twilio_account_sid: str = Field(
        "", pattern=r"^(AC[0-9a-fA-F]{32})?$", description="AC and 32 hexadecimal digits, from Twilio's console"
    )
    twilio_auth_token: Annotated[Secret, BeforeValidator(values.without_spaces)] = Field(
        SecretStr(""), description="the account's auth token; several are separated by commas"
    )
    twilio_shared_key: Secret = Field(SecretStr(""), description="the secret of a Twilio webhook shared key")
    twilio_api_url: Annotated[str, AfterValidator(values.base_url)] = Field(
        "", description="https:// and a host, without a path (http:// only for a host nearby)"
    )
    twilio_from_number: Annotated[str, AfterValidator(values.phone_number)] = Field(
        "", description="a number with country code: + and 7 to 15 digits"
    )
    twilio_webhook_auth: Switch = True
    public_base_url: Annotated[str, AfterValidator(values.base_url)] = Field(
        "", description="https:// and the public host, without a path (http:// only for a host nearby)"
    )
    public_ws_url: Annotated[str, AfterValidator(values.stream_url)] = Field(
        "", description="wss://, the public host and a path, without a query (ws:// only for a host nearby)"
    )
    stream_token_secret: Annotated[Secret, AfterValidator(values.long_enough)] = Field(
        SecretStr(""), description="16 characters or more, best at random"
    )

    supabase_url: Annotated[str, AfterValidator(values.base_url)] = Field(
        "", description="https:// and the project's host, without a path"
    )
    supabase_secret_key: Secret = Field(SecretStr(""), description="a secret key of the project, sb_secret_...")
    supabase_service_role_key: Secret = Field(SecretStr(""), description="the project's service_role key")
    tools_store: Annotated[Literal["local", "supabase"], BeforeValidator(values.lower)] = Field(
        "local", description="local or supabase"
    )
    diary_zone: Annotated[str, AfterValidator(values.time_zone)] = Field(
        "UTC", description="a time zone of the IANA's list, such as Africa/Kigali"
    )
    diary_days: Annotated[str, BeforeValidator(values.without_spaces), AfterValidator(values.weekdays)] = Field(
        "mon-fri", description="days or ranges of them, such as mon-fri,sun"
    )
    diary_hours: Annotated[str, AfterValidator(values.opening)] = Field(
        "09:00-17:00", description="a span of the day, such as 09:00-17:00"
    )
    diary_slot_minutes: int = Field(30, ge=5, le=480, description="a whole number from 5 to 480")
    calendar_urls: Annotated[SecretStr, BeforeValidator(values.without_spaces), AfterValidator(values.calendars)] = (
        Field(
            SecretStr(""),
            description="https:// or webcal:// addresses, or paths of .ics files, separated by commas",
        )
    )
    tools_modules: Annotated[str, BeforeValidator(values.without_spaces)] = Field(
        "",
        pattern=r"^([^,]+(,[^,]+)*)?$",
        description="Python modules or paths of .py files, separated by commas, or nothing for the house's tools alone",
    )
    database_url: Annotated[Secret, AfterValidator(values.postgres)] = Field(
        SecretStr(""), description="postgresql://user:password@host:5432/database"
    )
    call_webhook_url: Annotated[Secret, AfterValidator(values.webhook_url)] = Field(
        SecretStr(""), description="https:// and an address that takes events (http:// only for a host nearby)"
    )
    call_webhook_secret: Annotated[Secret, AfterValidator(values.long_enough)] = Field(
        SecretStr(""), description="16 characters or more, best at random"
    )
    call_webhook_events: Annotated[str, BeforeValidator(values.without_spaces)] = Field(
        "",
        pattern=r"^([A-Z][A-Z0-9_]*(,[A-Z][A-Z0-9_]*)*)?$",
        description="types of events, separated by commas, such as CALL_STARTED,CALL_ENDED, or nothing for all",
    )
    store_path: Path = Field(Path("var/voice_gateway.sqlite3"), description="the path of the local database file")
    store_max_mb: int = Field(2048, ge=16, le=1_048_576, description="a whole number from 16 to 1048576")

    voice_agent_enabled: Switch = True
    ai_realtime_enabled: Switch = True
    barge_in_enabled: Switch = True
    barge_in_mode: Literal["server", "edge"] = Field("server", description="server or edge")
    barge_in_confirm_ms: int = Field(700, ge=100, le=5000, description="a whole number from 100 to 5000")
    duplex_enabled: Switch = True
    mcp_enabled: Switch = True
    mcp_token: Annotated[Secret, AfterValidator(values.long_enough)] = Field(
        SecretStr(""), description="16 characters or more, best at random"
    )
    mcp_effects: Switch = False
    mcp_servers_file: Path | None = Field(None, description="the path of a TOML file of MCP servers, or nothing")
    mcp_allowed_hosts: Annotated[str, BeforeValidator(values.without_spaces)] = Field(
        "",
        pattern=r"^([0-9A-Za-z.:_-]+(,[0-9A-Za-z.:_-]+)*)?$",
        description="names of hosts without a port, separated by commas, or nothing",
    )
    mcp_ws_host: str = Field("127.0.0.1", pattern=r"^[0-9A-Za-z.:_-]+$", description="an address of this machine")
    mcp_ws_port: int = Field(9797, ge=0, le=65_535, description="a whole number from 1 to 65535, or 0 for no such door")
    greeting_clips: Switch = True
    personas_dir: Path | None = Field(None, description="a folder of personas, or nothing")
    routes_file: Path | None = Field(None, description="the path of a routes.toml, or nothing")
    default_persona: Name = Field("waiter", description="the name of a persona, such as waiter")

    supervisor_model: str = Field(
        "", pattern=r"^[A-Za-z0-9._:/-]*$", description="a text model such as gpt-5.4-mini, or nothing for none"
    )
    supervisor_api_key: Secret = Field(SecretStr(""), description="the key of the text model's server, in one piece")
    supervisor_deadline_seconds: float = Field(8, gt=0, le=60, description="a number above 0, up to 60")
    supervisor_sentence: Sentence = "I am sorry, I cannot find that out just now. May I take a message for you instead?"

    answer_sentence: Sentence = "Connecting you to our AI assistant"
    disabled_sentence: Sentence = "We cannot take your call at the moment. Please try again later."
    busy_sentence: Sentence = "All our lines are busy. Please call again in a few minutes."
    budget_sentence: Sentence = "We have to end this call here. Please call again tomorrow. Goodbye."
    failed_sentence: Sentence = "Sorry, something went wrong on our side. Please call again."

    max_calls: int = Field(100, ge=1, le=10_000, description="a whole number from 1 to 10000")
    prices_file: str = Field("", description="the path of a price list, or nothing for the one that comes along")
    max_call_usd: float = Field(0.0, ge=0, le=10_000, description="US dollars, 0 for no limit")
    max_caller_usd_per_day: float = Field(0.0, ge=0, le=100_000, description="US dollars, 0 for no limit")
    max_usd_per_day: float = Field(0.0, ge=0, le=1_000_000, description="US dollars, 0 for no limit")
    max_call_seconds: int = Field(3600, ge=10, le=14_400, description="a whole number from 10 to 14400")
    start_timeout_seconds: float = Field(3, gt=0, le=60, description="a number above 0, up to 60")
    media_stall_seconds: float = Field(5, ge=0, le=60, description="a number from 0 (not watched) to 60")
    response_stall_seconds: float = Field(8, gt=0, le=120, description="a number above 0, up to 120")
    end_confirm_seconds: float = Field(10, gt=0, le=300, description="a number above 0, up to 300")
    drain_seconds: int = Field(120, ge=0, le=14_400, description="a whole number from 0 to 14400")
    playout_lead_ms: int = Field(400, ge=40, le=5000, description="a whole number from 40 to 5000")
    mark_every_ms: int = Field(200, ge=20, le=5000, description="a whole number from 20 to 5000")

    host: str = Field("127.0.0.1", pattern=r"^[0-9A-Za-z.:_-]+$", description="an address of this machine")
    port: int = Field(8787, ge=0, le=65_535, description="a whole number from 0 (any free port) to 65535")
    forwarded_allow_ips: Annotated[str, BeforeValidator(values.without_spaces), AfterValidator(values.networks)] = (
        Field("127.0.0.1,::1", description="addresses and networks such as 10.0.0.0/8, separated by commas")
    )
    metrics_enabled: Switch = True
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(values.lower)] = (
        Field("info", description="debug, info, warning, error or critical")
    )
    api_token: Annotated[Secret, AfterValidator(values.long_enough)] = Field(
        SecretStr(""), description="16 characters or more, best at random"
    )
    ai_api_keys: Annotated[Secret, BeforeValidator(values.without_spaces_in_pairs), AfterValidator(values.clients)] = (
        Field(
            SecretStr(""),
            description=(
                "names in small letters and keys of 16 characters or more, such as shop:<key>,desk:<key>, each of them "
                "once; in keys neither spaces nor ; nor quotes"
            ),
        )
    )
    ai_rate_limit: Annotated[str, AfterValidator(values.rate)] = Field(
        "60/minute", description="a rate such as 60/minute, or several such as 5/second;600/hour"
    )
    ai_max_sessions: int = Field(20, ge=1, le=1000, description="a whole number from 1 to 1000")
    ai_session_idle_seconds: int = Field(600, ge=10, le=3600, description="a whole number from 10 to 3600")
    ai_reply_seconds: int = Field(60, ge=1, le=300, description="a whole number from 1 to 300")
    recording_enabled: Switch = False
    recordings_dir: Path = Field(Path("var/recordings"), description="the path of a folder")
    recording_retention_days: int = Field(30, ge=0, le=3650, description="a whole number of days, 0 for no end")
    recording_consent: Literal["notice", "keypress", "none"] = Field("notice", description="notice, keypress or none")
    recording_wording: str = Field("", max_length=1000, description="up to 1000 characters of text, or nothing")
    recordings_bucket: str = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$",
        description="a bucket's name: letters, digits, dots, hyphens and underscores, or nothing",
    )
    recordings_keep_local: Switch = True
    recording_rules: Path | None = Field(None, description="the path of a TOML file, or nothing for no rules")
    retention_days: int = Field(0, ge=0, le=3650, description="a whole number of days, 0 for no end")
    redact_transcripts: Annotated[str, BeforeValidator(values.without_spaces)] = Field(
        "", pattern="^(cards|ids|cards,ids|ids,cards)?$", description="cards, ids or cards,ids, or nothing for neither"
    )
    summary_enabled: Switch = True
    summary_intents: Annotated[str, BeforeValidator(values.without_spaces)] = Field(
        "",
        pattern=r"^([a-z][a-z0-9_]{0,39}(,[a-z][a-z0-9_]{0,39}){0,49})?$",
        description="up to 50 labels of small letters, digits and underscores, between commas, or nothing",
    )
    trace_dir: Path | None = Field(None, description="the path of a folder, or nothing for no traces")
    trace_max_mb: int = Field(100, ge=1, le=10_000, description="a whole number from 1 to 10000")

    @property
    def twilio_auth_tokens(self) -> tuple[str, ...]:
        """The tokens a signature may be made with: more than one while they are rotated, or with subaccounts."""
        return tuple(token for token in self.twilio_auth_token.get_secret_value().split(",") if token)

    @property
    def ai_clients(self) -> dict[str, str]:
        """The clients of the API: the key of each by its name."""
        pairs = (each.partition(":") for each in self.ai_api_keys.get_secret_value().split(",") if each)
        return {name: key for name, _, key in pairs}

    @property
    def clips_folder(self) -> Path:
        """Where spoken greetings are kept: beside the record, which is on a disk that outlives the process."""
        return self.store_path.parent / "greetings"

    @property
    def supabase_key(self) -> str:
        """The secret key, or the older service_role key in its place."""
        return self.supabase_secret_key.get_secret_value() or self.supabase_service_role_key.get_secret_value()

    @property
    def zone(self) -> ZoneInfo | None:
        """Whose days and times are told and meant, but for personas with a zone of their own; None: the machine's."""
        return ZoneInfo(self.diary_zone) if "diary_zone" in self.model_fields_set else None

    @property
    def calendar_addresses(self) -> tuple[str, ...]:
        """Addresses and paths of calendars; an address may hold a key."""
        return tuple(each for each in self.calendar_urls.get_secret_value().split(",") if each)

    @property
    def tool_modules(self) -> tuple[str, ...]:
        """Modules and files with tools of the operator's own."""
        return tuple(each for each in self.tools_modules.split(",") if each)

    @property
    def webhook_events(self) -> tuple[str, ...] | None:
        """Which types of events the webhook is told, all where it is empty; None where there is no webhook."""
        if not self.call_webhook_url:
            return None
        return tuple(each for each in self.call_webhook_events.split(",") if each)

    @property
    def stream_url(self) -> str:
        """Where the carrier connects its media stream: PUBLIC_WS_URL, or made from PUBLIC_BASE_URL."""
        if self.public_ws_url or not self.public_base_url:
            return self.public_ws_url
        return "ws" + self.public_base_url.removeprefix("http") + STREAM_PATH

    @property
    def mcp_served(self) -> bool:
        """Whether the doors of MCP are open: none is without a token."""
        return self.mcp_enabled and bool(self.mcp_token)

    @property
    def mcp_hosts(self) -> tuple[str, ...]:
        """Names that requests at those doors may call this gateway by, besides the machine's own."""
        listening = [each for each in (self.host, self.mcp_ws_host) if each not in {"0.0.0.0", "::"}]  # noqa: S104
        public = urlsplit(self.public_base_url).hostname or ""
        return tuple(filter(None, [*self.mcp_allowed_hosts.split(","), public, *listening]))

    @property
    def takes_calls(self) -> bool:
        """Whether calls are wanted: else callers hear DISABLED_SENTENCE."""
        return self.voice_agent_enabled and self.ai_realtime_enabled

    def secrets(self) -> tuple[str, ...]:
        """Every secret value there is, for the log's scrubber; it hides each wherever it turns up."""
        values = [v.get_secret_value() for _, v in self if isinstance(v, SecretStr)]
        addresses = (each for each in self.calendar_addresses if "://" in each)
        return tuple(filter(None, [*values, *self.twilio_auth_tokens, *addresses, *self.ai_clients.values()]))

    def public(self) -> dict[str, str | int | float | bool]:
        """Every setting by its variable's name as it may be shown: secrets by their length, the number masked."""
        return {name.upper(): _shown(name, value) for name, value in self}

    def missing(self) -> tuple[str, ...]:
        """A sentence for each setting without which no call can be served. Empty where calls are switched off."""
        if not self.takes_calls:
            return ()
        signed = self.twilio_auth_token or self.twilio_shared_key or not self.twilio_webhook_auth
        checks = (
            (self.openai_api_key, "OPENAI_API_KEY is not set: put the key of the model's server into .env."),
            (
                signed,
                "TWILIO_AUTH_TOKEN is not set: copy it from Twilio's console into .env; webhooks are signed by it.",
            ),
            (self.stream_url, "PUBLIC_BASE_URL is not set: put https:// and the host that Twilio calls into .env."),
        )
        return tuple(sentence for there, sentence in checks if not there)

    def warnings_at_start(self) -> tuple[str, ...]:
        """Sentences about settings that work today and should be looked at."""
        found = [*_model_warnings(self), *_exposure_warnings(self)]
        if self.max_call_seconds > _MODEL_SESSION_SECONDS:
            found.append("MAX_CALL_SECONDS is above 3600, but the model ends its session after 60 minutes.")
        if self.ai_api_keys and self.ai_realtime_enabled and not self.openai_api_key and not self.missing():
            found.append("OPENAI_API_KEY is not set: nothing that is sent to POST /ai/say in writing is answered.")
        if self.trace_dir is not None:
            found.append("TRACE_DIR is set: every call is written there, with what people say, until it is unset.")
        if self.mark_every_ms > self.playout_lead_ms:
            found.append(
                "MARK_EVERY_MS is above PLAYOUT_LEAD_MS and is taken as that: no message is longer than the lead."
            )
        return tuple(found)


# --- warnings ---------------------------------------------------------------------------------------------------


def _model_warnings(settings: Settings) -> list[str]:
    return [
        *values.model_doubts("OPENAI_REALTIME_MODEL", settings.openai_realtime_model),
        *values.model_doubts("OPENAI_TRANSCRIPTION_MODEL", settings.openai_transcription_model),
        *values.model_doubts("SUPERVISOR_MODEL", settings.supervisor_model),
        *values.voice_doubts("OPENAI_REALTIME_VOICE", settings.openai_realtime_voice),
    ]


def _exposure_warnings(settings: Settings) -> list[str]:
    found = []
    if settings.recording_enabled and settings.recording_consent == "none":
        found.append("RECORDING_CONSENT is none: nobody is told of the recording, unless RECORDING_RULES says so.")
    if not settings.twilio_webhook_auth:
        found.append("TWILIO_WEBHOOK_AUTH is false: anyone who finds the address can place calls. Only for trials.")
    endpoint = urlsplit(settings.openai_realtime_endpoint)
    if endpoint.scheme == "ws" and not values.is_nearby(endpoint.hostname or ""):
        found.append("OPENAI_REALTIME_ENDPOINT is ws:// to another machine: key and voices travel unencrypted.")
    return found


# --- reading them -----------------------------------------------------------------------------------------------


def load(environment: Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Settings:
    """Read the settings. What the environment says goes before what the file says.

    environment: the process's own when None. env_file: may be absent; None reads none.

    Raises:
        ConfigError: with a sentence for each variable that cannot be used; a misspelt name in the file is one.

    """
    in_file = _read(env_file)
    held = {**in_file, **(os.environ if environment is None else environment)}
    given = {name: held[name.upper()].strip() for name in Settings.model_fields if name.upper() in held}
    # An empty value means `not set`, save for text where nothing is a choice.
    given = {name: value for name, value in given.items() if value or _may_be_empty(name)}
    problems = _misspelt(in_file)
    settings = _validated(given, problems)
    problems.extend(_incomplete(given))
    if settings is None or problems:
        raise ConfigError(problems)
    return settings


def variables(env_file: Path | None = Path(".env")) -> Mapping[str, str]:
    """Everything that environment and file hold, for files of the operator's that refer to a variable by name."""
    return {**_read(env_file), **os.environ}


def _read(env_file: Path | None) -> dict[str, str]:
    if env_file is None:
        return {}
    if env_file.exists() and not os.access(env_file, os.R_OK):
        raise ConfigError([f"{env_file} cannot be read: look at its owner and its permissions."])
    try:
        # A dollar sign in a password is a dollar sign; an editor's byte order mark is not part of the first name.
        values = dotenv_values(env_file, interpolate=False, encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError([f"{env_file} is not written in UTF-8: save it again in that encoding."]) from None
    return {name: value or "" for name, value in values.items()}


def _validated(given: Mapping[str, str], problems: list[str]) -> Settings | None:
    # The library's own error holds the rejected values, secrets too. It ends here: no traceback may lead to it.
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
    problems.extend(_problem(detail, given) for detail in details)
    return None


def _problem(detail: ErrorDetails, given: Mapping[str, str]) -> str:
    name = str(detail["loc"][0])
    expected = Settings.model_fields[name].description
    return f"{name.upper()} holds {_shown_input(name, given[name])} and should hold {expected}."


def _is_secret(name: str) -> bool:
    return isinstance(Settings.model_fields[name].default, SecretStr)


def _may_be_empty(name: str) -> bool:
    return name.endswith("_sentence") or name == "openai_transcription_model"


def _shown_input(name: str, value: str) -> str:
    if _is_secret(name):
        return f"a value of {len(value)} characters"
    if name == "twilio_from_number":
        return f'"{mask_number(value)}"'
    return f'"{_cut(scrub(value))}"'


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _shown(name: str, value: Any) -> str | int | float | bool:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        length = len(value.get_secret_value())
        return f"set, {length} characters" if length else "not set"
    if name == "twilio_from_number":
        return mask_number(value)
    return value if isinstance(value, bool | int | float) else str(value)


def _incomplete(given: Mapping[str, str]) -> list[str]:
    """Settings that make sense only together."""
    keyed = given.get("supabase_secret_key") or given.get("supabase_service_role_key")
    project, elsewhere = given.get("supabase_url"), given.get("tools_store", "").lower() == "supabase"
    signs = given.get("call_webhook_secret")
    checks = (
        (project and not keyed, "SUPABASE_URL is set but no key is: set SUPABASE_SECRET_KEY too, or neither."),
        (
            elsewhere and not project,
            "TOOLS_STORE is supabase but SUPABASE_URL is not set: set it and SUPABASE_SECRET_KEY, or say local.",
        ),
        (keyed and not project, "A Supabase key is set but SUPABASE_URL is not: set it too, or neither."),
        (
            given.get("call_webhook_url") and not signs,
            "CALL_WEBHOOK_URL is set but CALL_WEBHOOK_SECRET is not: nobody could tell who sends. Set both.",
        ),
        (
            given.get("recordings_bucket") and not project,
            "RECORDINGS_BUCKET is set but SUPABASE_URL is not: name the project that it is in, or no bucket.",
        ),
    )
    return [sentence for wrong, sentence in checks if wrong]


def _misspelt(in_file: Mapping[str, str]) -> list[str]:
    """Names in the file that are no setting but nearly one. Others may belong to other programs."""
    known = [name.upper() for name in Settings.model_fields]
    found: list[str] = []
    for name in in_file:
        near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.88)
        if near and name not in known:
            found.append(f"{name} is no setting. Is {near[0]} meant?")
    return found
