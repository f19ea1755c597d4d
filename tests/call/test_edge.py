"""Edge barge-in and the persona's rules for interruptions, as dialogues with a caller whose sound is heard."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scene import Line, Scene

from voice_gateway.audio import g711
from voice_gateway.audio.onset import OnsetDetector
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.clip import Clip

CONFIRM_S = 0.6
FADE = 40


class Loudness:
    """An activity that takes everything loud for speech: the dialogues are about what follows from an onset."""

    def probability(self, window: NDArray[np.float32]) -> float:
        return 1.0 if float(np.sqrt(np.mean(window**2))) > 0.05 else 0.0

    def reset(self) -> None:
        pass


def hiss(seconds: float, dbfs: float, seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).normal(0.0, 32768 * 10 ** (dbfs / 20), round(seconds * 8000))
    return g711.encode(np.clip(np.rint(noise), -32768, 32767).astype(np.int16))


class Edge(Scene):
    """A call whose caller sends sound; the model's voice is a hiss of which no two stretches are the same."""

    def __init__(self, *, line: Line | None = None, detects: bool = True, **policy: object) -> None:
        detector = OnsetDetector(Loudness()) if detects else None
        super().__init__(Policy(audio_format="pcmu", confirm_s=CONFIRM_S, **policy), line, detector)  # type: ignore[arg-type]  # names and types are the test's care
        self.stream_ms = 0
        self.begin()
        self.caller(1.0)

    def caller(self, seconds: float, dbfs: float = -60.0) -> None:
        """The caller's sound, frame by frame, while time goes by. -15 dBFS is speech, -60 his room."""
        sound = hiss(seconds, dbfs, seed=self.stream_ms)
        for start in range(0, len(sound), 160):
            self.pass_until(self.now + 0.02)
            self.tell(ev.CallerAudio(sound[start : start + 160], self.stream_ms))
            self.stream_ms += 20

    def voice(self, seconds: float, *, response: str = "resp_1", item: str = "item_1", done: bool = True) -> bytes:
        sound = hiss(seconds, -30.0, seed=7)
        self.tell(ev.ResponseStarted(response))
        for start in range(0, len(sound), 800):
            self.tell(ev.AudioReceived(response, item, 0, sound[start : start + 800]))
        if done:
            self.tell(ev.AudioFinished(response, item, 0))
            self.tell(ev.ResponseFinished(response, "completed"))
        return sound

    def model_hears(self, *, ago_ms: int = 200, prefix_ms: int = 300) -> list[do.Command]:
        """The model's word, for speech that began so long before now."""
        return self.tell(ev.SpeechStarted("user_1", max(0, self.stream_ms - ago_ms - prefix_ms)))

    @property
    def played(self) -> bytes:
        return b"".join(command.ulaw for command in self.all(do.PlayAudio))

    def figures(self, name: str) -> list[float]:
        return [command.value for command in self.all(do.Observe) if command.figure == name]


@pytest.fixture
def edge() -> Edge:
    """Our voice has played for two of its eight seconds."""
    scene = Edge()
    scene.voice(8.0)
    scene.caller(2.0)
    return scene


# --- holding --------------------------------------------------------------------------------------------------------


def test_an_onset_holds_our_voice_at_once(edge: Edge) -> None:
    edge.caller(0.2, dbfs=-15)
    assert len(edge.all(do.ClearPlayout)) == 1, str(edge)
    assert edge.all(do.TruncateItem) == []
    (delay,) = edge.figures("hold_delay")
    assert 0.09 <= delay <= 0.13
    before = len(edge.played)
    edge.caller(0.3, dbfs=-15)
    assert len(edge.played) == before, "nothing is sent while our voice is held"


