"""``make mutants``: a sample of mutants within a time; survivors are listed, and make it fail."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path

from tests.simulation.campaign.attempt import attempt_apart
from tests.simulation.campaign.explained import EXPLAINED
from tests.simulation.campaign.mutation import Mutation, modules, mutations
from tests.simulation.campaign.plugin import FILE, VARIABLE

_COULD_NOT_RUN = (4, 5)
"""Exit codes of pytest that say nothing of the mutant: wrong arguments, no tests."""

_OF_PACKAGE = {
    "sync.projection": ("tests/unit/projection",),
    "sync.protocol": ("tests/unit/protocol", "tests/unit/delivery", "tests/simulation/test_dead_letters.py"),
    "sync.delivery": ("tests/unit/delivery", "tests/simulation/test_dead_letters.py"),
    "sync.feeds": ("tests/unit/feeds", "tests/unit/replay", "tests/simulation/test_feeds.py"),
    "sync.walks": ("tests/unit/walks", "tests/unit/cli", "tests/unit/replay"),
    "sync.pipeline": ("tests/unit/test_pipeline.py",),
}
_OF_ALL = (
    "tests/unit/test_pipeline.py",
    "tests/unit/projection",
    "tests/unit/verify",
    "tests/unit/replay",
    "tests/unit/operators",
)


def main() -> int:
    """Return 0 when every mutant of the sample was killed or is explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.campaign", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="seconds after which no other mutant is begun")
    parser.add_argument("--seed", type=int, default=0, help="which sample; the same seed gives the same order")
    parser.add_argument("--quick", action="store_true", help="only the simulation; what it leaves is for the tests")
    parser.add_argument("--module", help="only of this module")
    given = parser.parse_args()
    every = [mutation for name in modules() if given.module in (None, name) for mutation in mutations(name)]
    random.Random(given.seed).shuffle(every)
    ends = time.monotonic() + given.seconds
    outcomes: Counter[str] = Counter()
    for mutation in every:
        if time.monotonic() > ends:
            break
        outcome = "explained" if mutation.key in EXPLAINED else _outcome(mutation, quick=given.quick)
        outcomes[outcome] += 1
        sys.stdout.write(f"{outcome:10} {mutation.module}:{mutation.line} {mutation.name}\n")
        sys.stdout.flush()
    tried = sum(outcomes.values())
    sys.stdout.write(f"{tried} of {len(every)} mutants, seed {given.seed}: {dict(outcomes)}\n")
    return 1 if outcomes["SURVIVED"] else 0


def _outcome(mutation: Mutation, *, quick: bool) -> str:
    if attempt_apart(mutation.module, mutation.make()):
        return "simulation"
    if quick:
        return "left"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mutated.py"
        file.write_text(mutation.make(), encoding="utf-8")
        for tests in _tests_of(mutation.module):
            if is_noticed(_test(tests, {VARIABLE: mutation.module, FILE: str(file)})):
                return "tests"
    return "SURVIVED"


def is_noticed(exit_code: int) -> bool:
    """
    Tell whether tests noticed a mutant: they failed, could not be imported, broke pytest, or the process was killed.

    Without a mutant the same tests pass, so each of these is the mutant's doing.
    """
    if exit_code in _COULD_NOT_RUN:
        raise SystemExit(f"pytest could not run the tests ({exit_code})")
    return exit_code != 0


def _tests_of(module: str) -> tuple[tuple[str, ...], ...]:
    package = module if module in _OF_PACKAGE else module.rpartition(".")[0]
    return tuple(tuple(path for path in tests if Path(path).exists()) for tests in (_OF_PACKAGE[package], _OF_ALL))


@cache
def _pass_unchanged(tests: tuple[str, ...]) -> None:
    """End the campaign when tests fail without any mutant: they would seem to kill all of them."""
    if told := _exit([*_PYTEST, *tests], {"SIMULATION_SCHEDULES": "100"}):
        raise SystemExit(f"tests fail without a mutant ({told}): {' '.join(tests)}")


def _test(tests: tuple[str, ...], mutated: dict[str, str]) -> int:
    _pass_unchanged(tests)
    return _exit([*_PYTEST, *tests], {**mutated, "SIMULATION_SCHEDULES": "100"})


_PYTHON = (sys.executable, "-W", "ignore", "-m")
_PYTEST = (
    *_PYTHON,
    *("pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "tests.simulation.campaign.plugin"),
    *("-k", "not without_this_rule"),
)


def _exit(command: list[str], variables: dict[str, str] | None = None) -> int:
    told = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run(command, env={**os.environ, **(variables or {})}, check=False, **told).returncode


if __name__ == "__main__":
    sys.exit(main())
