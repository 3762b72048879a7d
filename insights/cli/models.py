"""``python -m sync models``: compares an algorithm's findings in images with later outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from insights.cli.options import DataFolder, OutFolder, Overwrite, RuleFile
from insights.cli.reporting import command, console

app = typer.Typer(
    name="models",
    help="Compare findings and sizes of an algorithm with outcomes and implants.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.callback()
def _models() -> None:
    """Hold the commands on models."""


@app.command("report")
@command
def report_model(
    file: RuleFile,
    *,
    model: Annotated[
        str, typer.Option(metavar="NAME VERSION", help="Name and version of its Device.", show_default=False)
    ],
    out: OutFolder,
    data: DataFolder = Path("data"),
    rows: Annotated[
        bool,
        typer.Option("--rows", help="Write truth.ndjson and small cells too; needs purpose and approval, is audited."),
    ] = False,
    identified: Annotated[bool, typer.Option("--identified", help="Rows with real ids and UIDs.")] = False,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Key of the pseudonyms; without it one beside the data.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """
    Compare the findings of one version of an algorithm with outcomes, and recommended sizes with implants.

    The report has a confusion matrix with predictive values, agreement and kappa; sensitivity and specificity, raw and
    corrected for partial verification (withheld if no negative finding was verified); and bias and limits of sizes.
    Cells below `DICOM_SYNC_MINIMUM_CELL` (11) people, and cells that would reveal them, are hidden unless rows may be
    written. docs/models.md explains which outcome answers which finding, and the limits.

    **Examples**

    - figures: `python -m sync models report nodules.yaml --model "Nodule Finder 2.1" --out figures`

    - for training too: `python -m sync models report nodules.yaml --model "Nodule Finder 2.1" --out truth --rows`

    **Exit codes**

    - 0: the report is written

    - 1: too few people, or rows without purpose and approval; nothing was written

    - 2: the rule or the data is wrong, or no such model has findings; nothing was written
    """
    from insights.outcomes.models import Wanted, report  # noqa: PLC0415 -- loaded when the command runs
    from insights.settings import InsightsSettings  # noqa: PLC0415

    wanted = Wanted(
        out=out,
        overwrite=overwrite,
        rows=rows or identified,
        identified=identified,
        key=key,
        minimum=InsightsSettings.load().minimum_cell,
    )
    typer.echo(report(file, data, model, wanted), nl=False)
    console().print(f"written to {out}")
