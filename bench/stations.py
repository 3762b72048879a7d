"""
A simulation of the queues and partitions that instances pass: which of them limits the rate, and to what rate.

    queue ──> processor of a worker ──> account, partitions of folder and study ──> FHIR, once a study

Each is a station that serves in order of arrival at a fixed rate. A worker has some batches of messages on their way at
once; a batch goes on when the slowest of its stations has served it. Studies arrive interleaved, as many at once as the
site has modalities at work. No randomness: equal input gives equal output.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field

BATCH = 32
"""Messages that a worker takes at once: ``batchSize`` in host.json."""

BATCHES_AT_ONCE = 4
"""Of one worker: (``batchSize`` + ``newBatchThreshold``) / ``batchSize`` in host.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of the services, a second; None: no limit, or not involved."""

    queue: float | None
    account: float
    partition: float
    fhir: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The requests of one instance and of one study."""

    processor_seconds: float
    round_trips: float
    """Seconds that a batch waits for answers besides being served."""

    folder_rows: float
    """Rows an instance writes to the partitions of its folder, together."""

    folder_partitions: int
    study_rows: float
    """Rows an instance writes to the partition of its study."""

    fhir_requests: float
    """Of a study."""

    instances: int
    """Of a study."""

    studies_at_once: int


@dataclass(slots=True)
class Station:
    """Serves in order of arrival; ``rate`` units a second."""

    rate: float
    free_at: float = 0.0
    busy: float = 0.0

    def serve(self, arrival: float, units: float) -> float:
        """Return when the units are served."""
        took = units / self.rate
        self.free_at = max(arrival, self.free_at) + took
        self.busy += took
        return self.free_at


@dataclass(slots=True)
class _Site:
    limits: Limits
    load: Load
    workers: int
    processors: list[Station] = field(init=False)
    queue: Station | None = field(init=False)
    account: Station = field(init=False)
    fhir: Station = field(init=False)
    folders: defaultdict[tuple[int, int], Station] = field(init=False)
    studies: defaultdict[int, Station] = field(init=False)

    def __post_init__(self) -> None:
        self.processors = [Station(1.0) for _ in range(self.workers)]
        self.queue = Station(self.limits.queue) if self.limits.queue else None
        self.account, self.fhir = Station(self.limits.account), Station(self.limits.fhir)
        self.folders = defaultdict(lambda: Station(self.limits.partition))
        self.studies = defaultdict(lambda: Station(self.limits.partition))

    def ingest(self, now: float, worker: int, batch: dict[int, int]) -> float:
        """Serve a batch, study -> its instances; return the time at which it is done."""
        size, load = sum(batch.values()), self.load
        if self.queue is not None:
            now = self.queue.serve(now, size)
        now = self.processors[worker].serve(now, size * load.processor_seconds)
        ends = [self.account.serve(now, size * (load.folder_rows + load.study_rows))]
        for study, instances in batch.items():
            rows = instances * load.folder_rows / load.folder_partitions
            ends += [self.folders[study, part].serve(now, rows) for part in range(load.folder_partitions)]
            ends.append(self.studies[study].serve(now, instances * load.study_rows))
        return max(ends) + load.round_trips


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result: instances a second, and the highest utilisation of each kind of station (1: always busy)."""

    rate: float
    busy: dict[str, float]

    @property
    def binding(self) -> str:
        """Name the station that was busiest."""
        return max(self.busy, key=lambda name: self.busy[name])


def simulate(limits: Limits, load: Load, workers: int, *, studies: int) -> Outcome:
    """
    Let workers sync studies that are all there, and tell how fast they are.

    Parameters
    ----------
    studies
        How many in all; enough that start and end do not count.
    """
    site = _Site(limits, load, workers)
    arriving = _interleaved(studies, load)
    left = dict.fromkeys(range(studies), load.instances)
    idle = [(0.0, worker) for _ in range(BATCHES_AT_ONCE) for worker in range(workers)]
    end = 0.0
    for batch in arriving:
        now, worker = heapq.heappop(idle)
        done = site.ingest(now, worker, batch)
        heapq.heappush(idle, (done, worker))
        end = max(end, done)
        for study, instances in batch.items():
            left[study] -= instances
            if left[study] == 0:
                end = max(end, site.fhir.serve(done, load.fhir_requests))
    return Outcome(rate=studies * load.instances / end, busy=_busy(site, load, end))


def _interleaved(studies: int, load: Load) -> list[dict[int, int]]:
    """Divide the instances of studies that arrive at once into batches, in turns."""
    batches, batch, size = [], defaultdict[int, int](int), 0
    for first in range(0, studies, load.studies_at_once):
        group = range(first, min(first + load.studies_at_once, studies))
        for _ in range(load.instances):
            for study in group:
                batch[study] += 1
                size += 1
                if size == BATCH:
                    batches.append(dict(batch))
                    batch, size = defaultdict(int), 0
    return [*batches, dict(batch)] if batch else batches


def _busy(site: _Site, load: Load, end: float) -> dict[str, float]:
    # A partition is at work only while its study arrives: one group after the other, with some overlap.
    groups = -(-len(site.studies) // load.studies_at_once)
    partitions = [station.busy for station in (*site.folders.values(), *site.studies.values())]
    busy = {
        "processors of the workers": sum(one.busy for one in site.processors) / len(site.processors),
        "rows of one storage account": site.account.busy,
        "rows of one partition": max(partitions) * groups,
        "FHIR service": site.fhir.busy,
    }
    if site.queue is not None:
        busy["messages of one queue"] = site.queue.busy
    return {name: min(seconds / end, 1.0) for name, seconds in busy.items()}
