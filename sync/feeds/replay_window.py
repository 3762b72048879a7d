"""
The changes of a DICOM service or an Orthanc in a window of time, read again.

A replay has no cursor here and takes no lease: it may run beside the feed, and several at once, as whatever it repeats
is recognised or inspected again.
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
"""Changes of a batch at most."""

_ZONES = timedelta(hours=14)
"""Orthanc does not say in which zone its times are."""

_DATE = re.compile(r"\d{8}T\d{6}.*")


async def replay_window(
    s: Configured, *, start: datetime | None = None, end: datetime | None = None
) -> AsyncIterator[Batch]:
    """
    Iterate over what changed in the DICOM service, as batches for `sync.walks.walk.run_walk`. Only reads.

    The batches bring no position: a window is read as a whole. The last one may be empty.

    Parameters
    ----------
    start, end
        Aware; from ``start`` on and before ``end``, by the time of the service; None: no bound.

    Raises
    ------
    ConfigError
        No DICOM service is configured.
    SourceUnavailable
        It did not answer as it should.
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
    Iterate over the instances that we know and Orthanc no longer holds; when they were deleted is unknown. Only reads.

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
    Return the changes of a time among those after a sequence number, and the number that they reach. Only reads.

    A number that is not above ``since`` is the end of all changes. A change whose time cannot be read counts as of the
    time that is asked for.

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
    """Return the time of a change, ``20240131T235959``; None when it is none."""
    if not _DATE.fullmatch(date):
        return None
    try:
        return datetime.strptime(date[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
