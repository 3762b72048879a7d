"""Options and help of ``python -m sync walks``."""

from __future__ import annotations

from typing import Annotated

import typer

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
    from sync.cli import walk_control as command

    command.list_all(as_json_lines=as_json_lines)


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
    from sync.cli import walk_control as command

    command.pause(walk=walk, who=who)


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
    from sync.cli import walk_control as command

    command.resume(walk=walk, who=who)


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
    from sync.cli import walk_control as command

    command.cancel(walk=walk, who=who)
