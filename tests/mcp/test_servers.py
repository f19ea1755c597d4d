"""The file of foreign servers: what it means, and what is told of mistakes in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from voice_gateway.mcp.servers import Server, ServerError, load_servers

GOOD = f"""
[weather]
command = "{sys.executable}"
args = ["-m", "weather", "${{CITY}}"]
env = {{ KEY = "${{WEATHER_KEY}}" }}
allow = ["get_*"]
effects = ["get_rain"]
timeout_s = 3
limit = 2

[crm]
url = "https://crm.example/mcp?tenant=1"
headers = {{ Authorization = "Bearer ${{CRM_TOKEN}}" }}
prefix = ""
allow = ["*"]
"""
ONE = 'url = "https://x.example"\nallow = []\nprefix = ""\n'
TWICE = f"[a]\n{ONE}[b]\n{ONE}"
VARIABLES = {"WEATHER_KEY": "key-of-the-weather", "CRM_TOKEN": "token-of-the-crm", "CITY": "Kigali"}


def load(tmp_path: Path, text: str) -> tuple[Server, ...]:
    path = tmp_path / "servers.toml"
    path.write_text(text)
    return load_servers(path, VARIABLES)


def test_a_file_says_which_servers_there_are(tmp_path: Path) -> None:
    weather, crm = load(tmp_path, GOOD)
    assert weather.command == (sys.executable, "-m", "weather", "Kigali")
    assert (weather.env, weather.prefix, weather.timeout_s, weather.limit) == (
        {"KEY": "key-of-the-weather"}, "weather_", 3.0, 2,
    )  # fmt: skip
    assert (weather.allows("get_rain"), weather.allows("set_rain")) == (True, False)
    assert (weather.has_effect("get_rain", told=False), weather.has_effect("get_sun", told=True)) == (True, False)
    assert (crm.url, crm.headers) == (
        "https://crm.example/mcp?tenant=1", {"Authorization": "Bearer token-of-the-crm"},
    )  # fmt: skip
    assert (crm.has_effect("x", told=True), crm.has_effect("x", told=False)) == (True, False)


def test_secrets_are_known_as_such_and_not_shown(tmp_path: Path) -> None:
    weather, crm = load(tmp_path, GOOD)
    assert "key-of-the-weather" in weather.secrets
    assert crm.secrets == ("token-of-the-crm",)
    assert "key-of-the-weather" not in repr(weather)
    assert "token-of-the-crm" not in repr(crm)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("weather = 3", r"\[weather\] must be a table"),
        ("[weather]\nallow = []", r"\[weather\] command: is missing: name a command or a url"),
        (f'[w]\ncommand = "{sys.executable}"\nurl = "https://x.example"\nallow = []', "either of the two, not both"),
        ('[w]\nurl = "https://x.example"', "allow: is missing"),
        ('[w]\nurl = "https://x.example"\nallow = "*"', "allow: must be a list of texts"),
        ('[w]\nurl = "https://x.example"\nallow = []\nargs = []', "args: goes with a command"),
        (f'[w]\ncommand = "{sys.executable}"\nallow = []\nheaders = {{}}', "headers: go with a url"),
        ('[w]\nurl = "http://far.example"\nallow = []', "url: must be https://"),
        ('[w]\nurl = "https://user:pw@x.example"\nallow = []', "url: must be https://"),
        ('[w]\nurl = "ftp://x.example"\nallow = []', "url: must be https://"),
        ('[w]\ncommand = "no-such-program"\nallow = []', "there is no program 'no-such-program'"),
        (f'[w]\ncommand = "{sys.executable}"\ncwd = "/no/such"\nallow = []', "cwd: /no/such is no folder"),
        ('[w]\nurl = "https://x.example/${NOT_SET}"\nallow = []', r"url: \$\{NOT_SET\} is not set"),
        ('[w]\nurl = "https://x.example"\nheaders = { K = "${NOT_SET}" }\nallow = []', r"headers.K: \$\{NOT_SET\}"),
        ('[w]\nurl = "https://x.example"\nheaders = { "a b" = "x" }\nallow = []', "headers.a b: must be a header"),
        ('[w]\nurl = "https://x.example"\nheaders = { A = "x\\ny" }\nallow = []', "headers.A: must be a header"),
        ('[w]\nurl = "https://x.example"\nallow = []\nprefix = "w."', "prefix: must have letters"),
        ('[w]\nurl = "https://x.example"\nallow = []\ntimeout_s = 0', "timeout_s: must be above 0"),
        ('[w]\nurl = "https://x.example"\nallow = []\ntimeout_s = true', "timeout_s: must be above 0"),
        ('[w]\nurl = "https://x.example"\nallow = []\nlimit = 0', "limit: must be a whole number"),
        ('[w]\nurl = "https://x.example"\nallow = []\ncolour = 1', "colour: no such field"),
        ('["W X"]\nurl = "https://x.example"\nallow = []', "a server's name has small letters"),
        (TWICE, r"\[b\] prefix: '' is that of \[a\] too"),
        ("[w", "cannot be read as TOML"),
        ("number = " + "9" * 5000, "cannot be read as TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_server_and_field(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ServerError, match=told) as error:
        load(tmp_path, text)
    assert "servers.toml" in str(error.value)


def test_a_file_that_is_not_there_is_told_without_a_word_of_its_form(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"^MCP_SERVERS_FILE: .*none\.toml: cannot be read: No such file"):
        load_servers(tmp_path / "none.toml", {})


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as error:
        load(tmp_path, '[a]\nurl = "x"\n[b]\ncommand = "no-such-program"\nallow = []\nlimit = -1')
    assert len(str(error.value).splitlines()) == 4


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"MCP_SERVERS_FILE: .*nowhere\.toml"):
        load_servers(tmp_path / "nowhere.toml", {})
