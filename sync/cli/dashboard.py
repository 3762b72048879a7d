"""``python -m sync dashboard``: the dashboard from this machine, whether the function app runs or not."""

from __future__ import annotations

import asyncio
import webbrowser
from functools import partial
from typing import TYPE_CHECKING

from sync.cli.connecting import with_services
from sync.cli.reporting import console
from sync.cli.standing_watch import stop_by_signal

if TYPE_CHECKING:
    from sync.bootstrap import Running


def dashboard(*, port: int, browser: bool, who: str) -> None:
    """Serve the dashboard on this machine until Ctrl-C or SIGTERM."""
    with_services(partial(_served, port=port, browser=browser, who=who))


async def _served(running: Running, *, port: int, browser: bool, who: str) -> None:
    from sync.cli.token_server import serving  # noqa: PLC0415 -- loading it takes time that others need not wait

    stop = stop_by_signal()
    async with serving(running, port=port, who=who) as door:
        console().print(f"the dashboard: {door.address}")
        if browser:
            await asyncio.to_thread(webbrowser.open, door.address)
        await stop.wait()
