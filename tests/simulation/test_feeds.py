"""Whatever two readers, a replay and crashes do to each other, the ledger ends as the service is; a rule less, not."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import pytest

from tests.simulation.amount import schedules
from tests.simulation.feeds import appeared_after_a_rest, bad_before_a_rest, passed_while_hidden, schedule
from tests.simulation.mutants import Mutant, apart
from tests.simulation.soonest import is_noticed

SCHEDULES = schedules()
ENOUGH_TO_CATCH = 5_000

FIRST_SEED = {"an older entry counts where claims overlapped": 14_400, "the higher sequence wins": 1_300}
"""Seeds at which rare interleavings begin: one in 15,000 schedules meets the first, one in 1,300 the other."""

UNREADABLE = 0.3


@pytest.mark.parametrize("block", range(5))
def test_every_schedule_of_a_feed_ends_as_the_service_is(block):
    per_block = SCHEDULES // 5
    seeds = range(block * per_block, (block + 1) * per_block)
    assert {seed: end for seed in seeds if (end := schedule(seed)) is not None} == {}


@pytest.mark.parametrize("block", range(2))
def test_instances_that_cannot_be_read_back_stop_no_schedule(block):
    per_block = SCHEDULES // 10
    seeds = range(block * per_block, (block + 1) * per_block)
    assert {seed: end for seed in seeds if (end := schedule(seed, unreadable=UNREADABLE)) is not None} == {}


MUTANTS = [
    Mutant(
        "the higher sequence wins",
        "sync.protocol.claims",
        "    return older and not locator.contested\n",
        "    return False\n",
        more=(
            (
                "    return None if locator is not None and _is_lower(locator, change) else change.inspection\n",
                "    return change.inspection\n",
            ),
        ),
    ),
    Mutant(
        "an entry with the stored sequence is done again unless it is settled",
        "sync.protocol.claims",
        "        return locator.settled and locator.sequence == change.sequence and not locator.contested\n",
        "        return locator.sequence == change.sequence and not locator.contested\n",
    ),
    Mutant(
        "an older entry counts where claims overlapped",
        "sync.protocol.claims",
        "    return older and not locator.contested\n",
        "    return older\n",
        more=(
            (
                "locator.sequence == change.sequence and not locator.contested\n",
                "locator.sequence == change.sequence\n",
            ),
        ),
    ),
    Mutant(
        "the highest sequence is claimed before anything is written",
        "sync.pipeline",
        "            etag = await (s.locators.replace(claim, stored.etag) if stored else s.locators.insert(claim))\n"
        "            await _write_rows(claim, inspection, s)\n",
        "            await _write_rows(claim, inspection, s)\n"
        "            etag = await (s.locators.replace(claim, stored.etag) if stored else s.locators.insert(claim))\n",
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule.replace(" ", "_"))
def test_a_feed_without_this_rule_is_caught(mutant):
    changed, _ = mutant.load()
    first = FIRST_SEED.get(mutant.rule, 0)
    seeds = range(first, first + ENOUGH_TO_CATCH)
    assert is_noticed(mutant.rule, lambda seed: schedule(seed, pipeline_module=changed) is not None, seeds)


@dataclass(frozen=True)
class Edit:
    """A rule of reading, and the edit that removes it; ``script`` is a single interleaving too rare to meet."""

    rule: str
    old: str
    new: str
    script: Callable[[ModuleType], str | None] | None = None
    unreadable: float = 0.0

    def load(self) -> ModuleType:
        return apart("sync.feeds.dicom_windows", (self.old, self.new), rule=self.rule)


EDITS = [
    Edit(
        "reading begins before the last row", "    start = min(reached - OVERLAP, settled)\n", "    start = reached\n"
    ),
    Edit(
        "reading begins before the last run began",
        "    start = min(reached - OVERLAP, settled)\n",
        "    start = reached - OVERLAP\n",
        script=passed_while_hidden,
    ),
    Edit(
        "reading begins before the last run by as much as clocks may differ",
        "SKEW = timedelta(minutes=5)\n",
        "SKEW = OVERLAP\n",
        script=passed_while_hidden,
    ),
    Edit(
        "of a page the youngest entry of an instance counts",
        "_rank(before) <= _rank(change)",
        "_rank(before) > _rank(change)",
    ),
    Edit(
        "a feed rests only once no row can appear before its last one",
        "(since is not None and now - since >= OVERLAP)",
        "since is not None",
        script=appeared_after_a_rest,
    ),
    Edit(
        "only what a feed at rest has read already gets no dead letter again",
        "    read = before.until if before.closed else None\n",
        "    read = before.until\n",
        script=bad_before_a_rest,
    ),
    Edit(
        "a page that cannot be had with metadata is read without them",
        "        return await feed.page(start=start, end=end, offset=offset, limit=LIMIT, metadata=False)\n",
        "        raise\n",
        unreadable=UNREADABLE,
    ),
]


def test_a_row_that_appears_once_the_feed_rests_is_read_by_the_next():
    assert appeared_after_a_rest() is None


def test_a_row_that_names_no_instance_and_appears_late_has_its_dead_letter():
    assert bad_before_a_rest() is None


def test_a_row_that_a_run_passed_while_it_was_hidden_is_read_by_the_next():
    assert passed_while_hidden() is None


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.rule.replace(" ", "_"))
def test_reading_without_this_rule_is_caught(edit):
    changed = edit.load()
    if edit.script is not None:
        assert edit.script(changed) is not None
        return

    def notices(seed):
        return schedule(seed, windows_module=changed, unreadable=edit.unreadable) is not None

    assert is_noticed(edit.rule, notices, range(ENOUGH_TO_CATCH))
