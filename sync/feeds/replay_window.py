"""
Reads the changes of a DICOM service or an Orthanc in a time window again.

A replay has no cursor here and takes no lease. It may run beside the feed, and several may run at once, because
repeated changes are recognised or inspected again.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from sync.errors import ConfigError
from sync.feeds import dicom_windows, orthanc
from sync.model import Action, Batch, Change
from sync.model.batches import batched
from sync.ports import Configured, Locate, OrthancServer

BATCH = 200
"""Maximum number of changes in a batch."""

_ZONES = timedelta(hours=14)
"""Orthanc does not name the time zone of its times."""

_DATE = re.compile(r"\d{8}T\d{6}.*")


async def replay_window(
    s: Configured, *, start: datetime | None = None, end: datetime | None = None
) -> AsyncIterator[Batch]:
    """
    Iterate over the changes of the DICOM service, as batches for `sync.walks.walk.run_walk`. Only reads.

    The batches have no position: a window is read as a whole. The last batch may be empty.

    Parameters
    ----------
    start, end
        Aware; from ``start`` on and before ``end``, by the time of the service; None: no bound.

    Raises
    ------
    ConfigError
        No DICOM service is configured.
    SourceUnavailable
        The service did not answer as it should.
    """
    if s.dicom_feed is None:
        raise ConfigError("DICOM_SYNC_DICOM_URL", "is needed to replay the DICOM service")
    batch: list[Change] = []
    metadata = s.settings.dicom_header != "always"
    async for entries in dicom_windows.pages(s.dicom_feed, start=start, end=end, metadata=metadata):
        for change in dicom_windows.latest(entries):
            batch.append(change)
            if len(batch) >= BATCH:
                yield Batch(changes=tuple(batch))
                batch.clear()
    yield Batch(changes=tuple(batch))


async def deleted_instances(server: OrthancServer, s: Locate) -> AsyncIterator[Batch]:
    """
    Iterate over known instances that Orthanc no longer holds; the time of deletion is unknown. Only reads.

    Raises
    ------
    SourceUnavailable
        The server did not answer as it should.
    """
    held = {ref async for ref in server.held()}
    recorded = {row.object async for row in s.locators.folder(server.account, "", "instances") if row.study is not None}
    deleted = sorted(recorded - held, key=lambda ref: ref.name)
    for some in batched(deleted, BATCH):
        yield Batch(changes=tuple(Change(object=ref, action=Action.DELETED) for ref in some))


async def changed_instances(
    server: OrthancServer, since: int, *, start: datetime | None, end: datetime | None, limit: int
) -> tuple[tuple[Change, ...], int]:
    """
    Return the changes after a sequence number that fall in a time window, and the last number read. Only reads.

    A returned number that is not above ``since`` means the end of all changes. A change whose time cannot be read
    counts as inside the window.

    Raises
    ------
    SourceUnavailable
        The server did not answer as it should.
    """
    page = orthanc.changes_of(await server.changes(since, limit), server, since)
    dated = zip(page.changes, page.dates, strict=True)
    return tuple(change for change, date in dated if _is_within(date, start, end)), page.reached


def _is_within(date: str, start: datetime | None, end: datetime | None) -> bool:
    at = _timestamp(date)
    return at is None or ((not start or at >= start - _ZONES) and (not end or at < end + _ZONES))


def _timestamp(date: str) -> datetime | None:
    """Return the time of a change, ``20240131T235959``; None for any other text."""
    if not _DATE.fullmatch(date):
        return None
    try:
        return datetime.strptime(date[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
