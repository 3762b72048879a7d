"""
DICOM Cast's protocol and ours on one real HAPI server, on studies of the same shape.

    Cast: instances one by one, four requests each          ours: upload -> events -> functions host -> one transaction

Both go through the same relay before HAPI, which times every request and, in the second half, adds latency as between
services of a cloud region; then ours has the same latency before its storage too. Sizes are run in turns, ours and
Cast's, so that load and a warming server meet both. Cast's time is all of its processing, as its input is there from
the start; ours is the time from the end of the last upload, without the quiet period, which is a choice, not a cost.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import httpx

from bench.cast import Cast
from bench.goals import Goal, Section
from bench.studies import Study, study
from bench.traffic import seconds_in
from bench.worlds import BenchError, BenchWorld, Fhir, bench_world, relayed_fhir, send
from local.hapi import hapi_server

LATENCY = 15.0
"""Milliseconds."""

GOALS = {300: (100, 3, 8), 1000: (200, 5, 15)}
"""Instances -> how many times less time in FHIR requests, sooner in FHIR, and sooner with latency."""

HOW = (
    "one HAPI JPA server (R4, H2 in memory) behind a relay that times every request from its first byte to the "
    "answer's last; Cast: sequential, all its processing; ours: from the end of the last upload to the answer of the "
    f"last write, less the quiet period; medians over the rounds; latency: {LATENCY:g} ms more for every request of "
    "both, to FHIR and to the storage"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The cost of one run of one protocol."""

    seconds: float
    """From the last upload (Cast: from the start) until all was in FHIR."""

    seconds_in_fhir: float
    requests: int
    versions: int
    """Versions of the ImagingStudy and the Patient."""


def measure(*, quick: bool, full: bool = False) -> Section:
    """
    Run both protocols, without and with added latency.

    Parameters
    ----------
    full
        Also 1,000 instances, which take Cast seven minutes, and a second round of the others.
    """
    plain_rounds = {100: 2, 300: 2, 1000: 1} if full else {100: 1, 300: 1}
    slow_rounds = {300: 1, 1000: 1} if full else {100: 1} if quick else {300: 1}
    with hapi_server() as server:
        with _both(server.url, delay=0) as (fhir, world):
            _warm_up(fhir, world)
            plain = {size: _run(fhir, world, size, rounds) for size, rounds in plain_rounds.items()}
        with _both(server.url, delay=LATENCY) as (fhir, world):
            send(world, study("cast-warm-up-slow", 30))
            slow = {size: _run(fhir, world, size, rounds) for size, rounds in slow_rounds.items()}
    figures = {"plain": plain, "latency": slow}
    return Section(name="cast", how=HOW, goals=list(_goals(plain, slow)), figures=figures)


@contextmanager
def _both(url: str, *, delay: float) -> Iterator[tuple[Fhir, BenchWorld]]:
    with relayed_fhir(url, delay=delay) as fhir, bench_world(fhir, delay=delay) as world:
        yield fhir, world


def _warm_up(fhir: Fhir, world: BenchWorld) -> None:
    """Let HAPI compile the queries of both protocols; most of them are Cast's kind of request."""
    cast(fhir, study("cast-warm-up", 100))
    send(world, study("ours-warm-up", 100))
    send(world, study("ours-warm-up-again", 100))


def _run(fhir: Fhir, world: BenchWorld, size: int, rounds: int) -> dict[str, Any]:
    pairs = []
    for number in range(rounds):
        seed = f"{fhir.relayed}-{size}-{number}"
        pairs.append((ours(world, study(f"ours-{seed}", size)), cast(fhir, study(f"cast-{seed}", size))))
    mine, theirs = _middle([pair[0] for pair in pairs]), _middle([pair[1] for pair in pairs])
    print(f"{size:,} instances: ours {mine.seconds:.1f} s, Cast {theirs.seconds:.1f} s", file=sys.stderr)
    return {
        "rounds": rounds,
        "ours": asdict(mine),
        "cast": asdict(theirs),
        "cast_ms_an_instance": round(1000 * theirs.seconds / size, 1),
        "times_less_in_fhir": round(theirs.seconds_in_fhir / mine.seconds_in_fhir, 1),
        "times_sooner": round(theirs.seconds / mine.seconds, 1),
    }


def _middle(runs: Sequence[Taken]) -> Taken:
    columns = {name: round(median(asdict(run)[name] for run in runs), 4) for name in asdict(runs[0])}
    return Taken(**columns)


def ours(world: BenchWorld, files: Study) -> Taken:
    """Send a study through the sync."""
    burst = send(world, files)
    return Taken(
        seconds=burst.after_upload,
        seconds_in_fhir=seconds_in(burst.fhir),
        requests=len(burst.fhir),
        versions=world.fhir.versions(files.uid),
    )


def cast(fhir: Fhir, files: Study) -> Taken:
    """
    Write a study to FHIR as DICOM Cast does.

    Raises
    ------
    BenchError
        FHIR does not hold what it should afterwards.
    """
    before = fhir.journal.length()
    with httpx.Client(base_url=fhir.relayed, timeout=60) as client:
        pipeline = Cast(client)
        start = time.monotonic()
        for instance in files.instances:
            pipeline.process(instance)
        seconds = time.monotonic() - start
    if not fhir.holds(files):
        raise BenchError("the baseline lost instances")
    requests = fhir.journal.since(before)
    return Taken(
        seconds=seconds,
        seconds_in_fhir=seconds_in(requests),
        requests=len(requests),
        versions=fhir.versions(files.uid),
    )


def _goals(plain: dict[int, dict[str, Any]], slow: dict[int, dict[str, Any]]) -> Iterator[Goal]:
    for size, (less, sooner, sooner_slow) in GOALS.items():
        if size in plain:
            times, what = plain[size]["times_less_in_fhir"], f"less time in FHIR requests, {size:,} instances"
            yield Goal(what=what, measured=times, bound=less, at_least=True, unit="x", tolerance=0.5)
            times, what = plain[size]["times_sooner"], f"sooner in FHIR, {size:,} instances"
            yield Goal(what=what, measured=times, bound=sooner, at_least=True, unit="x", tolerance=0.5)
        if size in slow:
            times, what = slow[size]["times_sooner"], f"the same with {LATENCY:g} ms latency"
            yield Goal(what=what, measured=times, bound=sooner_slow, at_least=True, unit="x", tolerance=0.5)
