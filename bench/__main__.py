"""
``python -m bench [SECTION…] [--quick] [--full]``: measure, print floor, goal, measured; write ``bench/results.json``.

    python -m bench record VERSION           put the results into bench/history.json, one line for each release
    python -m bench compare OLD NEW          files of results or versions of the history: regressions and their size
    python -m bench trial [SECTION…]         calls and pages in the smallest world, to see that they run; writes nothing
    python -m bench model [--fhir REQUESTS]  speed, first limit and cost at sizes that no machine here can show

Exit status: 0 when all was measured, whatever the goals say, because this is not a test; 1 when something was not. Of
``compare`` 1 when a figure is worse by more than its tolerance, 2 when there is nothing to compare.
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
    LATENCY = "latency"
    REST = "rest"
    COMMANDS = "commands"


SECTIONS: dict[Name, Callable[[bool, bool], goals.Section]] = {
    Name.HEADER: lambda _, __: header_speed.section(),
    Name.CALLS: lambda _, __: burst_calls.measure(),
    Name.CAST: lambda quick, full: comparison.measure(quick=quick, full=full),
    Name.SCALE: lambda quick, _: scale.measure(quick=quick),
    Name.MEMORY: lambda quick, _: scale.measure_memory(quick=quick),
    Name.LARGE: lambda quick, _: large_study.measure(quick=quick),
    Name.PAGES: lambda quick, _: pages.measure(quick=quick),
    Name.LATENCY: lambda quick, _: latency.measure(quick=quick),
    Name.REST: lambda _, __: rest.measure(),
    Name.COMMANDS: lambda quick, _: commands.measure(quick=quick),
}

TRIALS: dict[Name, Callable[[], goals.Section]] = {
    Name.CALLS: lambda: burst_calls.measure(instances=20, warm_up=2),
    Name.PAGES: pages.trial,
}
"""Sections that pages of the documentation name, so small that their figures only show that they run."""


def main(
    names: Annotated[list[Name] | None, typer.Argument(help="what to measure; all of it by default")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="small sizes: about four minutes")] = False,
    full: Annotated[bool, typer.Option("--full", help="also 1,000 instances against Cast: ten minutes more")] = False,
) -> None:
    """Measure what the sync costs: ten minutes on two idle cores."""
    console, errors = Console(), Console(stderr=True)
    measured = []
    for name in names or SECTIONS:
        start = time.monotonic()
        with errors.status(f"measuring {name}"):
            try:
                measured.append(SECTIONS[name](quick, full))
            except (BenchError, StartError) as problem:
                errors.print(f"{name} could not be measured: {problem}", style="red", markup=False)
                raise typer.Exit(1) from problem
        goals.write(measured[-1], quick=quick)
        errors.print(f"{name}: {time.monotonic() - start:.0f} s", style="dim")
    goals.show(measured, console)
    console.print(f"Written to {goals.RESULTS}", style="dim", soft_wrap=True)


def compare(
    old: Annotated[str, typer.Argument(help="a file of results, or a version of the history")],
    new: Annotated[str, typer.Argument(help="the same")],
    *,
    tolerance: Annotated[
        float | None, typer.Option(help="share by which any figure may be worse, such as 0.2; its own by default")
    ] = None,
) -> None:
    """Compare two runs; exit status 1 names a regression, 2 that there is nothing to compare."""
    try:
        compared = regressions.changes(history.find(old), history.find(new), tolerance)
    except BenchError as problem:
        Console(stderr=True).print(str(problem), style="red", markup=False)
        raise typer.Exit(2) from problem
    regressions.show(compared, Console())
    worse = [change for change in compared if change.verdict is regressions.Verdict.REGRESSION]
    for change in worse:
        said = f"worse by {change.worse:.0%}, tolerance {change.tolerance:.0%}"
        print(f"regression: {change.section}: {change.what}: {change.old:g} -> {change.new:g} ({said})")
    raise typer.Exit(1 if worse else 0)


def compute(
    *, fhir: Annotated[float, typer.Option(help="requests a second that the FHIR service takes", min=0.1)] = model.FHIR
) -> None:
    """Print the tables of docs/scaling-and-cost.md."""
    print(model.tables(fhir), end="")


def record(version: Annotated[str, typer.Argument(help="of the release")]) -> None:
    """Put the results into the history."""
    try:
        history.record(version)
    except BenchError as problem:
        Console(stderr=True).print(str(problem), style="red", markup=False)
        raise typer.Exit(1) from problem


def try_out(names: Annotated[list[Name] | None, typer.Argument(help="calls, pages; both by default")] = None) -> None:
    """Run sections in the smallest world, to see that they run; nothing is written."""
    if unknown := [name.value for name in names or () if name not in TRIALS]:
        raise typer.BadParameter(f"no trial of {', '.join(unknown)}")
    goals.show([TRIALS[name]() for name in names or TRIALS], Console())


COMMANDS: dict[str, Callable[..., None]] = {"compare": compare, "model": compute, "record": record, "trial": try_out}
"""What the first word may be besides a section."""


def run(arguments: Sequence[str]) -> None:
    """Run the command that the first word names, else measure the sections."""
    command = COMMANDS.get(arguments[0]) if arguments else None
    app = typer.Typer(add_completion=False)
    app.command()(command or main)
    app(list(arguments[1:] if command else arguments), prog_name="python -m bench")


if __name__ == "__main__":
    run(sys.argv[1:])
