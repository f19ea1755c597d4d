import pytest
from scene import Scene


@pytest.fixture
def scene() -> Scene:
    """A call that has begun: both legs are there and nothing was said yet."""
    scene = Scene()
    scene.begin()
    scene.pass_until(1.0)
    return scene
