"""The thread that writes the SQLite file. It takes facts from a queue and commits them in batches.

It takes the first one, lingers a moment so that others may join, and commits them together: each batch is one
transaction, with the rows of the outbox in it. Of many it takes a piece at a time and draws breath in between, so that
what calls and their tools want to do meanwhile waits for a piece at most. While the file cannot be written (locked,
disk full, gone) the batch is kept and tried again, ever more patiently; a row that the tables refuse is left out, told
in the log and counted; a file found broken is set aside and a new one begun, as it is for one that was deleted or moved
away.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

import structlog

from voice_gateway.store.database import StoreError, is_corrupt, open_sound_database, set_aside
from voice_gateway.store.records import CallPatch, EventRecord, FoldedRow
from voice_gateway.store.room import is_tight, make_room
from voice_gateway.store.statements import REFUSALS, Fact, Statement, as_fact, in_order
from voice_gateway.store.writing import transaction

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
BITES = 10
LEAST_PIECE, PIECES, LARGEST_PIECE = 8, 8, 1000
"""A piece is an eighth of what waits, so that a long backlog is not written at a walk, but so many records at least.

It is never so large that the tools, which wait for the file for some seconds, wait for it in vain.
"""
BREATH_S = 0.001

_ADVICE = {
    sqlite3.SQLITE_BUSY: "another program holds the file locked",
    sqlite3.SQLITE_LOCKED: "another program holds the file locked",
    sqlite3.SQLITE_FULL: "the disk, or the size allowed for the file, is full: make room",
    sqlite3.SQLITE_READONLY: "the file cannot be written to: check its owner and mode",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: check that its folder exists and can be written to",
    sqlite3.SQLITE_IOERR: "the disk does not take what is written: check its room and its health",
}
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)


class Receipt:
    """The promise to tell a waiting coroutine, from the writer's thread, that its record is committed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.stored: asyncio.Future[bool] = self._loop.create_future()

    def give(self, *, stored: bool) -> None:
        with suppress(RuntimeError):  # its loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, stored)

    def _tell(self, stored: bool) -> None:  # noqa: FBT001 - the loop hands over positional arguments alone
        if not self.stored.done():
            self.stored.set_result(stored)


class Waiting(NamedTuple):
    """What stands in the queue: an event with what it changes. Without an event it only wants the writer's attention.

    since: monotonic seconds. receipt: of who waits until this and all before it is committed.
    """

    since: float
    event: EventRecord | None = None
    patch: CallPatch | None = None
    rows: Sequence[FoldedRow] = ()
    receipt: Receipt | None = None


class Work(NamedTuple):
    """Statements that free room. They do not wait in line with what needs it: in a full file that would be for ever."""

    statements: Sequence[Statement]
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Habits:
    """linger_s: how long a record may wait for company. max_bytes: the file's largest size, None for no limit.

    at_open: SQL that is run on each file that is opened.
    """

    linger_s: float = 0.02
    max_bytes: int | None = None
    at_open: str = ""


