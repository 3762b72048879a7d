"""The mark ``long`` is for one more server or screen, never for a whole test: `make test` holds each promise."""

import re

from tests.docs.typed import ROOT

MARKED = re.compile(r"mark\.long\b")
ALL = "scripts/test $(BIN)"
LESS = "SIMULATION_SCHEDULES=250 PROPERTY_EXAMPLES=25"
ONE_VALUE = re.compile(r"pytest\.param\([^()]*(?:, id=\"[\w-]+\")?, marks=pytest\.mark\.long\)")


def test_only_one_value_of_a_parameter_is_long():
    lines = [
        line
        for path in (ROOT / "tests").rglob("*.py")
        if path.name != "test_long_tests.py"
        for line in path.read_text().splitlines()
        if MARKED.search(line)
    ]
    assert len(lines) > 3
    assert [line for line in lines if not ONE_VALUE.search(line)] == []


def test_make_test_leaves_out_the_long_ones_and_make_test_all_nothing():
    makefile = (ROOT / "Makefile").read_text()
    recipes = dict(re.findall(r"^(test(?:-all)?):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE))
    assert recipes["test"] == recipes["test-all"].replace(ALL, f'{LESS} {ALL} "not long"')
