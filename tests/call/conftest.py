import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scene import Scene


@pytest.fixture
def scene() -> Scene:
    """A call that has begun: both legs are there and nothing was said yet."""
    scene = Scene()
    scene.begin()
    scene.pass_until(1.0)
    return scene
