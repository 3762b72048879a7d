"""Arguments that several commands on collected tables share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

RuleFile = Annotated[Path, typer.Argument(metavar="FILE", help="The rule, YAML.", show_default=False)]
DataFolder = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder that collect filled.")]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results of that name.")]


class Engine(StrEnum):
    """The engine that runs views and questions."""

    DUCKDB = "duckdb"
    SPARK = "spark"
