"""
The requests that one burst makes: 300 instances of one study in one folder, counted by relays before all servers.

Everything is real but the cloud: storage emulator, functions host, FHIR server. The files are uploaded through the
relay too, and so are the host's own queue requests; `bench.traffic` tells them from ours.
"""

from __future__ import annotations

from collections import Counter
from statistics import mean

from bench import latency
from bench.goals import Goal, Section
from bench.relay import Request
from bench.traffic import BLOB_READ, HOST, QUEUE_WRITE, TABLE_READ, TABLE_WRITE, UPLOAD, batch_sizes, counted, kind_of
from bench.worlds import Burst
from sync.adapters.azure.tables.batching import MAX_ROWS

INSTANCES = latency.INSTANCES
FHIR_REQUESTS, BLOB_READS, READS, WRITES = 5, 1.05, 0.15, 0.3

ON_AZURES_HOST = 13.6
"""Storage requests an instance, ours and the host's, as they were counted there once; half of them is the goal."""

HOW = (
    f"{INSTANCES} instances of one study, one folder, uploaded 16 at a time after a warm-up of 100, the first burst of "
    "'latency'; requests counted by a relay before the storage and one before the embedded FHIR server; the host's "
    "receiving, renewing and deleting of queue messages counted apart; what is read to tell us whether the world is "
    "idle is not counted, what timers ask is; a batch is one request"
)


def measure(*, quick: bool) -> Section:
    """Count the first burst of 300."""
    return _counted(latency.bursts(quick=quick)[0])


def trial() -> Section:
    """Count a burst of a few instances, to see that it runs: the goals are those of `INSTANCES`."""
    [burst] = latency.send_bursts(1, instances=20, warm_up=2)
    return _counted(burst)


def _counted(burst: Burst) -> Section:
    instances = burst.instances
    kinds = counted(burst.storage)
    writes = kinds.get(TABLE_WRITE, 0) + kinds.get(QUEUE_WRITE, 0)
    rows = sum(one.operations for one in burst.storage if kind_of(one) == TABLE_WRITE) / instances
    goals = [
        Goal(what=f"FHIR requests, {instances} instances", measured=len(burst.fhir), bound=FHIR_REQUESTS, floor=1),
        Goal(what="blob reads an instance", measured=kinds.get(BLOB_READ, 0) / instances, bound=BLOB_READS, floor=1),
        Goal(what="table reads an instance", measured=kinds.get(TABLE_READ, 0) / instances, bound=READS, floor=0),
        Goal(
            what="table and queue writes an instance",
            measured=writes / instances,
            bound=WRITES,
            floor=rows / MAX_ROWS,
        ),
        # A message is received, its object read, and the message deleted; up to 32 are received at once.
        Goal(
            what="storage requests an instance, the host's included",
            measured=sum(count for kind, count in kinds.items() if kind != UPLOAD) / instances,
            bound=ON_AZURES_HOST / 2,
            floor=2 + 1 / 32,
        ),
    ]
    figures = {
        "instances": instances,
        "fhir_requests": len(burst.fhir),
        "rows_written_an_instance": round(rows, 3),
        "requests": kinds,
        "requests_of_the_host_an_instance": round(kinds.get(HOST, 0) / instances, 3),
        **details(burst),
    }
    return Section(name="calls", how=HOW, goals=goals, figures=figures)


def details(burst: Burst) -> dict[str, object]:
    """Show where the requests go: by method and target, and how many operations the batches hold."""
    sizes = batch_sizes(burst.storage)
    return {
        "fhir": [_shape(request) for request in burst.fhir],
        "reads": dict(Counter(_shape(one) for one in burst.storage if kind_of(one) == TABLE_READ)),
        "writes": dict(Counter(_shape(one) for one in burst.storage if kind_of(one) in (TABLE_WRITE, QUEUE_WRITE))),
        "batches": {"requests": len(sizes), "operations": sum(sizes), "mean": round(mean(sizes), 1) if sizes else 0},
    }


def _shape(request: Request) -> str:
    """Return method and target without keys and queries."""
    path = request.target.partition("?")[0].partition("(")[0]
    return f"{request.method} {path}"
