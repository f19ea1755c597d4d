"""`voice-gateway timeline`: what a trace holds is in its picture, and where it belongs."""

from __future__ import annotations

import base64
import re
import stat
import struct
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import Scene
from test_any_order import EVENTS, POLICIES
from typer.testing import CliRunner

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.cli.verbs import app
from voice_gateway.trace.notes import Heading, Note, Trace, write_commands, write_trace
from voice_gateway.trace.page import page
from voice_gateway.trace.picture import clock, draw
from voice_gateway.trace.story import Story, tell

VOID = {"meta", "br", "img", "input", "link", "hr"}
SVG = "{http://www.w3.org/2000/svg}"
HUM = bytes((0x90, 0x10) * 80)


def whole(policy: Policy, happenings: list[tuple[float, ev.Event]]) -> Trace:
    bridge = Bridge(policy, 0.0)
    notes = []
    for at, event in happenings:
        commands = bridge.handle(event, at)
        notes.append(Note(at, event, tuple(write_commands(commands, policy.audio_format))))
    facts = ev.CallFacts("CA1", "+1555***0001", "+1555***0002", persona="waiter")
    return Trace(Heading(facts, policy, 0.0, "2026-05-04T10:20:30.000Z", "9.9"), tuple(notes))


class Filmed(Scene):
    """A scene whose events are kept with their times."""

    def __init__(self) -> None:
        super().__init__()
        self.happened: list[tuple[float, ev.Event]] = []

    def tell(self, event: ev.Event) -> list[do.Command]:
        self.happened.append((self.now, event))
        return super().tell(event)

    def frames(self, from_s: float, to_s: float, ulaw: bytes) -> None:
        """The caller's sound, to come 80 ms after it was made."""
        for at in range(round(from_s * 50), round(to_s * 50)):
            self.later(at / 50 + 0.08, ev.CallerAudio(ulaw, at * 20))


@pytest.fixture(scope="module")
def scene() -> Filmed:
    """A greeting, a question with a tool, an answer that is cut, a key and a fault; the caller is silent but twice."""
    scene = Filmed()
    scene.frames(0.0, 4.0, b"\xff" * 160)
    scene.frames(4.0, 5.0, HUM)
    scene.frames(5.0, 10.0, b"\xff" * 160)
    scene.frames(10.0, 11.0, HUM)
    scene.frames(11.0, 14.0, b"\xff" * 160)
    scene.pass_until(0.5)
    scene.begin()
    scene.pass_until(1.0)
    scene.answer("resp_1", "item_1", 2.0, text="Hello, what can I do?")
    scene.pass_until(4.2)
    scene.tell(ev.SpeechStarted("user_1", 4000))
    scene.pass_until(5.5)
    scene.tell(ev.SpeechStopped("user_1", 5000))
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.tell(ev.ToolCalled("resp_2", "item_2", "call_1", "lookup_menu", '{"query": "<coffee>"}'))
    scene.tell(ev.ResponseFinished("resp_2", "completed"))
    scene.pass_until(6.0)
    scene.tell(ev.ToolFinished("call_1", '{"items": []}'))
    scene.tell(ev.UserTranscribed("user_1", "Is there coffee & tea?"))
    scene.pass_until(6.5)
    scene.answer("resp_3", "item_3", 9.0, text="There is coffee from here, and a lot more than anybody would hear of.")
    scene.pass_until(10.2)
    scene.tell(ev.SpeechStarted("user_2", 10_000))
    scene.pass_until(11.5)
    scene.tell(ev.SpeechStopped("user_2", 11_000))
    scene.tell(ev.DigitPressed("#"))
    scene.tell(ev.ModelErred("server_error", "It <b>stumbled</b>."))
    scene.pass_until(14.0)
    scene.tell(ev.CallerLeft("hangup"))
    return scene


@pytest.fixture(scope="module")
def trace(scene: Filmed) -> Trace:
    return whole(Policy(audio_format="pcmu"), scene.happened)


@pytest.fixture(scope="module")
def story(trace: Trace) -> Story:
    return tell(trace)


