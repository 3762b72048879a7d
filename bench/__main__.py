"""
``python -m bench [SECTION…] [--quick] [--full]``: measure, print floor, goal, measured; write ``bench/results.json``.

    python -m bench record VERSION           put the results into bench/history.json, one line for each release
    python -m bench compare OLD NEW          files of results or versions of the history: regressions and their size
    python -m bench trial [SECTION…]         calls and pages in the smallest world, to see that they run; writes nothing
    python -m bench model [--fhir REQUESTS]  speed, first limit and cost at sizes that no machine here can show

Exit status: 0 when all was measured, whatever the goals say, because this is not a test; 1 when a section could not be
measured, while the others were; 130 after Ctrl-C, which keeps what was measured before. Of ``compare`` 1 when a figure
is worse by more than its tolerance, 2 when there is nothing to compare.
"""

from __future__ import annotations

import enum
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.console import Console

from bench import (
    burst_calls,
    commands,
    comparison,
    goals,
    header_speed,
    history,
    large_study,
    latency,
    model,
    pages,
    regressions,
    rest,
    scale,
    two_hosts,
)
from bench.worlds import BenchError
from local.processes import StartError


class Name(enum.StrEnum):
    """The sections."""

    HEADER = "header"
    CALLS = "calls"
    CAST = "cast"
    SCALE = "scale"
    MEMORY = "memory"
    LARGE = "large"
    PAGES = "pages"
    COMMANDS = "commands"
    REST = "rest"
    TWO_HOSTS = "two-hosts"
    LATENCY = "latency"


SECTIONS: dict[Name, Callable[[bool, bool], goals.Section]] = {
    Name.HEADER: lambda _, __: header_speed.section(),
    Name.CALLS: lambda quick, _: burst_calls.measure(quick=quick),
    Name.CAST: lambda quick, full: comparison.measure(quick=quick, full=full),
    Name.SCALE: lambda quick, _: scale.measure(quick=quick),
    Name.MEMORY: lambda quick, _: scale.measure_memory(quick=quick),
    Name.LARGE: lambda quick, _: large_study.measure(quick=quick),
    Name.PAGES: lambda quick, _: pages.measure(quick=quick),
    Name.COMMANDS: lambda quick, _: commands.measure(quick=quick),
    Name.REST: lambda _, __: rest.measure(),
    Name.TWO_HOSTS: lambda quick, full: two_hosts.measure(quick=quick, full=full),
    Name.LATENCY: lambda quick, _: latency.measure(quick=quick),
}

TRIALS: dict[Name, Callable[[], goals.Section]] = {
    Name.CALLS: burst_calls.trial,
    Name.PAGES: pages.trial,
}
"""Sections that pages of the documentation name, so small that their figures only show that they run."""

BESIDE_SLOW = (Name.REST, Name.TWO_HOSTS)
"""Sections that count, or compare two times of the same run: the slow acquisition of `latency` waits beside them."""


ABOUT: dict[Name, str] = {
    Name.HEADER: "ledger rows per second from headers, against a bare read by pydicom",
    Name.CALLS: "storage and FHIR requests of a burst of 300 instances, counted by relays",
    Name.CAST: "seconds and requests of our protocol and of DICOM Cast's on one HAPI server (needs a JDK 17 and Maven)",
    Name.SCALE: "time and processor time per instance in a study ten times as large, and in 50 studies",
    Name.MEMORY: "peak memory of the functions host in the run of 'scale'",
    Name.LARGE: "seconds and memory of one study of 30,000 instances",
    Name.PAGES: "milliseconds and requests of every dashboard page with 10,000 studies and 5,000 dead letters",
    Name.COMMANDS: "seconds of backfill, verify and replay when nothing differs",
    Name.REST: "storage requests per second of an idle app",
    Name.TWO_HOSTS: "time of a walk by one process and by two: backfill and verify; with --full also replay and export",
    Name.LATENCY: "seconds until a burst, and a slow acquisition, is in FHIR",
}

_EPILOG = "\n\n".join(
    (
        "Sections:",
        *(f"{name}: {about}" for name, about in ABOUT.items()),
        "Each measured section replaces its figures in bench/results.json; the other sections stay. Other commands:",
        "python -m bench compare OLD NEW: name the figures that became worse from one release, or file, to another",
        "python -m bench trial: run calls and pages in the smallest world, to test the bench; nothing is written",
        "python -m bench record VERSION: copy the results to bench/history.json, one line per release",
        "python -m bench model: compute speed, first limit and cost at sizes that this machine cannot measure",
        "Each command has its own --help. Examples:",
        "python -m bench calls rest: only these two sections, after a change of storage requests",
        "python -m bench --quick: all sections in small sizes, as a first look",
        "Exit status: 0: all sections were measured, whether goals are met or not. 1: a section could not be measured.",
        "130: ended by Ctrl-C, which keeps the sections measured before.",
    )
)


