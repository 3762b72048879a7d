"""
The program of a worker's process: the app, and a pipe to the host.

    python -m local.host.worker_program APP_DIR FILE_DESCRIPTOR

The first message is the functions, or the text of why there are none. Then each message asks for a run and is answered
by its number. The process ends when the host is gone, at once, as it does where one container holds both. It is deaf
to SIGTERM and SIGINT, which are for the host.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from local.host.logs import start_log
from local.host.messages import TypedData
from local.host.worker import FunctionError, IndexingError, Worker


async def _serve(app_directory: Path, host: Connection) -> None:
    try:
        worker = await Worker.start(app_directory)
    except IndexingError as problem:
        host.send(str(problem))
        return
    host.send(worker.functions)
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()

    async def run(number: int, name: str, data: TypedData, metadata: Mapping[str, TypedData] | None) -> None:
        try:
            value = await worker.invoke(worker.functions[name], data, metadata)
        except FunctionError as problem:
            host.send((number, None, (str(problem), problem.stack_trace)))
        else:
            host.send((number, value, None))

    def begin(asked: tuple[int, str, TypedData, Mapping[str, TypedData] | None]) -> None:
        task = loop.create_task(run(*asked))
        running.add(task)
        task.add_done_callback(running.discard)

    def read() -> None:
        """Take what the host asks for; in a thread, so that the end of the host is seen while the loop is blocked."""
        try:
            while True:
                loop.call_soon_threadsafe(begin, host.recv())
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=read, daemon=True, name="orders of the host").start()
    await loop.create_future()  # for ever: `read` ends the process


def main() -> None:
    """Serve until the host is gone."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    start_log()
    asyncio.run(_serve(Path(sys.argv[1]), Connection(int(sys.argv[2]))))


if __name__ == "__main__":
    main()