def sounding(samples: np.ndarray) -> tuple[float, float]:
    """From when to when there is something, in seconds."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 100)
    return float(loud[0]) / 8000, float(loud[-1] + 1) / 8000


def test_the_callers_sound_lies_where_he_made_it_and_not_where_it_came(story: Story) -> None:
    assert sounding(story.caller[: 8 * 8000]) == pytest.approx((4.08, 5.08), abs=0.001)


def test_our_voice_lies_where_the_ear_heard_it(story: Story) -> None:
    """The line takes 50 ms each way, and its jitter buffer 60 ms more before a run begins."""
    assert sounding(story.voice[: 4 * 8000]) == pytest.approx((1.11, 3.11), abs=0.03)


def test_what_was_heard_before_the_cut_is_what_the_line_had_played(scene: Filmed, story: Story) -> None:
    (cut,) = story.cuts
    assert cut.at_s == pytest.approx(10.25, abs=0.001)
    from_s, to_s = sounding(story.voice[5 * 8000 :])
    assert to_s + 5 == pytest.approx(cut.at_s, abs=0.03)
    greeting_s = 2.0
    assert to_s - from_s == pytest.approx(scene.truths[0] / 8000 - greeting_s, abs=0.03)
    assert sounding(story.unheard)[0] == pytest.approx(cut.at_s, abs=0.03)


def test_turns_waits_tools_keys_and_faults_are_told_in_their_places(story: Story) -> None:
    assert [(turn.who, round(turn.from_s, 1)) for turn in story.turns] == [
        ("assistant", 1.1),
        ("caller", 4.1),
        ("assistant", 6.6),
        ("caller", 10.1),
    ]
    greeting, question, answer, _ = story.turns
    assert (greeting.text, greeting.unheard) == ("Hello, what can I do?", "")
    assert question.text == "Is there coffee & tea?"
    assert answer.text.startswith("There is coffee")
    assert answer.unheard.endswith("would hear of.")
    assert answer.unheard_s == pytest.approx(9 - (10.25 - 6.61), abs=0.05)
    (wait,) = story.answers
    assert (wait.stopped_s, wait.delta_s, wait.heard_s) == pytest.approx((5.08, 6.5, 6.61), abs=0.03)
    (tool,) = story.tools
    assert (tool.name, tool.from_s, tool.to_s, tool.good) == ("lookup_menu", 5.5, 6.0, True)
    assert [(key.at_s, key.name) for key in story.keys] == [(11.5, "#")]
    assert [(fault.at_s, fault.name) for fault in story.faults] == [(11.5, "model: server_error")]
    assert story.first_heard_s == pytest.approx(1.11 - 0.5, abs=0.03), "not what measures the line"
    assert story.ended is not None
    assert story.ended.reason == "hangup"


def written(*happenings: tuple[float, ev.Event, list[do.Command]]) -> Trace:
    """A trace as another bridge may have left it."""
    notes = (Note(at, event, tuple(write_commands(commands, "pcmu"))) for at, event, commands in happenings)
    return Trace(Heading(ev.CallFacts("CA1"), Policy(audio_format="pcmu"), 0.0), tuple(notes))


def spoken(heard_ms: int) -> do.WriteEntry:
    whole = heard_ms == 1000
    return do.WriteEntry(
        entries.AssistantSpoke("item_1", "So it is" if whole else "So", "So it is", heard_ms, 1000, not whole)
    )


UNTIL_THE_HOLD: list[tuple[float, ev.Event, list[do.Command]]] = [
    (0.0, ev.CallerJoined("MZ1"), [do.SendMark("g0:p1")]),
    (0.1, ev.MarkReached("g0:p1"), []),
    (1.0, ev.AudioReceived("resp_1", "item_1", 0, HUM * 50), [do.PlayAudio(HUM * 50), do.SendMark("g0:m2")]),
    (1.5, ev.CallerAudio(HUM, 1500), [do.ClearPlayout(), do.Observe("hold_delay", 0.1)]),
    (1.6, ev.MarkReached("g0:m2"), []),
]


def test_a_voice_that_was_held_in_vain_is_one_turn_with_a_pause() -> None:
    on = [do.PlayAudio(HUM * 25), do.SendMark("g1:m3"), do.WriteEntry(entries.HeldInVain("item_1", 400))]
    story = tell(written(*UNTIL_THE_HOLD, (1.9, ev.Woke(), on), (2.5, ev.MarkReached("g1:m3"), [spoken(1000)])))
    assert [(cut.name, round(cut.at_s, 3)) for cut in story.cuts] == [("held", 1.55)]
    (turn,) = story.turns
    assert (turn.from_s, turn.to_s, turn.unheard_s) == pytest.approx((1.05, 2.45, 0.0))
    assert sounding(story.voice[: round(1.7 * 8000)]) == pytest.approx((1.05, 1.55), abs=0.001)
    assert sounding(story.voice[round(1.7 * 8000) :]) == pytest.approx((0.25, 0.75), abs=0.001)
    assert [(remark.name, remark.detail) for remark in story.remarks] == [
        ("Held in vain", "item_id item_1, held_ms 400")
    ]
    assert 'class="cut hold"' in draw(story)


def test_a_voice_that_was_held_and_then_cut_ends_where_it_was_held() -> None:
    cut = [
        do.TruncateItem("item_1", 0, 500),
        do.WriteEntry(entries.BargedIn("item_1", 500, 500, "resp_1")),
        spoken(500),
    ]
    story = tell(written(*UNTIL_THE_HOLD, (1.8, ev.SpeechStarted("user_1", 1300), cut), (3.0, ev.Woke(), [])))
    assert [(moment.name, round(moment.at_s, 3)) for moment in story.cuts] == [("held", 1.55), ("cut in", 1.8)]
    turn = next(turn for turn in story.turns if turn.who == "assistant")
    assert (turn.from_s, turn.to_s, turn.unheard_s, turn.unheard) == pytest.approx((1.05, 1.55, 0.5, "it is"))
    assert sounding(story.unheard) == pytest.approx((1.55, 2.05), abs=0.001)


def test_a_call_that_was_handed_over_shows_it_and_where_the_caller_spoke_after_it() -> None:
    entry = do.WriteEntry(entries.HandedOff("waiter", "cfo", "tool", "tax", 900, another_session=True))
    story = tell(
        written(
            (0.0, ev.CallerJoined("MZ1"), []),
            *((0.02 * n, ev.CallerAudio(HUM, 20 * n), [do.AppendAudio(HUM)]) for n in range(1, 50)),
            (2.0, ev.Woke(), [do.SwapModel("cfo"), do.AppendAudio(HUM * 25), do.AddNote("You are cfo."), entry]),
            (3.0, ev.SpeechStarted("user_2", 1000), []),
            (4.0, ev.SpeechStopped("user_2", 2000), []),
            (4.1, ev.UserTranscribed("user_2", "Hello"), []),
        )
    )
    (turn,) = story.turns
    assert (turn.from_s, turn.to_s) == pytest.approx((2.5, 3.5)), "it counts from half a second before the swap"
    assert [remark.name for remark in story.remarks] == ["Handed off"]
    assert "to_persona cfo" in draw(story)


class Reader(HTMLParser):
    """A page's text by element, its attributes, and whether every element is closed where it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "action"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.text.setdefault(tag, []).append(data)

    def of(self, tag: str) -> str:
        return " ".join("".join(self.text.get(tag, [])).split())


