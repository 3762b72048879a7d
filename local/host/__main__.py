"""``python -m local.host APP_DIR [--port N] [OPTIONS]``: serve one app until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from local.host.functions_host import DEFAULT_LEASE, FunctionsHost, UnsupportedBindingError
from local.host.logs import start_log
from local.host.routing import RouteError
from local.host.settings import HostSettingsError
from local.host.timers import ScheduleError
from local.host.worker import IndexingError
from local.host.worker_process import RESTART
from local.processes import PORT_REFUSALS

SHORTEST_LEASE, LONGEST_LEASE = 2.0, 600.0
"""Seconds: what renewing at half time needs, and what the real host has."""

_REFUSALS = (HostSettingsError, IndexingError, UnsupportedBindingError, ScheduleError, RouteError)


def main() -> None:
    """Run the command; exit status 0 after a stop, 1 when the host ends by itself, 2 when the app cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m local.host", description="Serve a functions app on this machine.")
    parser.add_argument("app", type=Path, help="directory of function_app.py and host.json")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 (default) takes a free one")
    parser.add_argument("--lease", type=_lease, default=DEFAULT_LEASE, help="seconds of a message's lease (default 20)")
    parser.add_argument("--keys", metavar="KEY", default="", help="ask for this key, as Azure's host does for its own")
    parser.add_argument(
        "--worker",
        choices=("inside", "process"),
        default="inside",
        help="where the app runs: in the host's process, or in one of its own, which may die alone as on Azure",
    )
    parser.add_argument(
        "--restart", type=float, default=RESTART, help="seconds until a worker is replaced (default 10)"
    )
    options = parser.parse_args()
    start_log()
    try:
        sound = asyncio.run(_serve(options))
    except _REFUSALS as refusal:
        parser.exit(2, f"{refusal}\n")
    except OSError as refusal:
        if refusal.filename is not None or refusal.errno not in PORT_REFUSALS:
            raise
        parser.exit(2, f"{PORT_REFUSALS[refusal.errno]}: {options.port}\n")
    _leave(0 if sound else 1)


def _leave(status: int) -> NoReturn:
    """
    End the process without the interpreter's tidying up.

    An app on Azure has no moment to close its clients, as there the worker is killed; on an ordinary exit each of them
    would complain of it, as an error. Nothing is lost: everything in flight is done, and what was logged is flushed.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _lease(text: str) -> float:
    seconds = float(text)
    if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
        raise argparse.ArgumentTypeError(f"expected {SHORTEST_LEASE:.0f} to {LONGEST_LEASE:.0f} seconds")
    return seconds


async def _serve(options: argparse.Namespace) -> bool:
    """Serve until told to stop; return whether that was the reason."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host = await FunctionsHost.start(
        options.app.resolve(),
        os.environ,
        port=options.port,
        lease=options.lease,
        key=options.keys,
        apart=options.worker == "process",
        restart=options.restart,
    )
    print(f"listening on http://127.0.0.1:{host.port}", flush=True)
    reasons = [asyncio.create_task(event.wait()) for event in (stop, host.broken, host.killed)]
    await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
    for reason in reasons:
        reason.cancel()
    if host.killed.is_set():
        return False  # nothing is finished: messages in flight stay leased
    await host.stop()
    return not host.broken.is_set()


if __name__ == "__main__":
    main()