def main(
    names: Annotated[list[Name] | None, typer.Argument(help="Sections to measure; default: all.")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: about four minutes.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also 1,000 instances against Cast, and all walks by two: 12 minutes more.")
    ] = False,
) -> None:
    """
    Measure requests, seconds and memory of the sync, each figure beside its floor and its goal.

    A floor is the cost of the same calls by the bare libraries, or the minimum that the protocol needs.

    Takes ten minutes on two cores; run nothing else meanwhile.
    """
    console, errors = Console(), Console(stderr=True)
    wanted = [name for name in SECTIONS if name in (names or SECTIONS)]
    measured, status = list[goals.Section](), 0
    try:
        for name in wanted:
            if (section := _measured(name, wanted, errors, quick=quick, full=full)) is None:
                status = 1
            else:
                measured.append(section)
    except KeyboardInterrupt:
        left = [name for name in wanted if name not in {section.name for section in measured}]
        errors.print(f"Interrupted: not measured {', '.join(left)}.", style="red", markup=False, soft_wrap=True)
        status = _INTERRUPTED
    if measured:
        goals.show(measured, console)
        console.print(f"Written to {goals.RESULTS}", style="dim", soft_wrap=True)
    raise typer.Exit(status)


def _measured(name: Name, wanted: Sequence[Name], errors: Console, *, quick: bool, full: bool) -> goals.Section | None:
    """Measure a section and write it; None where that is not possible, which is told."""
    start = time.monotonic()
    with errors.status(f"measuring {name}"):
        try:
            if name in BESIDE_SLOW and Name.LATENCY in wanted:
                latency.begin_slow(quick=quick)
            section = SECTIONS[name](quick, full)
        except (BenchError, StartError) as problem:
            errors.print(f"{name} could not be measured: {problem}", style="red", markup=False, soft_wrap=True)
            return None
    took = time.monotonic() - start
    goals.write(section, quick=quick, took=took)
    errors.print(f"{name}: {took:.0f} s", style="dim")
    return section


def compare(
    old: Annotated[str, typer.Argument(help="File of results, or a version in bench/history.json.")],
    new: Annotated[str, typer.Argument(help="File of results, or a version, to compare with OLD.")],
    *,
    tolerance: Annotated[
        float | None,
        typer.Option(help="Share by which a figure may be worse, such as 0.2; default: the tolerance of each figure."),
    ] = None,
) -> None:
    """
    Compare two runs, figure by figure, and name regressions. Use it before a release.

    Example: python -m bench compare 0.1.0 bench/results.json

    Exit status: 1 when a figure is worse by more than its tolerance, 2 when there is nothing to compare.
    """
    try:
        compared = regressions.changes(history.find(old), history.find(new), tolerance)
    except BenchError as problem:
        Console(stderr=True).print(str(problem), style="red", markup=False)
        raise typer.Exit(2) from problem
    regressions.show(compared, Console())
    for version, note in history.notes((old, new)).items():
        print(f"{version}: {note}")
    worse = [change for change in compared if change.verdict is regressions.Verdict.REGRESSION]
    for change in worse:
        said = f"worse by {change.worse:.0%}, tolerance {change.tolerance:.0%}"
        print(f"regression: {change.section}: {change.what}: {change.old:g} -> {change.new:g} ({said})")
    raise typer.Exit(1 if worse else 0)


def compute(
    *,
    fhir: Annotated[float, typer.Option(help="Requests per second that the FHIR service takes.", min=0.1)] = model.FHIR,
) -> None:
    """
    Compute the tables of docs/scaling-and-cost.md from the newest line of bench/history.json; measures nothing.

    Example, for a FHIR service that takes fewer requests: python -m bench model --fhir 20
    """
    print(model.tables(fhir), end="")


def record(
    version: Annotated[str, typer.Argument(help="Version of the release.")],
    *,
    note: Annotated[
        str,
        typer.Option(help="Causes of changed figures other than the sync, such as a new machine; compare shows it."),
    ] = "",
) -> None:
    """
    Copy bench/results.json to bench/history.json, replacing a line of the same version. Use it for each release.

    Example: python -m bench record 0.2.0 --note "measured on another machine"
    """
    try:
        history.record(version, note)
    except BenchError as problem:
        Console(stderr=True).print(str(problem), style="red", markup=False)
        raise typer.Exit(1) from problem


def try_out(names: Annotated[list[Name] | None, typer.Argument(help="calls, pages; default: both.")] = None) -> None:
    """
    Run sections in the smallest world, to test the bench itself; writes nothing, and the figures mean nothing.

    Example: python -m bench trial pages
    """
    if unknown := [name.value for name in names or () if name not in TRIALS]:
        raise typer.BadParameter(f"no trial of {', '.join(unknown)}")
    goals.show([TRIALS[name]() for name in names or TRIALS], Console())


COMMANDS: dict[str, Callable[..., None]] = {"compare": compare, "model": compute, "record": record, "trial": try_out}
"""What the first word may be besides a section."""

_INTERRUPTED = 130


def run(arguments: Sequence[str]) -> None:
    """Run the command that the first word names, else measure the sections."""
    command = COMMANDS.get(arguments[0]) if arguments else None
    app = typer.Typer(add_completion=False)
    app.command(epilog=None if command else _EPILOG)(command or main)
    words = ("python", "-m", "bench", *arguments[:1]) if command else ("python", "-m", "bench")
    app(list(arguments[1:] if command else arguments), prog_name=" ".join(words))


if __name__ == "__main__":
    run(sys.argv[1:])
