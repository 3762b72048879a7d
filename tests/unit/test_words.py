"""Numbers and their nouns."""

import re
from pathlib import Path

import pytest

import sync
from sync.words import counted, tallied

CODE = Path(sync.__file__).parents[1]
PLURAL_TYPED = re.compile(
    r"\{(len\([^{}]*\)|[\w.]*(count|number|total|seen|left|found)\w*)(:,)?\} (studies|instances|objects|files)\b"
)


def test_one_is_singular_and_all_else_is_plural():
    assert [counted(number, "object") for number in (0, 1, 2, 1000)] == [
        "0 objects",
        "1 object",
        "2 objects",
        "1,000 objects",
    ]
    assert counted(1, "study", "studies") == "1 study"


def test_counts_of_a_report_follow_their_numbers():
    counts = {"studies": 1, "instances": 2, "series": 1, "dead_letters": 1, "rejected": 1, "seconds": 1.5}
    assert tallied(counts) == "1 study, 2 instances, 1 series, 1 dead letter, 1 rejected, 1.5 seconds"


@pytest.mark.parametrize("package", ["sync", "insights", "local"])
def test_no_text_types_a_plural_behind_a_number(package):
    paths = sorted((CODE / package).rglob("*.py"))
    lines = [(path.name, line.strip()) for path in paths for line in path.read_text().splitlines()]
    assert [line for line in lines if PLURAL_TYPED.search(line[1]) and "== 1" not in line[1]] == []
