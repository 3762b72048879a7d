"""Walks that processes share lose nothing and count everything once; without any of their rules they would not."""

import asyncio
from dataclasses import dataclass
from functools import partial

import pytest

from tests.simulation.amount import schedules
from tests.simulation.mutants import without_rule
from tests.simulation.shared_replays import CHAIN as REPLAYS
from tests.simulation.shared_replays import play as play_replay
from tests.simulation.shared_walks import CHAIN, SharedWalk
from tests.simulation.soonest import fails, is_noticed

pytestmark = pytest.mark.usefixtures("rows_read_once")

SCHEDULES = schedules(100)
ENOUGH_TO_CATCH = 60


@pytest.mark.parametrize("outside", [False, True], ids=["counted", "changing"])
def test_a_shared_walk_inspects_everything_in_any_order_with_kills_and_pauses(outside):
    for seed in range(SCHEDULES):
        asyncio.run(SharedWalk(seed=seed, outside=outside).run())


def test_a_shared_walk_whose_writes_are_not_answered_counts_everything_once():
    for seed in range(SCHEDULES // 4):
        asyncio.run(SharedWalk(seed=seed, outside=False, lost_answers=0.1).run())


@pytest.mark.parametrize("outside", [False, True], ids=["counted", "growing"])
def test_a_shared_replay_inspects_everything_and_marks_every_study_in_any_order_with_kills_and_pauses(outside):
    for seed in range(SCHEDULES):
        play_replay(seed, outside=outside)


@pytest.mark.parametrize("outside", [False, True], ids=["counted", "changing"])
def test_a_shared_replay_that_reads_all_again_does_likewise_while_events_move_its_objects(outside):
    for seed in range(SCHEDULES):
        play_replay(seed, outside=outside, reread=True)


@dataclass(frozen=True)
class Mutant:
    """One rule, and the edits that remove it."""

    rule: str
    module: str
    edits: tuple[tuple[str, str], ...]


_WRITTEN = "            await walk.advance(row.position, new=_rows(new))\n"
_ONE_BY_ONE = "            for other in _rows(new):\n                await s.cursors.write(other, None)\n"
_ENDED = "            if walking.done():\n                walking.result()\n"

MUTANTS = (
    Mutant(
        "no slice is noted that is not written, whatever dies",
        "sync.walks.sharing",
        ((_WRITTEN, f"            await walk.advance(row.position)\n{_ONE_BY_ONE}"),),
    ),
    Mutant(
        "no slice is written that is not noted, whatever dies",
        "sync.walks.sharing",
        (
            (_WRITTEN, f"{_ONE_BY_ONE}            await walk.advance(row.position)\n"),
            ("    row = await _adopted(row, walk, s)\n", ""),
        ),
    ),
    Mutant(
        "the next slice begins with the page that ended this one",
        "sync.walks.cutting",
        (
            (
                "plan, read = replace(plan, start=plan.token, size=0), []",
                "plan, read = replace(plan, start=page.token, size=0), []",
            ),
        ),
    ),
    Mutant(
        "a slice goes on until the next one begins",
        "sync.walks.cutting",
        (("        if before is not None or page.token is None:", "        if True:"),),
    ),
    Mutant(
        "a walk ends only when it is cut to its end",
        "sync.protocol.walk_rows",
        (("        return row.planned and sum(", "        return row.made > 0 and sum("),),
    ),
    Mutant(
        "a walk ends only when every slice is done",
        "sync.protocol.walk_rows",
        (
            (
                "sum(piece.done for piece in self.of_walk(row)) >= row.made",
                "sum(piece.done or bool(piece.at) for piece in self.of_walk(row)) >= row.made",
            ),
        ),
    ),
    Mutant(
        "a slice whose worker was stopped is not done",
        "sync.walks.sharing",
        (
            (
                _ENDED,
                _ENDED.replace("if", "if not").replace(
                    "walking.result()", "await walk.finish({**walk.position, **_DONE})"
                ),
            ),
        ),
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.rule for mutant in MUTANTS])
def test_without_a_rule_something_is_lost_or_counted_twice(mutant):
    modules = without_rule(CHAIN, {mutant.module: mutant.edits}, rule=mutant.rule)
    for seed in range(ENOUGH_TO_CATCH):
        for outside in (False, True):
            try:
                asyncio.run(SharedWalk(seed=seed, modules=modules, outside=outside).run())
            except AssertionError:
                return
    pytest.fail("no schedule noticed")


REPLAY_MUTANTS = (
    Mutant(
        "the next slice of a feed begins where this one ends",
        "sync.replay.sources",
        (("_hours(begin, segment.begin), size", "_hours(begin, segment.begin - _HOUR), size"),),
    ),
    Mutant(
        "the segment that ends a slice is part of the next one",
        "sync.replay.sources",
        (
            (
                "                begin, size = segment.begin, 0\n",
                "                begin, size = segment.begin + _HOUR, 0\n",
            ),
        ),
    ),
    Mutant(
        "a finished segment is read on after the portions that are done",
        "sync.feeds.blob",
        (("            if segment.begin != begun or portions > skip:\n", "            if True:\n"),),
    ),
    Mutant(
        "an object that is known as it is marks its study all the same",
        "sync.replay.jobs",
        (("studies_of(row) if row else ()", "()"),),
    ),
    Mutant(
        "asked for again, a replay works once more on slices that may have grown",
        "sync.protocol.walk_states",
        (("(piece.done or piece.holder)", "False"),),
    ),
)


_NOTED = "        self._last[locator.object.key] = locator\n"

REREAD_MUTANTS = (
    Mutant(
        "the studies of an object are those of the row that was written last",
        "sync.protocol.rows_at_hand",
        (
            (_NOTED + "        return etag", "        return etag"),
            (_NOTED + "        return new", "        return new"),
        ),
    ),
    Mutant(
        "a dead letter that no row names is cleared by reading its object again",
        "sync.replay.jobs",
        (("for key in keys if str(key) not in subjects)", "for key in keys)"),),
    ),
)


@pytest.mark.parametrize("mutant", REREAD_MUTANTS, ids=[mutant.rule for mutant in REREAD_MUTANTS])
def test_without_a_rule_a_replay_that_reads_all_again_compares_too_little(mutant):
    modules = without_rule(REPLAYS, {mutant.module: mutant.edits}, rule=mutant.rule)

    def notices(seed):
        return fails(partial(play_replay, seed, modules=modules, outside=True, reread=True))

    # One schedule of fifty has an event move an object between the read of its row and its inspection.
    assert is_noticed(mutant.rule, notices, range(5 * ENOUGH_TO_CATCH)), "no schedule noticed"


@pytest.mark.parametrize("mutant", REPLAY_MUTANTS, ids=[mutant.rule for mutant in REPLAY_MUTANTS])
def test_without_a_rule_a_replay_loses_something_or_counts_it_twice(mutant):
    modules = without_rule(REPLAYS, {mutant.module: mutant.edits}, rule=mutant.rule)
    for seed in range(ENOUGH_TO_CATCH):
        for outside in (False, True):
            try:
                play_replay(seed, modules=modules, outside=outside)
            except AssertionError:
                return
    pytest.fail("no schedule noticed")
