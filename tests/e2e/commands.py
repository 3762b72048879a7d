"""
``python -m sync`` as an operator runs it: a process of its own beside a running world.

Each is forked by a ``python`` that has loaded ``sync``. That the real one loads it is tried by the commands of the
pages, whose blocks are typed as they stand.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.e2e.running import ROOT, World
from tests.e2e.warm_python import python_of_this_run

SLICES = """
import asyncio, sys
from sync.bootstrap import connect
from sync.config import Settings
from sync.verify.reconcile import reconcile

async def main():
    running = connect(Settings.load())
    for _ in range(int(sys.argv[1])):
        await reconcile(running.services, running.listing)
    await running.close()

asyncio.run(main())
"""


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output of ``--json``."""
        return [json.loads(line) for line in self.out.splitlines()]


def sync(world: World, *arguments: str, **environment: str) -> Said:
    """Run a command with the settings of the world."""
    return _run(python_of_this_run(), world, "-m", "sync", *arguments, **environment)


def reconcile(world: World, slices: int, **environment: str) -> Said:
    """Compare a number of slices one after the other, as the job of `tick` does one each minute."""
    return _run(sys.executable, world, "-c", SLICES, str(slices), **environment)


def _run(python: str, world: World, *arguments: str, **environment: str) -> Said:
    """Run Python with the settings of the world."""
    others = {k: v for k, v in os.environ.items() if not k.startswith(("DICOM_SYNC_", "AzureWebJobsStorage"))}
    done = subprocess.run(
        [python, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**others, **world.addresses["env"], **environment},
        timeout=240,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)
