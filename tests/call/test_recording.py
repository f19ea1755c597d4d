"""What stands on a recording, held against a carrier that knows what was really said and played."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import Line, Scene

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.call.recording import Block, Recording
from voice_gateway.call.strip import MediaClock

JOINED_AT = 0.0


@dataclass
class Ledger(Line):
    """The scene's carrier, which here remembers every byte that it played and where on its media clock."""

    heard: bytearray = field(default_factory=bytearray)
    _playing: list[tuple[int, bytes]] = field(default_factory=list)

    def play(self, sent_at: float, ulaw: bytes) -> None:
        super().play(sent_at, ulaw)
        self._playing.append((round((self.sound[-1][0] + self.one_way_s - JOINED_AT) * 8000), ulaw))

    def clear(self, sent_at: float) -> tuple[int, list[tuple[float, str]]]:
        self.stop(sent_at + self.one_way_s)
        return super().clear(sent_at)

    def stop(self, arrived: float) -> None:
        cut = round((arrived + self.one_way_s - JOINED_AT) * 8000)
        for start, ulaw in self._playing:
            sound = ulaw[: max(0, cut - start)]
            self.heard.extend(b"\xff" * (start + len(sound) - len(self.heard)))
            self.heard[start : start + len(sound)] = sound
        self._playing.clear()


class Followed:
    """A bridge with a recording beside it, as a call has it."""

    def __init__(self, bridge: Bridge, recording: Recording) -> None:
        self._bridge = bridge
        self.recording = recording
        self.blocks: list[Block] = []
        self.deadline = bridge.deadline

    def handle(self, event: ev.Event, now: float) -> list[do.Command]:
        commands = self._bridge.handle(event, now)
        self.blocks += self.recording.tell(event, commands, now)
        return commands


class Tape:
    """A scene that is recorded. The caller's telephone sends a frame every 20 ms; each frame tells its number."""

    def __init__(self, *, one_way_s: float = 0.05, jitter_buffer_s: float = 0.06, policy: Policy | None = None) -> None:
        self.line = Ledger(one_way_s=one_way_s, jitter_buffer_s=jitter_buffer_s)
        self.scene = Scene(policy or Policy(audio_format="pcmu"), self.line)
        self.recording = Recording(JOINED_AT)
        self.followed = Followed(self.scene.bridge, self.recording)
        self.scene.bridge = self.followed  # type: ignore[assignment]  # to the scene it is the bridge
        self.said: dict[int, bytes] = {}
        self._frames = 0

    def begin(self) -> None:
        self.scene.begin()

    def call_goes_on(self, until: float, *, lost: frozenset[int] = frozenset(), late_s: float = 0.0) -> None:
        """Frames up to this time. lost: numbers of frames that never come. late_s: the road is that much slower."""
        while (self._frames + 1) * 0.02 <= until + 1e-6:
            number = self._frames
            self._frames += 1
            if number in lost:
                continue
            ulaw = self.said[number] = bytes([(number * 7 + place) % 251 for place in range(160)])
            self.scene.later(round((number + 1) * 0.02 + late_s, 6), ev.CallerAudio(ulaw, number * 20))
        self.scene.pass_until(round(until, 6))

    def speak(self, response: str, item: str, sound: bytes) -> None:
        self.scene.tell(ev.ResponseStarted(response))
        self.scene.tell(ev.ItemStarted(response, item, "message"))
        for start in range(0, len(sound), 800):
            self.scene.tell(ev.AudioReceived(response, item, 0, sound[start : start + 800]))
        self.scene.tell(ev.AudioFinished(response, item, 0))
        self.scene.tell(ev.ResponseFinished(response, "completed"))

    def end(self) -> tuple[bytes, bytes]:
        """The caller hangs up. Both channels of the whole recording."""
        blocks = [*self.followed.blocks, *self.recording.finish(self.scene.now, by_caller=True)]
        self.line.stop(self.scene.now - self.line.one_way_s)
        assert all(len(block.left) == len(block.right) for block in blocks)
        return b"".join(block.left for block in blocks), b"".join(block.right for block in blocks)

    def expected_left(self, length: int) -> bytes:
        whole = bytearray(b"\xff" * length)
        for number, ulaw in self.said.items():
            whole[number * 160 : number * 160 + 160] = ulaw
        return bytes(whole[:length])


