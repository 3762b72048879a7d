"""``python -m sync removals``: show, confirm or refuse the removals that the ceiling holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sync.cli.connecting import with_services
from sync.cli.user import user_name
from sync.dead_letters.held_removals import HELD, confirm_removals, refuse_removals
from sync.monitoring.counts import count_all
from sync.ports import Counted
from sync.protocol.removals import read_ceiling
from sync.words import counted

if TYPE_CHECKING:
    from sync.bootstrap import Running

app = typer.Typer(name="removals", help="Removals past the ceiling: show, confirm, refuse.", no_args_is_help=True)

Why = Annotated[str, typer.Option("--why", help="Reason to record.")]
Who = Annotated[str, typer.Option("--as", help="Name to record; default: your user name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


@app.command()
def show(as_json: AsJson = False) -> None:  # noqa: FBT002 - typer
    """
    Show how many studies lost instances within the hour, and how many removals are held.

    **Examples**

    - `python -m sync removals show`

    **Exit codes**

    - 0: shown

    - 2: wrong usage or setting

    - 3: the state account did not answer
    """
    ceiling = with_services(_shown)
    if as_json:
        typer.echo(json.dumps(ceiling))
        return
    since = f", held since {ceiling['held_since']}" if ceiling["held_since"] else ""
    limit = counted(ceiling["limit"], "study", "studies")
    typer.echo(f"removals: {ceiling['studies']} of {limit} in this hour, {ceiling['held']} held{since}")


@app.command()
def confirm(why: Why, who: Who = "") -> None:
    """
    Release the removals that are held now; each object is inspected once more first. Idempotent.

    **Examples**

    - `python -m sync removals confirm --why "the trial's container was emptied on purpose"`

    **Exit codes**

    - 0: confirmed

    - 2: wrong usage or setting

    - 3: the state account did not answer; repeat the command
    """

    async def decide(running: Running) -> int:
        return await confirm_removals(running.sources, running.services, who=who or user_name(), why=_reason(why))

    typer.echo(f"confirmed: {with_services(decide)} are inspected again, and go if they are gone")


@app.command()
def refuse(why: Why, who: Who = "") -> None:
    """
    Drop the removals that are held now; FHIR keeps these resources. Idempotent.

    **Examples**

    - `python -m sync removals refuse --why "the gateway answered for the store"`

    **Exit codes**

    - 0: refused

    - 2: wrong usage or setting

    - 3: the state account did not answer; repeat the command
    """

    async def decide(running: Running) -> int:
        return await refuse_removals(running.services, who=who or user_name(), why=_reason(why))

    typer.echo(f"refused: {counted(with_services(decide), 'removal')} dropped")


def _reason(why: str) -> str:
    if not why.strip():
        raise typer.BadParameter("say why", param_hint="--why")
    return why[:1000]


async def _shown(running: Running) -> dict[str, Any]:
    ceiling = await read_ceiling(running.services)
    counted = await count_all(Counted.DEAD_LETTERS, running.services)
    return {
        "studies": len(ceiling.studies),
        "limit": ceiling.limit,
        "held": counted.counts.get(HELD.code or "", 0),
        "held_since": ceiling.held_since.isoformat() if ceiling.held_since else None,
    }