def test_the_models_word_confirms_a_hold_and_truncates_where_it_began(edge: Edge) -> None:
    edge.caller(0.2, dbfs=-15)
    edge.caller(0.3, dbfs=-15)
    edge.model_hears(ago_ms=400)
    assert len(edge.all(do.ClearPlayout)) == 1, "the carrier holds nothing that could be cleared again"
    (truncate,) = edge.all(do.TruncateItem)
    assert abs(truncate.audio_end_ms - edge.truths[0] / 8) <= 5, str(edge)
    (barged_in,) = edge.entries(entries.BargedIn)
    assert barged_in.heard_ms == truncate.audio_end_ms
    (waited,) = edge.figures("hold_confirmed")
    assert 0.3 < waited < 0.5
    edge.caller(3.0)
    assert edge.entries(entries.HeldInVain) == []
    assert len(edge.all(do.ClearPlayout)) == 1


@pytest.mark.parametrize("one_way", [0.0, 0.02, 0.08])
@pytest.mark.parametrize("after", [0.1, 0.73, 2.0, 3.31])
def test_after_a_hold_in_vain_the_voice_goes_on_from_the_very_sample(one_way: float, after: float) -> None:
    scene = Edge(line=Line(one_way_s=one_way, jitter_buffer_s=0.04))
    whole = scene.voice(5.0)
    scene.caller(after)
    scene.caller(0.18, dbfs=-15)
    sent_before = len(scene.played)
    scene.caller(10.0)
    (held,) = scene.entries(entries.HeldInVain)
    assert held.item_id == "item_1"
    assert abs(held.held_ms - 1000 * CONFIRM_S) <= 25
    again = scene.played[sent_before:]
    position = len(whole) - len(again)
    assert again[FADE:] == whole[position + FADE :], "in order, nothing lost and nothing twice"
    assert abs(position - scene.truths[0]) <= 160, "where the ear was: within 20 ms, even before the first receipt"
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert (spoke.heard_ms, spoke.interrupted) == (5000, False)
    assert scene.all(do.TruncateItem) == []


def test_what_arrives_during_a_hold_is_played_after_it_in_order() -> None:
    scene = Edge()
    first = scene.voice(2.0, done=False)
    scene.caller(0.5)
    scene.caller(0.18, dbfs=-15)
    before = len(scene.played)
    more = hiss(1.0, -30.0, seed=99)
    scene.tell(ev.AudioReceived("resp_1", "item_1", 0, more))
    scene.tell(ev.AudioFinished("resp_1", "item_1", 0))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    assert len(scene.played) == before
    scene.caller(6.0)
    whole = first + more
    again = scene.played[before:]
    assert again[FADE:] == whole[len(whole) - len(again) + FADE :]
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert spoke.heard_ms == 3000


def test_after_a_hold_in_vain_there_is_none_for_a_while(edge: Edge) -> None:
    edge.caller(0.2, dbfs=-15)
    edge.caller(CONFIRM_S + 0.1)
    edge.caller(0.2, dbfs=-15)
    edge.caller(0.4)
    assert len(edge.all(do.ClearPlayout)) == 1, str(edge)
    edge.caller(0.8)
    edge.caller(0.2, dbfs=-15)
    assert len(edge.all(do.ClearPlayout)) == 2


def test_each_further_hold_in_vain_doubles_the_pause() -> None:
    scene = Edge()
    scene.voice(40.0)
    for _ in range(22):
        scene.caller(1.3)
        scene.caller(0.2, dbfs=-15)
    begun = [at for at, command in scene.said if isinstance(command, do.ClearPlayout)]
    pauses = np.diff(begun)
    assert len(begun) >= 4
    assert (np.diff(pauses) > 1.0).all(), begun


def test_one_stretch_of_speech_is_held_for_only_once(edge: Edge) -> None:
    edge.caller(4.0, dbfs=-15)
    assert len(edge.all(do.ClearPlayout)) == 1
    assert len(edge.entries(entries.HeldInVain)) == 1


