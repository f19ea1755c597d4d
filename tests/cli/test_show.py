"""How a call is told: in the order in which it was heard, without numbers, for a terminal and for a pipe."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.cli.hearing import stretches
from voice_gateway.cli.record import Narrator, show_record, told_output
from voice_gateway.cli.show import Teller
from voice_gateway.cli.watch import _told, _types
from voice_gateway.emulator.performance import Cue

FACTS = CallFacts("CA1", "+15550100001", "+15550100002")
CUT = entries.AssistantSpoke("i1", "We have", "We have coffee and tea.", 900, 3000, interrupted=True, start_ms=1000)
WHOLE = entries.AssistantSpoke("i2", "Yes.", "Yes.", 400, 400, interrupted=False, start_ms=5000, latency_ms=812)


def teller(*, terminal: bool = False, width: int = 80) -> tuple[Teller, io.StringIO]:
    out = io.StringIO()
    return Teller(Console(file=out, force_terminal=terminal, width=width, highlight=False)), out


def test_a_cut_in_is_told_after_the_words_it_cut() -> None:
    tell, out = teller()
    narrator = Narrator(tell, lambda: 2.0)
    narrator.cue(Cue(1.9, "cuts in", "Only tea, please."))
    narrator.entry(FACTS, entries.BargedIn("i1", 900, 2100, "r1"))
    narrator.entry(FACTS, CUT)
    narrator.entry(FACTS, entries.UserSpoke("i3", "Only tea, please.", 1900, 2900))
    narrator.entry(FACTS, WHOLE)
    assert [" ".join(line.split()) for line in out.getvalue().splitlines()] == [
        "1.00 assistant We have | not heard: coffee and tea. (0.90 of 3.00 s were heard)",
        "1.90 caller Only tea, please. (cuts in)",
        "understood: Only tea, please.",
        "5.00 assistant Yes. (0.81 s at the gateway)",
    ]


def test_a_cut_in_that_cut_nothing_is_told_all_the_same() -> None:
    tell, out = teller()
    narrator = Narrator(tell, lambda: 2.0)
    narrator.cue(Cue(1.9, "cuts in", "Only tea, please."))
    narrator.entry(FACTS, entries.CallEnded("hangup", "completed", 3000))
    assert [line.split()[1] for line in out.getvalue().splitlines()] == ["caller", "call"]


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_lines_keep_within_its_width_and_their_column(width: int) -> None:
    tell, out = teller(terminal=True, width=width)
    tell.line(1.0, "assistant", "word " * 60, "a note")
    lines = Text.from_ansi(out.getvalue()).plain.splitlines()
    assert len(lines) > 2
    assert all(len(line.rstrip()) <= width for line in lines)
    assert all(line.startswith(" " * 20) for line in lines[1:])


@pytest.mark.parametrize("terminal", [True, False])
def test_the_record_is_shown_without_a_full_number(*, terminal: bool) -> None:
    tell, out = teller(terminal=terminal, width=120)
    row = {"call_sid": "CA1", "from_number": "+15550100001", "to_number": "+15550100002", "transcript": "A\nB"}
    payload = {
        "from_number": "+15550100001",
        "text": "Call me at +15550100001",
        "empty": "",
        "level": -20.26,
        "cost_usd": 0.0123,
    }
    show_record(
        tell, row, [{"seq": 1, "occurred_at": "2026-11-21T20:00:00.123Z", "event_type": "X", "payload": payload}]
    )
    shown = out.getvalue()
    assert "15550100001" not in shown
    assert "+1555***0001" in shown
    assert "20:00:00.123" in shown
    assert "-20.3" in shown
    assert "cost_usd=0.0123" in shown
    assert "empty" not in shown


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ('{"items":[{"name":"Mocha","price":3800}]}', "1 row: Mocha 3800"),
        ('{"items":[]}', "0 rows"),
        ('{"error":"no"}', '{"error":"no"}'),
        ("not JSON " * 20, ("not JSON " * 20)[:59] + "…"),
    ],
)
def test_a_tools_output_is_told_in_a_few_words(output: str, told: str) -> None:
    assert told_output(output).removesuffix(": ") == told


def test_stretches_of_sound_hold_together_over_a_breath_and_leave_clicks_out() -> None:
    samples = np.zeros(8000 * 6, np.int16)
    for start_s, end_s in ((1.0, 1.5), (2.0, 2.5), (4.0, 4.5), (5.5, 5.52)):
        samples[round(start_s * 8000) : round(end_s * 8000)] = 5000
    assert stretches(samples) == [pytest.approx((1.0, 2.5)), pytest.approx((4.0, 4.5))]
    assert stretches(samples[:8000]) == []


def test_events_of_the_model_are_told_by_what_they_mean() -> None:
    kinds = ["session.created", *["response.output_audio.delta"] * 3, "response.done"]
    exchanged = [("->", {"type": "session.update"}), *(("<-", {"type": kind}) for kind in kinds)]
    assert list(_types(exchanged)) == [
        "-> session.update",
        "<- session.created",
        "<- response.output_audio.delta (3 in a row)",
        "<- response.done",
    ]
    heard = {"type": "conversation.item.input_audio_transcription.completed", "transcript": "Hello"}
    assert _told(heard) == "heard: Hello"
    assert _told({"type": "response.created"}) == ""
    refused = {"type": "error", "error": {"code": "invalid_value", "message": "No."}}
    assert _told(refused) == "refuses: invalid_value: No."
