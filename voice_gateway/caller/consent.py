"""Consent: whether a caller may be recorded, what he is told or asked before, and what he answered.

Which it is depends on who calls whom: the first rule that fits decides; where none does, the wish of the persona that
answers (`[consent]` in its file); where it has none, the default. Rules are a TOML file:

    [[rule]]
    from = "+49"                # the caller's number begins so; without it, any number, a withheld one too
    to = "+356"                 # the number he dialled begins so
    persona = "waiter"
    consent = "keypress"        # notice, keypress, none (nobody need be asked) or never (no recording)
    wording = "..."             # what is said; without it our own sentence, where there is one in that language
    language = "de-DE"          # in which the carrier's voice says it; without it, the persona's

A notice is said by the carrier before it opens the media stream, and a key is asked for there too: when a stream
begins, the notice was heard to its end, before anything is recorded and without a word of the model's in between.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.errors import ConfigError, there_are
from voice_gateway.values import read_toml

Method: TypeAlias = Literal["notice", "keypress", "none", "never"]

KEY_FOR_YES: Final = "1"
SECONDS_FOR_AN_ANSWER: Final = 6
LONGEST_WORDING: Final = 1000
LONGEST_OWN_WORDING: Final = 300
"""Of a persona, which may come while calls go on: so much is always waited for before a media stream must begin."""
SPOKEN_CHARACTERS_PER_S: Final = 10.0

WORDINGS: Final[Mapping[str, tuple[str, str, str]]] = {
    "en": (
        "en-US",
        "This call is recorded.",
        "May we record this call? For yes, press 1. For no, press any other key, or just wait.",
    ),
    "de": (
        "de-DE",
        "Dieses Gespräch wird aufgezeichnet.",
        "Dürfen wir das Gespräch aufzeichnen? Für ja die 1 drücken. Für nein eine andere Taste drücken oder warten.",
    ),
    "fr": (
        "fr-FR",
        "Cet appel est enregistré.",
        "Pouvons-nous enregistrer cet appel ? Pour oui, faites le 1. Pour non, une autre touche, ou patientez.",
    ),
    "es": (
        "es-ES",
        "Esta llamada se graba.",
        "¿Podemos grabar esta llamada? Para sí, pulse 1. Para no, pulse otra tecla o espere.",
    ),
    "it": (
        "it-IT",
        "Questa chiamata viene registrata.",
        "Possiamo registrare questa chiamata? Per sì, prema 1. Per no, prema un altro tasto o attenda.",
    ),
}
"""By language: as the carrier's voice calls it, the notice, the question."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a caller's consent is had. wording: what he is told or asked; language: of the voice, such as en-US."""

    method: Method
    wording: str = ""
    language: str = ""


@dataclass(slots=True)
class Consent:
    """One call's: the terms, and what the caller answered."""

    terms: Terms
    answer: bool | None = None
    _told: bool = field(default=False)

    @property
    def method(self) -> str:
        return self.terms.method

    @property
    def allows_recording(self) -> bool:
        return self.terms.method in {"notice", "none"} or (self.terms.method == "keypress" and self.answer is True)

    def press(self, digits: str) -> list[entries.Entry]:
        """The caller answered the question. Only the first answer counts: the carrier may post it twice."""
        if self.terms.method != "keypress" or self._told:
            return []
        self.answer = digits == KEY_FOR_YES
        return self._tell(digits)

    def settle(self) -> list[entries.Entry]:
        """His media stream has begun: he heard the notice to its end, or let the question pass."""
        if self._told or self.terms.method not in {"notice", "keypress"}:
            return []
        self.answer = self.terms.method == "notice"
        return self._tell("")

    def withdraw(self, by: str) -> entries.Entry:
        """He took it back during the call."""
        self.answer = False
        return entries.ConsentRefused("spoken", self.terms.wording, self.terms.language, by)

    def _tell(self, evidence: str) -> list[entries.Entry]:
        self._told = True
        kind = entries.ConsentGiven if self.answer else entries.ConsentRefused
        return [kind(self.terms.method, self.terms.wording, self.terms.language, evidence[:8])]


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody has set: empty wording and language are filled in by the language of whoever answers."""

    method: Method
    wording: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A wish for some calls. caller, called: how the numbers begin; empty fits all, as does an empty persona."""

    wish: Wish
    caller: str = ""
    called: str = ""
    persona: str = ""

    def fits(self, facts: CallFacts) -> bool:
        return (
            _compact(facts.from_number).startswith(self.caller)
            and _compact(facts.to_number).startswith(self.called)
            and self.persona in {"", facts.persona}
        )


@dataclass(frozen=True, slots=True)
class ConsentRules:
    """The rules in their order, and what is wished where none of them fits."""

    default: Wish
    rules: tuple[Rule, ...] = ()

    def terms(self, facts: CallFacts, speaks: str, own: Wish | None = None) -> Terms:
        """speaks, own: the language and the wish of the persona that answers.

        ValueError, in words, where it has no wording.
        """
        return terms_for(next((rule.wish for rule in self.rules if rule.fits(facts)), own or self.default), speaks)

    @property
    def longest_s(self) -> float:
        """How long a caller may be told and asked before his media stream begins."""
        wishes = [self.default, *(rule.wish for rule in self.rules)]
        longest = max(LONGEST_OWN_WORDING, *(len(wish.wording) for wish in wishes))
        return longest / SPOKEN_CHARACTERS_PER_S + SECONDS_FOR_AN_ANSWER


