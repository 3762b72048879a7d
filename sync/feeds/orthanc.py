"""
The position in the changes of an Orthanc, and the deletions, which its changes do not contain.

A change names an instance, which is then inspected. The changes of what is deleted vanish with it, and may be
cleared altogether, so the server's count of instances is compared with what the changes make of it: when there are
fewer, and now and then in any case, its list of instances is compared with the rows of ours. The numbers of changes
begin again when the server's database does: then reading does, too.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sync.errors import SourceUnavailable
from sync.events.fields import sequence_from
from sync.model import Action, Batch, Change, Json, Locator, ObjectRef, orthanc_cursor
from sync.model.timestamps import Timestamp
from sync.ports import Ingest, Locate, OrthancServer
from sync.protocol.row_values import RowValue
from sync.walks.walk import AHEAD

LIMIT = 500
"""Changes a page."""

CHECK_EVERY = timedelta(minutes=10)
"""How often the list of instances is compared without any sign that it is needed."""

CHECK_WITHOUT_COUNT = timedelta(minutes=1)
"""The same where the server does not count its instances."""

_BATCH = 200
_INSTANCE = "instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesPosition:
    """
    Where reading stands: the number of the last change that was read.

    ``count`` is how many instances the server should have by the changes, and ``checked`` when the lists were compared.
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
    """The time of each of ``changes`` as the server spells it, in no known zone."""


def changes_of(raw: Any, server: OrthancServer, since: int) -> Changes:
    """
    Read a page of changes. Pure; what names no instance is passed over.

    Raises
    ------
    SourceUnavailable
        It is no page at all.
    """
    fields = _lower(raw)
    entries = fields.get("changes")
    if not isinstance(entries, list):
        raise SourceUnavailable("the changes are no list", code="source.garbage")
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

    Idempotent from any position of a batch: handled objects are inspected once more.

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
    # After the last page: what is stored meanwhile can hide a deletion until the next check, but never invents one.
    count = await server.count()
    if _is_due(position.checked, expected, count, now):
        async for batch in _compared(server, s, under_way):
            # ``checked`` stays as it was until the whole comparison is done, so that a crash compares again.
            yield Batch(changes=batch, position=_POSITION.write(position))
        position = replace(position, checked=now, count=count)
    yield Batch(position=_POSITION.write(position))


def _is_due(checked: datetime | None, expected: int | None, count: int | None, now: datetime) -> bool:
    if checked is None or (count is not None and (expected is None or count < expected)):
        return True
    every = CHECK_WITHOUT_COUNT if count is None else CHECK_EVERY
    return now - checked >= every


async def _unknown(changes: Iterable[Change], s: Locate) -> int:
    """Count the changes that make the server hold more than we know of."""
    locators = [await s.locators.read(change.object) for change in changes if change.action is Action.CREATED]
    return sum(1 for row in locators if row is None or not _is_there(row.value))


def _is_there(row: Locator) -> bool:
    return row.study is not None or row.has_dead_letter


async def _compared(
    server: OrthancServer, s: Locate, under_way: Iterable[ObjectRef]
) -> AsyncIterator[tuple[Change, ...]]:
    """
    Compare the server's list of instances with our rows; yield a change for each that either lacks.

    The list is read first: an instance stored meanwhile looks like a deletion at worst, and its inspection corrects
    that. Objects that earlier batches may still be inspecting are left out.
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
