"""``python -m sync removals``: show, confirm or refuse the removals that the ceiling holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from sync.cli.connecting import with_services
from sync.cli.walks import timestamp
from sync.dead_letters.held_removals import as_json as state_as_json
from sync.dead_letters.held_removals import confirm_removals, refuse_removals
from sync.monitoring.counts import count_all
from sync.ports import Counted
from sync.protocol.removals import read_ceiling
from sync.words import counted

if TYPE_CHECKING:
    from sync.bootstrap import Running


def show(*, as_json: bool) -> None:
    """Show how many studies lost instances within the hour, and how many removals are held."""
    ceiling = with_services(_shown)
    if as_json:
        typer.echo(json.dumps(ceiling))
        return
    since = f", held since {ceiling['held_since']}" if ceiling["held_since"] else ""
    limit = counted(ceiling["limit"], "study", "studies")
    typer.echo(f"removals: {ceiling['studies']} of {limit} in this hour, {ceiling['held']} held{since}")
    if ceiling["held"]:
        typer.echo(f"To decide on these and on none held later: removals confirm or refuse --until {ceiling['until']}")


def confirm(*, why: str, who: str, until: str | None) -> None:
    """Release the removals that are held now; each object is inspected once more first. Idempotent."""
    shown = timestamp(until, "--until")

    async def decide(running: Running) -> int:
        return await confirm_removals(running.sources, running.services, who=who, why=_reason(why), until=shown)

    typer.echo(f"confirmed: {with_services(decide)} are inspected again, and removed if they are gone")


def refuse(*, why: str, who: str, until: str | None) -> None:
    """Drop the removals that are held now; FHIR keeps these resources. Idempotent."""
    shown = timestamp(until, "--until")

    async def decide(running: Running) -> int:
        return await refuse_removals(running.services, who=who, why=_reason(why), until=shown)

    typer.echo(f"refused: {counted(with_services(decide), 'removal')} dropped")


def _reason(why: str) -> str:
    if not why.strip():
        raise typer.BadParameter("a reason is required", param_hint="--why")
    return why[:1000]


async def _shown(running: Running) -> dict[str, Any]:
    s = running.services
    until, ceiling, count = s.clock.now(), await read_ceiling(s), await count_all(Counted.DEAD_LETTERS, s)
    return state_as_json(ceiling, count.counts, until)
