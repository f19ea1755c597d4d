"""Recordings on the disk: whole, private, playable whenever the process dies, and never in a call's way."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import wave
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from voice_gateway.audio import g711, wav
from voice_gateway.store.recordings import (
    MOST_WAITING,
    Ended,
    Recordings,
    check_folder,
    erase,
    is_path,
    older,
    remove,
    safe_name,
)
from voice_gateway.store.records import new_id

DAY = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Sound:
    left: bytes
    right: bytes


def sound(seed: int, seconds: float = 1.0) -> Sound:
    noise = np.random.default_rng(seed).integers(0, 256, (2, round(8000 * seconds)), np.uint8)
    return Sound(noise[0].tobytes(), noise[1].tobytes())


def samples(*parts: Sound) -> np.ndarray:
    left, right = (g711.decode(b"".join(getattr(part, side) for part in parts)) for side in ("left", "right"))
    return np.stack([left, right], axis=1)


class Room:
    """Recordings in a folder, and what became of them."""

    def __init__(self, folder: Path, reserve_bytes: int = 0) -> None:
        self.folder = folder
        self.counted: list[str] = []
        self.ended: list[Ended] = []
        self.told = asyncio.Event()
        self.recordings = Recordings(
            folder, new_id=new_id, wall_clock=lambda: DAY, count=self.counted.append, reserve_bytes=reserve_bytes
        )
        self.recordings.start()

    def hear(self, ended: Ended) -> None:
        self.ended.append(ended)
        self.told.set()

    async def next_end(self) -> Ended:
        async with asyncio.timeout(5):
            await self.told.wait()
        self.told.clear()
        return self.ended[-1]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Callable[..., Room]]:
    rooms: list[Room] = []

    def make(folder: Path | None = None, reserve_bytes: int = 0) -> Room:
        if folder is None:
            folder = tmp_path / "recordings"
            check_folder(folder)
        rooms.append(Room(folder, reserve_bytes))
        return rooms[-1]

    yield make
    for each in rooms:
        await asyncio.to_thread(each.recordings.close)
    assert not [thread for thread in threading.enumerate() if thread.name == "recordings"]


async def test_what_is_written_can_be_read_and_belongs_to_its_owner_alone(room: Callable[..., Room]) -> None:
    here = room()
    file = here.recordings.begin("CA" + "1" * 32, here.hear)
    parts = [sound(1), sound(2, 1.5), sound(3, 0.013)]
    for part in parts:
        here.recordings.write(file, part)
    here.recordings.finish(file)
    ended = await here.next_end()
    path = here.folder / ended.path
    read, rate_hz = wav.read(path)
    assert rate_hz == 8000
    assert np.array_equal(read, samples(*parts))
    assert ended.path == f"2026-11-21/CA{'1' * 32}_{ended.recording_id}.wav"
    assert (ended.outcome, ended.duration_ms, ended.size) == ("kept", 2513, path.stat().st_size)
    assert len(ended.sha256) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == stat.S_IMODE(here.folder.stat().st_mode) == 0o700
    assert here.counted == ["kept"]


async def test_two_calls_at_once_do_not_get_into_each_others_way(room: Callable[..., Room]) -> None:
    here = room()
    one, other = (here.recordings.begin("CA1", here.hear) for _ in range(2))
    for number in range(20):
        here.recordings.write(one, sound(number))
        here.recordings.write(other, sound(100 + number))
    here.recordings.finish(one)
    here.recordings.finish(other)
    while len(here.ended) < 2:
        await here.next_end()
    assert np.array_equal(wav.read(one.path)[0], samples(*map(sound, range(20))))
    assert np.array_equal(wav.read(other.path)[0], samples(*map(sound, range(100, 120))))


CHILD = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from voice_gateway.store.records import new_id
from voice_gateway.store.recordings import Recordings

class Sound:
    left = right = bytes(range(250)) * 32

async def main():
    recordings = Recordings(Path(sys.argv[1]), new_id=new_id, wall_clock=lambda: datetime.now(UTC), count=print,
        reserve_bytes=0)
    recordings.start()
    file = recordings.begin("CA1", print)
    for number in range(100_000):
        recordings.write(file, Sound())
        while file.waiting:
            await asyncio.sleep(0)
        if number == 50:
            print("on", flush=True)

asyncio.run(main())
"""


