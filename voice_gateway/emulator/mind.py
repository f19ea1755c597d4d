"""The mind of the emulated model: rules over the session's own tools, and no knowledge of any one of them.

A response is the first of these that applies: the text it was told to say exactly; what the tools just returned, as
sentences or as the next step they were called for; the greeting, when nobody has spoken; else an answer to the caller,
which is a tool call when a tool fits, a question when that tool lacks something or the caller must say yes first, a
courtesy, or the fallback. What a tool wants is read in its description, see `schemas`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from voice_gateway.emulator import spelled
from voice_gateway.emulator.asking import GO_AHEAD, question, read_back
from voice_gateway.emulator.choice import choose, functions, looks_up
from voice_gateway.emulator.common_words import agrees, is_about, meaning
from voice_gateway.emulator.faculties import Act, Say, Situation, UseTool
from voice_gateway.emulator.phrasing import Told, own_words, refusal, report
from voice_gateway.emulator.schemas import (
    Schema,
    advises,
    asked_first,
    callers_own,
    filler,
    gates,
    is_identifier,
    is_search,
    is_text,
    properties,
    required,
    shown_when_empty,
    source,
    takes_one_each,
    wants_callers_words,
    wants_confirmation,
)
from voice_gateway.emulator.searching import Found, parts, search_for, searches, tells
from voice_gateway.emulator.slots import fill
from voice_gateway.emulator.talk import MOST_ROUNDS, Talk
from voice_gateway.emulator.vocabulary import DIGITS, vocabulary
from voice_gateway.emulator.wording import words

_QUOTED: Final = r"[\"\u201c\u00ab]([^\"\u201d\u00bb]{2,400})[\"\u201d\u00bb]"
_SAME_SENTENCE: Final = r"[^\"\u201c\u00ab.!?;]{0,80}"
_GREETING: Final = re.compile(
    rf"\b(?:greet(?:ing|s)?|welcome|begin|start|open(?:ing)?)\b{_SAME_SENTENCE}(?:{_QUOTED}|:\s*([^\"\u201c\u00ab\n]{{2,400}}))",
    re.IGNORECASE,
)
_SAY: Final = re.compile(rf"\b(?:say|tell|speak|ask|read|repeat)\b{_SAME_SENTENCE}{_QUOTED}", re.IGNORECASE)
_TOLD: Final = re.compile(
    rf"\s*(?:now |please )*(?:say|speak|read|repeat)\b{_SAME_SENTENCE}{_QUOTED}"
    r"|(?!.*\b(?:if|when|whenever|unless|before|after)\b)"
    r"[^\"\u201c\u00ab\n]{0,200}\b(?:exactly|only|nothing else|verbatim|word for word)\b"
    rf"{_SAME_SENTENCE}{_QUOTED}\s*\.?\s*\Z",
    re.IGNORECASE,
)


_THIS_NUMBER: Final = re.compile(
    r"\b(?:call(?:ing)? (?:you )?from|this (?:number|one|phone|telephone)|(?:do not|don't) (?:know|have|remember))\b",
    re.IGNORECASE,
)


_NEWS: Final = re.compile(r"\s*tell (?:the caller|him|her|them)\b[^\"\n.;]*?\bthat ([^\"\n.;,]{2,200})", re.IGNORECASE)
_NOTE: Final = re.compile(r"\bin your own words:\s*(\S.*)", re.IGNORECASE | re.DOTALL)
_DAY_TOLD: Final = re.compile(
    r"\b(?:today|current date|date of today)\b[^.\n]{0,40}?\b(\d{4}-\d\d-\d\d)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Manners:
    """The sentences of a mind that has nothing else to say."""

    greeting: str = "Hello, how can I help you?"
    hello: str = "Hello! What can I do for you?"
    thanks: str = "You are welcome. Is there anything else I can do for you?"
    goodbye: str = "Thank you for calling. Goodbye!"
    go_on: str = "Alright. Just tell me what you would like."
    fallback: str = "I am sorry, I did not quite get that. Could you say it again?"


class RuleMind:
    """A Mind without a model. It keeps nothing between responses and may serve any number of calls."""

    def __init__(self, manners: Manners | None = None, today: Callable[[], date] = date.today) -> None:
        """today: the day around the caller, from which tomorrow counts where the instructions tell none."""
        self._manners = manners or Manners()
        self._today = today

    def respond(self, situation: Situation) -> Sequence[Act]:
        """The acts of one response: one Say, or the tool calls that the caller's words ask for."""
        if told := _TOLD.match(situation.instructions):
            return [Say(_text(told))]
        if news := _NEWS.match(situation.instructions):
            return [Say(f"I am sorry, {news[1].strip()}. Can I do anything for you myself?")]
        last = situation.lines[-1] if situation.lines else None
        if last is not None and last.role == "system" and (note := _NOTE.search(last.text)):
            return [Say(note[1].strip())]
        lines = [line for line in situation.lines if line.role != "system"]
        talk = Talk(lines)
        if talk.fresh:
            return self._go_on(situation, talk)
        if lines and lines[-1].role == "user":
            return self._answer(situation, talk) if talk.said.strip() else [Say(self._manners.fallback)]
        spoken = any(line.role == "user" for line in lines)
        return [Say(self._unasked(situation.instructions, spoken=spoken))]

    def _unasked(self, instructions: str, *, spoken: bool) -> str:
        """What to say when a response is wanted though the caller said nothing new."""
        patterns = (_SAY,) if spoken else (_GREETING, _SAY)
        found = next((match for pattern in patterns if (match := pattern.search(instructions))), None)
        if found:
            return _text(found)
        return self._manners.go_on if spoken else self._manners.greeting

    def _answer(self, situation: Situation, talk: Talk) -> Sequence[Act]:
        """What to do about the caller's last line."""
        if talk.declined:
            return [Say(self._manners.go_on)]
        errand = self._errand(situation, talk)
        return errand.acts() if errand else [Say(self._courtesy(talk.said))]

    def _go_on(self, situation: Situation, talk: Talk) -> Sequence[Act]:
        """What to do about the answers of tools: the next step they were called for, or to tell them."""
        answers = [Told(call.output, call.arguments, not looks_up(call.name)) for call in talk.fresh]
        told = report(answers, " ".join(talk.topic) or talk.said)
        worded = any(own_words(call.output) for call in talk.fresh)
        if worded or not talk.since_asked or len(talk.since_asked) > MOST_ROUNDS * 2:
            return [Say(told)]
        errand = self._errand(situation, talk)
        return errand.after(told) if errand else [Say(told)]

    def _errand(self, situation: Situation, talk: Talk) -> Errand | None:
        """What the caller is after, when a tool can do it."""
        if not talk.opening:
            return None
        known = [name for name in vocabulary(situation.instructions, situation.tools, talk.lines) if name != DIGITS]
        asked_what = talk.ours.rstrip().endswith("?")
        today = _told_day(situation.instructions) or self._today()
        tool = choose(situation, talk.opening, open_question=asked_what, known=known, today=today)
        if tool is None and (meaning(talk.said) or talk.answers) and situation.tool_choice == "auto":
            tool = next(filter(advises, functions(situation)), None)
        return None if tool is None else Errand(situation, talk, tool, known, today)

    def _courtesy(self, line: str) -> str:
        heard = set(words(line))
        if "goodbye" in heard:
            return self._manners.goodbye
        if "thanks" in heard:
            return self._manners.thanks
        if "hello" in heard:
            return self._manners.hello
        return self._manners.fallback if meaning(line) else self._manners.go_on


