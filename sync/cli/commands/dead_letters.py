"""Options and help of ``python -m sync dead-letters``."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from sync.cli.commands import Who, Why

app = typer.Typer(
    name="dead-letters",
    help="Dead letters: list, show, retry, discard.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


class SubjectKind(enum.Enum):
    """The kinds of `sync.model.SubjectKind`, whose module the help need not wait for."""

    OBJECT = "object"
    STUDY = "study"
    MESSAGE = "message"


Kind = Annotated[SubjectKind | None, typer.Argument(help="Kind of the subject.", show_default=False)]
Subject = Annotated[str, typer.Argument(help="Hashed key of the subject, as shown by `list`.", show_default=False)]
Code = Annotated[str, typer.Option("--code", help="All dead letters of this code, such as `fhir.rejected`.")]
Everything = Annotated[bool, typer.Option("--all", help="All dead letters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Dry run: count what would be changed; change nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as one JSON object.")]


@app.command("list")
def list_dead_letters(
    code: Annotated[str, typer.Option("--code", help="List the items of this code instead of the counts.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of items to list.")] = 100,
    as_json: AsJson = False,  # noqa: FBT002 -- typer
) -> None:
    """
    List dead letters: counts by code, or the items of one code.

    **Examples**

    - counts by code: `python -m sync dead-letters list`

    - items of one code: `python -m sync dead-letters list --code header.not_dicom`

    - for a script: `python -m sync dead-letters list --json | jq .by_code`

    **Exit codes**

    - 0: there are no dead letters

    - 1: there are dead letters

    - 2: wrong usage or setting

    - 3: storage did not answer
    """
    from sync.cli import dead_letters as command

    command.list_dead_letters(code=code, limit=limit, as_json=as_json)


@app.command("show", no_args_is_help=True)
def show_dead_letter(
    kind: Annotated[SubjectKind, typer.Argument(help="Kind of the subject.", show_default=False)],
    subject: Annotated[str, typer.Argument(help="Hashed key of the subject, as shown by `list`.", show_default=False)],
    secrets: Annotated[  # noqa: FBT002 -- typer
        bool, typer.Option("--secrets", help="Also show object name, study UID and message. **Patient data.**")
    ] = False,
    who: Who = "",
    as_json: AsJson = False,  # noqa: FBT002 -- typer
) -> None:
    """
    Show one dead letter.

    Table `audit` keeps who was shown `--secrets`.

    **Examples**

    - why a study is not in FHIR: `python -m sync dead-letters show study KEY`

    - the file name of a dead letter: `python -m sync dead-letters show object KEY --secrets`

    **Exit codes**

    - 0: shown

    - 1: there is no such dead letter; it may have been resolved

    - 2: wrong usage or setting

    - 3: storage did not answer
    """
    from sync.cli import dead_letters as command

    command.show_dead_letter(kind=kind.value, subject=subject, secrets=secrets, who=who, as_json=as_json)


@app.command("retry", no_args_is_help=True)
def retry_selected(  # noqa: PLR0917 -- a command's options
    kind: Kind = None,
    subject: Subject = "",
    code: Code = "",
    everything: Everything = False,  # noqa: FBT002 -- typer
    who: Who = "",
    dry_run: DryRun = False,  # noqa: FBT002 -- typer
    as_json: AsJson = False,  # noqa: FBT002 -- typer
) -> None:
    """
    Requeue dead-lettered items after the cause is fixed.

    Running functions do the work through the ordinary queues. A dead letter is cleared only when its subject succeeds.
    Idempotent; it may be interrupted at any time. Table `audit` keeps who and when.

    **Examples**

    - one item: `python -m sync dead-letters retry study KEY`

    - all studies that FHIR rejected: `python -m sync dead-letters retry --code fhir.rejected`

    - count them first: `python -m sync dead-letters retry --all --dry-run`

    **Counted**: `asked` (requeued), `refused` (the message is still invalid), `not_kept` (the data for a retry is
    gone; run a backfill), `gone` (resolved in the meantime).

    **Exit codes**

    - 0: all were requeued, or resolved in the meantime

    - 1: some cannot be retried

    - 2: wrong usage or setting; nothing was done

    - 3: storage did not answer; run it again
    """
    from sync.cli import dead_letters as command

    command.retry_selected(
        kind=kind.value if kind else None,
        subject=subject,
        code=code,
        everything=everything,
        who=who,
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command("discard", no_args_is_help=True)
def discard_selected(  # noqa: PLR0917 -- a command's options
    why: Why,
    kind: Kind = None,
    subject: Subject = "",
    code: Code = "",
    everything: Everything = False,  # noqa: FBT002 -- typer
    who: Who = "",
    dry_run: DryRun = False,  # noqa: FBT002 -- typer
    as_json: AsJson = False,  # noqa: FBT002 -- typer
) -> None:
    """
    Discard dead letters permanently. Table `audit` keeps who, when and why.

    Nothing else changes: the object or study stays as it is, and a new dead letter is written if it fails again.

    **Examples**

    - one item: `python -m sync dead-letters discard object KEY --why "a text file, deleted at its source"`

    - all of one code: `python -m sync dead-letters discard --code header.dicomdir --why "the files they list are here"`

    **Counted**: `discarded`, `changed` (failed again in the meantime, and kept), `gone` (resolved in the meantime).

    **Exit codes**

    - 0: all were discarded

    - 1: some failed again in the meantime and were kept

    - 2: wrong usage or setting; nothing was done

    - 3: storage did not answer; run it again
    """
    from sync.cli import dead_letters as command

    command.discard_selected(
        why=why,
        kind=kind.value if kind else None,
        subject=subject,
        code=code,
        everything=everything,
        who=who,
        dry_run=dry_run,
        as_json=as_json,
    )
