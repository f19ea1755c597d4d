"""The tools of the container world as this Python installed them, and the files they look at."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]

Tool = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def repository() -> Path:
    return REPOSITORY


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Run a tool of the extra [test] in the repository, with a home and an environment of its own."""

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name(name)
        assert program.exists(), f"{name} is not installed: pip install -e '.[test]'"
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        return subprocess.run(
            [program, *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def compose() -> dict[str, Any]:
    return read_yaml("docker-compose.yml")


@pytest.fixture
def tunnel() -> dict[str, Any]:
    return read_yaml("cloudflared/config.yml")


@pytest.fixture
def alerts() -> dict[str, Any]:
    return read_yaml("deploy/alerts.yml")


@pytest.fixture
def scraping() -> dict[str, Any]:
    return read_yaml("deploy/prometheus.yml")


def read_yaml(path: str) -> dict[str, Any]:
    loaded = yaml.safe_load((REPOSITORY / path).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded
