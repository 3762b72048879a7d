"""What is reported missing is missing, and what is missing is reported, in every schedule; without a rule, not."""

from functools import partial

import pytest

from tests.simulation.amount import schedules
from tests.simulation.missing_events import overtaken, schedule
from tests.simulation.mutants import apart
from tests.simulation.soonest import is_noticed

SCHEDULES = schedules(5, least=4)
ENOUGH_TO_CATCH = 4_000


@pytest.mark.parametrize("block", range(4))
def test_every_schedule_tells_of_what_is_silent_and_of_nothing_else(block):
    seeds = range(block * SCHEDULES // 4, (block + 1) * SCHEDULES // 4)
    assert {seed: wrong for seed in seeds if (wrong := schedule(seed))} == {}


def test_what_is_changed_while_it_is_looked_for_is_not_silent():
    assert overtaken() == []


LISTED = "what changed since it was listed is not judged by the list"
MUTANTS = {
    "an event may take its time": (
        "now - RECENT < listed.last_modified < now - grace",
        "now - RECENT < listed.last_modified",
    ),
    "what was there long before is for a backfill": (
        "now - RECENT < listed.last_modified < now - grace",
        "listed.last_modified < now - grace",
    ),
    "nothing is known while events wait": (
        "    if not await s.object_queue.is_empty():\n        return\n",
        "",
    ),
    "an object must have been there for long when the queue was empty": (
        "_one_page_on(stand, began, s, listing)",
        "_one_page_on(stand, s.clock.now(), s, listing)",
    ),
    "an object with a dead letter is known": (" and not stored.value.has_dead_letter", ""),
    "an object is known only as it is": (
        "stored is None or (stored.value.etag != listed.etag and not stored.value.has_dead_letter)",
        "stored is None",
    ),
    LISTED: (
        "if unseen and await _is_as_listed(listed, s):",
        "if unseen:",
    ),
    "a missing event is reported as soon as its page is passed": (
        "token=page.token, oldest=oldest, unseen_since=unseen_since)",
        "token=page.token, oldest=oldest, unseen_since=stand.unseen_since)",
    ),
    "a walk keeps what its earlier pages found": (
        "    oldest = _earlier(stand.oldest, unseen)\n",
        "    oldest = unseen\n",
    ),
    "a walk that finds nothing ends what was told": (
        "    return _Stand(unseen_since=oldest)\n",
        "    return _Stand(unseen_since=oldest or stand.unseen_since)\n",
    ),
    "a container follows the other": (
        "    if stand.container + 1 < len(containers):\n",
        "    if stand.container + 2 < len(containers):\n",
    ),
}


@pytest.mark.parametrize("rule", MUTANTS)
def test_a_walk_without_this_rule_is_caught(rule):
    changed = apart("sync.monitoring.alerts.missing_events", MUTANTS[rule], rule=rule)
    if rule == LISTED:
        assert overtaken(module=changed)
        return
    assert is_noticed(rule, partial(schedule, module=changed), range(ENOUGH_TO_CATCH)), rule
