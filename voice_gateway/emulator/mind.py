"""The mind of the emulated model: rules over the session's own tools, and no knowledge of any one of them.

A response is the first of these that applies: the text it was told to say exactly; what the tools just returned, as
sentences; the greeting, when nobody has spoken; else an answer to the caller's last line, which is a tool call when a
tool fits, a question when that tool lacks something, a courtesy, or the fallback.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from voice_gateway.emulator.faculties import Act, Line, Say, Situation, UseTool
from voice_gateway.emulator.phrasing import phrase
from voice_gateway.emulator.schemas import Schema, choices, is_identifier, is_search, properties, required
from voice_gateway.emulator.slots import FILLERS, enum_finds, fill, likeness, meaning, query
from voice_gateway.emulator.vocabulary import descriptions, rows, vocabulary
from voice_gateway.emulator.wording import listed, readable, words

ENOUGH: Final = 2.0  # points from which a tool is taken
MOST_SEARCHES: Final = 3
LOOKING_UP: Final = {
    "check",
    "fetch",
    "find",
    "get",
    "list",
    "lookup",
    "look",
    "query",
    "read",
    "recommend",
    "search",
    "show",
    "suggest",
}

_QUOTED: Final = r"[\"\u201c\u00ab]([^\"\u201d\u00bb]{2,400})[\"\u201d\u00bb]"
_SAME_SENTENCE: Final = r"[^\"\u201c\u00ab.!?]{0,80}"
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
_QUESTION: Final = re.compile(
    r"\b(?:what|whats|what's|which|how|who|where|when|is there|are there|do you|does|have you|tell me|price)\b",
    re.IGNORECASE,
)
_WHOLE_RANGE: Final = re.compile(
    r"\b(?:what|which|anything|everything|all)\b.*\b(?:have|got|offer|serve|sell|there)\b", re.IGNORECASE
)
_WISH: Final = re.compile(
    r"\?|\b(?:(?:can|could|may|shall) (?:i|we|you)|i(?:'d|'ll| would| will)? (?:like|love|want|need|take|have)"
    r"|(?:give|bring|get|show|make) (?:me|us)|let'?s|looking for|please)\b",
    re.IGNORECASE,
)
_ASKING: Final = "What "  # how a question for a missing argument begins


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

    def __init__(self, manners: Manners | None = None) -> None:
        self._manners = manners or Manners()

    def respond(self, situation: Situation) -> Sequence[Act]:
        """The acts of one response: one Say, or the tool calls that the caller's words ask for."""
        if told := _TOLD.match(situation.instructions):
            return [Say(_text(told))]
        lines = [line for line in situation.lines if line.role != "system"]
        if outputs := _fresh_outputs(lines):
            return [Say(_report(outputs, lines))]
        if lines and lines[-1].role == "user":
            return self._answer(situation, lines) if lines[-1].text.strip() else [Say(self._manners.fallback)]
        spoken = any(line.role == "user" for line in lines)
        return [Say(self._unasked(situation.instructions, spoken=spoken))]

    def _unasked(self, instructions: str, *, spoken: bool) -> str:
        """What to say when a response is wanted though the caller said nothing new."""
        patterns = (_SAY,) if spoken else (_GREETING, _SAY)
        found = next((match for pattern in patterns if (match := pattern.search(instructions))), None)
        if found:
            return _text(found)
        return self._manners.go_on if spoken else self._manners.greeting

    def _answer(self, situation: Situation, lines: Sequence[Line]) -> Sequence[Act]:
        topic = _topic(lines)
        known = vocabulary(situation.instructions, situation.tools, lines)
        tool = choose(situation, topic, open_question=_open_question(lines), known=known)
        if tool is None:
            return [Say(self._courtesy(topic[-1]))]
        if is_search(tool):
            return _searches(tool, topic[-1], known)
        arguments = {**_asked_for(tool, lines), **fill(tool, topic), **_identifiers(tool, topic[-1], lines)}
        lacking = [name for name in required(tool) if name not in arguments]
        search = next((other for other in situation.tools if is_search(other)), None)
        if search and any(is_identifier(name) for name in lacking):
            return _searches(search, topic[-1], known)  # what it is about must be found before it can be named
        if lacking and not _forced(situation):
            return [Say(_question(lacking[0], properties(tool).get(lacking[0], {})))]
        return [UseTool(str(tool["name"]), arguments)]

    def _courtesy(self, line: str) -> str:
        heard = set(words(line))
        if "goodbye" in heard:
            return self._manners.goodbye
        if "thanks" in heard:
            return self._manners.thanks
        if "hello" in heard:
            return self._manners.hello
        return self._manners.fallback if meaning(line) else self._manners.go_on


def choose(
    situation: Situation, topic: Sequence[str], *, open_question: bool = False, known: Sequence[str] = ()
) -> Schema | None:
    """The tool that the caller's lines ask for, or none. A forced tool_choice is obeyed.

    open_question: we had asked what they want. known: the words of the domain.
    """
    tools = [tool for tool in situation.tools if tool.get("type", "function") == "function" and tool.get("name")]
    choice = situation.tool_choice
    if isinstance(choice, Mapping):
        return next((tool for tool in tools if tool["name"] == choice.get("name")), None)
    if choice == "none" or not tools:
        return None
    names = {word for name in known for word in words(name)} - FILLERS
    named = any(likeness([name], [word]) for word in meaning(topic[-1]) for name in names)
    wished = open_question or named or any(_WISH.search(line) or _QUESTION.search(line) for line in topic)
    points = [score(tool, topic, wished=wished) for tool in tools]
    best = max(points)
    return tools[points.index(best)] if best >= ENOUGH or choice == "required" else None


