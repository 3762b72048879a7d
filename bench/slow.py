"""
A slow acquisition: 300 instances of one study, evenly over two minutes, and how often it is written to FHIR.

    python -m bench.slow SECONDS

Runs in a process and a world of its own, beside sections that count or compare two times of one run: it waits most of
the time, but its world takes an eighth of a processor, too much beside a section that tells seconds. Prints one JSON
object.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache

from bench.studies import study
from bench.worlds import BenchError, bench_world, leashed, relayed_fhir, send, writes_of
from local.fhir_embedded import embedded_fhir_server
from local.processes import StartError

INSTANCES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """The cost of one run."""

    writes: int
    after_last_upload: float
    """Seconds until all was in FHIR."""


@cache
def begin(seconds: float) -> subprocess.Popen[str]:
    """Start it, once; it ends with this process."""
    pipe = subprocess.PIPE
    command = [*leashed("bench.slow"), str(seconds)]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def outcome(seconds: float) -> Slow:
    """
    Wait until it is done; begin it if that has not happened.

    Raises
    ------
    BenchError
        It could not be measured.
    """
    child = begin(seconds)
    assert child.stdout is not None
    assert child.stderr is not None
    told, said = child.stdout.read(), child.stderr.read()
    if child.wait():
        raise BenchError(f"the slow acquisition: {said.strip()[-500:]}")
    return Slow(**json.loads(told.splitlines()[-1]))


def _measure(seconds: float) -> Slow:
    with embedded_fhir_server() as server, relayed_fhir(server.url) as fhir, bench_world(fhir) as world:
        send(world, study("slow-warm-up", 100))
        sent = send(world, study("latency-slow", INSTANCES), seconds=seconds)
    return Slow(writes=writes_of(sent), after_last_upload=round(sent.in_fhir - sent.last_upload, 2))


def main() -> None:
    """Run the command."""
    try:
        print(json.dumps(asdict(_measure(float(sys.argv[1])))))
    except (BenchError, StartError) as problem:
        raise SystemExit(str(problem)) from problem


if __name__ == "__main__":
    main()
