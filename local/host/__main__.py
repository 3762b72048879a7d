"""``python -m local.host APP_DIR [--port N] [--lease SECONDS]``: serve one app until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from pathlib import Path

from local.host.functions_host import DEFAULT_LEASE, FunctionsHost, UnsupportedBindingError
from local.host.http import RouteError
from local.host.settings import HostSettingsError
from local.host.timers import ScheduleError
from local.host.worker import IndexingError

_REFUSALS = (HostSettingsError, IndexingError, UnsupportedBindingError, ScheduleError, RouteError)


def main() -> None:
    """Run the command; exit status 0 after a stop, 2 when the app cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m local.host", description="Serve a functions app on this machine.")
    parser.add_argument("app", type=Path, help="directory of function_app.py and host.json")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 (default) takes a free one")
    parser.add_argument("--lease", type=float, default=DEFAULT_LEASE, help="seconds of a message's lease (default 20)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("azure").setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(options.app.resolve(), port=options.port, lease=options.lease))
    except _REFUSALS as refusal:
        parser.exit(2, f"{refusal}\n")


async def _serve(app: Path, *, port: int, lease: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host = await FunctionsHost.start(app, os.environ, port=port, lease=lease)
    print(f"listening on http://127.0.0.1:{host.port}", flush=True)
    await stop.wait()
    await host.stop()


if __name__ == "__main__":
    main()
