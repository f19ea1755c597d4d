"""What every test leaves as it found it."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
import structlog

from voice_gateway.ops import logs

# How long an example takes says how busy the machine is, and nothing of what is tried.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """A verb of the command line sets the level of the whole process; the next test may look for what is below it."""
    outlet, config = dict(vars(logs._outlet)), structlog.get_config()
    yield
    vars(logs._outlet).update(outlet)
    structlog.configure(**config)
