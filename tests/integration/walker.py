"""
One process that shares a backfill, for `tests.integration.test_shared_walk`: ``python -m tests.integration.walker``.

Says *ready*, waits for a line, then works on the walk and prints the name of each object that it has read; after a few
of them it waits for a second line, and then goes on until the walk is over. Slices are small and leases short, so that
a few seconds show what takes hours of a large store.
"""

import asyncio
import sys
from unittest.mock import patch

from sync.bootstrap import start
from sync.cli.reporting import console
from sync.cli.walks import share_walk
from sync.config import Settings
from tests.walking import EVERYTHING

SLICE, LEASE = 10, 4.0
"""Objects of a slice, seconds of a lease."""

EARLY = 3
"""Objects that are read before the second line."""


async def walk() -> None:
    """Take part."""
    running = await start(Settings.load())
    read, names, further = running.services.objects.read, set(), asyncio.Event()

    async def told(ref, **more):
        names.add(ref.name)
        chunk = await read(ref, **more)
        print(ref.name, flush=True)  # noqa: T201 -- what the test reads
        if len(names) >= EARLY:
            await further.wait()
        return chunk

    async def listen():
        await asyncio.to_thread(sys.stdin.readline)
        further.set()

    try:
        print("ready", flush=True)  # noqa: T201 -- what the test reads
        await asyncio.to_thread(sys.stdin.readline)
        listening = asyncio.create_task(listen())
        with patch.object(running.services.objects, "read", told):
            await share_walk(
                EVERYTHING.cursor,
                running.kinds,
                running.services,
                console(),
                heading="Reading",
                parallel=2,
                as_json=True,
            )
        await listening
    finally:
        await running.close()


if __name__ == "__main__":
    with (
        patch("sync.walks.cutting.SMALLEST", SLICE),
        patch("sync.walks.walk.LEASE", LEASE),
        patch("sync.walks.sharing.WATCH", 0.2),
    ):
        asyncio.run(walk())
