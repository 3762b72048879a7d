"""
How soon a study is in FHIR after its last object: bursts of 300, and 300 instances over two minutes (`bench.slow`).

The study waits from its last mark, not from the last upload: between the two lies what the storage emulator and the
host need to ingest a burst. So both times are given: from the last upload, and from the last mark of the study.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache
from statistics import median_high
from typing import Any

from bench import slow
from bench.goals import Goal, Section
from bench.relay import Request
from bench.studies import study
from bench.worlds import Burst, bench_world, relayed_fhir, send, writes_of
from local.fhir_embedded import embedded_fhir_server

INSTANCES, BURSTS, BURSTS_QUICK = 300, 8, 4
SLOW_SECONDS, SLOW_SECONDS_QUICK = 120.0, 40.0
LATENCY_SECONDS, WRITES, SLOW_WRITES = 2.0, 1.05, 10

HOW = (
    f"bursts of {INSTANCES} instances, one study each, one after another in one world with the embedded FHIR server; "
    "from the end of the last request that marks the study to the answer of the write that brings the last instance; "
    "slow: the same number, evenly over two minutes, in a world of its own beside sections that only count"
)


@cache
def bursts(*, quick: bool) -> tuple[Burst, ...]:
    """Send the bursts, once: `bench.burst_calls` counts the first."""
    return send_bursts(BURSTS_QUICK if quick else BURSTS, instances=INSTANCES, warm_up=100)


def send_bursts(number: int, *, instances: int, warm_up: int) -> tuple[Burst, ...]:
    """Send bursts one after another in a world whose storage and FHIR are counted."""
    with embedded_fhir_server() as server, relayed_fhir(server.url) as fhir, bench_world(fhir, counted=True) as world:
        send(world, study("latency-warm-up", warm_up))
        return tuple(send(world, study(f"latency-{place}", instances)) for place in range(number))


def begin_slow(*, quick: bool) -> None:
    """Send the bursts, if that has not happened, and begin the slow acquisition."""
    bursts(quick=quick)
    slow.begin(_seconds(quick=quick))


def measure(*, quick: bool) -> Section:
    """Send the bursts and the slow acquisition, or use those that were sent before."""
    sent, seconds = bursts(quick=quick), _seconds(quick=quick)
    slowly = slow.outcome(seconds)
    after_mark = [burst.in_fhir - _last_mark(burst) for burst in sent]
    writes = sum(writes_of(burst) for burst in sent) / len(sent)
    goals = [
        Goal(what="burst in FHIR after its last mark, p95", measured=p95(after_mark), bound=LATENCY_SECONDS, unit=" s"),
        Goal(what="FHIR writes a burst", measured=writes, bound=WRITES),
        Goal(what=f"FHIR writes, {INSTANCES} in {seconds:g} s", measured=slowly.writes, bound=SLOW_WRITES),
    ]
    figures: dict[str, Any] = {
        "after_last_mark": _spread(after_mark),
        "after_last_upload": _spread([burst.in_fhir - burst.last_upload for burst in sent]),
        "longest_gap_of_marks": _spread([_longest_gap(burst) for burst in sent]),
        "slow_after_last_upload": slowly.after_last_upload,
    }
    return Section(name="latency", how=HOW, goals=goals, figures=figures)


def _seconds(*, quick: bool) -> float:
    return SLOW_SECONDS_QUICK if quick else SLOW_SECONDS


def p95(values: Sequence[float]) -> float:
    """Return the smallest value that at least 95 % do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


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
