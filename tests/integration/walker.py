"""
One process that shares a walk, for `tests.integration.test_shared_walk`: ``python -m tests.integration.walker KIND``.

Says *ready*, waits for a line, then works on the walk and prints the name of each object that it has read, the key of
each study that it has compared, or the number of each part that it has exported. After a few of them it waits for a
second line, and then goes on until the walk is over. Slices are small and leases short, so that a few seconds show what
takes hours of a large store.
"""

import asyncio
import sys
from unittest.mock import patch

from sync.bootstrap import start
from sync.cli.reporting import console
from sync.cli.walks import share_walk
from sync.config import Settings
from sync.verify.full_scan import Plan
from sync.verify.studies import check_study
from sync.walks.exporting import _Work, new_export
from sync.walks.verification import new_verification
from tests.walking import EVERYTHING

SLICE, LEASE = 10, 4.0
"""Objects of a slice, seconds of a lease."""

EARLY = 3
"""Objects that are read before the second line."""


EARLY_STUDIES = 1
"""Studies that are compared, or parts that are exported, before the second line."""


class Steps:
    """Tells what was done, and stops after the first few until it is told to go on."""

    def __init__(self, early):
        self.early, self.names, self.further = early, set(), asyncio.Event()

    async def listen(self):
        await asyncio.to_thread(sys.stdin.readline)
        self.further.set()

    async def done(self, name):
        self.names.add(name)
        print(name, flush=True)  # noqa: T201 -- what the test reads
        if len(self.names) >= self.early:
            await self.further.wait()


async def backfill(running, steps):
    """Take part in a backfill."""
    read = running.services.objects.read

    async def told(ref, **more):
        chunk = await read(ref, **more)
        await steps.done(ref.name)
        return chunk

    with patch.object(running.services.objects, "read", told):
        await share(EVERYTHING.cursor, running)


async def verify(running, steps):
    """Take part in a comparison."""

    async def told(study, s, **more):
        drifts = await check_study(study, s, **more)
        await steps.done(study.key)
        return drifts

    with patch("sync.verify.full_scan.check_study", told):
        await share(new_verification(Plan(), running.services.settings).name, running)


async def export(running, steps):
    """Take part in an export."""
    write = _Work._write_part

    async def told(work, number, scope):
        part = await write(work, number, scope)
        await steps.done(str(number))
        return part

    with patch.object(_Work, "_write_part", told):
        await share(new_export("exports", running.services.settings, max_bytes=10**6).name, running)


async def share(name, running):
    await share_walk(name, running.kinds, running.services, console(), heading="Reading", parallel=2, as_json=True)


async def walk(take_part, early) -> None:
    """Take part."""
    running, steps = await start(Settings.load()), Steps(early)
    try:
        print("ready", flush=True)  # noqa: T201 -- what the test reads
        await asyncio.to_thread(sys.stdin.readline)
        listening = asyncio.create_task(steps.listen())
        await take_part(running, steps)
        await listening
    finally:
        await running.close()


_KINDS = {"backfill": (backfill, EARLY), "verify": (verify, EARLY_STUDIES), "export": (export, EARLY_STUDIES)}


if __name__ == "__main__":
    with (
        patch("sync.walks.cutting.SMALLEST", SLICE),
        patch("sync.walks.verification.NAMES", 3 * SLICE),
        patch("sync.walks.verification.STUDIES_A_SLICE", 2),
        patch("sync.walks.exporting.STUDIES_A_PART", 1),
        patch("sync.walks.walk.LEASE", LEASE),
        patch("sync.walks.sharing.WATCH", 0.2),
    ):
        asyncio.run(walk(*_KINDS[sys.argv[1]]))
