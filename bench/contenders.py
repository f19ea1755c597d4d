"""What is measured: the gateway as the product starts it, and the pass-through prototypes. Each is a process."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AUTH_TOKEN = "b" * 32


@dataclass(frozen=True)
class Contender:
    """name: for tables. command: after the interpreter. settings: further environment variables.

    under: a program that runs the interpreter, with its options.
    """

    name: str
    command: tuple[str, ...]
    settings: tuple[tuple[str, str], ...] = ()
    under: tuple[str, ...] = ()


CONTENDERS = {
    "gateway": Contender("gateway", ("-m", "voice_gateway", "serve", "--env-file", os.devnull)),
    "gateway-pcmu": Contender(
        "gateway-pcmu",
        ("-m", "voice_gateway", "serve", "--env-file", os.devnull),
        (("OPENAI_AUDIO_FORMAT", "pcmu"),),
    ),
    "passthrough": Contender("passthrough", (str(ROOT / "bench" / "passthrough.py"), "plain")),
    "passthrough-lean": Contender("passthrough-lean", (str(ROOT / "bench" / "passthrough.py"), "lean")),
}


def watched(contender: Contender, under: tuple[str, ...], settings: tuple[tuple[str, str], ...]) -> Contender:
    """The same under another program's eyes, such as valgrind's."""
    return replace(contender, under=under, settings=(*contender.settings, *settings))


@dataclass(frozen=True)
class Running:
    contender: Contender
    port: int
    pid: int


def cores() -> tuple[int, int]:
    """The far sides' core and the gateway's. The same one twice on a machine that has no second."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[1 if len(usable) > 1 else 0]


@asynccontextmanager
async def running(contender: Contender, model_port: int, core: int, patience_s: float = 30.0) -> AsyncIterator[Running]:
    """Start it, wait until it listens, and stop it at the end."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="voice-gateway-bench-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: ASYNC220 - nothing is measured yet
                [*contender.under, sys.executable, *contender.command],
                cwd=ROOT,
                env=_environment(contender, port, model_port, folder),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        os.sched_setaffinity(process.pid, {core})
        try:
            await _listens(process, port, log, patience_s)
            yield Running(contender, port, process.pid)
            if process.poll() is not None:
                raise RuntimeError(f"{contender.name} ended by itself:\n{_tail(log)}")
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(contender: Contender, port: int, model_port: int, folder: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
    return {
        **inherited,
        "PORT": str(port),
        "OPENAI_API_KEY": "bench-" + "k" * 20,
        "OPENAI_REALTIME_ENDPOINT": f"ws://127.0.0.1:{model_port}/v1/realtime",
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
        "MAX_CALLS": "1000",
        "ANSWER_SENTENCE": "",
        "STORE_PATH": f"{folder}/bench.sqlite3",
        "LOG_LEVEL": "warning",
        "DRAIN_SECONDS": "0",
        **dict(contender.settings),
    }


async def _listens(process: subprocess.Popen[bytes], port: int, log: Path, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until and process.poll() is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise RuntimeError(f"{process.args} does not listen:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