def test_a_late_word_of_the_models_still_cuts(edge: Edge) -> None:
    edge.caller(0.2 + CONFIRM_S + 0.2, dbfs=-15)
    assert len(edge.entries(entries.HeldInVain)) == 1
    edge.model_hears(ago_ms=900)
    assert len(edge.all(do.ClearPlayout)) == 2
    (truncate,) = edge.all(do.TruncateItem)
    played = sum(edge.truths)
    assert abs(truncate.audio_end_ms - played / 8) <= 12, str(edge)


def test_an_onset_while_the_model_hears_the_caller_already_cuts_at_once() -> None:
    scene = Edge(protect_greeting=True, greeting="Greet.")
    scene.voice(1.0)
    scene.voice(4.0, response="resp_2", item="item_2")
    scene.caller(0.3)
    scene.model_hears()
    scene.caller(1.6)
    scene.caller(0.2, dbfs=-15)
    (barged_in,) = scene.entries(entries.BargedIn)
    assert barged_in.item_id == "item_2"
    assert len(scene.all(do.ClearPlayout)) == 1


def test_what_the_detector_missed_the_models_word_cuts_as_in_server_mode(edge: Edge) -> None:
    edge.model_hears()
    assert len(edge.all(do.ClearPlayout)) == 1
    assert len(edge.all(do.TruncateItem)) == 1
    assert edge.figures("hold_delay") == []


def test_a_call_that_ends_while_held_tells_what_was_heard_at_the_hold(edge: Edge) -> None:
    edge.caller(0.2, dbfs=-15)
    edge.caller(0.3)
    edge.tell(ev.CallerLeft("hangup"))
    (spoke,) = edge.entries(entries.AssistantSpoke)
    assert abs(spoke.heard_ms - edge.truths[0] / 8) <= 5
    assert spoke.interrupted
    assert edge.bridge.deadline() is None


def test_our_own_loud_echo_holds_nothing() -> None:
    scene = Edge()
    whole = scene.voice(6.0)
    for start in range(0, 5 * 8000, 160):
        scene.pass_until(scene.now + 0.02)
        echoed = g711.decode(whole[max(0, start - 1600) : start - 1440] if start >= 1600 else b"\xff" * 160)
        scene.tell(ev.CallerAudio(g711.encode((echoed * 1.0).astype(np.int16)), scene.stream_ms))
        scene.stream_ms += 20
    assert scene.all(do.ClearPlayout) == [], "as loud as our voice itself: no caller is taken to be in it"


def test_nobody_listens_while_we_are_silent() -> None:
    heard: list[float] = []

    class Counting(Loudness):
        def probability(self, window: NDArray[np.float32]) -> float:
            heard.append(1.0)
            return super().probability(window)

    scene = Scene(Policy(audio_format="pcmu"), None, OnsetDetector(Counting()))
    scene.begin()
    for k in range(50):
        scene.tell(ev.CallerAudio(hiss(0.02, -15), 20 * k))
    assert heard == []


@pytest.mark.parametrize("switch", [{"barge_in": False}, {"duplex": False}])
def test_without_barge_in_or_at_half_duplex_nothing_is_held(switch: dict[str, bool]) -> None:
    scene = Edge(**switch)
    scene.voice(3.0)
    scene.caller(1.0)
    scene.caller(1.0, dbfs=-15)
    assert scene.all(do.ClearPlayout) == []


# --- what the persona wishes, in either mode ------------------------------------------------------------------------


def test_in_server_mode_the_models_word_interrupts_at_once() -> None:
    scene = Edge(detects=False)
    scene.voice(4.0)
    scene.caller(1.0)
    scene.caller(0.3, dbfs=-15)
    assert scene.all(do.ClearPlayout) == [], "nobody else listens"
    scene.model_hears(ago_ms=300)
    assert len(scene.all(do.ClearPlayout)) == 1
    assert scene.all(do.CancelResponse) == []


