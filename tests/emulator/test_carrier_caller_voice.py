"""The caller's frames: twenty milliseconds each, on a clock that never stops."""

import base64

import pytest

from voice_gateway.audio import g711
from voice_gateway.emulator.caller_voice import CallerVoice
from voice_gateway.emulator.weather import CALM, Gap, Weather


def sound(frames) -> bytes:
    return b"".join(base64.b64decode(frame.payload) for frame in frames)


def test_frames_are_silent_regular_and_numbered_while_nobody_speaks():
    voice = CallerVoice(CALM)
    frames = list(voice.due(0.1001))
    assert [frame.timestamp_ms for frame in frames] == [0, 20, 40, 60, 80]
    assert sound(frames) == b"\xff" * 800
    assert voice.deadline() == pytest.approx(0.12)


def test_speech_takes_its_time_on_the_line_and_the_last_frame_is_filled_up():
    voice = CallerVoice(CALM)
    list(voice.due(0.0401))
    utterance = voice.say(0.045, b"\x11" * 200)
    assert (utterance.first, utterance.last) == (3, 4)
    assert sound(voice.due(0.2)) == b"\xff" * 160 + b"\x11" * 200 + b"\xff" * 120 + b"\xff" * 800
    assert [(segment.start_s, segment.length) for segment in voice.said] == [(0.06, 200)]


def test_a_second_sentence_waits_for_the_first():
    voice = CallerVoice(CALM)
    voice.say(0.0, b"\x11" * 320)
    assert voice.say(0.0, b"\x22" * 160).first == 2
    assert sound(voice.due(0.0601)) == b"\x11" * 320 + b"\x22" * 160


def test_a_late_asker_gets_the_missed_frames_as_a_burst():
    voice = CallerVoice(CALM)
    assert len(list(voice.due(1.0001))) == 50


def test_the_network_delays_frames_but_not_their_timestamps():
    voice = CallerVoice(Weather(one_way_s=0.05))
    assert list(voice.due(0.0699)) == []
    assert [frame.timestamp_ms for frame in voice.due(0.0701)] == [0]


def test_jitter_delays_frames_and_never_reorders_them():
    voice = CallerVoice(Weather(one_way_s=0.0, jitter_s=0.06, seed=3))
    due_s = []
    for _ in range(200):
        due_s.append(voice.deadline())
        assert len(list(voice.due(voice.deadline()))) >= 1
    late_s = [at - (index + 1) * 0.02 for index, at in enumerate(due_s)]
    assert due_s == sorted(due_s)
    assert max(late_s) > 0.03


def test_a_gap_loses_frames_and_the_timestamps_jump():
    voice = CallerVoice(Weather(one_way_s=0.0, gaps=(Gap(0.04, 0.06),)))
    assert [frame.timestamp_ms for frame in voice.due(0.1401)] == [0, 20, 100, 120]


def test_a_stall_loses_speech_and_time_goes_on():
    voice = CallerVoice(CALM)
    voice.say(0.0, b"".join(bytes([k]) * 160 for k in range(10)))
    voice.stall(0.03, 0.1)
    assert sorted(set(sound(voice.due(0.2001)))) == [0, 1, 7, 8, 9]


def test_bursts_come_together_at_the_pace_of_their_last_frame():
    voice = CallerVoice(Weather(one_way_s=0.0, burst_frames=5))
    assert list(voice.due(0.0999)) == []
    assert len(list(voice.due(0.1001))) == 5
    assert voice.deadline() == pytest.approx(0.2)


def test_hanging_up_in_mid_sentence_leaves_only_what_was_said():
    voice = CallerVoice(CALM)
    voice.say(0.0, b"\x11" * 8000)
    voice.hush(0.5)
    assert [segment.length for segment in voice.said] == [4000]
    assert sound(voice.due(0.0201)) == b"\xff" * 160


def test_line_noise_has_the_level_asked_for_and_repeats_with_its_seed():
    weather = Weather(one_way_s=0.0, noise_dbfs=-50.0, seed=7)
    noise = sound(CallerVoice(weather).due(1.0001))
    rms = float((g711.decode(noise).astype(float) ** 2).mean() ** 0.5)
    assert rms == pytest.approx(32768 * 10 ** (-50 / 20), rel=0.1)
    assert sound(CallerVoice(weather).due(1.0001)) == noise


@pytest.mark.parametrize("wrong", [{"one_way_s": -0.1}, {"burst_frames": 0}])
def test_impossible_weather_is_refused(wrong):
    with pytest.raises(ValueError, match=r"weather|burst_frames"):
        Weather(**wrong)


def test_frames_nobody_could_take_are_lost_and_counted():
    voice = CallerVoice(CALM)
    assert voice.skip(0.2001) == 10
    assert [frame.timestamp_ms for frame in voice.due(0.2201)] == [200]
