"""``python -m sync dead-letters``: what needs an operator, and what can be done about it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, EXIT_USAGE, console, results, shown
from sync.cli.user import user_name
from sync.dead_letters import as_json as as_json_of
from sync.dead_letters import queries as letters
from sync.dead_letters.actions import Outcome, Report, Selection, discard, retry, reveal
from sync.model import DeadLetter, SubjectKind
from sync.monitoring.counts import Count, count_all
from sync.ports import Counted

if TYPE_CHECKING:
    from sync.bootstrap import Running

app = typer.Typer(
    name="dead-letters",
    help="Dead letters: list, show, retry, discard.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Kind = Annotated[SubjectKind | None, typer.Argument(help="Kind of the subject.", show_default=False)]
Subject = Annotated[str, typer.Argument(help="Hashed key of the subject, as shown by `list`.", show_default=False)]
Code = Annotated[str, typer.Option("--code", help="All dead letters of this code, such as `fhir.rejected`.")]
Everything = Annotated[bool, typer.Option("--all", help="All dead letters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Dry run: count what would be changed; change nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as one JSON object.")]

_LEAST = 110
"""Columns that a key needs beside the details of its dead letter; a narrower terminal wraps the lines."""


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
    if code:
        letters = with_services(lambda running: _dead_letters_of(code, limit, running))
        count = len(letters)
        _tell_of_unknown(code, count)
        table = _dead_letter_table(letters) if letters else f"No dead letters of {code}."
        _say({"letters": [letter.shown() for letter in letters]}, table, as_json=as_json)
    else:
        total, groups = with_services(_groups)
        table = _group_table(groups) if groups else "No dead letters."
        _say(as_json_of.grouped(groups, total), table, as_json=as_json)
        count = len(groups)
    if count:
        raise typer.Exit(EXIT_REJECTED)


@app.command("show", no_args_is_help=True)
def show_dead_letter(
    kind: Annotated[SubjectKind, typer.Argument(help="Kind of the subject.", show_default=False)],
    subject: Annotated[str, typer.Argument(help="Hashed key of the subject, as shown by `list`.", show_default=False)],
    secrets: Annotated[  # noqa: FBT002 -- typer
        bool, typer.Option("--secrets", help="Also show object name, study UID and message. **Patient data.**")
    ] = False,
    as_json: AsJson = False,  # noqa: FBT002 -- typer
) -> None:
    """
    Show one dead letter.

    **Examples**

    - why a study is not in FHIR: `python -m sync dead-letters show study KEY`

    - the file name of a dead letter: `python -m sync dead-letters show object KEY --secrets`

    **Exit codes**

    - 0: shown

    - 1: there is no such dead letter; it may have been resolved

    - 2: wrong usage or setting

    - 3: storage did not answer
    """
    fields = with_services(lambda running: _one(kind, subject, running, secrets=secrets))
    if fields is None:
        console().print("there is no such dead letter; it may have been resolved")
        raise typer.Exit(EXIT_REJECTED)
    table = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        table.add_row(name, shown(json.dumps(value) if isinstance(value, dict) else str(value)))
    _say(fields, table, as_json=as_json)


@app.command("retry", no_args_is_help=True)
def retry_selected(  # noqa: PLR0917 -- a command's options
    kind: Kind = None,
    subject: Subject = "",
    code: Code = "",
    everything: Everything = False,  # noqa: FBT002 -- typer
    dry_run: DryRun = False,  # noqa: FBT002 -- typer
    as_json: AsJson = False,  # noqa: FBT002 -- typer
) -> None:
    """
    Requeue dead-lettered items after the cause is fixed.

    Running functions do the work through the ordinary queues. A dead letter is cleared only when its subject succeeds.
    Idempotent; it may be interrupted at any time.

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
    selection = _selection(kind, subject, code, everything=everything)
    report = with_services(
        lambda running: retry(selection, running.sources, running.services, who=user_name(), dry_run=dry_run)
    )
    _report(report, code, "asked", as_json=as_json)
    if report.of(Outcome.REFUSED) or report.of(Outcome.NOT_KEPT):
        raise typer.Exit(EXIT_REJECTED)


