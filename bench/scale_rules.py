"""
The published rules by which Azure adds instances for a queue, played: ``python -m bench.scale_rules``.

Target-based scaling wants ``ceil(queue length / batchSize)`` instances and adds four at a time at most (Azure
Functions, "Target-based scaling"); a queue's length counts messages in hand too. How often it decides is not published:
each case is played with the periods of `DECIDED`. What an instance does was measured on the real host: `START` seconds
until it takes its first message, then `RATE` messages a second, of which it holds `IN_HAND` at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.stations import BATCH, BATCHES_AT_ONCE

DECIDED = (1.0, 10.0, 30.0)
"""Seconds between two decisions, assumed."""
ADDED = 4
"""Instances that one decision adds at most."""
START = 3.5
"""Seconds of a cold start."""
RATE = 75.0
"""Messages of queue ``objects`` that one instance deals with in a second."""
IN_HAND = BATCH * BATCHES_AT_ONCE
"""Messages that an instance may hold: ``batchSize + newBatchThreshold`` of host.json, whatever ``batchSize`` is."""
STEP = 0.1

SIZES = (1, 8, 16, 32)
"""Of ``batchSize``; the host takes none above 32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Messages that arrive at a constant rate."""

    name: str
    messages: int
    a_second: float


CASES = (
    Arrivals(name="40 instances, 20 a second", messages=40, a_second=20),
    Arrivals(name="300 instances, 20 a second", messages=300, a_second=20),
    Arrivals(name="300 instances at once", messages=300, a_second=10_000),
    Arrivals(name="3,000 instances, 100 a second", messages=3_000, a_second=100),
    Arrivals(name="30,000 instances at once", messages=30_000, a_second=100_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The cost of processing all arrivals."""

    instances: int
    """Started."""
    seconds: float
    """From the first arrival until the last message was dealt with."""


def play(case: Arrivals, batch_size: int, decided: float, *, most: int = 40) -> Played:
    """Let messages arrive while no instance runs, and scale by the rules until all are dealt with."""
    arrived, waiting, busy, step = 0.0, 0.0, 0.0, 0
    ready: list[float] = []
    between = max(1, round(decided / STEP))
    while arrived < case.messages or waiting + busy > STEP / 100:
        coming = min(case.messages - arrived, case.a_second * STEP)
        arrived, waiting, now = arrived + coming, waiting + coming, step * STEP
        if step % between == 0:
            wanted = min(most, math.ceil((waiting + busy) / batch_size))
            ready += [now + START] * max(0, min(wanted - len(ready), ADDED))
        up = sum(at <= now for at in ready)
        taken = min(waiting, max(0.0, IN_HAND * up - busy))
        waiting, busy = waiting - taken, busy + taken
        busy -= min(busy, RATE * STEP * up)
        step += 1
    return Played(instances=len(ready), seconds=round(step * STEP, 1))


def played(case: Arrivals, batch_size: int) -> Sequence[Played]:
    """Return the result of each decision period."""
    return [play(case, batch_size, decided) for decided in DECIDED]


def table() -> str:
    """Return the table of ADR 0011."""
    lines = ["| arrivals | " + " | ".join(f"`batchSize` {size}" for size in SIZES) + " |", "|---" * 5 + "|"]
    for case in CASES:
        cells = []
        for size in SIZES:
            results = played(case, size)
            instances, seconds = ([getattr(one, name) for one in results] for name in ("instances", "seconds"))
            cells.append(f"{_span(instances)} in {_span(seconds)} s")
        lines.append(f"| {case.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _span(values: Sequence[float]) -> str:
    least, most = min(values), max(values)
    return f"{least:g}" if least == most else f"{least:g}-{most:g}"


if __name__ == "__main__":
    print(table())
