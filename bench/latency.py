"""
How soon a study is in FHIR after its last object: bursts of 300, and 300 instances over two minutes.

The study waits from its last mark, not from the last upload: between the two lies what the storage emulator and the
host need to ingest a burst. So both times are given: from the last upload, and from the last mark of the study.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import median_high
from typing import Any

from bench.goals import Goal, Section
from bench.relay import Request
from bench.studies import study
from bench.worlds import Burst, bench_world, relayed_fhir, send
from local.fhir_embedded import embedded_fhir_server

INSTANCES, BURSTS, BURSTS_QUICK = 300, 8, 4
SLOW_SECONDS, SLOW_SECONDS_QUICK = 120.0, 40.0
LATENCY_SECONDS, WRITES, SLOW_WRITES = 2.0, 1.05, 10

HOW = (
    f"bursts of {INSTANCES} instances, one study each, one after another in one world with the embedded FHIR server; "
    "from the end of the last request that marks the study to the answer of the write that brings the last instance; "
    "slow: the same number, evenly over two minutes"
)


def measure(*, quick: bool) -> Section:
    """Send the bursts, then the slow acquisition."""
    number, seconds = (BURSTS_QUICK, SLOW_SECONDS_QUICK) if quick else (BURSTS, SLOW_SECONDS)
    with embedded_fhir_server() as server, relayed_fhir(server.url) as fhir, bench_world(fhir, counted=True) as world:
        send(world, study("latency-warm-up", 100))
        bursts = [send(world, study(f"latency-{each}", INSTANCES)) for each in range(number)]
        slow = send(world, study("latency-slow", INSTANCES), seconds=seconds)
    after_mark = [burst.in_fhir - _last_mark(burst) for burst in bursts]
    writes = sum(writes_of(burst) for burst in bursts) / number
    goals = [
        Goal(what="burst in FHIR after its last mark, p95", measured=p95(after_mark), bound=LATENCY_SECONDS, unit=" s"),
        Goal(what="FHIR writes a burst", measured=writes, bound=WRITES),
        Goal(what=f"FHIR writes, {INSTANCES} in {seconds:g} s", measured=writes_of(slow), bound=SLOW_WRITES),
    ]
    figures: dict[str, Any] = {
        "after_last_mark": _spread(after_mark),
        "after_last_upload": _spread([burst.in_fhir - burst.last_upload for burst in bursts]),
        "longest_gap_of_marks": _spread([_longest_gap(burst) for burst in bursts]),
        "slow_after_last_upload": round(slow.in_fhir - slow.last_upload, 2),
    }
    return Section(name="latency", how=HOW, goals=goals, figures=figures)


def p95(values: Sequence[float]) -> float:
    """Return the smallest value that at least 95 % do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def writes_of(burst: Burst) -> int:
    """Count the requests that wrote to FHIR."""
    return sum(request.method in ("POST", "PUT") and "_search" not in request.target for request in burst.fhir)


def _marks(burst: Burst) -> list[Request]:
    before = [request for request in burst.storage if request.service == "table" and 0 < request.ended < burst.in_fhir]
    return [
        request for request in before if "/dirty" in request.target and request.method in ("POST", "PATCH", "MERGE")
    ]


def _last_mark(burst: Burst) -> float:
    return max(request.ended for request in _marks(burst))


def _longest_gap(burst: Burst) -> float:
    ended = sorted(request.ended for request in _marks(burst))
    return max((later - earlier for earlier, later in itertools.pairwise(ended)), default=0.0)


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(median_high(values), 2),
        "p95": round(p95(values), 2),
        "max": round(max(values), 2),
    }
