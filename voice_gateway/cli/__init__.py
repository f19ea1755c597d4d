"""The command line `voice-gateway`: `verbs` names the verbs, each of them is a file of its own."""

from __future__ import annotations

import sys

from voice_gateway.errors import GatewayError


def main() -> None:
    """Run the command line. What the gateway refuses on purpose is told in a sentence, without a traceback."""
    from voice_gateway.cli.verbs import app  # noqa: PLC0415 - the parts of this package are of use without the verbs

    try:
        app()
    except GatewayError as error:
        print(f"voice-gateway: {error}", file=sys.stderr)  # noqa: T201 - the command line speaks
        sys.exit(2)