def voice(seconds: float, seed: int = 1) -> bytes:
    """Sound of which no stretch is like another, so that a shift of one sample shows."""
    return np.random.default_rng(seed).integers(0, 0x7F, round(seconds * 8000), np.uint8).tobytes()


def worst_shift(right: bytes, heard: bytes) -> int:
    """By how many samples the channel's sound, taken in stretches of 20 ms, stands elsewhere than it was heard.

    A stretch that is not within 200 ms of its place is left to `mismatch`: it may be the one that a cut went through.
    """
    worst = 0
    for start in range(0, len(heard) - 160, 160):
        stretch = bytes(heard[start : start + 160])
        if b"\xff" in stretch:
            continue
        around = right[max(0, start - 1600) : start + 1760]
        place = around.find(stretch)
        if place < 0:
            continue
        worst = max(worst, abs(place - min(start, 1600)))
    return worst


def mismatch(right: bytes, heard: bytes) -> int:
    """Samples that sound on one side and are silent on the other."""
    length = max(len(right), len(heard))
    one, other = (np.frombuffer(side.ljust(length, b"\xff"), np.uint8) == 0xFF for side in (right, bytes(heard)))
    return int((one != other).sum())


def test_both_voices_stand_where_they_were_to_the_sample() -> None:
    tape = Tape()
    tape.begin()
    tape.call_goes_on(1.0)
    tape.speak("r1", "i1", voice(3.0))
    tape.call_goes_on(6.0)
    left, right = tape.end()
    assert left == tape.expected_left(len(left))
    assert len(left) == 6 * 8000
    assert worst_shift(right, tape.line.heard) <= 1
    assert mismatch(right, tape.line.heard) <= 8
    assert right.rstrip(b"\xff").endswith(voice(3.0)[-800:])


def test_what_a_clear_threw_away_does_not_stand_there() -> None:
    tape = Tape()
    tape.begin()
    tape.call_goes_on(1.0)
    tape.speak("r1", "i1", voice(5.0))
    tape.call_goes_on(2.5)
    tape.scene.caller_speaks()
    tape.call_goes_on(5.0)
    _, right = tape.end()
    played = len(bytes(tape.line.heard).rstrip(b"\xff")) - 8000
    assert 10000 < played < 14000, "the scene's own: some 1.4 s were heard"
    assert mismatch(right, tape.line.heard) <= 8
    assert abs(len(right) - right.count(b"\xff") - tape.scene.truths[0]) <= 8


def test_sound_that_is_taken_up_again_after_a_clear_stands_twice_where_it_was_heard_twice() -> None:
    tape = Tape()
    recording, line = tape.recording, tape.line
    first, again = voice(1.0), voice(1.0, seed=2)
    sent: list[tuple[float, do.Command]] = []

    def carry(*commands: do.Command) -> None:
        now = tape.scene.now
        for command in commands:
            match command:
                case do.PlayAudio():
                    line.play(now, command.ulaw)
                case do.SendMark():
                    tape.scene.later(line.mark(now, command.name), ev.MarkReached(command.name))
                case do.ClearPlayout():
                    _, returned = line.clear(now)
                    tape.scene._due = [each for each in tape.scene._due if not isinstance(each[2], ev.MarkReached)]
                    for at, name in returned:
                        tape.scene.later(at, ev.MarkReached(name))
            sent.append((now, command))
        tape.followed.blocks += recording.tell(ev.Woke(), commands, now)

    tape.begin()
    tape.call_goes_on(1.0)
    carry(do.PlayAudio(first), do.SendMark("one"))
    tape.call_goes_on(1.5)
    carry(do.ClearPlayout())
    tape.call_goes_on(1.7)
    carry(do.PlayAudio(again[:160]), do.SendMark("two"), do.PlayAudio(again[160:]), do.SendMark("three"))
    tape.call_goes_on(6.0)
    _, right = tape.end()
    assert mismatch(right, line.heard) <= 8
    assert again in right


