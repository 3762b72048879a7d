"""Options and help of ``python -m sync removals``."""

from __future__ import annotations

from typing import Annotated

import typer

from sync.cli.commands import Who, Why

app = typer.Typer(name="removals", help="Removals past the ceiling: show, confirm, refuse.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Until = Annotated[
    str | None, typer.Option("--until", help="Time that removals show printed: those held later stay held.")
]


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
    from sync.cli import removals as command

    command.show(as_json=as_json)


@app.command()
def confirm(why: Why, until: Until = None, who: Who = "") -> None:
    """
    Release the removals that are held now; each object is inspected once more first. Idempotent.

    **Examples**

    - `python -m sync removals confirm --why "the trial's container was emptied on purpose"`

    **Exit codes**

    - 0: confirmed

    - 2: wrong usage or setting

    - 3: the state account did not answer; repeat the command
    """
    from sync.cli import removals as command

    command.confirm(why=why, who=who, until=until)


@app.command()
def refuse(why: Why, until: Until = None, who: Who = "") -> None:
    """
    Drop the removals that are held now; FHIR keeps these resources. Idempotent.

    **Examples**

    - `python -m sync removals refuse --why "the gateway answered for the store"`

    **Exit codes**

    - 0: refused

    - 2: wrong usage or setting

    - 3: the state account did not answer; repeat the command
    """
    from sync.cli import removals as command

    command.refuse(why=why, who=who, until=until)
