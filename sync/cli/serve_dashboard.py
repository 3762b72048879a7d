"""``python -m sync dashboard``: the dashboard from this machine, whether the function app runs or not."""

from __future__ import annotations

import asyncio
import webbrowser
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from sync.cli.connecting import with_services
from sync.cli.reporting import console
from sync.cli.standing_watch import stop_by_signal
from sync.cli.user import user_name

if TYPE_CHECKING:
    from sync.bootstrap import Running

PORT = 8710


def dashboard(
    port: Annotated[int, typer.Option("--port", help="Local port; 0 chooses a free one.", min=0, max=65535)] = PORT,
    browser: Annotated[bool, typer.Option("--open", help="Open the dashboard in a browser.")] = False,  # noqa: FBT002 - typer
    who: Annotated[str, typer.Option("--as", help="Name to record for actions; default: your user name.")] = "",
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
    with_services(partial(_served, port=port, browser=browser, who=who or user_name()))


async def _served(running: Running, *, port: int, browser: bool, who: str) -> None:
    from sync.cli.dashboard_server import serving  # noqa: PLC0415 -- loading it takes time that others need not wait

    stop = stop_by_signal()
    async with serving(running, port=port, who=who) as door:
        console().print(f"the dashboard: {door.address}")
        if browser:
            await asyncio.to_thread(webbrowser.open, door.address)
        await stop.wait()