@pytest.mark.parametrize("paused_for", [0.5, 3.0])
def test_a_carrier_that_ran_dry_leaves_silence_of_that_length(paused_for: float) -> None:
    tape = Tape()
    tape.begin()
    tape.call_goes_on(1.0)
    tape.scene.tell(ev.ResponseStarted("r1"))
    tape.scene.tell(ev.AudioReceived("r1", "i1", 0, voice(1.0)))
    tape.call_goes_on(2.0 + paused_for)
    tape.scene.tell(ev.AudioReceived("r1", "i1", 0, voice(1.0, seed=2)))
    tape.call_goes_on(6.0 + paused_for)
    _, right = tape.end()
    assert mismatch(right, tape.line.heard) <= 8
    assert worst_shift(right, tape.line.heard) <= 1


def test_lost_frames_are_silence_and_what_follows_stands_where_it_belongs() -> None:
    tape = Tape()
    tape.begin()
    tape.call_goes_on(9.0, lost=frozenset({3, 50, 51, *range(100, 180), 400}))
    left, _ = tape.end()
    assert left == tape.expected_left(len(left))


def test_a_pause_is_silence_on_both_channels_and_the_clock_goes_on() -> None:
    tape = Tape()
    tape.begin()
    tape.call_goes_on(1.0)
    tape.speak("r1", "i1", voice(6.0))
    tape.call_goes_on(3.0)
    tape.recording.pause(tape.scene.now)
    tape.call_goes_on(5.0)
    tape.recording.resume(tape.scene.now)
    tape.call_goes_on(9.0)
    left, right = tape.end()
    paused = slice(3 * 8000, 5 * 8000)
    assert set(left[paused]) == set(right[paused]) == {0xFF}
    assert left[: 3 * 8000] + left[5 * 8000 :] == tape.expected_left(len(left))[: 3 * 8000] + left[5 * 8000 :]
    assert left[5 * 8000 :] == tape.expected_left(len(left))[5 * 8000 :]
    heard = bytearray(tape.line.heard)
    heard[paused] = b"\xff" * 16000
    assert mismatch(right, heard) <= 8


def test_a_call_that_ends_while_paused_is_silent_to_its_end() -> None:
    tape = Tape()
    tape.begin()
    tape.call_goes_on(2.0)
    tape.recording.pause(tape.scene.now)
    tape.recording.pause(tape.scene.now)
    tape.call_goes_on(5.0)
    left, _ = tape.end()
    assert set(left[16000:]) == {0xFF}
    assert left[:16000] == tape.expected_left(16000)


@pytest.mark.parametrize("spoken_s", [1.0, 3.0])
def test_a_road_that_stands_still_and_then_brings_all_at_once_moves_nothing(spoken_s: float) -> None:
    """Where our voice ends meanwhile, no later receipt tells that the others were held up."""
    tape = Tape()
    tape.begin()
    tape.call_goes_on(1.0)
    tape.speak("r1", "i1", voice(spoken_s))
    tape.call_goes_on(2.0)
    while tape._frames < 200:  # the frames of two seconds, and all receipts, come at once at 4.0 s
        ulaw = tape.said[tape._frames] = bytes([tape._frames % 250]) * 160
        tape.scene.later(4.0 + tape._frames * 1e-6, ev.CallerAudio(ulaw, tape._frames * 20))
        tape._frames += 1
    held = [(max(at, 4.0 + (at - 2.0) * 50 * 1e-6), n, e) for at, n, e in tape.scene._due if at < 4.0]
    tape.scene._due = sorted([*held, *(each for each in tape.scene._due if each[0] >= 4.0)])
    tape.call_goes_on(8.0)
    left, right = tape.end()
    assert left == tape.expected_left(len(left))
    assert worst_shift(right, tape.line.heard) <= 160
    assert mismatch(right, tape.line.heard) <= 320


