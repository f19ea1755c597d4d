"""What a setting may hold: each takes what was written and gives what is meant, or raises ValueError.

The sentence for the person who wrote it is the field's own, in `config.py`.
"""

from __future__ import annotations

import errno
import io
import ipaddress
import os
import re
import stat
import tomllib
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr

MOST_FILE_BYTES: Final = 1_000_000
MOST_DOTS: Final = 1000
"""In a line: a key of so many parts takes the reader a tenth of a second, and one of ten times as many ten seconds."""


def read_file(path: Path, most_bytes: int = MOST_FILE_BYTES) -> bytes:
    """What is in a file that a setting names. Raises OSError, also for what is no plain file, and for a larger one.

    A pipe or a device might never come to its end, and whoever reads it with it.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes / 1e6:g} MB")
    return data


def read_text(path: Path, most_bytes: int = MOST_FILE_BYTES, encoding: str = "utf-8") -> str:
    """The same as a text, its lines ended as ours are."""
    return io.TextIOWrapper(io.BytesIO(read_file(path, most_bytes)), encoding).read()


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """A TOML file, and its text. Raises OSError as `read_file`, and ValueError or RecursionError for what is none."""
    text = read_text(path)
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MOST_DOTS:
            raise ValueError(f"line {number} has more than {MOST_DOTS} dots; break it")
    return tomllib.loads(text), text


def header_safe(secret: SecretStr) -> SecretStr:
    """A key travels in a header or signs one: printable ASCII without spaces, which also catches a pasted quote."""
    value = secret.get_secret_value()
    if not re.fullmatch(r"[!#-&(-~]*", value) or "..." in value:
        raise ValueError
    return secret


def long_enough(secret: SecretStr) -> SecretStr:
    if 0 < len(secret.get_secret_value()) < 16:
        raise ValueError
    return secret


def postgres(url: SecretStr) -> SecretStr:
    if url and not url.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError
    return url


def split_url(url: str, *schemes: str) -> SplitResult:
    """Parse a URL with a host and no query; the unencrypted scheme, the last one, is for nearby hosts alone."""
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError
    _ = parts.port  # raises ValueError where it is no number
    if parts.scheme == schemes[-1] and not is_nearby(parts.hostname):
        raise ValueError
    return parts


def is_nearby(host: str) -> bool:
    """Loopback, a private address, or a name without a dot, such as another container's."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".internal"))
    return address.is_loopback or address.is_private


def _origin(parts: SplitResult) -> str:
    """Host and port as written: a signature covers them byte for byte. Only the port that goes without saying goes."""
    return parts.netloc.removesuffix(":443") if parts.scheme in {"https", "wss"} else parts.netloc


def base_url(url: str) -> str:
    if not url:
        return ""
    parts = split_url(url, "https", "http")
    if parts.path.strip("/"):
        raise ValueError
    return f"{parts.scheme}://{_origin(parts)}"


def stream_url(url: str) -> str:
    if not url:
        return ""
    parts = split_url(url, "wss", "ws")
    if not parts.path.strip("/"):
        raise ValueError
    return f"{parts.scheme}://{_origin(parts)}{parts.path.rstrip('/')}"


def endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"wss", "ws"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError
    _ = parts.port
    return url


def api_url(url: str) -> str:
    """The base of an API, with its path: https://, or http:// for a host nearby."""
    return split_url(url, "https", "http").geturl().rstrip("/")


def webhook_url(secret: SecretStr) -> SecretStr:
    """https:// and any path and query, which may hold a key of the receiver's."""
    url = secret.get_secret_value()
    if url:
        parts = urlsplit(url)
        split_url(f"{parts.scheme}://{parts.netloc}", "https", "http")
        if parts.fragment:
            raise ValueError
    return secret


def calendars(secret: SecretStr) -> SecretStr:
    """Paths, and URLs with any query, which may hold a key."""
    for each in filter(None, secret.get_secret_value().split(",")):
        if "://" in each:
            parts = urlsplit(each.replace("webcal://", "https://", 1))
            split_url(f"{parts.scheme}://{parts.netloc}", "https", "http")
        elif not each.endswith(".ics"):
            raise ValueError
    return secret


def time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError from None
    return name


DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def weekdays(text: str) -> str:
    if not read_weekdays(text):
        raise ValueError
    return text


def read_weekdays(text: str) -> frozenset[int]:
    """`mon-fri,sun`: days from 0 for Monday; a range may go over the week's end."""
    found: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.partition("-")
        begin, end = DAYS.index(first.strip()), DAYS.index((last or first).strip())
        found |= {day % len(DAYS) for day in range(begin, begin + (end - begin) % len(DAYS) + 1)}
    return frozenset(found)