def terms_for(wish: Wish, speaks: str) -> Terms:
    """Terms with everything filled in. speaks: the persona's language, such as en; empty is English.

    Raises ValueError, in words, where there is no wording, or one that cannot be used.
    """
    method, wording, language = wish.method, wish.wording, wish.language
    if method in {"none", "never"}:
        return Terms(method)
    spoken = (language or speaks or "en").split("-")[0].lower()
    ours = WORDINGS.get(spoken)
    if not wording and ours is None:
        known = ", ".join(WORDINGS)
        raise ValueError(f"there is no sentence of ours in the language {spoken} (only in {known}): give a wording")
    if len(wording) > LONGEST_WORDING:
        raise ValueError(f"the wording has {len(wording)} characters; {LONGEST_WORDING} are allowed")
    if method == "keypress" and wording and KEY_FOR_YES not in wording:
        raise ValueError(f"the wording does not say that {KEY_FOR_YES} is the key for yes")
    own = "" if ours is None else ours[1] if method == "notice" else ours[2]
    return Terms(method, wording or own, language or ("" if ours is None else ours[0]))


def load_rules(
    path: Path | None, default: Wish, personas: Mapping[str, str], own: Collection[str] = ()
) -> ConsentRules:
    """The rules of a file, if there is one, and the default.

    personas: their languages by their keys; each must have words for whatever it may have to say. own: those that have
    a wish of their own instead of the default.
    Raises ConfigError with all that is wrong.
    """
    bound = {key: speaks for key, speaks in personas.items() if key not in own}
    problems = [f"RECORDING_CONSENT, RECORDING_WORDING: {each}" for each in _wordless(default, bound)]
    rules: list[Rule] = []
    if path is not None:
        try:
            given, _ = read_toml(path)
        except OSError as error:
            raise ConfigError([f"RECORDING_RULES is {path}, which cannot be read: {error.strerror}"]) from None
        except (ValueError, RecursionError) as error:  # a number may be too long to be read
            raise ConfigError([f"RECORDING_RULES is {path}, which cannot be read as TOML: {error}"]) from None
        problems += [f"{path}: {name} is not known; there is only [[rule]]" for name in given if name != "rule"]
        found = given.get("rule", [])
        for number, each in enumerate(found if isinstance(found, list) else [found], 1):
            try:
                rules.append(_rule(each, personas))
            except ValueError as problem:
                problems.append(f"{path}: rule {number}: {problem}")
    if problems:
        raise ConfigError(problems)
    return ConsentRules(default, tuple(rules))


def _wordless(wish: Wish, personas: Mapping[str, str]) -> list[str]:
    """Why some of these personas could not say what is wished."""
    found: dict[str, list[str]] = {}
    for key, speaks in personas.items():
        try:
            terms_for(wish, speaks)
        except ValueError as problem:
            found.setdefault(str(problem), []).append(key)
    return [f"{problem} (persona {', '.join(keys)})" for problem, keys in found.items()]


def _rule(given: Any, personas: Mapping[str, str]) -> Rule:
    if not isinstance(given, dict):
        raise ValueError("it is no table; write [[rule]] above it")  # noqa: TRY004 - a wrong value in a file
    fields = {"from", "to", "persona", "consent", "wording", "language"}
    if unknown := given.keys() - fields:
        raise ValueError(f"{', '.join(sorted(unknown))}: no such field; {there_are(sorted(fields), *sorted(unknown))}")
    if wrong := [name for name, value in given.items() if not isinstance(value, str)]:
        raise ValueError(f"{', '.join(wrong)}: must be a text in quotes")
    for name in ("from", "to"):
        if given.get(name) and not re.fullmatch(r"\+[0-9]{1,15}", _compact(given[name])):
            raise ValueError(f"{name}: must be a number or its beginning, with + and country code")
    persona = given.get("persona", "")
    if persona and persona not in personas:
        raise ValueError(f"persona: there is no {persona}; {there_are(sorted(personas), str(persona))}")
    language = given.get("language", "")
    if language and not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", language):
        raise ValueError("language: must be one such as en-GB")
    method: Any = given.get("consent")
    if method not in get_args(Method):
        raise ValueError(f"consent: must be one of {', '.join(get_args(Method))}")
    wish = Wish(method, given.get("wording", "").strip(), language)
    if wordless := _wordless(wish, {persona: personas[persona]} if persona else personas):
        raise ValueError(wordless[0])
    return Rule(wish, _compact(given.get("from", "")), _compact(given.get("to", "")), persona)


def _compact(number: str) -> str:
    return re.sub(r"[\s().\-]", "", number)
