"""
``python -m bench [SECTION…] [--quick]``: measure, print goal, measured and met, write ``bench/results.json``.

Exit status: 0 when all was measured, whatever the goals say, for this is not a test; 1 when something was not.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from bench import burst_calls, comparison, goals, header_speed, pages, scale
from bench.worlds import BenchError
from local.processes import StartError


class Name(enum.StrEnum):
    """The sections."""

    HEADER = "header"
    CALLS = "calls"
    CAST = "cast"
    SCALE = "scale"
    MEMORY = "memory"
    PAGES = "pages"


SECTIONS: dict[Name, Callable[[bool], goals.Section]] = {
    Name.HEADER: lambda _: header_speed.section(),
    Name.CALLS: lambda _: burst_calls.measure(),
    Name.CAST: lambda quick: comparison.measure(quick=quick),
    Name.SCALE: lambda quick: scale.measure(quick=quick),
    Name.MEMORY: lambda quick: scale.measure_memory(quick=quick),
    Name.PAGES: lambda quick: pages.measure(quick=quick),
}


def main(
    names: Annotated[list[Name] | None, typer.Argument(help="what to measure; all of it by default")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="small sizes, one round: about four minutes")] = False,
) -> None:
    """Measure what the sync costs."""
    console, errors = Console(), Console(stderr=True)
    measured = []
    for name in names or SECTIONS:
        start = time.monotonic()
        with errors.status(f"measuring {name}"):
            try:
                measured.append(SECTIONS[name](quick))
            except (BenchError, StartError) as problem:
                errors.print(f"{name} could not be measured: {problem}", style="red", markup=False)
                raise typer.Exit(1) from problem
        goals.write(measured[-1], quick=quick)
        errors.print(f"{name}: {time.monotonic() - start:.0f} s", style="dim")
    goals.show(measured, console)
    console.print(f"Written to {goals.RESULTS}", style="dim", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
