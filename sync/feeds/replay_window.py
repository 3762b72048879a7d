"""
The changes of a DICOM service or an Orthanc, once more: of some time, of one study, or of everything.

A replay has no cursor and takes no lease: it may run beside the feed, and several at once, for whatever it repeats is
recognised or looked at anew.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from sync.dicom.instance_names import uids_of
from sync.errors import ConfigError
from sync.feeds import dicom_windows, orthanc
from sync.model import Action, Batch, Change, ObjectRef, StudyRef
from sync.ports import ChangeFeed, Ingest, InstanceSource, OrthancServer, ReadFeeds

Source = Literal["dicom", "orthanc"]

_ZONES = timedelta(hours=14)
"""Orthanc does not say in which zone its times are."""

_DATE = re.compile(r"\d{8}T\d{6}.*")
_BATCH = 200


async def replay_window(
    source: Source,
    s: ReadFeeds,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    study: StudyRef | None = None,
) -> AsyncIterator[Batch]:
    """
    Iterate over what changed in a DICOM service or an Orthanc, as batches for `sync.walks.walk.go`.

    Nothing is written here. Whoever replays gives each change to ``handle_change(change, s, attempt=2)``: with
    ``attempt`` above 1 a change that is known already marks its study dirty all the same. For a dry run compare
    ``change.look or await look(change.object, s)`` with the rows instead; a DICOM service's changes carry their looks,
    Orthanc's do not. ``position`` of the batches is empty: a window is read as a whole.

        async for batch in replay_window("dicom", s, start=yesterday, end=today):
            for change in batch.changes:
                await handle_change(change, s, attempt=2)

    Parameters
    ----------
    source
        ``dicom`` (`Services.dicom_feed`) or ``orthanc`` (`Services.orthanc`).
    start, end
        Aware; from ``start`` on and before ``end``, by the time of the service; None: no bound. Without any bound and
        study everything is covered: the feed from its beginning, or every instance that Orthanc holds. What Orthanc
        lacks and we know of comes along always: nobody knows when it was deleted.
    study
        Only this study, in its data partition if it has one. Without bounds, and for Orthanc always, its instances are
        asked for, and those that we know of, so that no feed has to be read.

    Raises
    ------
    ConfigError
        The source is not configured.
    SourceUnavailable
        It did not answer as it should.
    """
    if source == "orthanc":
        if s.orthanc is None:
            raise ConfigError("DICOM_SYNC_ORTHANC_URL", "is needed to replay Orthanc")
        changes = _of_orthanc(s.orthanc, s, start, end, study)
    else:
        service = s.instances.get(s.dicom_feed.account) if s.dicom_feed else None
        if s.dicom_feed is None or service is None:
            raise ConfigError("DICOM_SYNC_DICOM_URL", "is needed to replay the DICOM service")
        whole = study is not None and start is None and end is None
        changes = _of_study(service, study, s) if whole and study else _of_feed(s.dicom_feed, start, end, study)
    batch: list[Change] = []
    async for change in changes:
        batch.append(change)
        if len(batch) >= _BATCH:
            yield Batch(changes=tuple(batch))
            batch.clear()
    yield Batch(changes=tuple(batch))


async def _of_feed(
    feed: ChangeFeed, start: datetime | None, end: datetime | None, study: StudyRef | None
) -> AsyncIterator[Change]:
    async for entries in dicom_windows.pages(feed, start=start, end=end):
        for change in dicom_windows.latest(entries):
            if study is None or _is_of(change.object, study):
                yield change


def _is_of(ref: ObjectRef, study: StudyRef) -> bool:
    uid = uids_of(ref).get("StudyInstanceUID")
    return uid == study.study_instance_uid and (not study.partition or ref.container == study.partition)


async def _of_study(source: InstanceSource, study: StudyRef, s: Ingest) -> AsyncIterator[Change]:
    """Every instance that the source holds of the study, and every one that we believe it holds."""
    held = {ref async for ref in source.objects_of(study)}
    for row in await s.ledger.read(study):
        known = await s.locators.find(row.object_key)
        if known is not None and known.value.object.account == source.account:
            held.add(known.value.object)
    for ref in sorted(held, key=lambda each: each.name):
        yield Change(object=ref, action=Action.CREATED)


async def _of_orthanc(
    server: OrthancServer, s: Ingest, start: datetime | None, end: datetime | None, study: StudyRef | None
) -> AsyncIterator[Change]:
    if study is not None:
        async for change in _of_study(server, study, s):
            yield change
        return
    held = {ref async for ref in server.held()}
    known = {row.object async for row in s.locators.folder(server.account, "", "instances") if row.study is not None}
    for ref in known - held:
        yield Change(object=ref, action=Action.DELETED)
    if start is None and end is None:
        for ref in held:
            yield Change(object=ref, action=Action.CREATED)
        return
    async for change in _changed(server, start, end):
        yield change


async def _changed(server: OrthancServer, start: datetime | None, end: datetime | None) -> AsyncIterator[Change]:
    since = 0
    while True:
        page = orthanc.changes_of(await server.changes(since, orthanc.LIMIT), server, since)
        for change, date in zip(page.changes, page.dates, strict=True):
            at = _timestamp(date)
            if at is None or ((not start or at >= start - _ZONES) and (not end or at < end + _ZONES)):
                yield change
        if page.reached <= since:
            return
        since = page.reached


def _timestamp(date: str) -> datetime | None:
    """Return the time of a change, ``20240131T235959``; None when it is none, and then it counts as in the window."""
    if not _DATE.fullmatch(date):
        return None
    try:
        return datetime.strptime(date[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