def opening(text: str) -> str:
    opens, closes = read_opening(text)
    if opens >= closes:
        raise ValueError
    return text


def read_opening(text: str) -> tuple[time, time]:
    """`09:00-17:00`."""
    opens, _, closes = text.partition("-")
    return time.fromisoformat(opens.strip()), time.fromisoformat(closes.strip())


def phone_number(number: str) -> str:
    compact = re.sub(r"[\s().\-]", "", number)
    if compact and not re.fullmatch(r"\+[1-9][0-9]{6,14}", compact):
        raise ValueError
    return compact


def without_spaces(value: object) -> object:
    return re.sub(r"\s*,\s*", ",", value) if isinstance(value, str) else value


def without_spaces_in_pairs(value: object) -> object:
    """`shop: key, desk: key` as `shop:key,desk:key`."""
    return re.sub(r"\s*([,:])\s*", r"\1", value) if isinstance(value, str) else value


def lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def clients(secret: SecretStr) -> SecretStr:
    """Names and keys, `shop:key,desk:key`: each name once, each key once and long."""
    pairs = [each.partition(":") for each in secret.get_secret_value().split(",") if each]
    names, keys = [name for name, _, _ in pairs], [key for _, _, key in pairs]
    if (
        not all(re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name) for name in names)
        or min(map(len, keys), default=16) < 16
        or any(";" in key for key in keys)  # it stands where a comma was meant, and two clients would be one
    ):
        raise ValueError
    if len(set(names)) < len(names) or len(set(keys)) < len(keys):
        raise ValueError
    return secret


def networks(text: str) -> str:
    """Addresses and networks, separated by commas."""
    for network in text.split(","):
        ipaddress.ip_network(network)
    return text


def rate(text: str) -> str:
    """One or several rates, `60/minute` or `5/second;600/hour`."""
    from limits import parse_many  # noqa: PLC0415 - it costs 50 ms that few should pay

    if any(limit.amount < 1 for limit in parse_many(text)):
        raise ValueError
    return text


# --- what a setting had better not hold --------------------------------------------------------------------------

# Announced shutdown dates and what to use instead (OpenAI's deprecation notes as carried by its Python package).
_ENDING_MODELS: Final = {
    "gpt-realtime": ("2027-01-20", "gpt-realtime-2.1"),
    "gpt-realtime-2025-08-28": ("2027-01-20", "gpt-realtime-2.1"),
    "gpt-realtime-mini": ("2027-01-20", "gpt-realtime-2.1-mini"),
    "gpt-realtime-mini-2025-12-15": ("2027-01-20", "gpt-realtime-2.1-mini"),
    "whisper-1": ("2027-02-26", "gpt-realtime-whisper"),
    "gpt-4o-mini-transcribe": ("2027-02-26", "gpt-realtime-whisper"),
    "gpt-4o-mini-transcribe-2025-12-15": ("2027-02-26", "gpt-realtime-whisper"),
    "gpt-4o-transcribe": ("2027-02-26", "gpt-realtime-whisper"),
    "gpt-4o-transcribe-diarize": ("2027-02-26", "gpt-realtime-whisper"),
    **dict.fromkeys(("gpt-5", "gpt-5-mini", "gpt-5-nano", "o3"), ("2026-12-11", "gpt-5.4-mini")),
    **dict.fromkeys(("gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini"), ("2027-01-14", "gpt-5.4-mini")),
}
_GONE_MODELS: Final = ("gpt-4o-realtime-preview", "gpt-4o-mini-realtime-preview")
_VOICES: Final = frozenset(
    {"alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse"}
)  # fmt: skip


def model_doubts(name: str, model: str) -> list[str]:
    """A sentence about a model that is gone, or soon will be. name: of what names it."""
    if model in _ENDING_MODELS:
        day, successor = _ENDING_MODELS[model]
        return [f"{name} is {model}, which is shut down on {day}. Use {successor}."]
    gone = model.startswith(_GONE_MODELS)
    return [f"{name} is {model}, which has been shut down. Use gpt-realtime-2.1."] if gone else []


def voice_doubts(name: str, voice: str) -> list[str]:
    """A sentence about a voice that the model is not known to have. name: of what names it."""
    if voice in _VOICES or voice.startswith("voice_"):
        return []
    return [f"{name} is {voice}, which is none of {', '.join(sorted(_VOICES))}."]


Secret: TypeAlias = Annotated[SecretStr, AfterValidator(header_safe)]
Sentence: TypeAlias = Annotated[str, Field(max_length=500, description="up to 500 characters of text, or nothing")]
Switch: TypeAlias = Annotated[bool, Field(description="true or false")]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
