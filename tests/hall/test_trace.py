"""A call's trace: everything survives the way to the file and back, and no call suffers from being traced."""

from __future__ import annotations

import io
import itertools
import json
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.ops import logs
from voice_gateway.ops.privacy import mask_number
from voice_gateway.trace import folder as folders
from voice_gateway.trace.codec import TraceError, decode, encode
from voice_gateway.trace.folder import TracedBridge, TraceFolder
from voice_gateway.trace.notes import Heading, Trace, read, read_command

FRAME = b"\xff" * 160
FACTS = ev.CallFacts("CA0123", from_number="+15550100001", to_number="+15550100002", persona="waiter")
KINDS = {
    "event": get_args(ev.Event),
    "command": get_args(do.Command),
    "entry": get_args(entries.Entry),
    "other": (ev.CallFacts, Policy),
}

st.register_type_strategy(float, st.floats(allow_nan=False))  # which equals nothing, not even itself


# --- the codec --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted({kind for kinds in KINDS.values() for kind in kinds}, key=lambda k: k.__name__))
def test_every_event_command_and_entry_survives_the_way_there_and_back(kind: type) -> None:
    union: Any = next((u for u in (ev.Event, do.Command, entries.Entry) if kind in get_args(u)), kind)

    @settings(max_examples=25, deadline=None, database=None)
    @given(st.from_type(kind))
    def there_and_back(value: Any) -> None:
        text = json.dumps(encode(value))
        assert decode(union, json.loads(text)) == value

    there_and_back()


def test_no_two_kinds_that_may_stand_in_a_line_share_a_name() -> None:
    names = [kind.__name__ for kinds in KINDS.values() for kind in kinds]
    assert len(names) == len(set(names))


@dataclass(frozen=True, slots=True)
class Inner:
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Odd:
    pair: tuple[str, float]
    table: dict[str, Inner]
    either: Inner | str | None
    letters: frozenset[str]
    mode: Literal["a", "b"] | None
    most: float


@given(st.from_type(Odd))
def test_kinds_of_fields_that_nobody_uses_yet_survive_as_well(odd: Odd) -> None:
    assert decode(Odd, json.loads(json.dumps(encode(odd)))) == odd


