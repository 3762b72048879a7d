"""
What host.json lets through to Application Insights: the records of an idle hour and of a burst, counted.

The rule is .NET's: of all categories in ``logLevel`` that a record's category begins with, the longest decides. What
the host writes was observed on Azure's own: two records for each storage request of its own (``Azure.Core``); of each
run of a function its beginning and its end, and of a message where it comes from (``Function.NAME``); its result
(``Host.Results``). What we log has ``Function.NAME.User``.
"""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = json.loads((ROOT / "host.json").read_text("utf-8"))["logging"]["logLevel"]
BOUND = json.loads((ROOT / "tests" / "data" / "bindings.json").read_text("utf-8"))
ORDER = ("Trace", "Debug", "Information", "Warning", "Error", "Critical", "None")
PLAIN = {"default": "Information"}
"""What host.json says if it says nothing of single categories."""

POLLS = 4 * 3600 / 2
"""Requests of an idle hour: each of four queues is asked every two seconds (``maxPollingInterval``)."""
LEASES = 9 * 3600 / 15
"""Renewals of an idle hour: the locks of the timers and of the host."""
OWN_LINES = 1.6
"""Records of ours an instance in a burst, as counted on Azure's own host."""


def lets_through(category, level, levels=None):
    levels = LEVELS if levels is None else levels
    fitting = [name for name in levels if name != "default" and category.startswith(name)]
    least = levels[max(fitting, key=len)] if fitting else levels["default"]
    return ORDER.index(level) >= ORDER.index(least)


def of_kind(kind):
    return [name for name, bound in BOUND.items() if bound[0]["type"] == kind]


TIMERS, QUEUES = of_kind("timerTrigger"), of_kind("queueTrigger")
AN_HOUR = {
    "tick": 120,
    "evaluate_alerts": 120,
    "read_feeds": 0,
}
"""Runs of each timer where no feed is set, as the templates deploy it."""


def idle_hour():
    yield "Azure.Core", "Information", 2 * (POLLS + LEASES)
    for name in TIMERS:
        yield f"Function.{name}", "Information", 2 * AN_HOUR[name]
        yield "Host.Results", "Information", AN_HOUR[name]


def burst(instances):
    yield "Azure.Core", "Information", 2 * 2.4 * instances  # the host's own requests: receive, renew, delete
    for name, share in (("ingest_object", 1.0), ("project_study", 0.05)):
        yield f"Function.{name}", "Information", 3 * share * instances
        yield "Host.Results", "Information", share * instances
    yield "Function.ingest_object.User", "Information", OWN_LINES * instances


def exported(records, levels=None):
    return sum(count for category, level, count in records if lets_through(category, level, levels))


def test_an_idle_hour_exports_nothing_of_the_hosts_own():
    assert exported(idle_hour()) == 0
    assert exported(idle_hour(), PLAIN) > 16_000  # 400,000 a day


def test_a_burst_exports_our_lines_alone():
    assert exported(burst(300)) / 300 == pytest.approx(OWN_LINES)
    without_storage = PLAIN | {"Azure.Core": "Error", "Host.Results": "Error"}
    assert exported(burst(300)) <= exported(burst(300), without_storage) / 2


@pytest.mark.parametrize("name", [*TIMERS, *QUEUES])
def test_our_lines_and_what_fails_come_through(name):
    assert lets_through(f"Function.{name}.User", "Information")
    assert lets_through(f"Function.{name}", "Error"), "a run that failed"
    assert lets_through("Host.Results", "Error")
    assert lets_through("Host.Startup", "Information")
    assert not lets_through(f"Function.{name}", "Information")


def test_levels_name_functions_that_there_are():
    named = {category.split(".")[1] for category in LEVELS if category.startswith("Function.")}
    assert named == {*TIMERS, *QUEUES}


def test_a_function_whose_name_another_begins_with_keeps_its_own_lines():
    """``ingest_object`` begins ``ingest_object_poison``: the longest name decides."""
    assert lets_through("Function.ingest_object_poison.User", "Information")


def test_the_page_of_cost_tells_the_counts():
    page = (ROOT / "docs" / "scaling-and-cost.md").read_text("utf-8")
    (of_instance,) = re.findall(r"\| log records per instance \| ([\d.]+) \|", page)
    (of_hour,) = re.findall(r"\| log records of the host in an idle hour \| (\d+) \|", page)
    assert (float(of_instance), int(of_hour)) == (OWN_LINES, exported(idle_hour()))
