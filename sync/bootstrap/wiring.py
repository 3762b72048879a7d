"""Connects ports and adapters; the only module that names both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from sync.adapters.azure.undelivered_events import AzureUndeliveredEvents
from sync.adapters.clocks import SystemClock
from sync.adapters.http.fhir.capabilities import Capabilities
from sync.bootstrap.clients import Clients
from sync.config import Settings
from sync.errors import SyncError
from sync.events import Sources
from sync.monitoring.alerts.rules import COUNTED
from sync.monitoring.clock import StorageClock
from sync.monitoring.history import Recorder
from sync.ports import AlertChannel, Announce, BlobFeed, Caches, ExportFiles, ObjectListing, Services
from sync.telemetry.library_logs import quieten_libraries
from sync.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from sync.replay.sources import Source
    from sync.walks.sharing import Kinds


@dataclass(frozen=True, kw_only=True)
class Running:
    """The services of this process, the sources that its events may name, and functions for start and end."""

    services: Services
    sources: Sources
    listing: ObjectListing
    feed: BlobFeed
    recorder: Recorder
    channels: Mapping[str, AlertChannel]
    lost: AzureUndeliveredEvents
    export_files: Callable[[str], ExportFiles]
    """Opens a container of exports, by its name."""
    capabilities: Callable[[], Awaitable[Capabilities]]
    """Requests the FHIR service's capabilities; `FhirUnavailable` when it is not an R4 service."""
    put_back: Callable[[str, str, float], Awaitable[None]]
    """Sends a message to one of the queues, by name, visible after that many seconds."""
    ensure: Callable[[], Awaitable[None]]
    """
    Requests the creation of all tables and queues, and so proves that they exist and access is granted.

    Idempotent.
    """
    create_missing: Callable[[], Awaitable[None]]
    """Creates missing tables and queues: two requests when none is missing. Idempotent."""
    disconnect: Callable[[], Awaitable[None]]
    """Closes all connections."""

    @cached_property
    def replayed(self) -> Mapping[str, Source]:
        """Sources of replays, by the names that requests use. The feeds are imported at the first use."""
        from sync.replay.sources import Blobs, sources_of

        return sources_of(Blobs(feed=self.feed, listing=self.listing, allowed=self.sources), self.services)

    @cached_property
    def kinds(self) -> Kinds:
        """Kinds of walks that processes share, by name. They are imported at the first use."""
        from sync.replay.jobs import kinds_of
        from sync.walks import backfill, exporting, verification
        from sync.walks.key_ranges import kind_for

        s = self.services
        return {
            backfill.KIND: backfill.Backfill(listing=self.listing),
            kind_for(verification.KIND, s.settings): verification.Verification(listing=self.listing, services=s),
            exporting.export_kind(s.settings): exporting.Exporting(services=s, files=self.export_files),
            **kinds_of(self.replayed),
        }

    async def close(self) -> None:
        """Write the measurements not yet written, and close all connections."""
        with suppress(SyncError):
            await self.recorder.flush()
        await self.disconnect()


async def start(settings: Settings, *, command: bool = False) -> Running:
    """
    Build the services for these settings, and create tables and queues that are missing. Idempotent.

    Parameters
    ----------
    command
        As for `connect`.

    Raises
    ------
    ConfigError
        A connection string is none.
    StoreUnavailable
        The state account did not answer.
    """
    built = connect(settings, command=command)
    try:
        await built.create_missing()
    except BaseException:
        await built.close()
        raise
    return built


def connect(settings: Settings, *, command: bool = False) -> Running:
    """
    Build the services for these settings, without any request yet. Needs a running event loop.

    Parameters
    ----------
    command
        Whether a command uses them, perhaps with settings of its own: its failures raise no alert of the app.

    Raises
    ------
    ConfigError
        A connection string is none.
    """
    quieten_libraries()
    telemetry, caches = Telemetry(ignored=COUNTED if command else ()), Caches()
    # Marks and leases hold times that other processes read: those of a machine with a wrong clock would delay them.
    clock = StorageClock(SystemClock(), caches.clock_offset)
    clients = Clients(settings, telemetry, caches.clock_offset)
    tables, queues, blobs = clients.tables(caches.company), clients.queues(), clients.blobs()
    fhir, dicom, orthanc = clients.fhir(), clients.dicom_service(), clients.orthanc()
    services = Services(
        settings=settings,
        clock=clock,
        objects=blobs,
        locators=tables.locators,
        ledger=tables.ledger,
        dirty=tables.dirty,
        projections=tables.projections,
        patients=tables.patients,
        dead_letters=tables.dead_letters,
        drifts=tables.drifts,
        cursors=tables.cursors,
        metrics=tables.metrics,
        audit=tables.audit,
        history=tables.history,
        outbox=tables.outbox,
        tallies=tables.tallies,
        study_queue=queues,
        object_queue=queues,
        slice_queue=queues,
        queues=queues,
        fhir=fhir,
        telemetry=telemetry,
        caches=caches,
        instances={source.account: source for source in (dicom, orthanc) if source is not None},
        dicom_feed=dicom,
        orthanc=orthanc,
        results=clients.topic(),
    )
    clients.export()
    sources = Sources(
        account=blobs.account, containers=frozenset(settings.containers), services=frozenset(services.instances)
    )
    return Running(
        services=services,
        sources=sources,
        listing=blobs,
        feed=blobs.feed,
        recorder=Recorder(telemetry, tables.metrics, clock),
        channels=_channels(services, clients.webhook()),
        lost=clients.undelivered_events(),
        export_files=clients.export_files(),
        capabilities=fhir.capabilities,
        put_back=queues.put_back,
        ensure=partial(_both, tables.ensure, queues.ensure),
        create_missing=partial(_both, tables.create_missing, queues.create_missing),
        disconnect=clients.close,
    )


async def _both(of_tables: Callable[[], Awaitable[None]], of_queues: Callable[[], Awaitable[None]]) -> None:
    await asyncio.gather(of_tables(), of_queues())


def _channels(s: Announce, webhook: AlertChannel | None) -> Mapping[str, AlertChannel]:
    channels: dict[str, AlertChannel] = {}
    if s.results is not None:
        from sync.monitoring.alerts.event_channel import EventChannel

        channels["events"] = EventChannel(s)
    if webhook is not None:
        channels["webhook"] = webhook
    return channels
