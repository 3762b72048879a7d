"""``python -m sync walks``: list, pause, resume and cancel walks that processes share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from sync.cli.connecting import with_services
from sync.cli.reporting import console
from sync.errors import RequestRefused
from sync.operators.unreadable_walks import REMEDY, UNREADABLE, control_named, unreadable_as_json, unreadable_on
from sync.operators.walks import Deed, as_json, title_of, walks_on
from sync.protocol.unreadable_walks import UnreadableWalk
from sync.protocol.walk_rows import Board, WalkProgress, read_board
from sync.words import tallied

if TYPE_CHECKING:
    from datetime import datetime

    from sync.bootstrap import Running


def list_all(*, as_json_lines: bool) -> None:
    """List walks with their progress over all workers, and the time that is left."""
    board, now = with_services(_read)
    walks, unreadable = walks_on(board, now), unreadable_on(board)
    if not walks and not unreadable and not as_json_lines:
        console().print("No replays, backfills, comparisons or exports.")
    for progress in walks:
        typer.echo(json.dumps(as_json(progress)) if as_json_lines else said(progress))
    for walk in unreadable:
        typer.echo(json.dumps(unreadable_as_json(walk)) if as_json_lines else f"{_named(walk, UNREADABLE)}. {REMEDY}")


async def _read(running: Running) -> tuple[Board, datetime]:
    return await read_board(running.services), running.services.clock.now()


def pause(*, walk: str, who: str) -> None:
    """Pause a walk: its workers stop within seconds, and finished work is kept. Idempotent."""
    _change(walk, Deed.PAUSE, who)


def resume(*, walk: str, who: str) -> None:
    """Resume a paused walk. Idempotent."""
    _change(walk, Deed.RESUME, who)


def cancel(*, walk: str, who: str) -> None:
    """Cancel a walk: finished work stays, the rest is not done. Idempotent."""
    _change(walk, Deed.CANCEL, who)


def _change(walk: str, deed: Deed, who: str) -> None:
    async def change(running: Running) -> str:
        try:
            done = await control_named(walk, deed, running.services, who=who)
        except RequestRefused as problem:
            raise typer.BadParameter(f"{problem.detail}. {problem.hint}", param_hint="ID") from None
        return _named(done.walk, done.state) if isinstance(done.walk, UnreadableWalk) else said(done.walk)

    typer.echo(with_services(change))


def said(progress: WalkProgress) -> str:
    """Return the progress of a walk in one line."""
    row = progress.row
    share = f", {progress.share:.0%}" if progress.share is not None else ""
    left = f", about {progress.seconds_left:,.0f} s left" if progress.seconds_left is not None else ""
    workers = f", {progress.workers} at work" if progress.workers else ""
    counts = tallied(progress.counts) or "nothing yet"
    problem = f" ({progress.problem})" if progress.problem else ""
    return f"{row.id}  {row.state.value:<9} {title_of(row)}{share}{left}{workers}: {counts}{problem}"


def _named(walk: UnreadableWalk, state: str) -> str:
    return f"{walk.run}  {state:<9} {walk.problem.detail} ({walk.problem.code})"
