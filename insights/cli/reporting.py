"""Failures and output of the commands of `insights`: results go to standard output, all else to standard error."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from insights.errors import EXIT_USAGE, InsightsError

EXTRA = {"duckdb": "insights", "yaml": "insights", "pyspark": "spark", "sqlglot": "spark"}
"""Modules that extras install, and their extra."""


def console() -> Console:
    """Return standard error as plain text: values of files may look like markup."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def command(run: Callable[..., None]) -> Callable[..., None]:
    """Turn failures of a command into one line on standard error and an exit code."""

    @functools.wraps(run)
    def reported(*arguments: Any, **options: Any) -> None:
        try:
            run(*arguments, **options)
        except InsightsError as problem:
            console().print(f"error  {problem.code}: {problem.message}")
            if problem.hint:
                console().print(f"hint   {problem.hint}")
            raise typer.Exit(problem.exit_code) from None
        except ModuleNotFoundError as problem:
            if problem.name not in EXTRA:
                raise
            console().print(f"error  insights.not_installed: this command needs {problem.name}")
            console().print(f"hint   Install the extra, in the clone: pip install '.[{EXTRA[problem.name]}]'")
            raise typer.Exit(EXIT_USAGE) from None

    return reported
