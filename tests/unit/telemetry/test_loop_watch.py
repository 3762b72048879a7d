"""A loop that stands still is told with the function that keeps it, at once and without a value."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import types

import pytest

from sync.telemetry.loop_watch import LoopWatch, function_in
from sync.telemetry.telemetry import Telemetry


@pytest.fixture
async def watched():
    telemetry = Telemetry()
    watch = LoopWatch(telemetry, every=0.01, blocked=0.05)
    watch.start()
    yield telemetry
    watch.stop()


def ours(work):
    """A function of a module of ours that calls ``work``."""
    module = types.ModuleType("sync.made_up")
    exec("def compute(work, patient):\n    work()\n", module.__dict__)
    return lambda: module.compute(work, "Doe^Jane")


def lines(caplog):
    return [record.getMessage() for record in caplog.records if "loop.blocked" in record.getMessage()]


async def test_a_function_that_keeps_the_loop_is_named_while_it_does(watched, caplog):
    caplog.set_level(logging.WARNING, "sync")
    seen = []

    def waits_for_its_line():
        deadline = time.monotonic() + 20
        while not lines(caplog) and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.extend(lines(caplog))

    ours(waits_for_its_line)()
    assert seen == ["loop.blocked function=sync.made_up.compute seconds=0.05"]
    measured = {}

    def is_measured():
        measured.update(watched.take())
        return any(key.name == "dicom_sync.loop.blocked" for key in measured)

    for _ in range(2000):
        if is_measured():
            break
        await asyncio.sleep(0.01)
    (key,) = [key for key in measured if key.name == "dicom_sync.loop.blocked"]
    assert dict(key.attributes) == {"code.function.name": "sync.made_up.compute"}
    assert lines(caplog) == seen
    assert "Doe" not in caplog.text


async def test_a_loop_that_goes_on_is_not_told(caplog):
    watch = LoopWatch(Telemetry(), every=0.001, blocked=30)
    watch.start()
    await asyncio.sleep(0.1)
    watch.stop()
    assert lines(caplog) == []


def test_without_a_function_of_ours_the_innermost_is_named():
    assert function_in(None) == "other"
    assert function_in(sys._getframe()) == f"{__name__}.test_without_a_function_of_ours_the_innermost_is_named"


def test_the_thread_ends_with_its_loop():
    async def begin():
        watch = LoopWatch(Telemetry(), every=0.01)
        watch.start()
        return watch._thread

    thread = asyncio.run(begin())
    thread.join(30)
    assert not thread.is_alive()
