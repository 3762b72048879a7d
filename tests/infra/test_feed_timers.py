"""The timer of the feeds wakes the app where there is a feed, and nowhere else."""

import json
from pathlib import Path

from sync.config.check import FEED_TIMERS
from sync.model.queues import WORK_QUEUES
from tests.infra.reviewed import choices, of_type
from tests.infra.test_templates import app_settings

BINDINGS = Path(__file__).parents[1] / "data" / "bindings.json"


def test_the_switches_are_of_functions_that_there_are():
    timers = {name for name, bound in json.loads(BINDINGS.read_text()).items() if bound[0]["type"] == "timerTrigger"}
    assert {switch.split(".")[1] for switch in FEED_TIMERS.values()} <= timers


def test_a_feed_is_read_where_its_service_is_set_and_nowhere_else():
    seen = set()
    for choice in choices():
        given = app_settings(choice)
        feeds = frozenset(variable for variable in FEED_TIMERS if given.get(variable))
        (switch,) = set(FEED_TIMERS.values())
        assert given[switch] == ("false" if feeds else "true"), choice
        seen.add(feeds)
    assert {frozenset(), frozenset(FEED_TIMERS)} < seen, "none, both, and one alone are among the choices"


def test_what_is_kept_ready_are_the_functions_that_read_the_queues():
    bound = json.loads(BINDINGS.read_text())
    assert [bound[name][0]["queueName"] for name in kept_ready("small")] == [*WORK_QUEUES]
    assert kept_ready("base") == []


def kept_ready(choice):
    (app,) = of_type("Microsoft.Web/sites", choice)
    ready = app["properties"]["functionAppConfig"]["scaleAndConcurrency"]["alwaysReady"]
    return [entry["name"].removeprefix("function:") for entry in ready]
