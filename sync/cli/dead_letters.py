"""``python -m sync dead-letters``: list, show, retry and discard dead letters."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Column, Table

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, EXIT_USAGE, console, results, shown
from sync.dead_letters import as_json as as_json_of
from sync.dead_letters import queries as letters
from sync.dead_letters.actions import Outcome, Report, Selection, discard, retry, reveal
from sync.model import DeadLetter, SubjectKind
from sync.monitoring.counts import Count, count_all
from sync.ports import Counted

if TYPE_CHECKING:
    from sync.bootstrap import Running


_LEAST = 110
"""Terminal columns that a key needs beside the details of its dead letter; in a narrower terminal lines wrap."""


def list_dead_letters(*, code: str, limit: int, as_json: bool) -> None:
    """List dead letters: counts by code, or the items of one code."""
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


def show_dead_letter(*, kind: str, subject: str, secrets: bool, who: str, as_json: bool) -> None:
    """Show one dead letter."""
    by = who if secrets else None
    fields = with_services(lambda running: _one(SubjectKind(kind), subject, running, revealed_to=by))
    if fields is None:
        console().print("there is no such dead letter; it may have been resolved")
        raise typer.Exit(EXIT_REJECTED)
    table = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        table.add_row(name, shown(json.dumps(value) if isinstance(value, dict) else str(value)))
    _say(fields, table, as_json=as_json)


def retry_selected(
    *, kind: str | None, subject: str, code: str, everything: bool, who: str, dry_run: bool, as_json: bool
) -> None:
    """Requeue dead-lettered items after the cause is fixed."""
    selection = _selection(kind, subject, code, everything=everything)
    report = with_services(
        lambda running: retry(selection, running.sources, running.services, who=who, dry_run=dry_run)
    )
    _report(report, code, "asked", as_json=as_json)
    if report.of(Outcome.REFUSED) or report.of(Outcome.NOT_KEPT):
        raise typer.Exit(EXIT_REJECTED)


def discard_selected(
    *,
    why: str,
    kind: str | None,
    subject: str,
    code: str,
    everything: bool,
    who: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Discard dead letters permanently. Table `audit` keeps who, when and why."""
    selection = _selection(kind, subject, code, everything=everything)
    if not why.strip():
        _refuse("--why: say why")
    report = with_services(lambda running: discard(selection, running.services, who=who, why=why, dry_run=dry_run))
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


async def _one(kind: SubjectKind, subject: str, running: Running, *, revealed_to: str | None) -> dict[str, Any] | None:
    s = running.services
    letter = await letters.show(kind, subject, s)
    if letter is None:
        return None
    body = letter.shown()
    if revealed_to is not None:
        body |= as_json_of.revealed(await reveal(letter, s, who=revealed_to))
    return body


def _selection(kind: str | None, subject: str, code: str, *, everything: bool) -> Selection:
    """Return the selection, given in exactly one way, so that no mistake selects all."""
    if [kind is not None, bool(code), everything].count(True) != 1 or (kind is None) != (not subject):
        _refuse("name the dead letters in exactly one way: KIND SUBJECT, --code or --all")
    return Selection(kind=SubjectKind(kind) if kind else None, subject=subject, code=code or None)


def _refuse(why: str) -> None:
    console().print(why)
    raise typer.Exit(EXIT_USAGE)


def _tell_of_unknown(code: str, count: int) -> None:
    """
    Name the code that was probably meant, if there is no dead letter of this code and no such code at all.

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
        meant = f"; did you mean {near[0]}?" if near else "; `dead-letters list` shows the current codes"
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
