"""A comparison that processes share tells everything once and deletes no more than it may; a mutant would not."""

from dataclasses import dataclass
from functools import partial

import pytest

from tests.simulation.amount import schedules
from tests.simulation.mutants import without_rule
from tests.simulation.shared_verifications import CHAIN, play
from tests.simulation.soonest import fails, is_noticed

pytestmark = pytest.mark.usefixtures("mapped_once", "rows_read_once")

SCHEDULES = schedules(1000)
ENOUGH_TO_CATCH = 20
FEW = 4


@pytest.mark.parametrize(
    "removals", [None, 4, 3, 1], ids=lambda removals: f"repair-{removals}" if removals else "compare"
)
def test_a_shared_comparison_tells_and_repairs_everything_in_any_order_with_kills_and_pauses(removals):
    for seed in range(SCHEDULES):
        play(seed, removals=removals)


@pytest.mark.parametrize("removals", [2, 1])
@pytest.mark.parametrize("call", ["transact", "note"])
def test_after_a_process_died_of_a_deletion_the_others_delete_no_more_than_is_left(call, removals):
    for seed in range(FEW):
        play(seed, removals=removals, dies_after=call)


@dataclass(frozen=True)
class Mutant:
    """One rule, the edits that remove it, and how much may be deleted where it shows; None: nothing is repaired."""

    rule: str
    module: str
    edits: tuple[tuple[str, str], ...]
    removals: int | None = None
    dies_after: str = ""


MUTANTS = (
    Mutant(
        "a slice waits for those that it needs",
        "sync.protocol.walk_rows",
        ((" and piece.needs <= done]", "]"),),
    ),
    Mutant(
        "each range of keys begins where the one before ends",
        "sync.walks.verification_parts",
        (("end=bound(number + 1, ranges)", "end=bound(number + 1, ranges + 1)"),),
    ),
    Mutant(
        "the objects of a study need no look only where listings proved all of them right",
        "sync.verify.batches",
        (("return bool(keys) and proven == _sum(keys)", "return bool(keys) and proven > 0"),),
    ),
    Mutant(
        "a resource counts once, whichever studies share it",
        "sync.verify.closing",
        ((" and hash(identity(drift)) not in counted:", ":"),),
    ),
    Mutant(
        "what an earlier round noted and this one did not meet is gone",
        "sync.verify.closing",
        (("if any(drift.found_in != run for drift in round_.judge.known(subject)):", "if False:"),),
    ),
    Mutant(
        "a page that finds what a round has noted leaves it to the round",
        "sync.verify.judge",
        (("replace(drift, found_in=self._work_list)", "replace(drift, found_in=self._found_in)"),),
        removals=4,
    ),
    Mutant(
        "of more orphans than may be deleted none is",
        "sync.walks.verification",
        (("        elif counted > left:", "        elif False:"),),
        removals=1,
    ),
    Mutant(
        "what the steps before deleted is taken off what may be deleted",
        "sync.walks.verification",
        (("self.round.plan.removals - sum(max(number, 0) for number in gone)", "self.round.plan.removals"),),
        removals=3,
    ),
    Mutant(
        "what a killed process deleted is taken off what may be deleted",
        "sync.walks.verification",
        (("left - max(counted - removable.number, 0)", "left"),),
        removals=1,
        dies_after="note",
    ),
    Mutant(
        "of what was noted and not counted nothing is deleted",
        "sync.walks.verification",
        (("        if removable.number > counted:\n", "        if False:\n"),),
        removals=2,
        dies_after="transact",
    ),
    Mutant(
        "a process that repeats a step of a repair deletes the same copies",
        "sync.verify.closing",
        ((", among=frozenset(resource for _, resource in chosen))", ")"),),
        removals=1,
        dies_after="transact",
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.rule for mutant in MUTANTS])
def test_without_a_rule_something_is_told_wrong_or_too_much_is_deleted(mutant):
    modules = without_rule(CHAIN, {mutant.module: mutant.edits}, rule=mutant.rule)

    def notices(seed):
        return fails(partial(play, seed, modules=modules, removals=mutant.removals, dies_after=mutant.dies_after))

    assert is_noticed(mutant.rule, notices, range(ENOUGH_TO_CATCH)), "no schedule noticed"
