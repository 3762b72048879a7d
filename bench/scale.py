"""
Does an instance cost more in a large study, or among many studies, and how much memory does the functions host need.

Bursts of 300 and of 3,000 instances a study, and of 3,000 in 50 studies, go through the whole path: upload, events,
ingest, a projection of each study. Our code runs in a process of its own, as on Azure, so its processor time is told
without that of the host, which receives and deletes the messages; it stands beside its floor (`bench.floor`). The
memory, the most that both processes ever held as the kernel has noted it, stands beside what they held when they had
started.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from bench.floor import floor_ms
from bench.goals import TIMES_VARY, Goal, Section
from bench.processor import worked
from bench.studies import study
from bench.worlds import BenchWorld, bench_world, relayed_fhir, send, send_all
from local.fhir_embedded import embedded_fhir_server

SMALL, LARGE, LARGE_QUICK = 300, 3000, 1000
STUDIES = 50
GROWTH = 1.5
PROCESSOR = 5.0
"""Milliseconds an instance."""
MEMORY = 512
"""MB: the smallest instance of Azure's Flex Consumption plan."""

HOW = (
    "from the start of the first upload until all was in FHIR, less the quiet period, divided by the instances; the "
    "small study three times (median), then the large one, then as many instances in 50 studies, in one world with the "
    "embedded FHIR server, after a warm-up, and with the emulator as ADR 0058 starts it; processor: that of our code's "
    "process; the figures tell that of host and our code together too"
)
HOW_MEMORY = "highest resident set size of the functions host and of our code's process together, in the run of 'scale'"


def measure(*, quick: bool) -> Section:
    """Compare a large study with small ones."""
    figures = _figures(LARGE_QUICK if quick else LARGE)
    what = f"cost of an instance at {figures['large']:,} against {SMALL:,}"
    times = figures["ms_an_instance_large"] / figures["ms_an_instance_small"]
    goal = Goal(what=what, measured=times, bound=GROWTH, unit="x", floor=1, tolerance=TIMES_VARY)
    processor = [
        Goal(
            what=f"processor of our code an instance, {figures['large']:,} instances{where}",
            measured=figures[key],
            bound=PROCESSOR,
            unit=" ms",
            floor=figures["floor_ms_an_instance"],
            tolerance=TIMES_VARY,
        )
        for where, key in (
            ("", "our_ms_an_instance_large"),
            (f" in {STUDIES} studies", "our_ms_an_instance_many"),
        )
        if figures[key]  # only Linux tells the time of other processes
    ]
    return Section(name="scale", how=HOW, goals=[goal, *processor], figures=figures)


def measure_memory(*, quick: bool) -> Section:
    """Return the peak memory of the host."""
    figures = _figures(LARGE_QUICK if quick else LARGE)
    what = f"functions host at its peak, {figures['large']:,} instances a study"
    goal = Goal(
        what=what, measured=figures["peak_mb_large"], bound=MEMORY, unit=" MB", floor=figures["peak_mb_started"]
    )
    return Section(name="memory", how=HOW_MEMORY, goals=[goal], figures=figures)


@cache
def _figures(large: int) -> dict[str, Any]:
    with embedded_fhir_server() as server, relayed_fhir(server.url) as fhir, bench_world(fhir, apart=True) as world:
        processes = [world.host, *world.workers]
        started = _peak(processes)
        send(world, study("scale-warm-up", 100))
        with _worked(world, 3 * SMALL) as processor_small:
            bursts = [send(world, study(f"scale-small-{number}", SMALL)) for number in range(3)]
        after_small = _peak(processes)
        with _worked(world, large) as processor_large:
            burst = send(world, study("scale-large", large))
        after_large = _peak(processes)
        with _worked(world, large) as processor_many:
            send_all(world, [study(f"scale-many-{number}", large // STUDIES) for number in range(STUDIES)])
        floor = floor_ms(world, study("scale-small-0", SMALL))
    measured = {"small": processor_small, "large": processor_large, "many": processor_many}
    return {
        "small": SMALL,
        "large": large,
        "ms_an_instance_small": round(median(1000 * one.whole / one.instances for one in bursts), 2),
        "ms_an_instance_large": round(1000 * burst.whole / large, 2),
        **{f"{whose}_ms_an_instance_{size}": ms for size, of in measured.items() for whose, ms in of.items()},
        "floor_ms_an_instance": floor,
        "fhir_requests_large": len(burst.fhir),
        "seconds_after_upload_large": round(burst.after_upload, 2),
        "peak_mb_started": started,
        "peak_mb_small": after_small,
        "peak_mb_large": after_large,
    }


@contextmanager
def _worked(world: BenchWorld, instances: int) -> Iterator[dict[str, float]]:
    """Tell, once the block has ended, the milliseconds an instance: of our code, and of it and the host together."""
    processes = {"our": world.workers, "processor": [world.host, *world.workers]}
    before = {whose: worked(of) for whose, of in processes.items()}
    told = dict[str, float]()
    yield told
    told |= {whose: round((worked(of) - before[whose]) / instances, 2) for whose, of in processes.items()}


def _peak(processes: Sequence[int]) -> float:
    """Return the highest resident set sizes together in MB; without Linux's record of them, the present ones."""
    return round(sum(map(_peak_kilobytes, processes)) / 1024, 1)


def _peak_kilobytes(process: int) -> int:
    record = Path(f"/proc/{process}/status")
    if record.exists():
        lines = record.read_text(encoding="utf-8").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=True)
    return int(told.stdout)