def test_a_field_that_an_older_trace_lacks_takes_its_default_and_one_that_is_no_more_is_left_out() -> None:
    older = {"ResponseFinished": {"response_id": "r", "status": "completed", "colour": "red"}}
    assert decode(ev.Event, older) == ev.ResponseFinished("r", "completed")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"Telepathy": {}}, "knows nothing called Telepathy"),
        ({"SpeechStarted": {"item_id": "i"}}, "SpeechStarted lacks audio_start_ms"),
        ({"CallerAudio": {"ulaw": "*", "timestamp_ms": 0}}, "not base64"),
        ({"CallerAudio": {"ulaw": 5, "timestamp_ms": 0}}, "base64 was to stand here"),
        (["CallerAudio"], "is none of"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(data: Any, told: str) -> None:
    with pytest.raises(TraceError, match=told):
        decode(ev.Event, data)


def test_what_cannot_be_told_apart_in_a_trace_is_refused_when_it_is_written_into_the_code() -> None:
    with pytest.raises(TypeError, match="could not be told apart"):
        decode(str | bytes, "text")


# --- the file ---------------------------------------------------------------------------------------------------


class Outcomes(list[str]):
    """What became of the traces."""


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes()


def tracing(path: Path, outcomes: Outcomes, *, max_bytes: int = 10**6, secrets: tuple[str, ...] = ()) -> TraceFolder:
    return TraceFolder(
        path,
        max_bytes=max_bytes,
        secrets=secrets,
        version="9.9",
        wall_clock=lambda: datetime(2026, 5, 4, 10, 20, 30, tzinfo=UTC),
        count=outcomes.append,
    )


def lead(bridge: Bridge | TracedBridge, happenings: Iterator[ev.Event] | list[ev.Event]) -> list[list[do.Command]]:
    return [bridge.handle(event, 100.02 + at / 50) for at, event in enumerate(happenings)]


def short_call(*middle: ev.Event) -> list[ev.Event]:
    return [
        ev.ModelReady("sess_1", "model"),
        ev.CallerJoined("MZ1"),
        ev.CallerAudio(FRAME, 0),
        *middle,
        ev.CallerLeft("hangup"),
    ]


def traced_call(path: Path, outcomes: Outcomes, happenings: list[ev.Event], **limits: Any) -> Trace:
    folder = tracing(path, outcomes, **limits)
    policy = Policy()
    lead(folder.follow(Bridge(policy, 100.0), Heading(FACTS, policy, 100.0)), happenings)
    folder.close()
    (file,) = path.iterdir()
    return read(file)


def test_a_trace_holds_the_call_in_its_order_with_its_times_and_answers(tmp_path: Path, outcomes: Outcomes) -> None:
    happenings = short_call(ev.DigitPressed("4"))
    trace = traced_call(tmp_path, outcomes, happenings)
    expected = lead(Bridge(Policy(), 100.0), happenings)
    assert [note.event for note in trace.notes] == happenings
    assert [note.at for note in trace.notes] == [100.02 + at / 50 for at in range(len(happenings))]
    kept = [[read_command(noted) for noted in note.do] for note in trace.notes]
    assert kept[0] == expected[0]
    assert [len(commands) for commands in kept] == [len(commands) for commands in expected]
    assert trace.heading.policy == Policy()
    assert (trace.heading.version, trace.heading.started) == ("9.9", "2026-05-04T10:20:30.000Z")
    assert outcomes == ["kept"]


def test_a_trace_is_named_by_time_and_call_and_is_for_its_owner_alone(tmp_path: Path, outcomes: Outcomes) -> None:
    path = tmp_path / "made" / "here"
    traced_call(path, outcomes, short_call())
    (file,) = path.iterdir()
    assert file.name == "20260504T102030Z-CA0123.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_two_traces_of_one_name_are_two_files(tmp_path: Path, outcomes: Outcomes) -> None:
    folder = tracing(tmp_path, outcomes)
    for _ in range(2):
        lead(folder.follow(Bridge(Policy(), 100.0), Heading(FACTS, Policy(), 100.0)), short_call())
    folder.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "20260504T102030Z-CA0123-2.jsonl",
        "20260504T102030Z-CA0123.jsonl",
    ]


def test_a_calls_id_never_leads_out_of_the_folder(tmp_path: Path, outcomes: Outcomes) -> None:
    folder = tracing(tmp_path / "inside", outcomes)
    facts = ev.CallFacts("../../CA1")
    lead(folder.follow(Bridge(Policy(), 100.0), Heading(facts, Policy(), 100.0)), short_call())
    folder.close()
    assert [file.name for file in (tmp_path / "inside").iterdir()] == ["20260504T102030Z-CA1.jsonl"]


def test_no_secret_and_no_telephone_number_stands_in_a_trace(tmp_path: Path, outcomes: Outcomes) -> None:
    secret = 'sk-se"cret\\0123456789'
    spoiled = ev.ModelErred("invalid_api_key", f"Incorrect API key provided: {secret}.")
    trace = traced_call(tmp_path, outcomes, short_call(spoiled), secrets=(secret,))
    (file,) = tmp_path.iterdir()
    text = file.read_text()
    assert "0123456789" not in text
    assert FACTS.from_number not in text
    assert FACTS.to_number not in text
    assert trace.heading.facts.from_number == mask_number(FACTS.from_number)
    assert isinstance(trace.notes[3].event, ev.ModelErred)
    assert trace.notes[3].event.message == "Incorrect API key provided: ***."


