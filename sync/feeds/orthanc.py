"""
Reads the changes of an Orthanc, and finds deletions, which its changes do not contain.

A change names an instance, which is then inspected. The changes of a deleted instance vanish with it, and an operator
may clear all changes. So the server's number of instances is compared with the number that the changes lead to. When
there are fewer, and periodically in any case, its list of instances is compared with our rows. The numbers of changes
start again with a new database of the server; then reading starts again too.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sync.errors import GarbageAnswer, SourceUnavailable
from sync.events.fields import sequence_from
from sync.model import Action, Batch, Change, Json, Locator, ObjectRef, orthanc_cursor
from sync.model.timestamps import Timestamp
from sync.ports import Ingest, Locate, OrthancServer
from sync.protocol.row_values import RowValue
from sync.walks.walk import AHEAD

LIMIT = 500
"""Changes on a page."""

CHECK_EVERY = timedelta(minutes=10)
"""How often the list of instances is compared without a sign that instances are missing."""

CHECK_WITHOUT_COUNT = timedelta(minutes=1)
"""The same for a server that does not count its instances."""

_BATCH = 200
_INSTANCE = "instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesPosition:
    """
    Position of reading: the number of the last change that was read.

    ``count`` is the number of instances that the server should have by its changes, ``checked`` the time at which the
    lists were compared.
    """

    since: int = 0
    count: int | None = None
    checked: Timestamp | None = None


_POSITION: RowValue[ChangesPosition] = RowValue(ChangesPosition)


@dataclass(frozen=True, slots=True)
class Changes:
    """One page of changes."""

    changes: tuple[Change, ...]
    entries: int
    reached: int
    last: int | None
    dates: tuple[str, ...] = ()
    """The time of each of ``changes`` as the server writes it, in no known time zone."""


def changes_of(raw: Any, server: OrthancServer, since: int) -> Changes:
    """
    Read a page of changes. Pure; entries that name no instance are skipped.

    Raises
    ------
    SourceUnavailable
        The answer is not a page of changes.
    """
    fields = _lower(raw)
    entries = fields.get("changes")
    if not isinstance(entries, list):
        raise GarbageAnswer("the changes are no list")
    latest: dict[ObjectRef, tuple[Change, str]] = {}
    reached = since
    for entry in map(_lower, entries):
        reached = max(reached, sequence_from(entry.get("seq")) or 0)
        if (change := _change(entry, server)) is not None:
            latest[change.object] = (change, str(entry.get("date") or ""))
    changes = tuple(change for change, _ in latest.values())
    return Changes(
        changes, len(entries), reached, sequence_from(fields.get("last")), tuple(at for _, at in latest.values())
    )


def _change(entry: Mapping[str, Any], server: OrthancServer) -> Change | None:
    kind, identifier = str(entry.get("resourcetype") or "").lower(), entry.get("id")
    if kind != _INSTANCE or not isinstance(identifier, str):
        return None
    deleted = str(entry.get("changetype") or "").lower() == "deleted"
    try:
        return Change(object=server.ref(identifier), action=Action.DELETED if deleted else Action.CREATED)
    except ValueError:
        return None


async def batches(server: OrthancServer, kept: Json, s: Ingest) -> AsyncIterator[Batch]:
    """
    Read the changes from a position on, then compare the lists for deletions; each batch has its position.

    Idempotent from any position of a batch: objects handled before are inspected once more.

    Raises
    ------
    SourceUnavailable
        The server did not answer as it should.
    """
    now, position = s.clock.now(), _POSITION.read(kept, row=orthanc_cursor(server.account))
    expected = position.count
    under_way: deque[ObjectRef] = deque(maxlen=LIMIT * (AHEAD + 1))
    while True:
        since = position.since
        page = changes_of(await server.changes(since, LIMIT), server, since)
        if page.last is not None and page.last < since and not (page.last == 0 and await server.count()):
            s.telemetry.event("feed.restarted", logging.WARNING, at=since)
            position, expected = ChangesPosition(), None
            continue
        if page.reached <= since:
            break
        if expected is not None:
            expected += await _unknown(page.changes, s)
        under_way.extend(change.object for change in page.changes)
        position = replace(position, since=page.reached, count=expected)
        passed = page.entries - len(page.changes)
        yield Batch(changes=page.changes, position=_POSITION.write(position), passed=passed)
    # After the last page: an instance stored meanwhile can hide a deletion until the next check, but never invents one.
    count = await server.count()
    if _is_due(position.checked, expected, count, now):
        async for batch in _compared(server, s, under_way):
            # ``checked`` stays unchanged until the whole comparison is done, so that it is repeated after a crash.
            yield Batch(changes=batch, position=_POSITION.write(position))
        position = replace(position, checked=now, count=count)
    yield Batch(position=_POSITION.write(position))


def _is_due(checked: datetime | None, expected: int | None, count: int | None, now: datetime) -> bool:
    if checked is None or (count is not None and (expected is None or count < expected)):
        return True
    every = CHECK_WITHOUT_COUNT if count is None else CHECK_EVERY
    return now - checked >= every


async def _unknown(changes: Iterable[Change], s: Locate) -> int:
    """Count the changes by which the server holds instances that we do not know."""
    locators = [await s.locators.read(change.object) for change in changes if change.action is Action.CREATED]
    return sum(1 for row in locators if row is None or not _is_there(row.value))


def _is_there(row: Locator) -> bool:
    return row.study is not None or row.has_dead_letter


async def _compared(
    server: OrthancServer, s: Locate, under_way: Iterable[ObjectRef]
) -> AsyncIterator[tuple[Change, ...]]:
    """
    Compare the server's list of instances with our rows; yield a change for each instance missing on either side.

    The list is read first: an instance stored meanwhile looks like a deletion at worst, which its inspection corrects.
    Objects that earlier batches may still be inspecting are left out.
    """
    try:
        held = {ref async for ref in server.held()}
    except SourceUnavailable as refusal:
        if refusal.code != "source.refused":
            raise
        s.telemetry.event("feed.no_list", logging.WARNING, code=refusal.code)
        return
    recorded = {row.object async for row in s.locators.folder(server.account, "", "instances") if _is_there(row)}
    deleted, missing = recorded - held, held - recorded - set(under_way)
    differing = [(Action.DELETED, ref) for ref in deleted] + [(Action.CREATED, ref) for ref in missing]
    if differing:
        s.telemetry.event("feed.differs", missing=len(missing), deleted=len(deleted))
    changes = (Change(object=ref, action=action) for action, ref in differing)
    while batch := tuple(itertools.islice(changes, _BATCH)):
        yield batch


def _lower(value: Any) -> Mapping[str, Any]:
    return {str(key).lower(): part for key, part in value.items()} if isinstance(value, Mapping) else {}
