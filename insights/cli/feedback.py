"""``python -m sync feedback``: what a reader said of images beside what was found later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from insights.cli.options import DataFolder, OutFolder, Overwrite, RuleFile
from insights.cli.reporting import command, console

app = typer.Typer(
    name="feedback",
    help="Feedback to a reader: what was said, what was found.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.callback()
def _feedback() -> None:
    """Hold the commands of feedback to readers."""


@app.command("report")
@command
def report_feedback(
    file: RuleFile,
    *,
    reader: Annotated[
        str,
        typer.Option(metavar="READER", help="Practitioner/ID, or SYSTEM|VALUE of an identifier.", show_default=False),
    ],
    out: OutFolder,
    data: DataFolder = Path("data"),
    overwrite: Overwrite = False,
) -> None:
    """
    Tell one reader what was found after the reads: you said, was found, days between, agreement.

    It begins with coverage, for an outcome is known of few reads. There are no scores and no ranking, and only the
    reads of that reader are in it; the files hold real ids, are readable by their owner only, and `audit.ndjson` beside
    the data notes that they were made. Which outcome answers which read, and the limits: docs/feedback.md.

    **Examples**

    - of a reader in the directory: `python -m sync feedback report nodules.yaml --reader Practitioner/17 --out mine`

    - by an identifier: `python -m sync feedback report nodules.yaml --reader r-17 --out mine`

    **Exit codes**

    - 0: the report is written

    - 2: the rule or the data is wrong, or no report names the reader; nothing was written
    """
    from insights.outcomes.feedback import report  # noqa: PLC0415 -- loaded when the command runs

    typer.echo(report(file, data, reader, out, overwrite=overwrite), nl=False)
    console().print(f"written to {out}")