def test_a_frame_of_sound_takes_less_than_twice_its_size(tmp_path: Path, outcomes: Outcomes) -> None:
    frames = [ev.CallerAudio(bytes(range(160)), at * 20) for at in range(100)]
    traced_call(tmp_path, outcomes, short_call(*frames))
    (file,) = tmp_path.iterdir()
    sizes = [len(line) for line in file.read_bytes().splitlines() if b"CallerAudio" in line]
    assert sum(sizes) / len(sizes) < 2.25 * 160


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path, outcomes: Outcomes) -> None:
    whole = traced_call(tmp_path, outcomes, short_call())
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    assert read(file).notes == whole.notes[:-1]


def test_text_that_is_no_text_is_kept_all_the_same(tmp_path: Path, outcomes: Outcomes) -> None:
    odd = ev.ModelErred("c", "half a character: \ud800")
    assert traced_call(tmp_path, outcomes, short_call(odd)).notes[3].event == odd


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("hello\n", "line 1: not a line of a trace"),
        ("{}\n", "is no trace"),
        ('{"trace":9,"policy":{}}\n', "is of format 9, and this version reads format 1"),
        ('{"trace":1,"policy":{}}\n', "line 1: "),
        ("{HEADING}\n{}\n", "line 2: 'event'"),
        ('{HEADING}\n{"at":' + "[" * 100_000 + "]" * 100_000 + "}\n", "line 2: not a line of a trace"),
        ('{HEADING}\n{"at":1,"event":{"Telepathy":{}}}\n', "line 2: this version knows nothing called Telepathy"),
    ],
)
def test_a_file_that_is_no_trace_is_told_in_a_sentence(text: str, told: str, tmp_path: Path) -> None:
    heading = {
        "trace": 1, "began_at": 0.0, "facts": encode(ev.CallFacts("CA1")), "policy": encode(Policy())
    }  # fmt: skip
    file = tmp_path / "call.jsonl"
    file.write_text(text.replace("{HEADING}", json.dumps(heading)))
    with pytest.raises(TraceError, match=told):
        read(file)


# --- what must not be kept ---------------------------------------------------------------------------------------


def test_a_trace_ends_where_what_is_said_must_not_be_kept(tmp_path: Path, outcomes: Outcomes) -> None:
    folder = tracing(tmp_path, outcomes)
    traced = folder.follow(Bridge(Policy(), 100.0), Heading(FACTS, Policy(), 100.0))
    lead(traced, short_call()[:2])
    folder.stop("CA0123", "a card number")
    lead(traced, [ev.DigitPressed("4"), ev.CallerLeft("hangup")])
    folder.close()
    (file,) = tmp_path.iterdir()
    trace = read(file)
    assert [note.event for note in trace.notes] == short_call()[:2]
    assert trace.stopped == "a card number"
    assert outcomes == ["cut"]


@pytest.mark.parametrize("written", [True, False])
def test_a_caller_who_takes_his_consent_back_has_no_trace(
    written: Any, tmp_path: Path, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "WRITE_EVERY_S", 0.005 if written else 60.0)
    folder = tracing(tmp_path, outcomes)
    traced = folder.follow(Bridge(Policy(), 100.0), Heading(FACTS, Policy(), 100.0))
    lead(traced, short_call()[:2])
    while written and not any(tmp_path.iterdir()):
        threading.Event().wait(0.001)
    folder.discard("CA0123")
    lead(traced, [ev.DigitPressed("4"), ev.CallerLeft("hangup")])
    folder.close()
    assert list(tmp_path.iterdir()) == []
    assert outcomes == ["discarded"]


def test_a_call_that_was_refused_before_it_began_is_not_traced(tmp_path: Path, outcomes: Outcomes) -> None:
    folder = tracing(tmp_path, outcomes)
    folder.discard("CA0123")
    bridge = Bridge(Policy(), 100.0)
    assert folder.follow(bridge, Heading(FACTS, Policy(), 100.0)) is bridge
    folder.close()


# --- nothing of a call suffers ----------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("warning", stream=stream, color=False)
    yield stream
    logs.configure("warning", stream=io.StringIO(), color=False)


