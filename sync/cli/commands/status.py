"""Options and help of ``python -m sync status``."""

from __future__ import annotations

from typing import Annotated

import typer


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every two seconds until Ctrl-C.")] = False,  # noqa: FBT002 - typer
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, one object per refresh.")] = False,  # noqa: FBT002 - typer
) -> None:
    """
    Show whether imaging and FHIR agree, what is pending, and why.

    Shows the same as `GET api/status`, read from the state account. It also works while the function app is stopped,
    and then says so.

    **Examples**

    - once: `python -m sync status`

    - on a wall screen: `python -m sync status --watch`

    - for a script: `python -m sync status --json | jq .health.verdict`

    **Exit codes**

    - 0: in sync, or behind and progressing; with `--watch`: the state when Ctrl-C ended it

    - 1: failing: a critical alert is active, or the timers do not run

    - 2: wrong usage or setting

    - 3: the state account did not answer

    - 141: the reader of standard output closed it
    """
    from sync.cli import show_status as command

    command.status(watch=watch, as_json=as_json)