class Writer:
    def __init__(self, path: Path, habits: Habits, wall_clock: Callable[[], float] = time.time) -> None:
        """wall_clock: seconds since 1970."""
        self.path = path
        self.last_error = ""
        self.refused = 0
        self.lost = 0
        self.cleared = 0
        self.on_commit: tuple[Callable[[], None], ...] = ()
        """Called in the writer's thread after each commit that brought something to tell."""
        self.queue: SimpleQueue[Waiting] = SimpleQueue()
        self.works: SimpleQueue[Work] = SimpleQueue()
        self.batch: list[Waiting] = []
        self.hurry = threading.Event()
        self._habits = habits
        self._wall_clock = wall_clock
        self._log = structlog.get_logger()
        self._closing = threading.Event()
        self._give_up = threading.Event()
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._full = False
        self._more = False
        self._thread = threading.Thread(target=self._write_all, name="store-writer", daemon=True)

    def start(self) -> None:
        """Open or make the file, and go. Blocks a moment. Raises `StoreError` when the file cannot be had."""
        self._db = self._open()
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def close(self, timeout_s: float) -> None:
        """Commit what waits and end. Blocks; past timeout_s one last attempt is made, and the rest is lost."""
        self._closing.set()
        self.hurry.set()
        self.queue.put(Waiting(0.0))
        self._thread.join(timeout_s)
        self._give_up.set()  # only matters while the file cannot be written
        self._thread.join()

    # --- the thread ---------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        try:
            while not (self._closing.is_set() and self.queue.empty()):
                self._gather()
                stored = False
                try:
                    stored = self._persist()
                except Exception:  # noqa: BLE001 - a fault of ours costs this batch, not the store
                    self._log.exception("store.fault", records=len(self.batch))
                self._settle(stored=stored)
                if not stored and self._give_up.is_set():
                    self._abandon()
        finally:
            if self._db is not None:
                self._db.close()

    def _gather(self) -> None:
        """Fill the batch: the next record, and those that come while it lingers, or the next piece of many."""
        self.batch = [self.queue.get()]
        if not self._closing.is_set():
            self.hurry.wait(min(BREATH_S, self._habits.linger_s) if self._more else self._habits.linger_s)
            self.hurry.clear()
        piece = min(max(LEAST_PIECE, self.queue.qsize() // PIECES), LARGEST_PIECE)
        with suppress(Empty):
            while len(self.batch) < piece:
                self.batch.append(self.queue.get_nowait())
        self._more = not self.queue.empty()

    def _persist(self) -> bool:
        """Commit the batch, however long it takes. False when it could not be had before the store had to close."""
        facts = list(self._facts())
        pause = FIRST_PAUSE_S
        last_attempt = False
        while True:
            try:
                self._commit(facts)
            except (sqlite3.Error, OSError, StoreError) as error:
                self._fail(error)
            else:
                self._recover()
                for tell in self.on_commit if facts else ():
                    tell()
                return True
            if last_attempt:
                return False
            last_attempt = self._give_up.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _facts(self) -> Iterator[Fact]:
        now = self._wall_clock()
        for each in self.batch:
            if each.event is not None:
                yield as_fact(each.event, each.patch, each.rows, now, partial(self._refuse, each.event.call_sid))

    def _open(self) -> sqlite3.Connection:
        db = open_sound_database(self.path, max_bytes=self._habits.max_bytes)
        try:
            db.executescript(self._habits.at_open)
        except sqlite3.Error as error:
            db.close()
            raise StoreError(f"the store {self.path} cannot be made ready ({error}): try again") from error
        self._file = _identity(self.path)
        return db

    def _commit(self, facts: Sequence[Fact]) -> None:
        db = self._database()
        self._do_works(db)
        if self._habits.max_bytes is not None:
            self._make_room(db, self._habits.max_bytes)
        try:
            with transaction(db):
                _run(db, in_order(facts))
        except REFUSALS:
            self._commit_singly(db, facts)

    def _database(self) -> sqlite3.Connection:
        if self._db is not None and _identity(self.path) != self._file:
            # What is written to a deleted file is accepted and lost without a word.
            self._log.error("store.file_gone", path=str(self.path), advice="a new one is begun: restore the old one")
            self._db.close()
            self._db = None
        if self._db is None:
            self._db = self._open()
        return self._db

    def _do_works(self, db: sqlite3.Connection) -> None:
        while not self.works.empty():
            work = self.works.get()
            try:
                with transaction(db):
                    _run(db, work.statements)
            except BaseException:
                work.receipt.give(stored=False)
                raise
            work.receipt.give(stored=True)

    def _make_room(self, db: sqlite3.Connection, max_bytes: int) -> None:
        for _ in range(BITES):
            if not (self._full or is_tight(db, max_bytes)):
                return
            with transaction(db):
                room = make_room(db, self._wall_clock())
            if room.cleared and not self.cleared:
                advice = "the file is nearly full: see why nothing is shipped, or raise STORE_MAX_MB"
                self._log.error("store.events_cleared", events=room.cleared, advice=advice)
            self.cleared += room.cleared
            self._full = False  # as far as anybody knows before the next attempt
            if not room:
                return

    def _commit_singly(self, db: sqlite3.Connection, facts: Iterable[Fact]) -> None:
        """The batch again, row by row, so that a bad one costs no other: a failed statement undoes itself alone."""
        refusals: list[tuple[str, Exception]] = []
        with transaction(db):
            for fact in facts:
                event = fact.event and _attempt(db, fact.event, refusals)
                changes = {name: _attempt(db, each, refusals) for name, each in fact.changes.items()}
                held = {name: each for name, each in changes.items() if each is not None}
                _run(db, Fact(fact.call_sid, fact.since, event, held).outbox())
        for call_sid, refusal in refusals:
            self._refuse(call_sid, refusal)

    def _settle(self, *, stored: bool) -> None:
        """The batch is done with."""
        batch, self.batch = self.batch, []
        if not stored:
            self.lost += sum(each.event is not None for each in batch)
        for each in batch:
            if each.receipt is not None:
                each.receipt.give(stored=stored)

    def _abandon(self) -> None:
        """Closing, and the file still cannot be written: what waits is lost."""
        with suppress(Empty):
            while True:
                self.batch.append(self.queue.get_nowait())
        self._settle(stored=False)
        self._log.error("store.records_lost", records=self.lost, reason=self.last_error)

    def _fail(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        advice = _ADVICE.get(primary, "") if primary is not None else ""
        if not self.last_error:
            self._log.error("store.failing", reason=str(error), advice=advice, path=str(self.path))
        self.last_error = f"{error}; {advice}" if advice else str(error)
        self._full = primary == sqlite3.SQLITE_FULL
        if primary in _PASSING:
            return
        if self._db is not None:
            self._db.close()
            self._db = None
        if is_corrupt(error):
            with suppress(OSError):  # a folder that cannot be written to fails again, and is told, at the next attempt
                set_aside(self.path, str(error))

    def _recover(self) -> None:
        if self.last_error:
            self._log.warning("store.recovered", path=str(self.path), waiting=self.queue.qsize())
            self.last_error = ""

    def _refuse(self, call_sid: str, error: Exception) -> None:
        self.refused += 1
        self._log.error("store.row_refused", callSid=call_sid, reason=str(error))


def _run(db: sqlite3.Connection, statements: Iterable[Statement]) -> None:
    """Neighbouring statements with the same text go together."""
    for sql, group in groupby(statements, key=itemgetter(0)):
        db.executemany(sql, [statement.row for statement in group])


def _attempt(db: sqlite3.Connection, statement: Statement, refusals: list[tuple[str, Exception]]) -> Statement | None:
    """The statement when the tables took it."""
    try:
        db.execute(*statement)
    except REFUSALS as refusal:
        refusals.append((statement.row["call_sid"], refusal))
        return None
    return statement


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands under this name; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
