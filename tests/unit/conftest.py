"""What tests of one part take from a whole world in memory."""

from pathlib import Path

import pytest

from tests.worlds import MemoryWorld

HERE = Path(__file__).parent
UNMEASURED = {"bench", "local", "test_file_length.py", "test_import_contracts.py", "test_one_place.py", "test_words.py"}
"""Folders and files of tests of other packages, or of the text of the source."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure no branches where `sync` is not what runs: a tracer takes as long again, whatever code it traces."""
    for item in items:
        if item.path.is_relative_to(HERE) and UNMEASURED & set(item.path.relative_to(HERE).parts):
            item.add_marker("no_cover")


@pytest.fixture
def w():
    """Give a world of its own; a test that wants it otherwise has a fixture of the same name."""
    return MemoryWorld()
