"""Which persona answers which call."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.agent.routes import RouteError, Routes, load_routes

PERSONAS = ("bartender", "cfo", "receptionist", "waiter")
ANNA = "+250788123456"


def routes(folder: Path, text: str) -> Routes:
    path = folder / "routes.toml"
    path.write_text(text, encoding="utf-8")
    return load_routes(path, PERSONAS, "waiter")


def test_the_first_route_that_fits_decides_and_else_the_default(tmp_path: Path) -> None:
    chosen = routes(
        tmp_path,
        """
        [[route]]
        persona = "cfo"
        to = "+1 555 010-0002"
        [[route]]
        persona = "bartender"
        to = ["+15550100002", "+15550100003"]
        """,
    )
    assert chosen.choose(ANNA, "+15550100002") == "cfo"
    assert chosen.choose(ANNA, "+15550100003") == "bartender"
    assert chosen.choose(ANNA, "+15550100004") == "waiter"


def test_a_star_stands_for_anything_in_numbers_and_addresses(tmp_path: Path) -> None:
    chosen = routes(
        tmp_path,
        """
        [[route]]
        persona = "cfo"
        to = "sip:CFO@*"
        [[route]]
        persona = "receptionist"
        from = "+2507*"
        """,
    )
    assert chosen.choose("+15550100009", "sip:cfo@pbx.example;transport=tls") == "cfo"
    assert chosen.choose(ANNA, "+15550100002") == "receptionist"
    assert chosen.choose("+250612345678", "sip:bar@pbx.example") == "waiter"


def test_dots_and_brackets_in_an_address_mean_themselves(tmp_path: Path) -> None:
    chosen = routes(tmp_path, '[[route]]\npersona = "cfo"\nto = "sip:a.b[1]@x"\n')
    assert chosen.choose(ANNA, "sip:a.b[1]@x") == "cfo"
    assert chosen.choose(ANNA, "sip:aXb1@x") == "waiter"


def test_all_conditions_of_a_route_must_hold(tmp_path: Path) -> None:
    chosen = routes(
        tmp_path, '[[route]]\npersona = "cfo"\nto = "+15550100002"\nfrom = ["+250*"]\nlanguage = ["fr", "rw"]\n'
    )
    assert chosen.choose(ANNA, "+15550100002", "fr-CA") == "cfo"
    assert chosen.choose(ANNA, "+15550100002", "RW") == "cfo"
    assert chosen.choose(ANNA, "+15550100002", "en") == "waiter"
    assert chosen.choose("+15550100009", "+15550100002", "fr") == "waiter"
    assert chosen.choose(ANNA, "+15550100003", "fr") == "waiter"


def test_a_share_of_the_callers_is_about_that_share_and_keeps_its_members(tmp_path: Path) -> None:
    few = routes(tmp_path, '[[route]]\npersona = "cfo"\npercent = 20\n')
    more = routes(tmp_path, '[[route]]\npersona = "cfo"\npercent = 50\n')
    callers = [f"+1555010{number:04}" for number in range(2000)]
    early = {caller for caller in callers if few.choose(caller, "") == "cfo"}
    later = {caller for caller in callers if more.choose(caller, "") == "cfo"}
    assert 320 <= len(early) <= 480
    assert 900 <= len(later) <= 1100
    assert early < later, "who was among the first stays"


def test_nobody_and_everybody_are_shares_too(tmp_path: Path) -> None:
    nobody = routes(tmp_path, '[[route]]\npersona = "cfo"\npercent = 0\n')
    everybody = routes(tmp_path, '[[route]]\npersona = "cfo"\npercent = 100\n')
    callers = ["", *(f"+1555010{number:04}" for number in range(200))]
    assert {nobody.choose(caller, "") for caller in callers} == {"waiter"}
    assert {everybody.choose(caller, "") for caller in callers} == {"cfo"}


def test_an_empty_file_sends_everybody_to_the_default(tmp_path: Path) -> None:
    assert routes(tmp_path, "").choose(ANNA, "+15550100002") == "waiter"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[route]]\npersona = "nobody"\n', "line 2: persona: 'nobody' is no persona; there are bartender, cfo"),
        ('[[route]]\npersona = "waitor"\n', "waiter; did you mean waiter?"),
        ("\n[[route]]\nto = '+1'\n", "line 2: persona: None is no persona"),
        ('[[route]]\npersona = "cfo"\n\n[[route]]\npersona = "cfo"\nfor = "x"\n', "line 6: for: no such field"),
        ('[[route]]\npersona = "cfo"\npercent = 120\n', "line 3: percent: must be a number from 0 to 100, not 120"),
        ('[[route]]\npersona = "cfo"\npercent = true\n', "line 3: percent: must be a number"),
        ('[[route]]\npersona = "cfo"\nto = []\n', "line 3: to: must be a text or a list of texts"),
        ('[[route]]\npersona = "cfo"\nto = [15550100002]\n', "line 3: to: must be a text or a list of texts"),
        ('[[route]]\npersona = "cfo"\nlanguage = "French"\n', "line 3: language: must be ISO 639 codes"),
        ('[route]\npersona = "cfo"\n', "line 1: route: write [[route]]"),
        ('default = "cfo"\n', "line 1: default: there are only [[route]] tables"),
        ("[[route]\n", "cannot be read as TOML"),
        ("number = " + "9" * 5000, "cannot be read as TOML"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_field(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RouteError) as told:
        routes(tmp_path, text)
    assert said in str(told.value)
    assert str(tmp_path / "routes.toml") in str(told.value)


def test_rules_that_will_never_decide_are_told(tmp_path: Path) -> None:
    good = '[[route]]\npersona = "cfo"\nto = ["+15550100002", "sip:0*", "0*@example.org"]\nfrom = "anonymous"\n'
    assert routes(tmp_path, good).doubts() == ()
    national, last = routes(
        tmp_path, '[[route]]\npersona = "cfo"\nto = "0788 123 456"\n\n[[route]]\npersona = "waiter"\n' + good
    ).doubts()
    assert national.startswith("ROUTES_FILE, route 1 (cfo): to: ")
    assert "123 456" not in national, "numbers are masked"
    assert "with + and country code" in national
    assert last == "ROUTES_FILE, route 2 takes every call; those after it are never asked."
    shared = '[[route]]\npersona = "waiter"\npercent = 50\n' + good
    assert routes(tmp_path, shared).doubts() == ()
    assert routes(tmp_path, good + '[[route]]\npersona = "waiter"\n').doubts() == (), "the last may take all"


def test_a_file_that_is_not_there_is_told_by_its_setting(tmp_path: Path) -> None:
    with pytest.raises(RouteError, match=r"ROUTES_FILE: .*none\.toml: cannot be read: No such file"):
        load_routes(tmp_path / "none.toml", ["cfo"], "cfo")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(RouteError) as told:
        routes(tmp_path, '[[route]]\npersona = "nobody"\npercent = -1\n[[route]]\npersona = "noone"\n')
    assert len(str(told.value).splitlines()) == 3


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(str.strip), st.text(max_size=10))
def test_a_route_fits_the_very_address_it_names(address: str, language: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = "".join(f"\\U{ord(each):08x}" for each in address)
        chosen = routes(Path(folder), f'[[route]]\npersona = "cfo"\nto = "{written}"\n')
    assert chosen.choose(ANNA, address, language) == "cfo"
