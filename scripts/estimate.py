"""
Estimates the cost of a month: counted calls times prices, for three sizes.

    .venv/bin/python -m scripts.estimate               the table of docs/deploy.md, with the prices of infra/prices.json
    .venv/bin/python -m scripts.estimate MY.json       with prices of another region or contract, in the same form

Counts of a study are those that ``make bench`` measures, at rest those of the timers, and numbers of rules and private
endpoints those of the reviewed snapshots. Not in it: Health Data Services, the files themselves, logs, egress.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PRICES = Path(__file__).parents[1] / "infra" / "prices.json"

SIZES: Mapping[str, int] = {"small": 50, "medium": 500, "large": 5000}
"""Studies a day."""

DAYS = 30
_COUNTS = json.loads((PRICES.parents[1] / "bench" / "history.json").read_text("utf-8"))[-1]["counts"]
"""Of the newest release, measured by ``make bench`` (calls)."""
INSTANCES = int(_COUNTS["instances_a_study"])
BLOB_READS, WRITES = round(_COUNTS["blob_reads"], 1), round(_COUNTS["writes"], 1)
"""Requests per instance; runs differ in the second decimal."""
FHIR_REQUESTS = int(_COUNTS["fhir_requests_a_study"])
"""Requests per study."""
STUDY_SECONDS, MEMORY_GB = 3.9, 2
"""Time from the last upload of a study to FHIR, measured by ``make bench``, as if no other were synced at that time."""
GIGABYTE_SECONDS_AT_REST = 350_000
"""Of the timers, without a feed; see docs/scaling-and-cost.md."""
REQUESTS_AT_REST_A_SECOND = 6.1
"""To storage, of the host and the timers, without a feed; measured by ``python -m bench rest``."""
TIMER_RUNS_A_MINUTE = 4
"""Of the timers in function_app.py, without a feed."""

RULES_EACH_MINUTE, RULES_EACH_FIVE_MINUTES, METRIC_ALERTS = 11, 5, 3
PRIVATE_ENDPOINTS, PRIVATE_ZONES = 7, 7
"""As the reviewed snapshots ``base`` and ``private`` have them."""

ROWS: Mapping[str, str] = {
    "blobReads": "blob reads",
    "writes": "table and queue writes",
    "requestsAtRest": "storage requests at rest",
    "events": "events delivered",
    "executions": "function executions",
    "gigabyteSeconds": "GB-seconds",
    "rulesEachMinute": "query alerts each minute",
    "rulesEachFiveMinutes": "query alerts each five minutes",
    "metricAlerts": "metric alerts",
}
PRIVATE_ROWS: Mapping[str, str] = {"privateEndpoints": "private endpoints", "privateZones": "private DNS zones"}


def counts(studies: int) -> Mapping[str, float]:
    """Return what a month with this number of studies a day counts, by the name of its price."""
    instances = studies * DAYS * INSTANCES
    timers = TIMER_RUNS_A_MINUTE * 60 * 24 * DAYS
    return {
        "blobReads": instances * BLOB_READS,
        "writes": instances * WRITES,
        "requestsAtRest": REQUESTS_AT_REST_A_SECOND * 3600 * 24 * DAYS,
        "events": instances,
        "executions": instances + studies * DAYS + timers,
        "gigabyteSeconds": GIGABYTE_SECONDS_AT_REST + studies * DAYS * STUDY_SECONDS * MEMORY_GB,
        "rulesEachMinute": RULES_EACH_MINUTE,
        "rulesEachFiveMinutes": RULES_EACH_FIVE_MINUTES,
        "metricAlerts": METRIC_ALERTS,
        "privateEndpoints": PRIVATE_ENDPOINTS,
        "privateZones": PRIVATE_ZONES,
    }


def cost(name: str, count: float, prices: Mapping[str, Any]) -> float:
    """Return what a count costs, after what is free of it."""
    price = prices[name]
    return float(max(count - price["free"], 0) / price["per"] * price["price"])


def table(prices: Mapping[str, Any]) -> str:
    """Return the table of docs/deploy.md."""
    sizes = {name: counts(studies) for name, studies in SIZES.items()}
    head = " | ".join(f"{name}: {studies:,} studies a day" for name, studies in SIZES.items())
    lines = [f"| a month | {head} |", "|---" * (len(SIZES) + 1) + "|"]
    lines += [_row(text, name, sizes, prices) for name, text in ROWS.items()]
    lines.append(_sum("**sum, network public**", ROWS, sizes, prices))
    lines += [_row(text, name, sizes, prices) for name, text in PRIVATE_ROWS.items()]
    lines.append(_sum("**sum, network private**", {**ROWS, **PRIVATE_ROWS}, sizes, prices))
    fhir = " | ".join(f"{studies * DAYS * FHIR_REQUESTS:,}" for studies in SIZES.values())
    lines.append(f"| FHIR requests for studies, not priced here | {fhir} |")
    return "\n".join(lines) + "\n"


def _row(text: str, name: str, sizes: Mapping[str, Mapping[str, float]], prices: Mapping[str, Any]) -> str:
    costs = (f"{count[name]:,.0f}: {cost(name, count[name], prices):,.2f}" for count in sizes.values())
    return f"| {text} | {' | '.join(costs)} |"


def _sum(
    text: str, rows: Mapping[str, str], sizes: Mapping[str, Mapping[str, float]], prices: Mapping[str, Any]
) -> str:
    sums = (sum(cost(name, count[name], prices) for name in rows) for count in sizes.values())
    said = (f"**{total:,.0f} {prices['currency']}**" for total in sums)
    return f"| {text} | {' | '.join(said)} |"


def main() -> None:
    """Print the table."""
    file = Path(sys.argv[1]) if sys.argv[1:] else PRICES
    print(table(json.loads(file.read_text("utf-8"))), end="")


if __name__ == "__main__":
    main()