@pytest.fixture
def read_page(trace: Trace, tmp_path: Path) -> tuple[Reader, str]:
    """The page that the verb writes."""
    file, out = tmp_path / "call.jsonl", tmp_path / "call.html"
    with file.open("wb") as opened:
        write_trace(opened, trace)
    result = CliRunner().invoke(app, ["timeline", str(file)])
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    reader, text = Reader(), out.read_text()
    reader.feed(text)
    assert reader.open == []
    return reader, text


def test_the_page_holds_what_the_trace_does(read_page: tuple[Reader, str]) -> None:
    reader, _ = read_page
    words = reader.of("ol")
    for told in ("Is there coffee & tea?", "Hello, what can I do?", "lookup_menu, 500 ms", "model: server_error"):
        assert told in words
    assert "It <b>stumbled</b>." in words, "text stays text"
    assert reader.of("del").endswith("would hear of.")
    assert "+1555***0001 to +1555***0002" in reader.of("main")
    assert "ended by hangup, completed" in reader.of("main")
    assert "Median wait 1.5" in re.sub(r"(wait|Cut in|Tools|Faults)", r"\1 ", reader.of("dl"))
    assert "mark_every_s = 0.2" in reader.of("details")
    titles = reader.of("title")
    assert "Caller, 4.08 to 5.08 s: Is there coffee & tea?" in titles
    assert "Key # at 11.50 s" in titles
    assert "Tool lookup_menu, 5.50 s, took 0.50 s" in titles
    assert "after a clear: it says nothing" in titles


