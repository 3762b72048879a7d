"""
One run of a watch: finds the patients whose records changed, matches outcomes, and reports the new ones.

    changed patients since the cursor -> all their records -> the views and `match`, as in a report -> items
        -> event into the outbox, then the item into FHIR, then the cursor

A run may be repeated, and interrupted anywhere: ids are hashes of the content, an item that FHIR has in that state is
not written again, and the cursor moves last. Two processes never run the same rule: the cursor has a short lease that
is renewed during the run, so a killed run delays the next by `LEASE_SECONDS` at most. A run that was suspended for
longer notices that its lease expired before it writes anything more.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from insights.collect import Input, Store, build
from insights.fetch.fetching import instant_of, offered_by
from insights.fetch.patients import batches, changed_patients, fetch_patients, search_by
from insights.fetch.service import FhirService, refused
from insights.inbox.digest import digests, week_of
from insights.inbox.items import (
    ITEM,
    SYSTEM,
    WITHDRAWN,
    Item,
    Resource,
    event_of,
    items_of,
    rule_of,
    state_of,
    withdrawn,
)
from insights.outcomes.addressed import TABLES, addressed
from insights.outcomes.addressees import Addressed
from insights.outcomes.rule import Prepared
from insights.views import Catalogue
from sync.model import digest
from sync.ports import Announce, Jobs
from sync.protocol.leases import Lease, held, renewed
from sync.protocol.outbox import add_event, publish_pending
from sync.protocol.row_values import RowValue

OVERLAP = timedelta(minutes=2)
"""Overlap of a run with the last one, to read resources that a service shows some time after their update."""

LEASE_SECONDS = 60.0
"""How long the lease of a killed watch blocks others."""


@dataclass(slots=True)
class WatchRun:
    """The result of a run: counts only."""

    patients: int = 0
    told_readers: int = 0
    told_models: int = 0
    withdrawn: int = 0
    digests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stand:
    """Position of a watch: the rule, the time until which changes are reported, and the week of the last digest."""

    since: str | None = None
    rule: str = ""
    week: str | None = None


_STAND: RowValue[_Stand] = RowValue(_Stand)


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the cursor and the events; `sync.ports.Services` provides both."""

    jobs: Jobs
    announce: Announce


async def watch_once(service: FhirService, prepared: Prepared, ports: Ports, *, begin: datetime) -> WatchRun | None:
    """
    Make one run. Idempotent.

    Parameters
    ----------
    begin
        Start time for the first run, and for the first one after the rule changed. Aware, UTC.

    Returns
    -------
    WatchRun or None
        None if another process runs this rule, or was killed less than `LEASE_SECONDS` ago while it did.

    Raises
    ------
    CollectError, Unavailable, OutcomeError
        The cursor stays; the next run starts at the same place as this one.
    StoreUnavailable
        The state account did not answer; the cursor stays as well.
    """
    done = None
    async with held(f"feedback {prepared.rule.rule}", ports.jobs, seconds=LEASE_SECONDS) as lease:
        if lease is None:
            return None
        work = _run(service, prepared, ports.announce, lease, begin)
        counts, stand = await renewed(work, lease, every=LEASE_SECONDS / 4)
        # Last: whatever a crash before this line left undone is done by the next run.
        await lease.advance(_STAND.write(stand))
        done = counts
    await publish_pending(ports.announce)
    return done


async def _run(
    service: FhirService, prepared: Prepared, announce: Announce, lease: Lease, begin: datetime
) -> tuple[WatchRun, _Stand]:
    """Publish new items, and return the counts and the next position of the cursor."""
    time, name = await _server_time(service), prepared.rule.rule
    rule = digest(prepared.rule.model_dump_json(), repr(prepared.codes))
    # After an unreadable row, the run starts from the beginning: items already reported are not reported again.
    stand = _STAND.read_or(_Stand(), lease.position, row=lease.name)
    since = stand.since if stand.rule == rule else None
    counts = WatchRun()
    changed = await changed_patients(service, since or instant_of(begin))
    counts.patients = len(changed)
    for patients in batches(changed):
        await _tell(service, prepared, patients, announce, lease, time, counts)
    week = week_of(time.date())
    if stand.week not in {None, week}:
        for event in await digests(service, name, time):
            lease.check()
            await add_event(event, announce)
            counts.digests += 1
    return counts, _Stand(since=instant_of(time - OVERLAP), rule=rule, week=week)


async def _tell(  # noqa: PLR0917 -- one step of `_run`
    service: FhirService,
    prepared: Prepared,
    patients: Sequence[str],
    announce: Announce,
    lease: Lease,
    time: datetime,
    counts: WatchRun,
) -> None:
    """Update the items of some patients."""
    rule = prepared.rule.rule
    with tempfile.TemporaryDirectory(prefix="feedback-") as folder:
        data, people = await fetch_patients(service, patients, Path(folder), instant_of(time))
        addressed = await asyncio.to_thread(_matched, Path(folder) / "tables", data, prepared)
    wanted = {item.id: item for item in items_of(rule, addressed, time)}
    there = await _items_there(service, rule, people)
    for item in wanted.values():
        former = there.get(item.id)
        if former is not None and state_of(former) == item.state and former.get("status") != WITHDRAWN:
            continue
        lease.check()
        # The event first: an item that exists has its event in the outbox, even after a crash between the two.
        await add_event(event_of(item, rule, time), announce)
        await _write(service, item.resource)
        _count(counts, item)
    for identity, former in there.items():
        if identity not in wanted and former.get("status") != WITHDRAWN:
            lease.check()
            await _write(service, withdrawn(former))
            counts.withdrawn += 1


def _matched(folder: Path, data: Input, prepared: Prepared) -> tuple[Addressed, ...]:
    catalogue, store = Catalogue.shipped().only(TABLES), Store(folder)
    build(store, data, catalogue, source="watch")
    with store.reading(catalogue) as reading:
        return addressed(reading, prepared)


async def _items_there(service: FhirService, rule: str, people: Collection[str]) -> dict[str, Resource]:
    about, only = [f"Patient/{patient}" for patient in people], f"&category={quote(f'{SYSTEM}|{ITEM}')}"
    by_id = await search_by(service, "Communication", "patient", about, only)
    return {identity: message for identity, message in by_id.items() if rule_of(message) == rule}


async def _write(service: FhirService, resource: dict[str, Any]) -> None:
    answer = await service.put(f"/Communication/{resource['id']}", resource)
    if answer.is_error:
        raise refused("writing a Communication", answer, hint="The identity needs to write Communications.")


async def _server_time(service: FhirService) -> datetime:
    _, time = await offered_by(service)
    return datetime.fromisoformat(time)


def _count(counts: WatchRun, item: Item) -> None:
    if item.to.model:
        counts.told_models += 1
    else:
        counts.told_readers += 1
