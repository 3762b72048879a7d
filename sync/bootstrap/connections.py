"""
Tests each service with the identity of the sync: whether it answers and grants the permissions that the sync needs.

No data is left behind: one row is written and deleted, all else is read. Write access to FHIR is not tested, because no
write could be undone without a trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from sync.adapters.http.fhir.capabilities import Capabilities
from sync.bootstrap import Running
from sync.errors import NothingStored, PermanentError, SourceGone, SourceUnavailable, SyncError
from sync.model import Cursor, StudyRef
from sync.monitoring.clock import CLOCK_HINT, clock_problem
from sync.ports import InstanceSource
from sync.verify.hints import NO_CONTAINER

LONGEST = 10.0
"""Seconds for one service."""

_SLOW = "Check the address, DNS, firewall and private endpoint of the service, and that it runs."
_PROBE = "config-check"
_NO_STUDY = StudyRef(study_instance_uid="2.25.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """
    The result of testing one service.

    ``code`` and ``hint`` are empty when all is well; ``detail`` may name the server.
    """

    service: str
    code: str = ""
    detail: str = ""
    hint: str = ""

    @property
    def sound(self) -> bool:
        """Whether it answered and granted access."""
        return not self.code


async def tried(running: Running, *, answered: Callable[[Connection], object] = lambda _: None) -> list[Connection]:
    """
    Test the state account, the account of the DICOM files, DICOM services and the FHIR service concurrently.

    Each has `LONGEST` seconds, so all together take no longer. Idempotent, also beside a running sync. A failure of one
    does not prevent the tests of the others.

    Parameters
    ----------
    answered
        Called with each service as soon as its result is known.

    Returns
    -------
    list of Connection
        In the order of the path from the source to FHIR, whichever answered first.
    """

    async def try_one(service: str, attempt: Callable[[], Awaitable[object]]) -> Connection:
        connection = await _try(service, attempt)
        answered(connection)
        return connection

    return list(await asyncio.gather(*(try_one(service, attempt) for service, attempt in _attempts(running).items())))


async def _try(service: str, attempt: Callable[[], Awaitable[object]]) -> Connection:
    try:
        async with asyncio.timeout(LONGEST):
            result = await attempt()
    except SyncError as failure:
        return Connection(service=service, code=failure.code, detail=failure.detail, hint=failure.hint)
    except TimeoutError:
        detail = f"no answer within {LONGEST:g} s"
        return Connection(service=service, code="connection.slow", detail=detail, hint=_SLOW)
    return Connection(service=service, detail=result.says() if isinstance(result, Capabilities) else "")


def _attempts(running: Running) -> dict[str, Callable[[], Awaitable[object]]]:
    s = running.services
    attempts: dict[str, Callable[[], Awaitable[object]]] = {
        "state: queues and tables exist or can be made": running.ensure,
        "state: rows can be written": partial(_write_a_row, running),
        "state: queues can be read": s.queues.depths,
        "clock: agrees with the storage's": partial(_compare_clocks, running),
    }
    for container in sorted(running.sources.containers):
        attempts[f"DICOM files: container {container}"] = partial(_list, container, running)
    for account, service in sorted(s.instances.items()):
        attempts[f"DICOM service {account}"] = partial(_ask, service)
    return attempts | {
        "FHIR: a service of R4": running.capabilities,
        "FHIR: ImagingStudy can be read": partial(s.fhir.read, "ImagingStudy", _PROBE),
    }


async def _list(container: str, running: Running) -> None:
    try:
        await running.listing.page(container, size=1)
    except SourceGone:
        raise SourceUnavailable("the account has no such container", hint=NO_CONTAINER) from None


async def _compare_clocks(running: Running) -> None:
    await running.services.cursors.read(_PROBE)  # its answer tells the time; without one there is nothing to compare
    if problem := clock_problem(running.services.caches.clock_offset):
        raise PermanentError(problem, code="clock.wrong", hint=CLOCK_HINT)


async def _write_a_row(running: Running) -> None:
    cursors = running.services.cursors
    await cursors.delete(_PROBE)
    await cursors.write(Cursor(name=_PROBE), None)
    await cursors.delete(_PROBE)


async def _ask(service: InstanceSource) -> None:
    """Request the instances of a study that does not exist: an answer shows that access is granted."""
    with suppress(NothingStored):  # an empty new service is fine
        async for _ in service.objects_of(_NO_STUDY):
            return
