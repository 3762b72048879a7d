"""``python -m sync walks``: list, pause, resume and cancel walks that processes share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from sync.cli.connecting import with_services
from sync.cli.reporting import console
from sync.cli.user import user_name
from sync.errors import RequestRefused
from sync.operators.walks import Deed, as_json, control_walk, list_walks, named_walk, read_progress, title_of
from sync.protocol.walk_rows import WalkProgress
from sync.words import tallied

if TYPE_CHECKING:
    from sync.bootstrap import Running

app = typer.Typer(
    name="walks", help="Replays, backfills, comparisons, exports: list, pause, resume, cancel.", no_args_is_help=True
)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the walk, as `walks list` shows it.")]
Who = Annotated[str, typer.Option("--as", help="Name to record; default: your user name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, one walk per line.")]


@app.command("list")
def list_all(as_json_lines: AsJson = False) -> None:  # noqa: FBT002 -- typer
    """
    List replays, backfills, comparisons and exports with their progress over all workers, and the time that is left.

    **Examples**

    - `python -m sync walks list`

    **Exit codes**

    - 0: listed

    - 2: wrong usage or setting

    - 3: the state account did not answer
    """
    walks = with_services(lambda running: list_walks(running.services))
    if not walks and not as_json_lines:
        console().print("No replays, backfills, comparisons or exports.")
    for progress in walks:
        typer.echo(json.dumps(as_json(progress)) if as_json_lines else said(progress))


@app.command()
def pause(walk: Id, who: Who = "") -> None:
    """
    Pause a walk: its workers stop within seconds, and keep what is done. Idempotent.

    **Examples**

    - `python -m sync walks pause 0f3c9d2a7b11`

    **Exit codes**

    - 0: it is paused, or was over before

    - 2: wrong usage or setting; no such walk

    - 3: the state account did not answer
    """
    _change(walk, Deed.PAUSE, who)


@app.command()
def resume(walk: Id, who: Who = "") -> None:
    """
    Resume a paused walk. Idempotent.

    **Examples**

    - `python -m sync walks resume 0f3c9d2a7b11`

    **Exit codes**

    - 0: it runs, or was over before

    - 2: wrong usage or setting; no such walk

    - 3: the state account did not answer
    """
    _change(walk, Deed.RESUME, who)


@app.command()
def cancel(walk: Id, who: Who = "") -> None:
    """
    Cancel a walk: what is done stays done, the rest is left. Idempotent.

    **Examples**

    - `python -m sync walks cancel 0f3c9d2a7b11`

    **Exit codes**

    - 0: it is cancelled, or was over before

    - 2: wrong usage or setting; no such walk

    - 3: the state account did not answer
    """
    _change(walk, Deed.CANCEL, who)


def _change(walk: str, deed: Deed, who: str) -> None:
    async def change(running: Running) -> str:
        s = running.services
        try:
            row = await named_walk(walk, s)
        except RequestRefused as problem:
            raise typer.BadParameter(f"{problem.detail}. {problem.hint}", param_hint="ID") from None
        await control_walk(row.name, deed, s, who=who or user_name())
        return said(await read_progress(row.name, s))

    typer.echo(with_services(change))


def said(progress: WalkProgress) -> str:
    """Say how far a walk is, in one line."""
    row = progress.row
    share = f", {progress.share:.0%}" if progress.share is not None else ""
    left = f", about {progress.seconds_left:,.0f} s left" if progress.seconds_left is not None else ""
    workers = f", {progress.workers} at work" if progress.workers else ""
    counts = tallied(progress.counts) or "nothing yet"
    return f"{row.id}  {row.state.value:<9} {title_of(row)}{share}{left}{workers}: {counts}"
