"""What tests of one part take from a whole world in memory."""

import pytest

from tests.worlds import MemoryWorld


@pytest.fixture
def w():
    """Give a world of its own; a test that wants it otherwise has a fixture of the same name."""
    return MemoryWorld()
