"""
Goals and measured figures: rows of the table, and of ``bench/results.json``.

A section returns its goals and its figures, all of them JSON. A goal compares one figure with one bound.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"

_LIBRARIES = ("azure-core", "azure-data-tables", "azure-storage-blob", "httpx", "pydicom", "fhir.resources", "aiohttp")

TIMES_VARY = 0.3
"""Tolerance of times, also of their ratios: they vary with the load of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One figure and its bound."""

    what: str
    measured: float
    bound: float
    at_least: bool = False
    """Whether the figure must reach the bound; otherwise it must not exceed it."""

    unit: str = ""
    floor: float | None = None
    """The best that the machine or the protocol allows, measured or counted in the same run."""

    tolerance: float = 0.1
    """By how much another run may differ, as a share, before it counts as a regression: counts hardly vary."""

    @property
    def met(self) -> bool:
        """Whether it is met."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    def as_json(self) -> dict[str, Any]:
        """Return it as the results file has it."""
        bound = {"at_least" if self.at_least else "at_most": self.bound}
        floor = {} if self.floor is None else {"floor": round(self.floor, 4)}
        judged = {"unit": self.unit, "met": self.met, "tolerance": self.tolerance}
        return {"what": self.what, "measured": round(self.measured, 4), **floor, **bound, **judged}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The measurements of one section, and how they were taken."""

    name: str
    how: str
    goals: Sequence[Goal]
    figures: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as the results file has it."""
        return {"how": self.how, "goals": [goal.as_json() for goal in self.goals], "figures": dict(self.figures)}


def show(sections: Sequence[Section], console: Console) -> None:
    """Print the table."""
    table = Table(title="What the sync costs")
    for name in ("", "figure", "floor", "goal", "measured", ""):
        table.add_column(name, justify="right" if name in ("floor", "goal", "measured") else "left")
    for section in sections:
        for number, goal in enumerate(section.goals):
            sign = "≥" if goal.at_least else "≤"
            verdict = "[green]met[/]" if goal.met else "[bold red]MISSED[/]"
            name = section.name if number == 0 else ""
            floor = "" if goal.floor is None else _text(goal.floor, goal.unit)
            bound, measured = f"{sign} {_text(goal.bound, goal.unit)}", _text(goal.measured, goal.unit)
            table.add_row(name, goal.what, floor, bound, measured, verdict)
        table.add_section()
    console.print(table)


def write(section: Section, *, quick: bool, took: float) -> None:
    """Write a section into the results file, with the seconds that it took; the others stay as they were."""
    circumstances = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "quick": quick,
        "took_seconds": round(took),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
    }
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results = {**known, section.name: section.as_json() | circumstances}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Describe the machine, and how busy it is besides us."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _text(value: float, unit: str) -> str:
    digits = 0 if value >= 100 else 2 if value < 10 else 1
    number = f"{value:,.{digits}f}"
    return number.rstrip("0").rstrip(".") + unit if "." in number else number + unit


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip()