def score(tool: Schema, topic: Sequence[str], *, wished: bool) -> float:
    """How much a tool fits what was said: choices of its enums count most, then its name, then its description.

    wished: the lines ask for something. Then a word of the description is enough, and a tool that answers free
    questions takes whatever has a meaning, if none fits better. A question prefers tools that look something up.
    """
    bearing = {word for line in topic for word in meaning(line)}
    own = set(words(readable(str(tool["name"]))))
    purpose = set(words(str(tool.get("description") or "")))
    about = purpose | {word for text in [*descriptions(tool), *map(readable, properties(tool))] for word in words(text)}
    named, described = bearing & own, bearing & purpose - own
    points = 2.0 * len(named) + len(described) + 0.5 * len(bearing & about - named - described)
    points += sum(2 * find.score for line in topic for find in enum_finds(properties(tool), words(line)))
    if "goodbye" in words(topic[-1]) and "goodbye" in about:
        points += ENOUGH
    if points and wished:
        points += 1.5
    if is_search(tool) and wished and (bearing or _WHOLE_RANGE.search(topic[-1])):
        points = max(points, ENOUGH)
    if points and own & LOOKING_UP and _QUESTION.search(topic[-1]):
        points += 3.0
    return points


def _identifiers(tool: Schema, line: str, lines: Sequence[Line]) -> dict[str, Any]:
    """Identifiers a tool wants, of the row among those told so far that the line names, else of the one told alone."""
    outputs = [rows(other.text) for other in lines if other.role == "tool_output"]
    told = [row for output in outputs for row in output if "id" in row and isinstance(row.get("name"), str)]
    heard = meaning(line)
    best = max(told, key=lambda row: len(heard & set(words(row["name"]))), default=None)
    if best and not heard & set(words(best["name"])):
        best = outputs[-1][0] if len(outputs[-1]) == 1 and "id" in outputs[-1][0] else None
    return {name: best["id"] for name in properties(tool) if is_identifier(name)} if best else {}


def _open_question(lines: Sequence[Line]) -> bool:
    """Whether the last thing we said was a question."""
    ours = next((line.text for line in reversed(lines) if line.role == "assistant"), "")
    return ours.rstrip().endswith("?")


def _searches(tool: Schema, line: str, known: Sequence[str]) -> list[Act]:
    """One search for each thing that was named: a cappuccino and a croissant are two. None named: search for all."""
    parameter = (required(tool) or list(properties(tool)))[0]
    parts = [query(part, tool) for part in re.split(r",?\s+and\s+|,\s+", line)]
    wanted = list(dict.fromkeys(_corrected(part, known) for part in parts if part))[:MOST_SEARCHES] or [""]
    return [UseTool(str(tool["name"]), {parameter: part}) for part in wanted]


def _corrected(part: str, known: Sequence[str]) -> str:
    """The words, where the ear was off by a letter or two in a name of the domain with that name's own."""
    names = {
        word: spelt for phrase in known for spelt in phrase.split() for word in words(spelt) if word not in FILLERS
    }
    return " ".join(_nearest(spelt, names) for spelt in part.split())


def _nearest(spelt: str, names: Mapping[str, str]) -> str:
    heard = words(spelt)
    if len(heard) != 1 or heard[0] in names:
        return spelt
    best = max(names, key=lambda name: likeness([name], heard), default="")
    return names[best] if best and likeness([best], heard) else spelt


def _question(name: str, schema: Schema) -> str:
    """Ask for an argument: choices are read out, a text is asked for by its name."""
    options = [readable(str(choice)) for choice in choices(schema)]
    if options:
        return f"{_ASKING}{readable(name)} would you like? You can choose {listed(options[:5], 'or')}."
    return f"{_ASKING}is the {readable(name)}, please?"


def _asked_for(tool: Schema, lines: Sequence[Line]) -> dict[str, str]:
    """The text argument that our last question asked for: the caller's whole answer, unless its form tells better."""
    ours = next((line.text for line in reversed(lines) if line.role == "assistant"), "")
    return {
        name: lines[-1].text.strip(" .!?")
        for name, schema in properties(tool).items()
        if schema.get("type", "string") == "string" and not choices(schema) and ours == _question(name, schema)
    }


def _forced(situation: Situation) -> bool:
    return situation.tool_choice == "required" or isinstance(situation.tool_choice, Mapping)


def _fresh_outputs(lines: Sequence[Line]) -> list[Line]:
    """The tool outputs that nobody has spoken about yet."""
    fresh: list[Line] = []
    for line in reversed(lines):
        if line.role in {"user", "assistant"}:
            break
        if line.role == "tool_output":
            fresh.append(line)
    return fresh[::-1]


def _report(outputs: Sequence[Line], lines: Sequence[Line]) -> str:
    calls = {line.call_id: line.text for line in lines if line.role == "tool_call"}
    said = (phrase(output.text, _arguments(calls.get(output.call_id, ""))) for output in outputs)
    return " ".join(dict.fromkeys(said))


def _topic(lines: Sequence[Line]) -> list[str]:
    """The caller's last line, and those before it that it completes, as long as we had only asked back."""
    topic: list[str] = []
    for line in reversed(lines):
        if line.role == "user":
            topic.append(line.text)
        elif line.role != "assistant" or (line.text and not line.text.startswith(_ASKING)):
            break
    return topic[::-1]


def _text(found: re.Match[str]) -> str:
    return next(group for group in found.groups() if group).strip()


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
