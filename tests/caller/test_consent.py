"""Whether a caller may be recorded: what he is told, by which rule, and what his answer is worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.caller.consent import WORDINGS, Consent, ConsentRules, Terms, Wish, load_rules, terms_for
from voice_gateway.errors import ConfigError

PERSONAS = {"waiter": "en", "kellner": "de"}


def rules(tmp_path: Path, text: str, personas: dict[str, str] = PERSONAS) -> ConsentRules:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return load_rules(path, Wish("notice", "We record."), personas)


def facts(from_number: str = "+15550001111", to_number: str = "+35621234567", persona: str = "waiter") -> CallFacts:
    return CallFacts("CA1", from_number, to_number, persona=persona)


# --- the rules --------------------------------------------------------------------------------------------------


def test_the_first_rule_that_fits_decides_and_else_the_default(tmp_path: Path) -> None:
    found = rules(
        tmp_path,
        """
        [[rule]]
        from = "+49 30"
        consent = "never"
        [[rule]]
        from = "+49"
        to = "+356"
        consent = "keypress"
        language = "de-DE"
        [[rule]]
        persona = "kellner"
        consent = "notice"
        """,
    )
    assert found.terms(facts("+49 (30) 123456"), "en").method == "never"
    assert found.terms(facts("+4989123456"), "en") == Terms("keypress", WORDINGS["de"][2], "de-DE")
    assert found.terms(facts("+4989123456", "+44123"), "en") == Terms("notice", "We record.", "en-US")
    assert found.terms(facts(persona="kellner"), "de") == Terms("notice", WORDINGS["de"][1], "de-DE")
    for withheld in ("", "anonymous", "+266696687"):
        assert found.terms(facts(withheld), "fr") == Terms("notice", "We record.", "fr-FR")


def test_no_file_means_the_default_alone_in_the_language_of_whoever_answers() -> None:
    found = load_rules(None, Wish("keypress"), PERSONAS)
    assert found.terms(facts(), "en").wording == WORDINGS["en"][2]
    assert found.terms(facts(), "de").wording == WORDINGS["de"][2]
    assert found.longest_s > 12
    with pytest.raises(ValueError, match="no sentence of ours in the language rw"):
        found.terms(facts(), "rw")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[rule]]\n", "consent: must be one of notice, keypress, none, never"),
        ('[[rule]]\nconsent = "ask"\n', "consent: must be one of"),
        ('[[rule]]\nconsent = ["notice"]\n', "consent: must be a text"),
        ('[[rule]]\nconsent = "none"\nfrom = "49"\n', "from: must be a number or its beginning"),
        ('[[rule]]\nconsent = "none"\nfrom = 49\n', "from: must be a text"),
        ('[[rule]]\nconsent = "none"\ncountry = "DE"\n', "country: no such field"),
        ('[[rule]]\nconsent = "none"\npersona = "nobody"\n', "there is no nobody; there are kellner, waiter"),
        ('[[rule]]\nconsent = "notice"\nlanguage = "rw"\n', "no sentence of ours in the language rw"),
        ('[[rule]]\nconsent = "keypress"\nwording = "Press a key."\n', "does not say that 1 is the key for yes"),
        (f'[[rule]]\nconsent = "notice"\nwording = "{"x" * 1001}"\n', "1001 characters; 1000 are allowed"),
        ('[[rule]]\nconsent = "notice"\nlanguage = "German, please"\n', "language: must be one such as en-GB"),
        ('[rules]\nconsent = "none"\n', "rules is not known; there is only [[rule]]"),
        ('rule = ["none"]\n', "rule 1: it is no table"),
        ("[[rule]\n", "cannot be read as TOML"),
        ("number = " + "9" * 5000, "cannot be read as TOML"),
    ],
)
def test_what_is_wrong_in_the_rules_is_said_at_the_start(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        rules(tmp_path, text)
    assert complaint in str(refused.value)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        rules(tmp_path, '[[rule]]\nconsent = "a"\n[[rule]]\nconsent = "none"\n[[rule]]\nconsent = "b"\n')
    assert "rule 1" in str(refused.value)
    assert "rule 2" not in str(refused.value)
    assert "rule 3" in str(refused.value)


def test_a_missing_file_or_a_wording_that_is_missing_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"RECORDING_RULES is .*nowhere"):
        load_rules(tmp_path / "nowhere", Wish("none"), PERSONAS)
    with pytest.raises(ConfigError, match=r"RECORDING_CONSENT.* language rw .*persona umukozi"):
        load_rules(None, Wish("notice"), PERSONAS | {"umukozi": "rw"})
    assert load_rules(None, Wish("notice", "Ikiganiro kirafatwa."), PERSONAS | {"umukozi": "rw"})


@pytest.mark.parametrize("language", list(WORDINGS))
def test_our_own_sentences_name_the_key_and_end(language: str) -> None:
    for method in ("notice", "keypress"):
        terms = terms_for(Wish(method), language)
        assert terms.wording.endswith((".", "?"))
        assert terms.language.startswith(language)
        assert ("1" in terms.wording) is (method == "keypress")


# --- the answer -------------------------------------------------------------------------------------------------


def test_a_notice_counts_when_the_stream_begins_and_once() -> None:
    consent = Consent(Terms("notice", "This call is recorded.", "en-US"))
    assert consent.press("2") == [], "nothing was asked"
    assert consent.settle() == [entries.ConsentGiven("notice", "This call is recorded.", "en-US")]
    assert consent.settle() == []
    assert consent.allows_recording


@pytest.mark.parametrize("digits", ["2", "", "11", "*", "1 ", "x" * 999])
def test_only_the_one_key_is_a_yes(digits: str) -> None:
    consent = Consent(Terms("keypress", "Press 1."))
    assert consent.press(digits) == [entries.ConsentRefused("keypress", "Press 1.", evidence=digits[:8])]
    assert not consent.allows_recording


def test_the_first_answer_counts_and_silence_is_a_no() -> None:
    consent = Consent(Terms("keypress", "Press 1."))
    assert not consent.allows_recording
    assert consent.press("1") == [entries.ConsentGiven("keypress", "Press 1.", evidence="1")]
    assert consent.press("2") == consent.settle() == []
    assert consent.allows_recording
    silent = Consent(Terms("keypress", "Press 1."))
    assert silent.settle() == [entries.ConsentRefused("keypress", "Press 1.")]
    assert silent.press("1") == [], "the stream has begun: too late"
    assert not silent.allows_recording


def test_where_nobody_need_be_asked_nothing_is_said_and_never_means_never() -> None:
    free, forbidden = Consent(Terms("none")), Consent(Terms("never"))
    assert free.settle() == forbidden.settle() == []
    assert free.allows_recording
    assert not forbidden.allows_recording


def test_a_personas_own_wish_goes_before_the_default_and_after_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('[[rule]]\nfrom = "+49"\nconsent = "keypress"\nlanguage = "de-DE"\n')
    personas = {"waiter": "en", "umukozi": "rw"}
    own = Wish("notice", "Ikiganiro kirafatwa.", "rw")
    with pytest.raises(ConfigError, match="umukozi"):
        load_rules(None, Wish("notice"), personas)
    found = load_rules(path, Wish("notice"), personas, own=["umukozi"])
    assert found.terms(CallFacts("CA1", "+250788123456"), "rw", own).wording == "Ikiganiro kirafatwa."
    assert found.terms(CallFacts("CA1", "+4930123456"), "rw", own).method == "keypress"
    assert found.terms(CallFacts("CA1", "+250788123456"), "en").wording == "This call is recorded."
