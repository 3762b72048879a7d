"""
Checks the source's own list of objects for those never inspected, or changed since.

A listing names each object with its ETag, so an object costs one row read. Young objects are left to their events.
"""

from __future__ import annotations

from collections.abc import Sequence

from sync.config import Settings
from sync.errors import SourceGone
from sync.events import object_message
from sync.model import Drift, DriftKind, ListedObject, Locator, ObjectRef, StudyRef
from sync.ports import Core, Deliver, Ingest, ObjectListing
from sync.verify.objects import is_same_record, object_address, project_again, reinspect

GRACE = 300.0
"""
Minimum age in seconds before an object counts as unseen: its event may be on its way, or wait in the queue.

Shorter than the lease of a killed host's messages, because the sweep enqueues their objects within a minute.
"""

PAGE = 1000
"""Objects on a page of the listing."""


async def check_listed_object(listed: ListedObject, s: Ingest) -> Sequence[Drift]:
    """
    Compare one listed object with its row.

    Only reads, except that the ETag of an object with the same record is updated: see `is_same_record`.
    """
    stored = await s.locators.read(listed.object)
    if (s.clock.now() - listed.last_modified).total_seconds() < GRACE:
        return []
    kind = _kind(listed, stored.value if stored is not None else None)
    if kind is DriftKind.OBJECT_CHANGED and stored is not None and await is_same_record(stored, s):
        kind = None
    address = object_address(listed.object.key)
    return [Drift(subject=address, kind=kind, resource=address)] if kind is not None else []


def _kind(listed: ListedObject, locator: Locator | None) -> DriftKind | None:
    if locator is None:
        return DriftKind.OBJECT_UNSEEN
    if not locator.settled:
        return None if locator.has_dead_letter else DriftKind.OBJECT_UNSEEN
    return None if locator.etag == listed.etag else DriftKind.OBJECT_CHANGED


async def missing_containers(listing: ObjectListing, s: Core) -> Sequence[str]:
    """
    Return the configured containers that do not exist. Only reads.

    If a DICOM service is the source, the default container need not exist: no setting names it.

    Raises
    ------
    TransientError
        Storage did not answer.
    """
    if not _names_containers(s.settings):
        return ()
    missing = []
    for container in sorted(s.settings.containers):
        try:
            await listing.page(container, size=1)
        except SourceGone:
            missing.append(container)
    return missing


def _names_containers(settings: Settings) -> bool:
    return "containers" in settings.model_fields_set or not (settings.dicom_url or settings.orthanc_url)


async def inspect_what_is_back(listed: ListedObject, s: Deliver) -> None:
    """
    Request the inspection of an object that is recorded as gone but is listed: an undelete may send no event.

    It only adds existing objects and removes none, so it needs no operator. Idempotent.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    stored = await s.locators.read(listed.object)
    if stored is not None and stored.value.settled and stored.value.etag is None and not stored.value.has_dead_letter:
        await s.object_queue.send(object_message(listed.object))


async def repair_object(ref: ObjectRef, s: Deliver) -> None:
    """
    Inspect an object again, and project every study that it is or was part of. Idempotent.

    Raises
    ------
    TransientError
        The source, FHIR or storage did not answer.
    """
    before = await s.locators.read(ref)
    await reinspect(ref, s)
    after = await s.locators.read(ref)
    for study in sorted(_studies(before.value if before else None) | _studies(after.value if after else None)):
        await project_again(study, s)


def _studies(locator: Locator | None) -> frozenset[StudyRef]:
    return locator.history | ({locator.study} if locator.study else frozenset()) if locator is not None else frozenset()
