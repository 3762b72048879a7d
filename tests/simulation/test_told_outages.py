"""An outage that lasts longer than the threshold of its alert is told, whatever the gateway says; once over, not."""

from contextlib import ExitStack
from unittest.mock import patch

import pytest

from sync.monitoring.alerts import watch
from tests.simulation.amount import SCHEDULES
from tests.simulation.gateway import alerted
from tests.simulation.gateway.alerted import told
from tests.simulation.gateway.lies import LIES
from tests.simulation.mutants import apart

FEW = {
    "fhir": ("404 page", "429", "half"),
    "blobs": ("404 bare", "short"),
    "state": ("502 page",),
    "queues": ("reset after",),
}
"""The ways that take other paths; all of them in a long run."""

CHOSEN = LIES if SCHEDULES > 2000 else FEW


@pytest.mark.parametrize(("service", "lie"), [(service, lie) for service, lies in CHOSEN.items() for lie in lies])
def test_every_outage_is_told_within_its_threshold_and_cleared_when_it_is_over(service, lie):
    assert told(service, lie) == []


@pytest.mark.parametrize("service", FEW)
def test_hosts_with_ids_of_their_own_that_all_fire_every_timer_change_nothing(service):
    """Outside App Service two containers are two hosts where no id is set: three sweep, compare and watch at once."""
    assert told(service, FEW[service][0], hosts=3) == []


MUTANTS = {
    "the age of the oldest outstanding study tells": (
        "DIRTY_AGE.name: counts.dirty_age",
        "DIRTY_AGE.name: 0.0",
        "fhir",
    ),
    "runs of a phase that fail add up": ('if outcome == "failed":', 'if outcome == "never":', "blobs"),
    "an app that could not evaluate says so afterwards": (
        "stopped = stopped_for(counts, runs=not outside)",
        "stopped = 0.0",
        "state",
    ),
    "an alert is cleared when its cause is over": ("    if value > threshold * RELEASE:\n", "    if True:\n", "queues"),
}


@pytest.mark.parametrize("rule", MUTANTS)
def test_an_evaluation_without_this_rule_is_caught(rule):
    old, new, service = MUTANTS[rule]
    changed = apart("sync.monitoring.alerts.evaluation", (old, new), rule=rule)
    with patch.object(watch, "evaluate_alerts", changed.evaluate_alerts):
        assert told(service, FEW[service][0]) != []


MANY_HOSTS = {
    "a run whose lease another host holds is no success": (
        "sync.monitoring.timers",
        "    if asked != {False}:\n",
        "    if True:\n",
        "blobs",
    ),
    "who finds the lease taken signs as of the last evaluation that succeeded": (
        "sync.monitoring.alerts.evaluation",
        "    at = evaluated.value.advanced_at if evaluated is not None else None\n",
        "    at = s.clock.now()\n",
        "queues",
    ),
}


@pytest.mark.parametrize("rule", MANY_HOSTS)
def test_many_hosts_without_this_rule_are_caught(rule):
    module, old, new, service = MANY_HOSTS[rule]
    changed = apart(module, (old, new), rule=rule)
    names = {"sync.monitoring.timers": "run_phases", "sync.monitoring.alerts.evaluation": "evaluate_alerts"}
    name = names[module]
    places = (watch, alerted) if name == "run_phases" else (watch,)
    with ExitStack() as stack:
        for place in places:
            stack.enter_context(patch.object(place, name, getattr(changed, name)))
        assert told(service, FEW[service][0], hosts=3) != []