@app.command("discard", no_args_is_help=True)
def discard_selected(  # noqa: PLR0917 -- a command's options
    why: Annotated[str, typer.Option("--why", help="Reason for the audit trail; no patient data.")],
    kind: Kind = None,
    subject: Subject = "",
    code: Code = "",
    everything: Everything = False,  # noqa: FBT002 -- typer
    who: Annotated[str, typer.Option("--who", help="Name to record; default: your user name.")] = "",
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
    selection, by = _selection(kind, subject, code, everything=everything), who.strip() or user_name()
    if not why.strip():
        _refuse("--why: say why")
    report = with_services(lambda running: discard(selection, running.services, who=by, why=why, dry_run=dry_run))
    _report(report, code, "discarded", as_json=as_json)
    if report.of(Outcome.CHANGED):
        raise typer.Exit(EXIT_REJECTED)


async def _groups(running: Running) -> tuple[Count, Sequence[letters.Group]]:
    count = await count_all(Counted.DEAD_LETTERS, running.services)
    return count, await letters.overview(count, running.services)


async def _dead_letters_of(code: str, limit: int, running: Running) -> Sequence[DeadLetter]:
    collected: list[DeadLetter] = []
    page = await letters.browse(running.services, code=code, limit=limit)
    collected += page.letters
    while page.token is not None and len(collected) < limit:
        page = await letters.browse(running.services, code=code, limit=limit - len(collected), token=page.token)
        collected += page.letters
    return collected


async def _one(kind: SubjectKind, subject: str, running: Running, *, secrets: bool) -> dict[str, Any] | None:
    s = running.services
    letter = await letters.show(kind, subject, s)
    if letter is None:
        return None
    body = letter.shown()
    if secrets:
        body |= as_json_of.revealed(await reveal(letter, s, who=user_name()))
    return body


def _selection(kind: SubjectKind | None, subject: str, code: str, *, everything: bool) -> Selection:
    """Exactly one way of saying which: nothing is taken for "all" by mistake."""
    if [kind is not None, bool(code), everything].count(True) != 1 or (kind is None) != (not subject):
        _refuse("say which: KIND SUBJECT, or --code, or --all")
    return Selection(kind=kind, subject=subject, code=code or None)


def _refuse(why: str) -> None:
    console().print(why)
    raise typer.Exit(EXIT_USAGE)


def _tell_of_unknown(code: str, count: int) -> None:
    """
    Name the code that was probably meant, if there is no dead letter of this one and no such code at all.

    Raises
    ------
    typer.Exit
        With `EXIT_USAGE`: "none" would be taken for "resolved".
    """
    if not code or count:
        return
    from sync.web.runbook import entries  # noqa: PLC0415 -- it loads the templates of the dashboard

    codes = entries()
    if code not in codes:
        near = difflib.get_close_matches(code, codes, n=1)
        meant = f"; did you mean {near[0]}?" if near else "; `dead-letters list` shows those that there are"
        _refuse(f"--code: there is no code {shown(code)}{meant}")


def _report(report: Report, code: str, verb: str, *, as_json: bool) -> None:
    _tell_of_unknown(code, report.selected)
    table = Table.grid(padding=(0, 2))
    for selected, count in report.by_code.items():
        table.add_row(selected, f"{count:,}", f"would be {verb}" if report.dry_run else "")
    for outcome, count in report.outcomes.items():
        table.add_row(outcome.value, f"{count:,}")
    if not report.selected:
        table.add_row("none; they may have been resolved")
    _say(as_json_of.counted(report), table, as_json=as_json)


def _group_table(groups: Sequence[letters.Group]) -> Table:
    table = Table(_whole("code"), "letters", "oldest", "newest", "what to do", box=None, pad_edge=False)
    for group in groups:
        newest = group.newest[0].last_at if group.newest else None
        table.add_row(group.code, f"{group.count:,}", _when(group.oldest_at), _when(newest), group.hint)
    return table


def _dead_letter_table(letters: Sequence[DeadLetter]) -> Table:
    table = Table("kind", _whole("subject"), "times", "last", "detail", box=None, pad_edge=False)
    for letter in letters:
        table.add_row(letter.kind.value, letter.subject, f"{letter.attempts:,}", _when(letter.last_at), letter.detail)
    return table


def _whole(name: str) -> Column:
    """Return a column whose cells are copied into the next command, so that none is cut."""
    return Column(name, no_wrap=True)


def _when(timestamp: datetime | None) -> str:
    return f"{timestamp:%Y-%m-%d %H:%MZ}" if timestamp else ""


def _say(body: dict[str, Any], table: Table | str, *, as_json: bool) -> None:
    """Write the result; a sentence that there is none goes to the terminal, and no line to standard output."""
    if as_json:
        typer.echo(json.dumps(body))
    elif isinstance(table, str):
        console().print(table)
    else:
        results(_LEAST).print(table)
