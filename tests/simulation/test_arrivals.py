"""A study comes early only where its objects arrive quickly, and is written once more for it at most."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sync.delivery import handlers
from sync.ports import Arrivals
from tests.simulation.arrivals import SWEEP, ArrivalWorld, Pattern, at_random, evenly
from tests.simulation.mutants import Mutant

FIXED = 5.0
"""Shortest quiet period that leaves only one."""

SOON = 1.1
"""Seconds from the last object of a burst to FHIR: the shortest quiet period, for nothing else takes time here."""

SOON_BUSY = 4.1
"""The same where the last part is ingested one second late and a look may miss it by another."""

BURST = evenly(100, 2.0)
SLOW = evenly(300, 120.0)
STRAGGLERS = evenly(40, 0.8) + evenly(3, 6.0, start=2.5)
LATE_STRAGGLERS = evenly(40, 0.8) + evenly(2, 3.0, start=60.0)
TWO_BURSTS = evenly(40, 0.8) + evenly(40, 0.8, start=4.0)
IN_TURN = Pattern(
    [arrival for number in range(6) for arrival in evenly(20, 0.4, start=3.0 * number, process=number).arrivals]
)
"""Bursts of one study, each taken by another process."""

PAIRS = Pattern([(number * 1.7 + after, 0) for number in range(10) for after in (0.0, 0.1)][1:])
BUSY = Pattern(BURST.arrivals, backlog=1.5)
"""The burst, ingested in three parts."""

LINGERING = Pattern(BURST.arrivals, lingering=1.2)
"""The burst, whose last message is deleted after the study is due."""

SOON_LINGERING = 1.5
REDELIVERED = Pattern(BURST.arrivals, killed=frozenset({0}))
CRASHED = Pattern(BURST.arrivals, lost_answers=1)
PATTERNS = {
    "burst": BURST,
    "slow": SLOW,
    "stragglers": STRAGGLERS,
    "late stragglers": LATE_STRAGGLERS,
    "two bursts": TWO_BURSTS,
    "bursts in turn": IN_TURN,
    "pairs": PAIRS,
    "redelivered": REDELIVERED,
    "crashed": CRASHED,
    "busy": BUSY,
    "lingering": LINGERING,
}


def played(pattern, *, shortest=1.0, handling=handlers):
    return ArrivalWorld(pattern=pattern, shortest=shortest, handling=handling).end()


def wrong(pattern, handling=handlers):
    """Return what is wrong with how a pattern is played; None if nothing is."""
    quick, fixed = played(pattern, handling=handling), played(pattern, shortest=FIXED)
    if not quick.right:
        return "FHIR does not hold the study"
    if quick.writes > fixed.writes + 1:
        return f"{quick.writes} writes, {fixed.writes} with a fixed quiet period"
    if quick.delay > fixed.delay + 1 + (SWEEP if pattern.killed else 0):  # another delivery is killed there
        return f"{quick.delay} s after the last object, {fixed.delay} s with a fixed quiet period"
    return None


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_written_once_more_at_most_and_no_later(name):
    assert wrong(PATTERNS[name]) is None


@pytest.mark.parametrize("block", range(4))
def test_any_arrivals_are_written_once_more_at_most_and_no_later(block):
    seeds = range(block * 20, (block + 1) * 20)
    assert {seed: fault for seed in seeds if (fault := wrong(at_random(seed))) is not None} == {}


def test_a_burst_is_written_once_and_soon():
    burst = played(BURST)
    assert burst.writes == 1
    assert burst.delay <= SOON


def test_a_slow_acquisition_takes_few_writes():
    assert played(SLOW).writes <= 10


@pytest.mark.parametrize("pattern", [PAIRS, evenly(2, 6.0)], ids=["pairs", "two objects"])
def test_objects_that_may_only_pause_are_waited_for(pattern):
    assert played(pattern).writes == played(pattern, shortest=FIXED).writes


def test_a_study_that_is_in_fhir_waits_the_quiet_period():
    assert played(LATE_STRAGGLERS).delay == played(LATE_STRAGGLERS, shortest=FIXED).delay


MUTANTS = (
    (
        Mutant("a study in FHIR waits long", "sync.pipeline", "in_fhir=recorded is not None", "in_fhir=False"),
        lambda handling: wrong(IN_TURN, handling) is not None,
    ),
    (
        Mutant(
            "objects that wait are waited for",
            "sync.protocol.dirty_studies",
            "    return is_early and await objects_wait(s)\n",
            "    return False\n",
        ),
        lambda handling: played(BUSY, handling=handling).writes > 1,
    ),
    (
        Mutant(
            "a burst in parts is looked at again soon",
            "sync.protocol.dirty_studies",
            "        await s.clock.sleep(pause)\n",
            "        return False\n",
        ),
        lambda handling: played(LINGERING, handling=handling).delay > SOON_LINGERING,
    ),
    (
        Mutant(
            "once no objects wait the mark is read again",
            "sync.protocol.dirty_studies",
            "marked = await s.dirty.read(study)  # what the queue held",
            "return marked  # what the queue held",
        ),
        lambda handling: played(BUSY, handling=handling).messages > played(BUSY).messages,
    ),
    (
        Mutant(
            "that objects wait is believed for a moment only",
            "sync.protocol.dirty_studies",
            "s.clock.now() - backlog.told < BELIEVED",
            "s.clock.now() > backlog.told",
        ),
        lambda handling: played(LINGERING, handling=handling).delay > SOON_LINGERING,
    ),
    (
        Mutant(
            "the arrival counts, not the mark",
            "sync.pipeline",
            "await mark_dirty(studies_of(claim), s, arrived=change.happened)",
            "await mark_dirty(studies_of(claim), s)",
        ),
        lambda handling: played(BUSY, handling=handling).delay > SOON_BUSY,
    ),
    (
        Mutant(
            "of one object nothing is known",
            "sync.protocol.arrivals",
            "        return s.settings.quiet_period\n",
            "        return shortest_quiet_period(s)\n",
        ),
        lambda handling: played(evenly(2, 6.0), handling=handling).writes > 1,
    ),
    (
        Mutant(
            "no study waits longer than the quiet period",
            "sync.protocol.arrivals",
            "    return min(max(GAPS * dirty.longest_gap, shortest_quiet_period(s)), s.settings.quiet_period)\n",
            "    return max(GAPS * dirty.longest_gap, shortest_quiet_period(s))\n",
        ),
        lambda handling: wrong(evenly(3, 9.0), handling) is not None,
    ),
    (
        Mutant(
            "a delivery sleeps for less than a second",
            "sync.protocol.dirty_studies",
            "        await s.clock.sleep(wait)\n",
            "        return\n",
        ),
        lambda handling: played(evenly(100, 1.6), handling=handling).delay > SOON,
    ),
    (
        Mutant(
            "the first message comes soon",
            "sync.protocol.dirty_studies",
            "            await s.study_queue.enqueue(study, shortest_quiet_period(s))\n",
            "            await s.study_queue.enqueue(study, s.settings.quiet_period)\n",
        ),
        lambda handling: played(BURST, handling=handling).delay > SOON,
    ),
)


@pytest.mark.parametrize(("mutant", "is_caught"), MUTANTS, ids=[mutant.rule.replace(" ", "_") for mutant, _ in MUTANTS])
def test_arrivals_without_this_rule_are_caught(mutant, is_caught):
    _, handling = mutant.load()
    assert is_caught(handling)


def test_a_delivery_that_need_not_wait_reads_the_mark_once():
    world = ArrivalWorld(pattern=evenly(1, 1.0))
    dirty, read = world.w.store.dirty, []

    async def noted(study):
        read.append(study)
        return await type(dirty).read(dirty, study)

    dirty.read = noted
    world.end()
    # The first message comes after a second and finds it not due, the second when it is.
    assert len(read) == world.queue.sent == 2


def test_a_burst_in_parts_is_written_once_and_soon_after_the_last():
    busy = played(BUSY)
    assert busy.writes == 1
    assert busy.delay <= SOON_BUSY


def test_the_longest_gap_is_that_of_the_last_objects_in_order_of_time():
    arrivals, at = Arrivals(), datetime(2026, 1, 1, tzinfo=UTC)
    gaps = [arrivals.longest_gap("study", at + timedelta(seconds=seconds)) for seconds in (0, 3, 1, 2, 2.5)]
    assert gaps == [None, 3, 2, 1, 1]
    rest = [arrivals.longest_gap("study", at + timedelta(seconds=10 + number / 4)) for number in range(32)]
    assert (rest[0], rest[-2], rest[-1]) == (7, 7, 0.25)
    assert arrivals.longest_gap("other", at) is None


def test_what_arrived_is_forgotten_before_it_takes_much_memory():
    arrivals, at = Arrivals(), datetime(2026, 1, 1, tzinfo=UTC)
    for study in range(5_000):
        arrivals.longest_gap(str(study), at)
    assert len(arrivals._seen) <= 2_000
