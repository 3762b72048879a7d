"""Options and help of ``python -m sync walks``."""

from __future__ import annotations

from typing import Annotated

import typer

from sync.cli.commands import Who

app = typer.Typer(
    name="walks", help="Replays, backfills, comparisons, exports: list, pause, resume, cancel.", no_args_is_help=True
)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the walk, as `walks list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, one walk per line.")]


@app.command("list")
def list_all(as_json_lines: AsJson = False) -> None:  # noqa: FBT002 -- typer
    """
    List replays, backfills, comparisons and exports with their progress over all workers, and the remaining time.

    A *walk* is a long job: `backfill`, `replay`, `verify` and `export --container` cut it into slices that processes
    share. Use this command to find the id for `pause`, `resume` and `cancel`.

    **Examples**

    - `python -m sync walks list`

    - for a script: `python -m sync walks list --json | jq -r .id`

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
    Pause a walk: its workers stop within seconds, and finished work is kept. Idempotent.

    Use it to relieve a source or FHIR for some time. The command that started the walk ends with exit code 3.

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
    Resume a paused walk where it stopped. Idempotent.

    Running functions continue it; without a function app, run the command that started it again.

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
    Cancel a walk: finished work stays, the rest is not done. Idempotent.

    A cancelled walk cannot be resumed; the command that started it begins a new one.

    **Examples**

    - `python -m sync walks cancel 0f3c9d2a7b11`

    **Exit codes**

    - 0: it is cancelled, or was over before

    - 2: wrong usage or setting; no such walk

    - 3: the state account did not answer
    """
    from sync.cli import walk_control as command

    command.cancel(walk=walk, who=who)
