"""An export that processes share holds everything once, whatever is killed or changes; without a rule it would not."""

from dataclasses import dataclass

import pytest

from tests.simulation.amount import schedules
from tests.simulation.mutants import without_rule
from tests.simulation.shared_exports import CHAIN, play

pytestmark = pytest.mark.usefixtures("rows_read_once")

SCHEDULES = schedules(500)
ENOUGH_TO_CATCH = 60


@pytest.mark.parametrize("outside", [False, True], ids=["still", "changing"])
def test_a_shared_export_holds_everything_once_in_any_order_with_kills_and_pauses(outside):
    for seed in range(SCHEDULES):
        play(seed, outside=outside)


@dataclass(frozen=True)
class Mutant:
    """One rule, and the edits that remove it."""

    rule: str
    edits: tuple[tuple[str, str], ...]
    module: str = "sync.walks.exporting"
    outside: bool = True
    """Whether the ledger changes meanwhile: only where it does not it is known what each Patient says."""


MUTANTS = (
    Mutant(
        "what several parts have in common is written once",
        (("elif (mark := mark_of(content)) not in seen:", "elif (mark := mark_of(content)) is not None:"),),
    ),
    Mutant(
        "equal resources of several parts are in buckets of one number",
        (("self._lines[range_of(key, self._buckets)]", "self._lines[len(self._lines) % self._buckets]"),),
        module="sync.walks.export_buckets",
    ),
    Mutant(
        "each merge reads its own bucket",
        (("shared.buckets.get(bucket)", "shared.buckets.get(0)"),),
    ),
    Mutant(
        "a Patient is built of the rows of all its studies",
        (("patient_with(row_of(line), stored, self.s)", "patient_with(row_of(line), (), self.s)"),),
        outside=False,
    ),
    Mutant(
        "a merge reads the rows of all patients of its bucket",
        (("bound(bucket + 1, buckets) or _AFTER_ALL", "bound(bucket, buckets) or _AFTER_ALL"),),
        module="sync.walks.export_buckets",
        outside=False,
    ),
    Mutant(
        "a Patient whose rows were deleted meanwhile is written of what the part has",
        (("for line in rows.values():", "for line in ():"),),
    ),
    Mutant(
        "each part begins where the one before ends",
        (("bound(number + 1, scope.of)", "bound(number + 1, scope.of + 1)"),),
    ),
    Mutant(
        "the name of a file holds a digest of its content",
        (("{path.stem}-{file.sha256[:_DIGITS]}", "{path.stem}"),),
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.rule for mutant in MUTANTS])
def test_without_a_rule_something_is_there_twice_or_not_as_the_manifest_says(mutant):
    modules = without_rule(CHAIN, {mutant.module: mutant.edits}, rule=mutant.rule)
    for seed in range(ENOUGH_TO_CATCH):
        try:
            play(seed, modules=modules, outside=mutant.outside)
        except AssertionError:
            return
    pytest.fail("no schedule noticed")
