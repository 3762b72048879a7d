"""Options and help of ``python -m sync dashboard``."""

from __future__ import annotations

from typing import Annotated

import typer

from sync.cli.commands import name_to_record

PORT = 8710


def dashboard(
    port: Annotated[int, typer.Option("--port", help="Local port; 0 chooses a free one.", min=0, max=65535)] = PORT,
    browser: Annotated[bool, typer.Option("--open", help="Open the dashboard in a browser.")] = False,  # noqa: FBT002 - typer
    who: Annotated[
        str,
        typer.Option("--as", callback=name_to_record, help="Name to record for actions; default: your user name."),
    ] = "",
) -> None:
    """
    Serve the dashboard on this machine until Ctrl-C or SIGTERM.

    Shows the pages and actions of `api/dashboard`, read from the state account with your identity. It also works while
    the function app is stopped, and then says so. Only this machine can reach it, and only with the printed address.

    **Examples**

    - view and operate: `python -m sync dashboard --open`

    **Exit codes**

    - 0: ended by a signal

    - 2: wrong usage or setting, or the port is in use

    - 3: the state account did not answer at the start
    """
    from sync.cli import dashboard as command

    command.dashboard(port=port, browser=browser, who=who)
