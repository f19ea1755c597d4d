"""Clips on the disk: whole or not there, few, and read back as they were."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from voice_gateway.call.clip import Clip
from voice_gateway.store.clips import LARGEST_FILE, ClipKey, Clips, read_clip, write_clip

KEY = ClipKey.of("waiter", "marin", "gpt-realtime-2.1", "Say hello.")
CLIP = Clip(bytes(range(256)) * 50, "Hello, and welcome!")


def reread(folder: Path, most: int = 64) -> Clips:
    clips = Clips(folder, most=most)
    clips.load()
    return clips


def test_a_clip_is_there_at_once_and_after_the_next_start(tmp_path: Path) -> None:
    clips = Clips(tmp_path / "clips")
    assert clips.find(KEY) is None
    assert clips.keep(KEY, CLIP)
    assert clips.find(KEY) == CLIP
    clips.write(KEY, CLIP)
    assert reread(tmp_path / "clips").find(KEY) == CLIP


def test_the_first_clip_stays_when_two_calls_made_one(tmp_path: Path) -> None:
    clips = Clips(tmp_path)
    assert clips.keep(KEY, CLIP)
    assert not clips.keep(KEY, Clip(b"\x10" * 8000, "Hello."))
    assert clips.find(KEY) == CLIP


@pytest.mark.parametrize(
    "other",
    [
        ClipKey.of("host", "marin", "gpt-realtime-2.1", "Say hello."),
        ClipKey.of("waiter", "cedar", "gpt-realtime-2.1", "Say hello."),
        ClipKey.of("waiter", "marin", "gpt-realtime-2.1-mini", "Say hello."),
        ClipKey.of("waiter", "marin", "gpt-realtime-2.1", "Say good evening."),
        ClipKey.of("waiter", "marin", "gpt-realtime-2.1", "Say", "hello."),
    ],
)
def test_whatever_shapes_a_greeting_makes_another_clip(tmp_path: Path, other: ClipKey) -> None:
    clips = Clips(tmp_path)
    clips.keep(KEY, CLIP)
    clips.write(KEY, CLIP)
    assert clips.find(other) is None
    assert reread(tmp_path).find(other) is None
    assert other.file_name != KEY.file_name


def test_a_file_can_be_played_by_anything_that_plays_wav(tmp_path: Path) -> None:
    write_clip(tmp_path / "x.wav", KEY, CLIP)
    # The standard library plays PCM alone; it finds the format and says that it is another one.
    with pytest.raises(wave.Error, match="unknown format: 7"), wave.open(str(tmp_path / "x.wav")):
        pass
    data = (tmp_path / "x.wav").read_bytes()
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert data[12:16] == b"fmt "
    assert data.endswith(CLIP.ulaw)


def test_nothing_is_left_beside_a_clip(tmp_path: Path) -> None:
    Clips(tmp_path).write(KEY, CLIP)
    assert [path.name for path in tmp_path.iterdir()] == [KEY.file_name]


def test_names_of_voices_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    key = ClipKey.of("waiter", "../../etc/voice", "a:b/c", "Say hello.")
    Clips(tmp_path / "clips").write(key, CLIP)
    assert reread(tmp_path / "clips").find(key) == CLIP
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def damaged(data: bytes, how: str) -> bytes:
    return {
        "empty": b"",
        "no WAV": b"Hello",
        "cut short": data[:-1],
        "a byte changed": data[:-1] + bytes((data[-1] ^ 1,)),
        "no JSON": data.replace(b'{"persona"', b'["persona"'),
        "other JSON": data.replace(b'"persona"', b'"nobody_"'),
        "another rate": data.replace((8000).to_bytes(4, "little"), (16000).to_bytes(4, "little")),
        "too large": data + bytes(LARGEST_FILE),
    }[how]


@pytest.mark.parametrize(
    "how", ["empty", "no WAV", "cut short", "a byte changed", "no JSON", "other JSON", "another rate", "too large"]
)
def test_a_broken_file_is_left_out_told_and_replaced(tmp_path: Path, how: str) -> None:
    path = tmp_path / KEY.file_name
    write_clip(path, KEY, CLIP)
    path.write_bytes(damaged(path.read_bytes(), how))
    with capture_logs() as logs:
        clips = reread(tmp_path)
    assert clips.find(KEY) is None
    assert [(line["event"], line["file"]) for line in logs] == [("clips.unreadable", KEY.file_name)]
    clips.keep(KEY, CLIP)
    clips.write(KEY, CLIP)
    assert reread(tmp_path).find(KEY) == CLIP


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + data)
    with pytest.raises(ValueError, match=r"^it"):
        read_clip(path)


def test_a_pipe_in_the_folder_does_not_hold_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / KEY.file_name)
    with capture_logs() as logs:
        assert reread(tmp_path).find(KEY) is None
    assert [line["event"] for line in logs] == ["clips.unreadable"]


@given(st.binary(min_size=1, max_size=500), st.text(st.characters(codec="utf-8")))
def test_any_sound_and_text_come_back(tmp_path_factory: pytest.TempPathFactory, ulaw: bytes, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.wav"
    write_clip(path, KEY, Clip(ulaw, text))
    assert read_clip(path) == (KEY, Clip(ulaw, text))


def test_only_so_many_are_kept_and_the_oldest_go(tmp_path: Path) -> None:
    clips = Clips(tmp_path, most=3)
    keys = [ClipKey.of("waiter", "marin", "gpt-realtime-2.1", f"Greeting {number}") for number in range(5)]
    for number, key in enumerate(keys):
        clips.keep(key, CLIP)
        clips.write(key, CLIP)
        os.utime(tmp_path / key.file_name, (number, number))
    assert [clips.find(key) is not None for key in keys] == [False, False, True, True, True]
    assert {path.name for path in tmp_path.iterdir()} == {key.file_name for key in keys[2:]}
    assert [reread(tmp_path, most=1).find(key) is not None for key in keys] == [False, False, False, False, True]


def test_a_folder_that_cannot_be_written_costs_a_line_in_the_log_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "clips").write_text("no folder")
    clips = Clips(tmp_path / "clips")
    clips.load()
    clips.keep(KEY, CLIP)
    with capture_logs() as logs:
        clips.write(KEY, CLIP)
    assert [line["event"] for line in logs] == ["clips.not_written"]
    assert clips.find(KEY) == CLIP


def test_forgotten_clips_are_gone_and_nothing_else_is(tmp_path: Path) -> None:
    clips = Clips(tmp_path)
    clips.keep(KEY, CLIP)
    clips.write(KEY, CLIP)
    (tmp_path / "calls.sqlite3").write_bytes(b"calls")
    assert clips.forget() == 1
    assert clips.find(KEY) is None
    assert [path.name for path in tmp_path.iterdir()] == ["calls.sqlite3"]
    assert clips.forget() == 0


def test_what_is_there_can_be_listed(tmp_path: Path) -> None:
    clips = Clips(tmp_path)
    clips.write(KEY, CLIP)
    other = tmp_path / "x.greeting.wav"
    other.write_bytes(b"broken")
    os.utime(other, (0, 0))
    assert list(clips.listed()) == [(tmp_path / KEY.file_name, KEY, CLIP), (other, None, None)]
