"""The table *Where to change what* of CONTRIBUTING names files and folders that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("**Where to change what.**")[2].partition("\n## ")[0]
ROWS = [line.strip("| ").split(" | ") for line in SECTION.splitlines() if line.startswith("|")][2:]


def test_it_names_at_least_ten_changes():
    assert len({change for change, _ in ROWS}) >= 10


@pytest.mark.parametrize(("change", "places"), ROWS, ids=[change for change, _ in ROWS])
def test_every_place_exists(change, places):
    paths = re.findall(r"`([^`]+)`", places)
    assert paths, f"{change}: no path"
    assert [path for path in paths if not (ROOT / path).exists()] == []