@settings(max_examples=15, deadline=None)
@given(
    stalls_ms=st.lists(st.integers(0, 150), min_size=18, max_size=18),
    cut_at=st.floats(1.5, 5.5),
    pause_s=st.floats(0.0, 2.0),
)
def test_on_a_road_that_stumbles_our_voice_stands_within_20_ms(
    stalls_ms: list[int], cut_at: float, pause_s: float
) -> None:
    """Every half second the road back stands still for a while, then brings what has gathered, in its order."""
    tape = Tape()
    plain = tape.scene.later

    def later(at: float, event: ev.Event) -> None:
        opens = int(at * 2) / 2 + [*stalls_ms, 0, 0, 0][int(at * 2)] / 1000
        plain(at if at >= opens else opens + (at - opens) * 1e-6, event)  # in the order in which they were sent

    tape.scene.later = later  # type: ignore[method-assign]  # the same line with weather
    tape.begin()
    tape.call_goes_on(1.0)
    tape.speak("r1", "i1", voice(3.0))
    tape.call_goes_on(cut_at)
    tape.scene.caller_speaks()
    tape.call_goes_on(cut_at + pause_s)
    tape.scene.caller_stops()
    tape.speak("r2", "i2", voice(1.5, seed=2))
    tape.call_goes_on(10.0)
    left, right = tape.end()
    assert left == tape.expected_left(len(left))
    assert worst_shift(right, tape.line.heard) <= 160
    assert mismatch(right, tape.line.heard) <= 1600, "a cut is known as well as the road's two ways: half a stall"


def test_an_hour_is_as_long_as_the_carriers_clock_says_though_ours_runs_slow() -> None:
    recording = Recording(0.0)
    blocks = 0
    for number in range(180_000):
        now = (number + 1) * 0.02 * (1 - 100e-6)
        for block in recording.tell(ev.CallerAudio(number.to_bytes(4, "big") * 40, number * 20), [], now):
            start = blocks
            blocks += len(block.left)
            first = start // 160
            assert block.left.startswith(first.to_bytes(4, "big"))
        assert len(recording._left.sound) <= 16_000
    assert blocks + sum(len(b.left) for b in recording.finish(3600 * (1 - 100e-6), by_caller=True)) == 3600 * 8000


@pytest.mark.parametrize("slow", [1 - 100e-6, 1 + 100e-6])
def test_our_voice_keeps_to_the_carriers_clock_whichever_runs_slow(slow: float) -> None:
    """An hour's drift of 0.36 s: what we play after it stands where the carrier's clock puts it."""
    recording, right = Recording(0.0), bytearray()
    for number in range(180_000):
        blocks = recording.tell(ev.CallerAudio(b"\xff" * 160, number * 20), [], (number + 1) * 0.02 * slow)
        right += b"".join(block.right for block in blocks)
        if number == 179_500:
            recording.tell(ev.Woke(), [do.PlayAudio(voice(1.0)), do.SendMark("m")], 3590.02 * slow)
        if number == 179_560:
            recording.tell(ev.MarkReached("m"), [], 3591.22 * slow)
    right += b"".join(block.right for block in recording.finish(3600 * slow, by_caller=True))
    assert abs(right.find(voice(1.0)) - 3590.22 * 8000) <= 20, "2.5 ms: 20 s of drift, before they are forgotten"


def test_a_frame_that_is_late_does_not_move_the_clock() -> None:
    clock = MediaClock(0.0)
    for number in range(1500):
        late = 0.1 if number % 500 in {0, 1, 250} else 0.0
        clock.hear_frame((number + 1) * 160, 7.0 + (number + 1) * 0.02 + late)
        if number:
            assert abs(clock.at(7.0 + number * 0.02) - number * 160) <= (800 if number < 3 else 1)


