"""The pages tell which functions run, on what, and how often they do when nothing happens."""

import ast
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from croniter import croniter

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
COST = (ROOT / "docs" / "scaling-and-cost.md").read_text("utf-8")
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = 5


def functions():
    """Give name, trigger and first sentence of each function, as `function_app.py` has them."""
    for node in ast.parse((ROOT / "function_app.py").read_text("utf-8")).body:
        if isinstance(node, ast.AsyncFunctionDef) and node.decorator_list:
            (call,) = node.decorator_list
            given = {
                keyword.arg: ast.literal_eval(keyword.value)
                for keyword in call.keywords
                if keyword.arg in ("schedule", "queue_name", "route", "methods")
            }
            yield node.name, given, ast.get_docstring(node)


def runs_on(given):
    if "schedule" in given:
        return "timer"
    if "queue_name" in given:
        return f"queue `{given['queue_name']}`"
    return f"`{'`, `'.join(given['methods'])}` `api/{given['route']}`"


def test_every_function_is_in_the_table():
    rows = [f"| `{name}` | {runs_on(given)} | {text} |".replace("``", "`") for name, given, text in functions()]
    shown = re.findall(r"^\| `\w+` \| (?:timer|queue|`).*$", ARCHITECTURE, re.MULTILINE)
    assert shown == rows, "\n".join(rows)


def busy(but=()):
    """Runs of the timers in a minute, on average: each has instances of its own, and is billed a second at least."""
    end, runs = START + timedelta(minutes=MINUTES), 0
    for name, given, _ in functions():
        if "schedule" in given and name not in but:
            second, *others = given["schedule"].split()
            times = croniter(" ".join([*others, second]), START - timedelta(seconds=1))
            while times.get_next(datetime) < end:
                runs += 1
    return runs / MINUTES


def test_the_page_of_cost_counts_the_timers():
    told = [int(number) for number in re.findall(r"about (\d+) seconds of each minute", COST)]
    assert told == [busy(["read_feeds"]), busy()]
    month = 2 * 60 * 24 * 30  # GB, minutes
    assert f"{busy(['read_feeds']) * month / 1e6:.2f} million GB-seconds" in COST
    assert f"{busy() * month / 1e6:.2f} million" in COST
    assert "`AzureWebJobs.read_feeds.Disabled`" in COST