@pytest.mark.parametrize("detects", [False, True])
def test_a_short_word_interrupts_nothing(detects: bool) -> None:  # noqa: FBT001 - a parameter of the test
    scene = Edge(detects=detects, min_speech_ms=500, model_interrupts=False)
    scene.voice(6.0)
    scene.caller(1.0)
    scene.caller(0.25, dbfs=-15)
    scene.model_hears(ago_ms=250)
    scene.caller(0.5)
    scene.tell(ev.SpeechStopped("user_1", scene.stream_ms))
    scene.caller(2.0)
    assert scene.all(do.ClearPlayout) == [], str(scene)
    assert scene.all(do.CancelResponse) == []


@pytest.mark.parametrize("detects", [False, True])
def test_speech_interrupts_once_it_has_lasted_long_enough(detects: bool) -> None:  # noqa: FBT001 - as above
    scene = Edge(detects=detects, min_speech_ms=500, model_interrupts=False)
    scene.voice(6.0)
    scene.caller(1.0)
    began = scene.now
    scene.caller(0.3, dbfs=-15)
    scene.model_hears(ago_ms=300)
    assert scene.all(do.ClearPlayout) == []
    scene.caller(0.6, dbfs=-15)
    (cleared,) = [at for at, command in scene.said if isinstance(command, do.ClearPlayout)]
    assert 0.48 <= cleared - began <= 0.56, str(scene)
    assert len(scene.entries(entries.BargedIn)) == 1


def test_in_edge_mode_speech_that_lasts_is_held_before_the_models_word() -> None:
    scene = Edge(min_speech_ms=300, model_interrupts=False)
    scene.voice(6.0)
    scene.caller(1.0)
    began = scene.now
    scene.caller(0.5, dbfs=-15)
    (cleared,) = [at for at, command in scene.said if isinstance(command, do.ClearPlayout)]
    assert 0.28 <= cleared - began <= 0.36
    scene.model_hears(ago_ms=500)
    assert len(scene.entries(entries.BargedIn)) == 1
    assert len(scene.all(do.ClearPlayout)) == 1


@pytest.mark.parametrize("detects", [False, True])
def test_a_protected_greeting_is_heard_to_its_end(detects: bool) -> None:  # noqa: FBT001 - as above
    scene = Edge(detects=detects, greeting="Say hello.", protect_greeting=True, model_interrupts=False)
    scene.voice(3.0, done=False)
    scene.caller(0.5)
    scene.caller(0.6, dbfs=-15)
    scene.model_hears(ago_ms=400)
    scene.tell(ev.AudioFinished("resp_1", "item_1", 0))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.caller(0.6)
    scene.tell(ev.SpeechStopped("user_1", scene.stream_ms))
    scene.caller(2.5)
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert (spoke.heard_ms, spoke.interrupted) == (3000, False)
    scene.voice(4.0, response="resp_2", item="item_2")
    scene.caller(1.0)
    scene.model_hears()
    assert len(scene.entries(entries.BargedIn)) == 1, "what follows may be interrupted"


def test_a_protected_clip_is_heard_to_its_end() -> None:
    clip = Clip(hiss(2.0, -30.0), "Hello there.")
    scene = Edge(clip=clip, protect_greeting=True, model_interrupts=False)
    scene.model_hears()
    scene.caller(2.0)
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert not spoke.interrupted


def test_where_the_model_does_not_interrupt_itself_its_response_is_cancelled_once() -> None:
    scene = Edge(detects=False, model_interrupts=False)
    scene.voice(4.0, done=False)
    scene.caller(1.0)
    scene.model_hears()
    assert scene.all(do.CancelResponse) == [do.CancelResponse("resp_1")]
    scene.tell(ev.SpeechStopped("user_1", scene.stream_ms))
    scene.model_hears()
    assert len(scene.all(do.CancelResponse)) == 1


def test_a_response_that_is_not_heard_yet_is_cancelled_too() -> None:
    scene = Edge(detects=False, model_interrupts=False)
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.model_hears()
    assert scene.all(do.CancelResponse) == [do.CancelResponse("resp_1")]
    assert scene.all(do.ClearPlayout) == []
