"""How often Python searches for cycles among the objects of the messages that a process has in hand."""

import os
import subprocess
import sys

import pytest

from tests.unit.bootstrap.test_cold_start import ROOT, SETTINGS

IN_HAND = """
import asyncio
import gc

from sync.bootstrap import process


def searches():
    return sum(generation["collections"] for generation in gc.get_stats())


async def searched(objects):
    process._process.build()
    gc.collect()
    before = searches()
    held = [[] for _ in range(objects)]
    return searches() - before


print(asyncio.run(searched({objects})))
"""


@pytest.mark.parametrize(("objects", "fewest", "most"), [(30_000, 0, 0), (1_000_000, 10, 20)])
def test_messages_in_hand_are_not_searched_for_cycles_and_memory_stays_bounded(objects, fewest, most):
    script = IN_HAND.replace("{objects}", str(objects))
    asked = [sys.executable, "-c", script]
    answer = subprocess.run(asked, cwd=ROOT, env=os.environ | SETTINGS, capture_output=True, text=True, check=True)
    assert fewest <= int(answer.stdout.split()[-1]) <= most
