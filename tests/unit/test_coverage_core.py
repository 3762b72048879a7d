"""Branch coverage by events says the same as coverage.py's own tracer."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CODE = """
import asyncio


def sign(number):
    if number < 0:
        return "minus"
    return "plus" if number else "nothing"


def total(numbers):
    result = 0
    for number in numbers:
        if (
            number > 1
            and number < 5
        ):
            result += number
        elif number == 7:
            break
    else:
        result += 100
    while result > 100:
        result -= 1
    return result


def matched(value):
    match value:
        case 1:
            return "one"
        case [first, *_]:
            return first
    try:
        return value["key"]
    except KeyError:
        with open("/dev/null") as file:
            return file.read()


async def numbers(end):
    for number in range(end):
        yield number


def ends(number):
    if number:
        number += 1


async def counted(end):
    count = 0
    async for _ in numbers(end):
        count += 1
    return count


def passes(numbers):
    passed = 0
    for number in numbers:
        passed += 1
        if number > 0:
            passed += 2
        passed += 3
    return passed


async def waits(end):
    async for number in numbers(end):
        if number == 2:
            return number
    async for _ in numbers(0):
        number = 5
    async for number in numbers(2):
        # the body begins here
        number = 5
    return [n async for n in numbers(3) if n]


def all_signs():
    return sign(-1), sign(1), sign(-1), sign(1)


print(all_signs(), total([2, 9]), total([]), total([7]), matched(1), matched([2]), matched({}))
print(ends(1), ends(0), passes([-1, 1, -1]), passes([1, -1]), asyncio.run(counted(0)), asyncio.run(counted(2)))
print(asyncio.run(waits(0)), asyncio.run(waits(2)))
"""
"""Each kind of branch, some of them taken both ways, some one, some never."""

MEASURE = """
import json, sys
if sys.argv[1] == "events":
    import tests.coverage_core
import coverage
measured = coverage.Coverage(data_file=None, config_file=False, branch=True, include=[sys.argv[2] + "/*"])
sys.path.insert(0, sys.argv[2])
measured.start()
import measured_code
measured.stop()
analysis = measured._analyze(measured_code.__file__)
lines, branches = sorted(analysis.missing), sorted(analysis.missing_branch_arcs().items())
print(json.dumps({"tracer": measured._core.tracer_class.__name__, "lines": lines, "branches": branches}))
"""


def _measured(core: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", MEASURE, core, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="other versions of Python measure as coverage.py chooses")
def test_lines_and_branches_that_are_missed_are_those_that_the_tracer_misses(tmp_path):
    (tmp_path / "measured_code.py").write_text(CODE)
    traced, monitored = _measured("tracer", tmp_path), _measured("events", tmp_path)
    assert (traced.pop("tracer"), monitored.pop("tracer")) == ("CTracer", "BranchMonitor")
    assert 0 < len(traced["lines"]) < 10, "most lines run, and some do not"
    assert 0 < len(traced["branches"]) < 10
    assert monitored == traced
