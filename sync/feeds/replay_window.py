"""
The changes of a DICOM service or an Orthanc, once more: of some time, or of everything.

A replay has no cursor and takes no lease: it may run beside the feed, and several at once, for whatever it repeats is
recognised or inspected again.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from sync.errors import ConfigError
from sync.feeds import dicom_windows, orthanc
from sync.model import Action, Batch, Change
from sync.ports import ChangeFeed, Ingest, OrthancServer, ReadFeeds

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
) -> AsyncIterator[Batch]:
    """
    Iterate over what changed in a DICOM service or an Orthanc, as batches for `sync.walks.walk.go`.

    Nothing is written here. The replay gives each change to ``handle_change(change, s, attempt=2)``: with
    ``attempt`` above 1 a change that is known already marks its study dirty all the same. For a dry run compare
    ``change.look or await look(change.object, s)`` with the rows instead; a DICOM service's changes bring their own,
    Orthanc's do not. ``position`` of the batches is empty: a window is read as a whole.

        async for batch in replay_window("dicom", s, start=yesterday, end=today):
            for change in batch.changes:
                await handle_change(change, s, attempt=2)

    Parameters
    ----------
    source
        ``dicom`` (`Services.dicom_feed`) or ``orthanc`` (`Services.orthanc`).
    start, end
        Aware; from ``start`` on and before ``end``, by the time of the service; None: no bound. Without any bound
        everything is covered: the feed from its beginning, or every instance that Orthanc holds. What Orthanc
        lacks and we know of comes along always: the time of its deletion is unknown.

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
        changes = _of_orthanc(s.orthanc, s, start, end)
    else:
        if s.dicom_feed is None:
            raise ConfigError("DICOM_SYNC_DICOM_URL", "is needed to replay the DICOM service")
        changes = _of_feed(s.dicom_feed, s, start, end)
    batch: list[Change] = []
    async for change in changes:
        batch.append(change)
        if len(batch) >= _BATCH:
            yield Batch(changes=tuple(batch))
            batch.clear()
    yield Batch(changes=tuple(batch))


async def _of_feed(feed: ChangeFeed, s: Ingest, start: datetime | None, end: datetime | None) -> AsyncIterator[Change]:
    metadata = s.settings.dicom_header != "always"
    async for entries in dicom_windows.pages(feed, start=start, end=end, metadata=metadata):
        for change in dicom_windows.latest(entries):
            yield change


async def _of_orthanc(
    server: OrthancServer, s: Ingest, start: datetime | None, end: datetime | None
) -> AsyncIterator[Change]:
    held = {ref async for ref in server.held()}
    recorded = {row.object async for row in s.locators.folder(server.account, "", "instances") if row.study is not None}
    for ref in recorded - held:
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
