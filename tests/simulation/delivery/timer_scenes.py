"""Deliveries and phases of timers that never end, fail, or raise what is not ours; time leaps, hours cost nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from sync.errors import FhirUnavailable, PhaseTooLong, StoreUnavailable, SyncError
from sync.telemetry.instruments import FAILURES, TIMER_RUNS
from tests.simulation.delivery.scenes import Modules
from tests.worlds import MemoryWorld

DAY = 24 * 3600.0


async def _day() -> None:
    await asyncio.sleep(DAY)


async def _times_out() -> None:
    raise TimeoutError


async def delivery_without_end(m: Modules) -> list[str]:
    """A delivery waits for what never comes; another's own time-out is not the budget."""
    w, began = MemoryWorld(delivery_budget_seconds=30), asyncio.get_running_loop().time()
    ended: list[str] = []
    for work in (_day(), _times_out()):
        try:
            await m["watchdog"].within_budget(work, w.services)
        except (SyncError, TimeoutError) as failure:
            ended.append(type(failure).__name__)
    took = asyncio.get_running_loop().time() - began
    wrong = [] if took < DAY else ["a message is held for ever"]
    counted = sum(key.name == FAILURES.name for key in w.services.telemetry.take())
    wrong += [] if ended == ["DeliveryTooLong", "TimeoutError"] else [f"it ended as {ended}"]
    return wrong + ([] if counted == 1 else [f"{counted} are counted"])


async def phases(m: Modules) -> list[str]:
    """One of each: an outage, a refusal, a defect, one without end, one whose call timed out, one that works."""
    w, done = MemoryWorld(), list[str]()

    async def fails(failure: Exception) -> None:
        raise failure

    async def works() -> None:
        done.append("works")

    async def forbidden() -> None:
        await fails(StoreUnavailable("403", code="store.forbidden"))

    async def down() -> None:
        await fails(FhirUnavailable("503"))

    async def defect() -> None:
        await fails(ZeroDivisionError())

    given: dict[str, Any] = {
        "down": down,
        "forbidden": forbidden,
        "defect": defect,
        "endless": _day,
        "times_out": _times_out,
        "works": works,
    }
    began, raised = asyncio.get_running_loop().time(), ""
    timers = m["timers"]
    try:
        await timers.run_phases(
            "sweep", [timers.Phase(name=name, work=work) for name, work in given.items()], w.services
        )
    except (SyncError, ZeroDivisionError) as failure:
        raised = type(failure).__name__
    measured = w.services.telemetry.take()
    taken = [(key.name, dict(key.attributes)) for key in measured]
    runs = {
        told["dicom_sync.timer.phase"]: told["dicom_sync.outcome"] for name, told in taken if name == TIMER_RUNS.name
    }
    counted = {
        dict(key.attributes)["error.type"]: count.total for key, count in measured.items() if key.name == FAILURES.name
    }
    wrong = [] if done else ["a phase was kept from running"]
    wrong += [] if asyncio.get_running_loop().time() - began < DAY else ["a phase takes all the time there is"]
    wrong += [] if raised == "FhirUnavailable" else [f"{raised or 'nothing'} was raised"]
    wrong += [] if runs == {**dict.fromkeys(given, "failed"), "works": "done"} else [f"the runs are told as {runs}"]
    expected = {PhaseTooLong.code: 1, "store.forbidden": 1, "sync.unexpected": 2}
    return wrong + ([] if counted == expected else [f"{counted} are counted as failures"])