def test_a_traced_bridge_answers_as_the_bridge_does(tmp_path: Path, outcomes: Outcomes) -> None:
    folder = tracing(tmp_path, outcomes)
    policy = Policy(greeting="Say hello.")
    traced = folder.follow(Bridge(policy, 100.0), Heading(FACTS, policy, 100.0))
    bare = Bridge(policy, 100.0)
    for at, event in enumerate(short_call(ev.ResponseStarted("r"), ev.Woke())):
        assert traced.handle(event, 100.0 + at) == bare.handle(event, 100.0 + at)
        assert traced.deadline() == bare.deadline()
        assert traced.has_ended == bare.has_ended
    folder.close()


def test_a_trace_ends_at_its_limit_and_says_so_and_the_call_goes_on(tmp_path: Path, outcomes: Outcomes) -> None:
    frames = [ev.CallerAudio(FRAME, at * 20) for at in range(200)]
    trace = traced_call(tmp_path, outcomes, short_call(*frames), max_bytes=20_000)
    assert 20 < len(trace.notes) < 100
    assert "limit of 20000 bytes (TRACE_MAX_MB)" in trace.stopped
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 20_200
    assert outcomes == ["cut"]


def test_a_folder_that_cannot_be_had_is_counted_each_time_and_logged_once(
    tmp_path: Path, outcomes: Outcomes, log: io.StringIO
) -> None:
    (tmp_path / "taken").write_text("in the way")
    folder = tracing(tmp_path / "taken", outcomes)
    for _ in range(3):
        answers = lead(folder.follow(Bridge(Policy(), 100.0), Heading(FACTS, Policy(), 100.0)), short_call())
        assert answers == lead(Bridge(Policy(), 100.0), short_call())
    folder.close()
    assert outcomes == ["failed"] * 3
    (line,) = map(json.loads, log.getvalue().splitlines())
    assert line["msg"] == "trace.failed"
    assert "FileExistsError" in line["fault"]


def test_a_full_disk_ends_the_trace_and_what_was_written_can_be_read(
    tmp_path: Path, outcomes: Outcomes, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = folders.os.write, itertools.count(4, -1)

    def write(file: int, line: bytes) -> int:
        if next(left) > 0:
            return real(file, line)
        real(file, line[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders.os, "write", write)
    folder = tracing(tmp_path, outcomes)
    lead(folder.follow(Bridge(Policy(), 100.0), Heading(FACTS, Policy(), 100.0)), short_call(ev.Woke(), ev.Woke()))
    folder.close()
    assert outcomes == ["failed"]
    assert "No space left" in log.getvalue()
    (file,) = tmp_path.iterdir()
    assert len(read(file).notes) == 4


def test_a_disk_that_stands_still_costs_a_bounded_amount_of_memory(
    tmp_path: Path, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MOST_WAITING", 50)
    monkeypatch.setattr(folders, "WRITE_EVERY_S", 60.0)
    trace = traced_call(tmp_path, outcomes, short_call(*[ev.Woke()] * 200))
    assert len(trace.notes) == 50
    assert trace.stopped == "50 events waited for the disk"


def test_a_call_that_never_ends_is_written_when_the_process_does(tmp_path: Path, outcomes: Outcomes) -> None:
    assert len(traced_call(tmp_path, outcomes, short_call()[:-1]).notes) == 3
    assert outcomes == ["kept"]


def test_a_bridge_that_raises_does_so_still_and_its_last_words_are_in_the_trace(
    tmp_path: Path, outcomes: Outcomes
) -> None:
    class Broken(Bridge):
        def handle(self, event: ev.Event, now: float) -> list[do.Command]:
            if isinstance(event, ev.DigitPressed):
                raise ZeroDivisionError("no digit")
            return super().handle(event, now)

    folder = tracing(tmp_path, outcomes)
    traced = folder.follow(Broken(Policy(), 100.0), Heading(FACTS, Policy(), 100.0))
    lead(traced, short_call()[:-1])
    with pytest.raises(ZeroDivisionError):
        traced.handle(ev.DigitPressed("1"), 101.0)
    folder.close()
    (file,) = tmp_path.iterdir()
    assert read(file).notes[-1].raised == "ZeroDivisionError: no digit"