def test_the_earliest_of_several_receipts_counts() -> None:
    """No frame says here how the road is: the caller's telephone is silent."""
    recording = Recording(0.0)
    short, long = voice(0.02), voice(0.2, seed=2)
    recording.tell(ev.Woke(), [do.SendMark("p")], 0.0)
    recording.tell(ev.MarkReached("p"), [], 0.1)
    recording.tell(ev.Woke(), [do.PlayAudio(short), do.SendMark("a"), do.PlayAudio(long), do.SendMark("b")], 1.0)
    recording.tell(ev.MarkReached("a"), [], 1.28)  # a tenth of a second late
    recording.tell(ev.MarkReached("b"), [], 1.38)
    right = b"".join(block.right for block in recording.finish(3.0, by_caller=True))
    assert abs(right.find(short + long) - 1.16 * 8000) <= 1


@pytest.mark.parametrize("held_up_s", [0.0, 0.2])
def test_a_cut_lies_between_its_earliest_effect_and_the_return_of_its_marks(held_up_s: float) -> None:
    recording = Recording(0.0)
    recording.tell(ev.Woke(), [do.SendMark("p")], 0.0)
    recording.tell(ev.MarkReached("p"), [], 0.1)
    recording.tell(ev.Woke(), [do.PlayAudio(voice(0.02)), do.SendMark("a")], 1.0)
    recording.tell(ev.Woke(), [do.PlayAudio(voice(3.0, seed=2)), do.SendMark("b")], 1.0)
    recording.tell(ev.MarkReached("a"), [], 1.18)
    recording.tell(ev.Woke(), [do.ClearPlayout()], 2.0)
    recording.tell(ev.MarkReached("b"), [], 2.1 + held_up_s)
    right = b"".join(block.right for block in recording.finish(5.0, by_caller=True))
    assert abs(len(right.rstrip(b"\xff")) - (2.1 + held_up_s / 2) * 8000) <= 1


@pytest.mark.parametrize("timestamps", [[0, 20, 10**14, 10**14 + 20, 60], [10**9, 10**9 + 20, 0, 20, 40], [5] * 60])
def test_wild_timestamps_neither_fill_the_memory_nor_stop_the_recording(timestamps: list[int]) -> None:
    recording, length = Recording(0.0), 0
    for number, timestamp_ms in enumerate(timestamps * 40):
        blocks = recording.tell(ev.CallerAudio(b"\x01" * 160, timestamp_ms), [], 0.02 * number)
        length += sum(len(block.left) for block in blocks)
        assert len(recording._left.sound) < 30 * 8000
    length += sum(len(b.left) for b in recording.finish(0.02 * len(timestamps) * 40, by_caller=False))
    assert length <= (0.02 * len(timestamps) * 40 + 12) * 8000


@settings(max_examples=25, deadline=None)
@given(
    one_way_s=st.floats(0.0, 0.15),
    jitter_buffer_s=st.floats(0.0, 0.1),
    seconds=st.lists(st.tuples(st.floats(0.1, 3.0), st.floats(0.1, 4.0), st.booleans()), min_size=1, max_size=5),
    lead_s=st.sampled_from([0.1, 0.4, 2.0]),
)
def test_whatever_is_said_and_cut_the_recording_is_what_was_heard(
    one_way_s: float, jitter_buffer_s: float, seconds: list[tuple[float, float, bool]], lead_s: float
) -> None:
    tape = Tape(one_way_s=one_way_s, jitter_buffer_s=jitter_buffer_s, policy=Policy(audio_format="pcmu", lead_s=lead_s))
    tape.begin()
    at = 1.0
    tape.call_goes_on(at)
    for number, (spoken_s, pause_s, interrupted) in enumerate(seconds):
        tape.speak(f"r{number}", f"i{number}", voice(spoken_s, seed=number))
        at += pause_s
        tape.call_goes_on(at)
        if interrupted:
            tape.scene.caller_speaks(f"u{number}")
            at += 0.3
            tape.call_goes_on(at)
            tape.scene.caller_stops(f"u{number}")
    tape.call_goes_on(at + 1.0)
    left, right = tape.end()
    assert left == tape.expected_left(len(left))
    assert worst_shift(right, tape.line.heard) <= 160, "20 ms"
    assert mismatch(right, tape.line.heard) <= 160 * (2 * len(seconds) + 1)