class Errand:
    """A tool that the caller's words ask for, and what stands between them and its call."""

    def __init__(self, situation: Situation, talk: Talk, tool: Schema, known: Sequence[str], today: date) -> None:
        self._talk = talk
        self._tool = tool
        self._known = known
        self._today = today
        self._tools = functions(situation)
        self._forced = situation.tool_choice == "required" or isinstance(situation.tool_choice, Mapping)
        self._found = Found(talk, known)

    def acts(self) -> Sequence[Act]:
        """The next step: a search for what is not known yet, a question, or the call itself."""
        tool = self._tool
        search = tool if is_search(tool) else None if self._forced else self._to_search()
        if search is not None:
            return searches(search, self._talk.opening[-1], self._known)
        wishes = self._wishes()
        if self._forced:
            return self._calls(wishes)
        if barred := self._barred():
            return barred
        if lacking := self._lacking(wishes[0]):
            return [Say(question(lacking, properties(tool)[lacking]))]
        if wants_confirmation(tool) and not self._talk.agreed:
            return [Say(read_back(tool, wishes, self._found.names))]
        return self._calls(wishes)

    def _calls(self, wishes: Sequence[Mapping[str, Any]]) -> list[Act]:
        """The calls, behind what the tool wants to be said while it works."""
        while_it_works = filler(self._tool)
        calls = [UseTool(str(self._tool["name"]), wish) for wish in wishes]
        return [Say(while_it_works), *calls] if while_it_works else list[Act](calls)

    def after(self, told: str) -> Sequence[Act]:
        """The next step when tools have just answered; told: their answers as sentences."""
        name = str(self._tool["name"])
        if any(call.name == name for call in self._talk.since_asked):
            shown, fresh = shown_when_empty(self._tool), self._talk.fresh
            if not shown or len(fresh) != 1 or len(fresh[0].rows) != 1:
                return [Say(told)]
            if self._talk.agreed:  # to what was shown before, and had to be looked up again
                return self._calls([{shown: fresh[0].rows[0]["id"]}])
            return [Say(f"{told} {GO_AHEAD}")]
        if self._found.in_vain:
            return [Say(told)]
        steps = self.acts()
        if any(isinstance(step, UseTool) and self._was_called(step) for step in steps):
            return [Say(told)]
        return [Say(f"{told} {step.text}".strip()) if isinstance(step, Say) else step for step in steps]

    def _was_called(self, step: UseTool) -> bool:
        return any((call.name, call.arguments) == (step.name, step.arguments) for call in self._talk.since_asked)

    def _barred(self) -> Sequence[Act]:
        """What must be done before: `check it before alcohol is ordered`. Nothing: the way is free."""
        for gate, objects in gates(self._tool, self._tools):
            concerned = self._concerned_words()
            if not any(is_about(kind, concerned) for kind in objects):
                continue
            checked = self._talk.last_of(gate["name"])
            if checked is not None and checked.at > self._talk.last_user:
                return [Say("")] if refusal(checked.output) else ()  # why not is just being told
            if checked is not None:
                refused = refusal(checked.output)
                return [Say(f"I am sorry, I cannot do that. {refused}")] if refused else ()
            given = self._given_for(gate)
            lacking = next((name for name in required(gate) if name not in given), "")
            return (
                [Say(question(lacking, properties(gate)[lacking]))] if lacking else [UseTool(str(gate["name"]), given)]
            )
        return ()

    def _concerned_words(self) -> set[str]:
        """Words about what is wanted: those said, and those of the rows they name."""
        said = {word for line in self._talk.opening for word in words(line)}
        told = [row for part in self._parts() for row in self._found.rows_of(part)]
        about = " ".join(str(value) for row in told for value in row.values() if isinstance(value, str))
        return said | set(words(about))

    def _given_for(self, tool: Schema) -> dict[str, Any]:
        """Arguments of a tool from all that was said about the errand, answers to our questions above all."""
        lines = self._talk.topic
        answered = {
            name: answer.text.strip(" .!?")
            for name, schema in properties(tool).items()
            for answer in self._talk.answers
            if answer.question == question(name, schema) and is_text(schema) and not is_identifier(name)
            if not self._own_number(tool, name)
        }
        wish = {
            name: self._talk.opening[-1].strip()
            for name, schema in properties(tool).items()
            if name in required(tool) and wants_callers_words(schema)
        }
        return {**wish, **answered, **fill(tool, lines, self._today)}

    def _lines(self) -> list[str]:
        """What was said about this tool's call: not what was answered to another's question, nor a bare yes."""
        own = {GO_AHEAD, *(question(name, schema) for name, schema in properties(self._tool).items())}
        answers = [answer for answer in self._talk.answers if answer.question in own]
        said = [each.text for each in answers if not (each.question == GO_AHEAD and agrees(each.text))]
        return [*self._talk.opening, *said]

    def _parts(self) -> list[str]:
        """What was said, one part for each thing where the tool takes one at a time."""
        lines = self._lines()
        if not takes_one_each(self._tool):
            return lines[-1:]
        return [part for line in lines for part in parts(line) if tells(part)] or lines[-1:]

    def _wishes(self) -> list[dict[str, Any]]:
        """The arguments of each call. Of one thing named twice, the later wish counts."""
        tool = self._tool
        if advises(tool):
            context = next((name for name, schema in properties(tool).items() if is_text(schema)), "")
            return [{context: self._talk.said.strip()} if context else {}]
        if not takes_one_each(tool):
            return [{**self._given_for(tool), **self._identifiers(self._talk.topic[-1])}]
        wishes: dict[str, dict[str, Any]] = {}
        for part in self._parts():
            wish = fill(tool, [part], self._today)
            for name, schema in properties(tool).items():
                if source(schema, self._tools) and (row := self._found.row_of(part)):
                    wish[name] = row["id"]
            if what := " ".join(str(wish[name]) for name in required(tool) if name in wish):
                wishes[what] = wish
        return list(wishes.values()) or [self._given_for(tool)]

    def _identifiers(self, line: str) -> dict[str, Any]:
        """Identifiers the tool wants: of the row that was named or told alone; one that was offered, once agreed to."""
        wanted = [name for name in properties(self._tool) if is_identifier(name)]
        first, shown = asked_first(self._tool), shown_when_empty(self._tool)
        if first in wanted:
            return _said_identifier(first, self._talk, properties(self._tool)[first])
        if shown:
            offered = self._talk.last_of(self._tool["name"]) if self._talk.agreed else None
            return {shown: offered.rows[0]["id"]} if offered and len(offered.rows) == 1 else {}
        row = self._found.row_of(line) if wanted else None
        return dict.fromkeys(wanted, row["id"]) if row else {}

    def _to_search(self) -> Schema | None:
        """The search that must come first: for a row that an argument names, and that nobody has told yet."""
        tool = self._tool
        for name, schema in properties(tool).items():
            origin = source(schema, self._tools)
            unknown = [part for part in self._parts() if not self._found.row_of(part)]
            if origin is not None and name in required(tool) and unknown:
                return origin
        lacking = [name for name in required(tool) if is_identifier(name) and name != asked_first(tool)]
        if lacking and not self._identifiers(self._talk.topic[-1]):
            return search_for(self._tools)
        return None

    def _lacking(self, wish: Mapping[str, Any]) -> str:
        """The first argument that must be asked for; empty: none."""
        wanted = [*required(self._tool), *filter(None, [asked_first(self._tool)])]
        lacking = [name for name in wanted if name not in wish and name in properties(self._tool)]
        return next((name for name in lacking if not self._own_number(self._tool, name)), "")

    def _own_number(self, tool: Schema, name: str) -> bool:
        """Whether the caller wants the number that he calls from to be taken, which is done by leaving it out."""
        asked = question(name, properties(tool)[name])
        told = (answer.text for answer in self._talk.answers if answer.question == asked)
        return name in callers_own(tool) and any(_THIS_NUMBER.search(text) for text in told)


def _said_identifier(name: str, talk: Talk, schema: Schema) -> dict[str, Any]:
    """An id that the caller was asked for, as he spelled it."""
    answers = [answer.text for answer in talk.answers if answer.question == question(name, schema)]
    found = next((code for text in [*reversed(answers), *talk.opening] if (code := spelled.code(text))), "")
    return {name: found} if found else {}


def _told_day(instructions: str) -> date | None:
    """What the instructions say today is; the last word on it counts."""
    told = _DAY_TOLD.findall(instructions)
    try:
        return date.fromisoformat(told[-1]) if told else None
    except ValueError:
        return None


def _text(found: re.Match[str]) -> str:
    return next(group for group in found.groups() if group).strip()