def test_the_page_needs_nothing_but_itself_and_plays_the_call(read_page: tuple[Reader, str], story: Story) -> None:
    reader, text = read_page
    (source,) = reader.links
    wav = base64.b64decode(source.removeprefix("data:audio/wav;base64,"))
    assert wav[:4] + wav[8:12] == b"RIFFWAVE"
    assert struct.unpack("<I", wav[4:8])[0] == len(wav) - 8
    assert struct.unpack("<HHI", wav[20:28]) == (7, 2, 8000)
    assert len(wav) - wav.index(b"data") - 8 == 2 * len(story.caller)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text
    assert "url(" not in text


def test_a_page_without_sound_has_no_player_and_no_script(story: Story) -> None:
    reader = Reader()
    reader.feed(page(story, sound=False))
    assert reader.links == []
    assert "script" not in reader.text


def test_the_picture_alone_is_an_svg_that_stands_for_itself(trace: Trace, tmp_path: Path) -> None:
    file = tmp_path / "call.jsonl"
    with file.open("wb") as opened:
        write_trace(opened, trace)
    result = CliRunner().invoke(app, ["timeline", str(file), "-o", str(tmp_path / "out.svg"), "--scale", "10"])
    assert result.exit_code == 0, result.output
    root = ET.parse(tmp_path / "out.svg").getroot()  # noqa: S314 - our own file
    assert root.tag == f"{SVG}svg"
    for kind in ("caller", "voice", "ghost", "cut", "bad", "key", "tool", "receipt", "cleared", "lost"):
        assert root.find(f".//{SVG}*[@class='{kind}']") is not None, kind
    (cut,) = root.findall(f".//{SVG}*[@class='cut']")
    assert cut.get("d", "").startswith("M102.5 "), "10.25 s at 10 units a second"
    for name in ("Caller", "Assistant", "Tools", "Is there coffee & tea?"):
        assert name in "".join(root.itertext())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["call.jsonl", "-o", "call.png"], "it should end in .html or .svg"),
        (["absent.jsonl"], "absent.jsonl cannot be read"),
        (["call.jsonl", "-o", "taken/call.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_a_sentence(
    arguments: list[str], told: str, trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("in the way")
    with Path("call.jsonl").open("wb") as opened:
        write_trace(opened, trace)
    result = CliRunner().invoke(app, ["timeline", *arguments])
    assert told in str(result.exception)


@settings(max_examples=40, deadline=None)
@given(POLICIES, st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.3, 2.0]), EVENTS), max_size=30))
def test_any_call_can_be_drawn(policy: Policy, happenings: list[tuple[float, ev.Event]]) -> None:
    now, timed = 0.0, []
    for pause, event in happenings:
        now += pause
        timed.append((now, event))
    story = tell(whole(policy, timed))
    ET.fromstring(draw(story))  # noqa: S314 - our own text
    reader = Reader()
    reader.feed(page(story))
    assert reader.open == []


def test_a_clock_is_told_as_on_a_watch() -> None:
    assert [clock(0), clock(59.99), clock(65), clock(3600), clock(4.97, 1)] == [
        "0:00",
        "0:59",
        "1:05",
        "60:00",
        "0:04.9",
    ]
