"""
Each service, tried with the identity that the sync has: does it answer, and does it let us do what we have to.

Nothing is left behind: one row is written and deleted, the rest is read. Whether FHIR may be written is not tried, for
there is nothing that one could write and take back without a trace.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from sync.bootstrap import Running
from sync.errors import SyncError
from sync.model import Cursor, StudyRef
from sync.ports import InstanceSource

_PROBE = "config-check"
_NO_STUDY = StudyRef(study_instance_uid="2.25.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One service, tried. ``code``, ``detail`` and ``hint`` are empty when all is well."""

    service: str
    code: str = ""
    detail: str = ""
    hint: str = ""

    @property
    def sound(self) -> bool:
        """Whether it answered, and let us."""
        return not self.code


async def tried(running: Running) -> AsyncIterator[Connection]:
    """
    Try the state account, the account of the DICOM files, DICOM services and the FHIR service, one after the other.

    Safe to repeat, and beside a running sync. A failure of one does not keep the others from being tried.
    """
    for service, attempt in _attempts(running).items():
        try:
            await attempt()
        except SyncError as failure:
            yield Connection(service=service, code=failure.code, detail=failure.detail, hint=failure.hint)
        else:
            yield Connection(service=service)


def _attempts(running: Running) -> dict[str, Callable[[], Awaitable[object]]]:
    s = running.services
    attempts: dict[str, Callable[[], Awaitable[object]]] = {
        "state: queues and tables exist or can be made": running.ensure,
        "state: rows can be written": partial(_write_a_row, running),
        "state: queues can be read": s.queues.depths,
    }
    for container in sorted(running.sources.containers):
        attempts[f"DICOM files: container {container}"] = partial(running.listing.page, container, size=1)
    for account, service in sorted(s.instances.items()):
        attempts[f"DICOM service {account}"] = partial(_ask, service)
    return attempts | {"FHIR: ImagingStudy can be read": partial(s.fhir.read, "ImagingStudy", _PROBE)}


async def _write_a_row(running: Running) -> None:
    cursors = running.services.cursors
    await cursors.delete(_PROBE)
    await cursors.write(Cursor(name=_PROBE), None)
    await cursors.delete(_PROBE)


async def _ask(service: InstanceSource) -> None:
    """Ask for the instances of a study that nobody has: being told so is being allowed to ask."""
    async for _ in service.objects_of(_NO_STUDY):
        return
