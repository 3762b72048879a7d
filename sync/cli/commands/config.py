"""Options and help of ``python -m sync config``."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(name="config", help="Check the settings.", no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def settings() -> None:
    """Check the settings."""


@app.command("check")
def check(
    *,
    connect_too: Annotated[
        bool, typer.Option("--connect", help="Test the connection to each service with the identity of the sync.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as one JSON object.")] = False,
) -> None:
    """
    List settings that are missing, invalid, contradictory, insecure or unknown.

    Values are never shown, because settings hold secrets. `--connect` tests each service and names the missing role if
    access is refused, all at once and each for ten seconds at most; it writes one row to the state account and deletes
    it again.

    **Examples**

    - before a deployment, with the settings in the environment: `python -m sync config check`

    - in the function app's own place, or signed in with `az login` to an Azure subscription:
      `python -m sync config check --connect`

    **Exit codes**

    - 0: all settings are valid; there may be advice

    - 1: a setting is invalid or insecure

    - 3: the settings are valid, but a service did not answer or refused access
    """
    from sync.cli import config as command

    command.check(connect_too=connect_too, as_json=as_json)
