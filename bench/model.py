"""
``python -m bench model``: how fast and how dear the sync is at sizes that no machine here can show.

Counts of an instance are those of the newest line of ``bench/history.json``, prices those of ``infra/prices.json``,
limits of the services Microsoft's published targets; `bench.stations` lets them meet. No server is started.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench import history
from bench.stations import Limits, Load, Outcome, simulate
from scripts.estimate import MEMORY_GB, PRICES
from sync.model.identity import LOCATOR_BUCKETS

QUEUE, ACCOUNT, PARTITION = 2000.0, 20_000.0, 2000.0
"""Messages a second of a queue; rows a second of an account and of a partition of a table: Microsoft Learn,
"Scalability and performance targets for Queue Storage" and "… for Table storage"."""

FHIR = 100.0
"""Requests a second: an assumption, because services publish none. Yours: ``--fhir``."""

WORKERS = (1, 2, 5, 10, 20, 50, 100, 200)
STUDIES_AT_ONCE, STUDIES = 20, 200
"""Together, and in all: enough that start and end hardly count."""

ROUND_TRIPS = 0.06
"""Seconds: a blob read and three writes one after the other, 15 ms each."""

ROWS_OF_STUDY = 1.0
"""Rows an instance writes to the partition of its study, the ledger; the others go to its folder's."""

QUEUE_OPERATIONS = 2 + 1 / 32
"""Of the host and of Event Grid for a message, which no count of ours holds: put, delete, and a receive of 32."""

MANY = 10**9
"""Instances of the large backfill."""

_MILLION = 10**6
_DAY = 24 * 60 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How instances come: one event each, or by a listing."""

    name: str
    events: bool
    instances: int = 0
    """Of the only study; 0 where studies of the usual size arrive."""


EVENTS = Way(name="events", events=True)
ONE_STUDY = Way(name="events of one study", events=True, instances=60_000)
BACKFILL = Way(name="backfill", events=False)


def prices() -> Mapping[str, Any]:
    """Return the list prices."""
    return dict(json.loads(PRICES.read_text("utf-8")))


def load_of(counts: Mapping[str, float], way: Way) -> Load:
    """Return the load of an instance: processor time, round trips, rows and FHIR requests."""
    return Load(
        processor_seconds=counts["processor_ms"] / 1000,
        round_trips=ROUND_TRIPS,
        folder_rows=max(counts["rows_written"] - ROWS_OF_STUDY, 0.0),
        folder_partitions=LOCATOR_BUCKETS,
        study_rows=ROWS_OF_STUDY,
        fhir_requests=counts["fhir_requests_a_study"],
        instances=way.instances or int(counts["instances_a_study"]),
        studies_at_once=1 if way.instances else STUDIES_AT_ONCE,
    )


@cache
def outcome(way: Way, workers: int, fhir: float) -> Outcome:
    """Simulate some workers with the counts of the newest release."""
    limits = Limits(queue=QUEUE if way.events else None, account=ACCOUNT, partition=PARTITION, fhir=fhir)
    studies = 1 if way.instances else STUDIES
    return simulate(limits, load_of(history.newest()["counts"], way), workers, studies=studies)


def euros_a_million(way: Way, workers: int, fhir: float) -> dict[str, float]:
    """Return the cost of a million instances, by the name of the price, without free monthly amounts."""
    counts, listed = history.newest()["counts"], prices()
    rate = outcome(way, workers, fhir).rate
    studies = 1 / counts["instances_a_study"]
    operations = counts["writes"] + counts["table_reads"] + (QUEUE_OPERATIONS if way.events else 0)
    counted = {
        "blobReads": counts["blob_reads"],
        "writes": operations,
        "events": float(way.events),
        "executions": float(way.events) + studies,
        "gigabyteSeconds": MEMORY_GB * workers / rate,
    }
    euros = listed["eurosEach"] * _MILLION
    return {name: count / listed[name]["per"] * listed[name]["price"] * euros for name, count in counted.items()}


def rates_table(fhir: float = FHIR) -> str:
    """Return instances per second by workers, the limiting factor, and the cost of a million instances."""
    rows: list[Sequence[str]] = [
        ("workers", "instances a second", "limited by", "FHIR requests a second", "euros a million instances")
    ]
    for way in (EVENTS, ONE_STUDY):
        rows += _rates(way, fhir)
    return _markdown(rows)


def _rates(way: Way, fhir: float) -> Iterator[Sequence[str]]:
    counts = history.newest()["counts"]
    requests = counts["fhir_requests_a_study"] / counts["instances_a_study"]
    for workers in WORKERS if way is EVENTS else (10, 100):
        result = outcome(way, workers, fhir)
        sum_ = sum(euros_a_million(way, workers, fhir).values())
        label, needed = f"{workers}", f"{result.rate * requests:,.0f}"
        if way is ONE_STUDY:
            label, needed = f"{workers}, one study of {way.instances:,}", f"{counts['fhir_requests_a_study']:g} in all"
        yield label, _rounded(result.rate), result.binding, needed, f"{sum_:,.2f}"


def backfill_table(fhir: float = FHIR) -> str:
    """Return days and euros of the large backfill by workers."""
    rows = [("workers", "instances a second", "limited by", "days", "euros", "of which compute")]
    for workers in WORKERS:
        result, million = outcome(BACKFILL, workers, fhir), euros_a_million(BACKFILL, workers, fhir)
        times = MANY / _MILLION
        days, total = MANY / result.rate / _DAY, sum(million.values()) * times
        compute = million["gigabyteSeconds"] * times
        cells = (_rounded(result.rate), result.binding, f"{days:,.1f}", f"{total:,.0f}", f"{compute:,.0f}")
        rows.append((str(workers), *cells))
    return _markdown(rows)


def parts_table(fhir: float = FHIR) -> str:
    """Return the cost of a million instances by the kind of cost, with ten workers."""
    events, backfill = (euros_a_million(way, 10, fhir) for way in (EVENTS, BACKFILL))
    names = {
        "blobReads": "blob reads",
        "writes": "operations of tables and queues",
        "events": "events delivered",
        "executions": "function executions",
        "gigabyteSeconds": "GB-seconds of the workers",
    }
    rows = [("euros a million instances, 10 workers", "by events", "by a backfill")]
    rows += [(text, f"{events[name]:,.2f}", f"{backfill[name]:,.2f}") for name, text in names.items()]
    return _markdown([*rows, ("**sum**", f"**{sum(events.values()):,.2f}**", f"**{sum(backfill.values()):,.2f}**")])


def counts_line() -> str:
    """Return the line with the counts from which the tables are computed."""
    line = history.newest()
    counts = line["counts"]
    return (
        f"Counted for version {line['version']}, an instance: {counts['blob_reads']:g} blob reads, "
        f"{counts['table_reads']:.2g} table reads, {counts['writes']:.2g} requests that write "
        f"{counts['rows_written']:.2g} rows, {counts['processor_ms']:.2g} ms of one processor "
        f"({line['cores']} cores, {line['processor']}); a study of {counts['instances_a_study']:g} instances: "
        f"{counts['fhir_requests_a_study']:g} FHIR requests."
    )


def tables(fhir: float = FHIR) -> str:
    """Return the generated part of docs/scaling-and-cost.md."""
    return "\n".join([f"{counts_line()}\n", rates_table(fhir), parts_table(fhir), backfill_table(fhir)])


def _rounded(rate: float) -> str:
    """Round to three figures: the model is no better."""
    return f"{float(f'{rate:.3g}'):,.0f}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body]) + "\n"
