"""
Checks the objects of one study: the source still holds each as the ledger records it, and no others.

A blob is asked for its ETag, a DICOM service for the list of the study's instances.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from sync.dicom.inspect import inspect_object
from sync.dicom.instance_names import instance_partitions, possible_refs
from sync.dicom.listing import held_objects
from sync.errors import ForeignSource, NothingStored, PermanentError, SourceGone, StoreConflict, StudyUnlisted
from sync.model import (
    Action,
    Change,
    Drift,
    DriftKind,
    LedgerRow,
    Locator,
    ObjectKey,
    ObjectRef,
    Projected,
    Stored,
    StudyRef,
)
from sync.pipeline import ingest, project_study
from sync.ports import Ingest, InstanceSource, Locate, ObjectListing, Project
from sync.protocol.dead_letters import dead_letter_object
from sync.verify.batches import RightObjects, all_are_right, right_of_study


async def check_objects(
    study: StudyRef,
    s: Ingest,
    listing: ObjectListing | None = None,
    *,
    rows: Sequence[LedgerRow] | None = None,
    right_objects: Sequence[RightObjects] = (),
) -> Sequence[Drift] | None:
    """
    Compare the objects of a study with the source. Only reads.

    Parameters
    ----------
    listing
        Listing of the source, by which most objects of a folder are compared at once; without it each object is
        requested.
    rows
        The study's ledger rows, if they were read just now; None: they are read here.
    right_objects
        Objects that need no check, because recent listings proved them right.

    Returns
    -------
    list or None
        The drifts; None when one of the objects is being inspected just now, or a service cannot list the study.
    """
    kinds: dict[ObjectKey, DriftKind | None] = {}
    listed: dict[ObjectKey, Locator] = {}
    keys = [row.object_key for row in (rows if rows is not None else await s.ledger.read(study))]
    if all_are_right(study, keys, right_objects, s.clock.now()):
        keys = []
    right = await right_of_study(study, keys, s, listing) if listing is not None else frozenset[ObjectKey]()
    for key in keys:
        if key in right:
            continue
        stored = await s.locators.find(key)
        if stored is None:
            kinds[key] = DriftKind.OBJECT_GONE
        elif not stored.value.settled:
            if not stored.value.has_dead_letter:
                return None
        elif stored.value.object.account in s.instances:
            listed[key] = stored.value
        else:
            kinds[key] = await _kind(stored, study, s)
    for source in s.instances.values():
        of_service = await _of_service(source, study, listed, s)
        if of_service is None:
            return None
        kinds |= of_service
    return [
        Drift(subject=study.key, kind=kind, resource=object_address(key))
        for key, kind in kinds.items()
        if kind is not None
    ]


def object_address(key: ObjectKey) -> str:
    """Return the address of an object in reports: its hashed key."""
    return f"object/{key}"


async def _kind(stored: Stored[Locator], study: StudyRef, s: Ingest) -> DriftKind | None:
    locator = stored.value
    try:
        now = await s.objects.etag(locator.object)
    except SourceGone:
        return DriftKind.OBJECT_GONE
    except ForeignSource:
        return None  # its container is no longer configured, so its state is unknown
    same = locator.study == study and (now == locator.etag or await is_same_record(stored, s))
    return None if same else DriftKind.OBJECT_CHANGED


async def is_same_record(stored: Stored[Locator], s: Ingest) -> bool:
    """
    Return whether an object whose ETag changed still gives the same record; if so, store the new ETag.

    Changes of metadata, tags and tiers change the ETag, usually without an event, and change nothing in FHIR.
    Idempotent; the row is replaced only under its ETag.

    Raises
    ------
    TransientError
        The source or storage did not answer.
    """
    locator = stored.value
    if locator.study is None or not locator.settled:
        return False
    inspection = await inspect_object(locator.object, s)
    rows = await s.ledger.read(locator.study)
    recorded = next((row.record for row in rows if row.object_key == locator.object.key), None)
    if recorded is None or inspection.record != recorded:
        return False
    with suppress(StoreConflict):  # another delivery is working on it, and reads newer data
        await s.locators.replace(replace(locator, etag=inspection.etag), stored.etag)
    return True


async def _of_service(
    source: InstanceSource, study: StudyRef, locators: dict[ObjectKey, Locator], s: Locate
) -> dict[ObjectKey, DriftKind] | None:
    ours = {key for key, locator in locators.items() if locator.object.account == source.account}
    objects = {locator.object for key, locator in locators.items() if key in ours}
    try:
        held = {ref.key: ref for ref in await held_objects(source, study, objects)}
    except StudyUnlisted as part:
        s.telemetry.event("study.unlisted", logging.WARNING, study=study.key, code=part.code, instances=part.count)
        return None
    kinds = dict.fromkeys(ours - held.keys(), DriftKind.OBJECT_GONE)
    for key in held.keys() - ours:
        locator = await s.locators.find(key)
        if locator is not None and not locator.value.settled:
            return None
        if locator is None or not locator.value.has_dead_letter:
            kinds[key] = DriftKind.OBJECT_UNSEEN
    return kinds


async def find_objects(study: StudyRef, keys: Collection[ObjectKey], s: Ingest) -> Sequence[ObjectRef]:
    """
    Find the names of objects that drifted, in locators or lists of services. Only reads.

    A list may be incomplete, so an object without a name may still exist.
    """
    refs = [stored.value.object for key in keys if (stored := await s.locators.find(key)) is not None]
    missing = set(keys) - {ref.key for ref in refs}
    if missing:
        for source in s.instances.values():
            with suppress(NothingStored, StudyUnlisted):  # the instances that it can name came first
                async for ref in source.objects_of(study):
                    refs += [ref] if ref.key in missing else []
    return refs


async def names_in_services(study: StudyRef, s: Ingest) -> Mapping[ObjectKey, ObjectRef | None]:
    """
    Return the names that a DICOM service or an Orthanc has for its objects among a study's rows. Only reads.

    The name is built from the row's UIDs; None if its key differs from the row's.
    """
    names: dict[ObjectKey, ObjectRef | None] = {}
    for row in await s.ledger.read(study):
        for source in s.instances.values():
            if row.object_key.partition in instance_partitions(source.account, study, row.record.series_instance_uid):
                refs = possible_refs(source.account, study, row.record)
                names[row.object_key] = next((ref for ref in refs if ref.key == row.object_key), None)
    return names


async def reinspect(ref: ObjectRef, s: Ingest) -> None:
    """
    Ingest an object again; write a dead letter if that fails, or if its removal is held. Idempotent.

    Raises
    ------
    TransientError
        The source or storage did not answer.
    """
    change = Change(object=ref, action=Action.CREATED)
    try:
        await ingest(change, s, redelivered=True)
    except PermanentError as refusal:
        await dead_letter_object(change, refusal, s)


async def project_again(study: StudyRef, s: Project) -> Projected:
    """
    Project a study, bypassing the cached projection, within the process's limit of projections. Idempotent.

    Raises
    ------
    TransientError
        FHIR or storage did not answer; the study stays dirty.
    """
    async with s.caches.projecting(s.settings.fhir_concurrency):
        return await project_study(study, s, redelivered=True)
