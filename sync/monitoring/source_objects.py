"""
The objects of the source that hold a study, series or instance, by its UID.

The ledger holds the object of each instance, the locators hold its name. Names may hold patient data, so there are only
two callers: the command ``where``, which needs access to the state account, and a study's page at an operator's
request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sync.model import LedgerEntry, ObjectRef, StudyRef
from sync.model.batches import batched
from sync.model.identity import digest
from sync.operators.audit import OperatorAction, record_action
from sync.ports import Locate, Operate

PARALLEL = 32
"""Locators that are read at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceObject:
    """One object, and the instance in it."""

    entry: LedgerEntry
    object: ObjectRef
    etag: str | None
    """The object's ETag when it was last read."""


async def source_objects(
    uid: str, study: StudyRef | None, s: Operate, *, who: str, most: int | None = None
) -> Sequence[SourceObject]:
    """
    Return the objects that hold a study, series or instance; audited first, because names may identify a patient.

    Parameters
    ----------
    uid
        Study, Series or SOP Instance UID.
    study
        The study to search. None treats the UID first as that of a study without data partition, which reads one
        partition of the ledger; if there is no such study, the whole ledger is read.
    who
        The operator who asks.
    most
        Maximum instances that are returned, the first by series and UID; None: all.

    Returns
    -------
    sequence of SourceObject
        0..n, by study, series, instance and name. Several objects may hold one instance. An object that is about to be
        removed, or moves to another study, is left out.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    chosen = study or StudyRef(study_instance_uid=uid)
    await record_action(OperatorAction.NAME_OBJECTS, s, who=who, subject=digest(chosen.key, uid))
    entries = [entry async for entry in s.ledger.entries(uid, chosen)]
    if not entries and study is None:
        entries = [entry async for entry in s.ledger.entries(uid)]
    entries = sorted(entries)[:most]
    objects: list[SourceObject] = []
    for some in batched(entries, PARALLEL):
        located = await asyncio.gather(*(_located(entry, s) for entry in some))
        objects += [source_object for source_object in located if source_object is not None]
    return sorted(objects, key=_order)


async def _located(entry: LedgerEntry, s: Locate) -> SourceObject | None:
    stored = await s.locators.find(entry.object_key)
    if stored is None or stored.value.study != entry.study:
        return None
    return SourceObject(entry=entry, object=stored.value.object, etag=stored.value.etag)


def _order(source_object: SourceObject) -> tuple[StudyRef, str, str, str, str, str]:
    entry, ref = source_object.entry, source_object.object
    return entry.study, entry.series_instance_uid, entry.sop_instance_uid, ref.account, ref.container, ref.name