def test_a_process_that_is_killed_leaves_a_file_that_plays(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "on\n"
        child.send_signal(signal.SIGKILL)
    (path,) = tmp_path.rglob("*.wav")
    with path.open("rb") as file, wave.open(file) as opened:
        frames = opened.getnframes()
    assert frames >= 50 * 8000
    assert abs(path.stat().st_size - wav.HEADER_BYTES - 4 * frames) <= 32_000, "the header lacks a block at most"


@pytest.mark.parametrize(
    "call_sid", ["../../etc/passwd", "CA/../..", "", ".", "CA\0x", "a" * 300, "CA1\n", "ÇA1", "\ud800"]
)
async def test_a_callsid_is_never_more_than_a_part_of_a_name(room: Callable[..., Room], call_sid: str) -> None:
    here = room()
    file = here.recordings.begin(call_sid, here.hear)
    here.recordings.write(file, sound(1))
    here.recordings.finish(file)
    ended = await here.next_end()
    assert ended.outcome == "kept"
    (path,) = here.folder.rglob("*.wav")
    assert path == here.folder / "2026-11-21" / f"{safe_name(call_sid)}_{ended.recording_id}.wav"
    assert safe_name(call_sid).isalnum()


async def test_a_missing_folder_costs_the_recording_and_says_so(room: Callable[..., Room], tmp_path: Path) -> None:
    here = room(tmp_path / "unmounted" / "disk")
    file = here.recordings.begin("CA1", here.hear)
    here.recordings.write(file, sound(1))
    ended = await here.next_end()
    assert (ended.outcome, ended.reason) == ("failed", "No such file or directory")
    for number in range(5):
        here.recordings.write(file, sound(number))
    here.recordings.finish(file)
    await asyncio.to_thread(here.recordings.close)
    await asyncio.sleep(0)
    assert here.counted == ["failed"], "once"


async def test_a_full_disk_costs_the_recording_while_the_record_still_has_room(room: Callable[..., Room]) -> None:
    here = room(reserve_bytes=10**18)
    file = here.recordings.begin("CA1", here.hear)
    here.recordings.write(file, sound(1))
    ended = await here.next_end()
    assert ended.outcome == "failed"
    assert "for the record" in ended.reason
    assert not list(here.folder.rglob("*.wav"))


async def test_a_write_that_fails_in_the_midst_leaves_what_was_written(room: Callable[..., Room]) -> None:
    here = room()
    file = here.recordings.begin("CA1", here.hear)
    here.recordings.write(file, sound(1))
    while file.frames < 8000:  # noqa: ASYNC110 - a thread's gauge, not an event
        await asyncio.sleep(0.001)
    assert file.file is not None
    os.dup2(os.open("/dev/full", os.O_WRONLY), file.file)
    here.recordings.write(file, sound(2))
    ended = await here.next_end()
    assert (ended.outcome, ended.reason, ended.duration_ms) == ("failed", "No space left on device", 1000)
    assert np.array_equal(wav.read(file.path)[0], samples(sound(1)))
    content = file.path.read_bytes()
    assert (ended.size, ended.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    here.recordings.discard(file)
    assert (await here.next_end()).outcome == "discarded", "the consent may be taken back even so"
    assert not file.path.exists()
    assert here.counted == ["failed"], "once"


@pytest.mark.parametrize("replaced", ["", "RIFF"])
async def test_a_file_that_somebody_took_away_is_not_called_kept(room: Callable[..., Room], replaced: str) -> None:
    here = room()
    file = here.recordings.begin("CA1", here.hear)
    here.recordings.write(file, sound(1))
    while file.frames < 8000:  # noqa: ASYNC110 - a thread's gauge, not an event
        await asyncio.sleep(0.001)
    taken = file.path.rename(file.path.with_name("taken"))
    if replaced:
        file.path.write_text(replaced)
    here.recordings.finish(file)
    ended = await here.next_end()
    assert (ended.outcome, ended.duration_ms, ended.size, ended.sha256) == ("failed", 0, 0, "")
    assert taken.exists()


async def test_a_disk_that_hangs_is_waited_for_a_minute_of_sound_and_no_longer(room: Callable[..., Room]) -> None:
    here = room()
    file = here.recordings.begin("CA1", here.hear)
    hanging, goes_on = threading.Event(), threading.Event()

    class Slow(Sound):
        @property
        def left(self) -> bytes:  # type: ignore[override]  # the disk stands still while this is asked for
            hanging.set()
            goes_on.wait(5)
            return b"\x00"

        right = b"\x00"

    here.recordings.write(file, object.__new__(Slow))
    await asyncio.to_thread(hanging.wait, 5)
    for number in range(MOST_WAITING + 20):
        here.recordings.write(file, sound(number, 0.01))
    assert file.waiting == MOST_WAITING
    here.recordings.finish(file)
    goes_on.set()
    ended = await here.next_end()
    assert ended.outcome == "failed"
    assert "waited for the disk" in ended.reason


async def test_what_is_discarded_is_gone(room: Callable[..., Room]) -> None:
    here = room()
    file = here.recordings.begin("CA1", here.hear)
    here.recordings.write(file, sound(1))
    here.recordings.discard(file)
    here.recordings.write(file, sound(2))
    assert (await here.next_end()).outcome == "discarded"
    here.recordings.finish(file)
    await asyncio.to_thread(here.recordings.close)
    assert not list(here.folder.rglob("*.wav"))
    assert here.counted == ["discarded"]


def test_the_sweeper_removes_what_is_old_and_nothing_that_is_not_ours(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    mine = f"CA1_{new_id()}.wav"
    day = tmp_path / "2026-01-01"
    young, foreign, elsewhere = day / f"CA2_{new_id()}.wav", day / "notes.wav", tmp_path / "other" / mine
    linked = tmp_path / "linked"
    for path in (day / mine, young, foreign, elsewhere, linked / mine):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"RIFF")
        os.utime(path, (now - 31 * 86_400, now - 31 * 86_400))
    os.utime(young, (now - 29 * 86_400, now - 29 * 86_400))
    (tmp_path / "2026-01-02").symlink_to(linked)
    link = day / f"CA3_{new_id()}.wav"
    link.symlink_to(elsewhere)
    os.utime(link, (0, 0), follow_symlinks=False)
    due = older(tmp_path, 30, now)
    assert due == [f"2026-01-01/{mine}"]
    assert remove(tmp_path, [*due, "../2026-01-01/notes.wav", f"other/{mine}"], now) == 1
    assert not (day / mine).exists()
    assert young.exists()
    assert foreign.exists()
    assert elsewhere.exists()
    assert (linked / mine).exists()


def test_the_sweeper_removes_a_day_that_is_empty_and_finds_nothing_in_a_folder_that_is_not_there(
    tmp_path: Path,
) -> None:
    old = tmp_path / "2026-01-01" / f"CA1_{new_id()}.wav"
    old.parent.mkdir()
    old.touch()
    later = old.stat().st_mtime + 3 * 86_400
    assert remove(tmp_path, older(tmp_path, 1, later), later) == 1
    assert not old.parent.exists()
    assert remove(tmp_path / "nowhere", older(tmp_path / "nowhere", 1, 0.0), 0.0) == 0


@pytest.mark.parametrize(
    "path", ["", None, "a.wav", "2026-01-01/a.wav", "2026-01-01/../a.wav", "/etc/passwd", "2026-01-01/x/y.wav"]
)
def test_what_is_no_path_of_ours_is_none(path: str | None) -> None:
    assert not is_path(path)
    assert is_path(f"2026-01-01/CA1_{new_id()}.wav")


async def test_a_link_that_lies_in_wait_is_not_followed(room: Callable[..., Room], tmp_path: Path) -> None:
    here = room()
    file = here.recordings.begin("CA1", here.hear)
    file.path.parent.mkdir()
    file.path.symlink_to(tmp_path / "elsewhere")
    here.recordings.write(file, sound(1))
    assert (await here.next_end()).outcome == "failed"
    assert not (tmp_path / "elsewhere").exists()


def test_a_calls_recordings_are_erased_and_no_others(tmp_path: Path) -> None:
    paths = [
        tmp_path / "2026-01-01" / f"CA1_{new_id()}.wav",
        tmp_path / "2026-01-02" / f"CA1_{new_id()}.wav",
        tmp_path / "2026-01-02" / f"CA11_{new_id()}.wav",
        tmp_path / "2026-01-02" / f"{safe_name('../*')}_{new_id()}.wav",
    ]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert erase(tmp_path, "*") == 0
    assert erase(tmp_path, "CA1") == 2
    assert erase(tmp_path, "../*") == 1
    assert [path.exists() for path in paths] == [False, False, True, False]


def test_a_folder_that_cannot_be_written_to_is_found_at_once(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    assert not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file"):
        check_folder(tmp_path / "file")
