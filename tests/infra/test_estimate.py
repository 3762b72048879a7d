"""The monthly estimate of docs/deploy.md is the one that is computed, from what is counted and what is deployed."""

import json
import re
from collections import Counter

import pytest

from bench import burst_calls
from local.host.settings import read_host_settings
from scripts import estimate
from sync.model.queues import QUEUES
from tests.infra.reviewed import of_type
from tests.infra.templates import INFRA

ROOT = INFRA.parent
GIVEN = json.loads(estimate.PRICES.read_text("utf-8"))


def test_the_page_has_the_table_that_is_computed():
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    assert estimate.table(GIVEN) in page, "run: python -m scripts.estimate, and put it into docs/deploy.md"


def test_every_price_says_where_it_is_from_and_the_file_when():
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", GIVEN["recorded"])
    prices = {name: price for name, price in GIVEN.items() if isinstance(price, dict)}
    assert set(prices) == {*estimate.ROWS, *estimate.PRIVATE_ROWS}
    for name, price in prices.items():
        assert price["source"].startswith("https://azure.microsoft.com/pricing/details/"), name
        assert price["quoted"].startswith("https://") or not price["quoted"], name
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    assert GIVEN["recorded"] in page
    unread = sum(not price["quoted"] for price in prices.values())
    assert f"{unread} of {len(prices)} prices" in page


def test_the_counts_of_a_study_are_those_that_are_measured_and_bounded():
    page = (ROOT / "docs" / "scaling-and-cost.md").read_text("utf-8")
    assert f"| blob reads (the first 64 KiB) | {estimate.BLOB_READS} |" in page
    assert f"| table and queue writes by our code | {estimate.WRITES} |" in page
    assert re.search(rf"FHIR requests \| 0.01 \| {estimate.FHIR_REQUESTS} \|", page)
    assert f"| 300 instances | {estimate.STUDY_SECONDS} s |" in page
    assert estimate.INSTANCES == burst_calls.INSTANCES
    assert estimate.BLOB_READS <= burst_calls.BLOB_READS
    assert estimate.WRITES <= burst_calls.WRITES
    assert estimate.FHIR_REQUESTS <= burst_calls.FHIR_REQUESTS


def test_the_requests_at_rest_are_those_that_the_page_tells():
    page = (ROOT / "docs" / "scaling-and-cost.md").read_text("utf-8")
    assert f"about {estimate.REQUESTS_AT_REST_A_SECOND} requests a second at rest" in page
    (section,) = re.findall(r"\| caller \| requests a second \|\n\|---\|---\|\n((?:\|.*\n)+)", page)
    parts = [float(row.split("|")[2]) for row in section.splitlines()]
    assert sum(parts) == pytest.approx(estimate.REQUESTS_AT_REST_A_SECOND, abs=0.15)
    polls = len(QUEUES) / read_host_settings(ROOT).queues.max_polling_interval
    assert f"| the host, which polls five queues every two seconds | {polls} |" in page


def test_rules_and_private_endpoints_are_those_that_are_deployed():
    rules = Counter(
        rule["properties"]["evaluationFrequency"] for rule in of_type("Microsoft.Insights/scheduledQueryRules")
    )
    assert rules == {"PT1M": estimate.RULES_EACH_MINUTE, "PT5M": estimate.RULES_EACH_FIVE_MINUTES}
    alerts = of_type("Microsoft.Insights/metricAlerts")
    assert sum(len(alert["properties"]["criteria"]["allOf"]) for alert in alerts) == estimate.METRIC_ALERTS
    assert len(of_type("Microsoft.Network/privateEndpoints", "private")) == estimate.PRIVATE_ENDPOINTS
    assert len(of_type("Microsoft.Network/privateDnsZones", "private")) == estimate.PRIVATE_ZONES


def test_the_timers_are_those_of_the_app():
    text = (ROOT / "function_app.py").read_text("utf-8")
    schedules = re.findall(r'schedule="([^"]+)".*\n.*async def (\w+)', text)
    feeds = {"read_feeds"}
    runs = sum(a_minute(schedule) for schedule, name in schedules if name not in feeds)
    assert runs == pytest.approx(estimate.TIMER_RUNS_A_MINUTE)


def a_minute(schedule):
    """Return how often a timer runs in a minute."""
    seconds, minutes, *_ = schedule.split()
    begins, _, step = seconds.partition("/")
    first = 0 if begins == "*" else int(begins.partition("-")[0]) if step else 0
    often = len(range(first, 60, int(step))) if step else len(seconds.split(","))
    return often / int(minutes.partition("/")[2] or 1)


def test_the_first_of_a_grant_is_free_and_more_studies_cost_more():
    assert estimate.cost("events", GIVEN["events"]["free"], GIVEN) == 0
    for name in estimate.ROWS:
        dear = [estimate.cost(name, estimate.counts(studies)[name], GIVEN) for studies in estimate.SIZES.values()]
        assert dear == sorted(dear)


def test_prices_of_a_contract_are_taken(tmp_path, monkeypatch, capsys):
    file = tmp_path / "mine.json"
    prices = {name: {**price, "price": 0} if isinstance(price, dict) else price for name, price in GIVEN.items()}
    file.write_text(json.dumps({**prices, "currency": "EUR"}))
    monkeypatch.setattr("sys.argv", ["estimate", str(file)])
    estimate.main()
    assert "**0 EUR**" in capsys.readouterr().out
