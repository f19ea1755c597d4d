"""The option of every verb that reads settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from voice_gateway.errors import GatewayError

DEFAULT: Final = Path(".env")


def _there(path: Path) -> Path:
    if path != DEFAULT and not path.exists():
        raise GatewayError(f"--env-file names {path}, which is not there.")
    return path


EnvFile = Annotated[Path, typer.Option(help="The file with the settings; .env may be absent.", callback=_there)]
