"""The image: what goes in, who runs in it, what it starts, and that its health check tells health from trouble."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from voice_gateway.ops.metrics import Metrics
from voice_gateway.web.health import health_routes


@pytest.fixture
def instructions(repository: Path) -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, rest), line continuations joined and comments left out."""
    text = (repository / "Dockerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


@pytest.fixture
def final_stage(instructions: list[tuple[str, str]]) -> dict[str, str]:
    last = max(i for i, (word, _) in enumerate(instructions) if word == "FROM")
    return dict(instructions[last:])


@pytest.fixture
async def gateway_port() -> AsyncIterator[int]:
    """A real server on a free port with the routes of health and nothing else."""
    routes = health_routes(version="0.1.0", features={}, checks=(), metrics=Metrics(version="0.1.0"))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await serving


async def run(command: list[str], port: int) -> int:
    assert command[0] == "python"
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command[1:], env={**os.environ, "PORT": str(port)}, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


def test_the_linter_of_dockerfiles_has_nothing_to_say(tool: Callable[..., Any]):
    done = tool("hadolint", "--failure-threshold", "style", "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_container_serves(final_stage: dict[str, str]):
    assert json.loads(final_stage["CMD"]) == ["voice-gateway", "serve"]
    assert final_stage["STOPSIGNAL"] == "SIGTERM"
    assert final_stage["EXPOSE"] == "8787"
    assert "ENTRYPOINT" not in final_stage
    assert "HOST=0.0.0.0" in final_stage["ENV"]


def test_the_container_runs_as_nobody_in_particular(final_stage: dict[str, str]):
    user = final_stage["USER"].partition(":")[0]
    assert user.isdigit(), "a number, so that an orchestrator can see it is not root"
    assert int(user) > 0


def test_dependencies_are_installed_by_hash_and_the_package_alone(instructions: list[tuple[str, str]]):
    installs = [rest for word, rest in instructions if word == "RUN" and "pip install" in rest]
    assert "--require-hashes" in installs[0]
    assert installs[-1] == "pip install --no-deps --no-build-isolation ."


@pytest.mark.parametrize("name", ["base.txt", "local.txt"])
def test_every_pinned_set_has_hashes_no_registry_and_the_build_backend(repository: Path, name: str):
    text = (repository / "requirements" / name).read_text(encoding="utf-8")
    pins = re.findall(r"^[a-z0-9].*?==\S+(?:.*\\\n(?:\s+--hash=\S+.*\n?)+)?", text, re.MULTILINE)
    assert len(pins) > 20
    assert all("--hash=sha256:" in pin for pin in pins)
    assert "://" not in text
    assert re.search(r"^hatchling==", text, re.MULTILINE), "--no-build-isolation needs it"


def test_the_build_argument_chooses_the_offline_voice(instructions: list[tuple[str, str]]):
    assert ("ARG", "LOCAL_VOICE=false") in instructions


def test_everything_copied_exists_and_passes_the_ignore_file(repository: Path, instructions: list[tuple[str, str]]):
    allowed = {
        line[1:] for line in (repository / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"
    }
    sources = [s for word, rest in instructions if word == "COPY" and "--from" not in rest for s in rest.split()[:-1]]
    assert sources
    for source in sources:
        assert (repository / source).exists(), source
        assert source.split("/")[0] in allowed, f"{source} is kept from the builder"


def test_the_builder_is_sent_nothing_but_what_is_named(repository: Path):
    lines = [
        line
        for line in (repository / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert lines[0] == "*"
    assert not {"!.env", "!cloudflared", "!var", "!.git"} & set(lines)


async def test_the_health_check_passes_a_gateway_that_lives(final_stage: dict[str, str], gateway_port: int):
    command = json.loads(final_stage["HEALTHCHECK"].partition("CMD")[2])
    assert await run(command, gateway_port) == 0


async def test_the_health_check_fails_where_nobody_listens(final_stage: dict[str, str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = json.loads(final_stage["HEALTHCHECK"].partition("CMD")[2])
    assert await run(command, port) != 0


async def test_the_health_check_fails_on_another_answer(final_stage: dict[str, str]):
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        command = json.loads(final_stage["HEALTHCHECK"].partition("CMD")[2])
        assert await run(command, server.sockets[0].getsockname()[1]) == 1
