"""
The only place that names both ports and adapters: settings in, running services out, once a process.

Azure Functions calls every function of a worker process on one event loop; the services are built on the first call and
shared by all, which is what lets concurrent invocations share connections and table transactions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from azure.core.credentials import AzureKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableServiceClient
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from sync.adapters.azure.blobs import AzureBlobs
from sync.adapters.azure.event_grid import EventGridTopic
from sync.adapters.azure.lost_events import AzureLostEvents
from sync.adapters.azure.queues import AzureQueues
from sync.adapters.azure.tables.store import TableStore
from sync.adapters.azure.tokens import CredentialTokens
from sync.adapters.clocks import SystemClock
from sync.adapters.http.dicom.orthanc import Orthanc
from sync.adapters.http.dicom.service import SCOPE, DicomService
from sync.adapters.http.dicom.web import DicomWeb
from sync.adapters.http.fhir.server import HttpFhirServer
from sync.adapters.http.webhook import Webhook
from sync.config import LOCAL_HOSTS, PREFIX, STATE, Settings
from sync.errors import ConfigError, SourceUnavailable, SyncError
from sync.events import Sources
from sync.ops.alert_events import EventChannel
from sync.ports import AlertChannel, ObjectListing, Services
from sync.replay.sources import Blobs, Source, sources_of
from sync.series import Recorder
from sync.telemetry import Telemetry, quieten_libraries

if TYPE_CHECKING:
    from sync.adapters.opentelemetry import OpenTelemetry

_TIMEOUTS: dict[str, Any] = {"connection_timeout": 10, "read_timeout": 60}
_TABLE_RETRIES: dict[str, Any] = {"retry_total": 3, "retry_backoff_factor": 0.3, "retry_backoff_max": 5}
_RETRIES: dict[str, Any] = {"retry_total": 3, "initial_backoff": 0, "increment_base": 1, "random_jitter_range": 1}
"""Three short retries, for tables and for queues and blobs; whatever lasts longer is for the queue to wait out."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """The services of this process, what its events may name, and what to close at the end."""

    services: Services
    sources: Sources
    listing: ObjectListing
    replayed: Mapping[str, Source]
    recorder: Recorder
    channels: Mapping[str, AlertChannel]
    lost: AzureLostEvents
    _tables: TableStore
    _queues: AzureQueues
    _blobs: AzureBlobs
    _fhir: HttpFhirServer
    _dicom: DicomService | None
    _orthanc: Orthanc | None
    _topic: EventGridTopic | None
    _webhook: Webhook | None
    _exports: OpenTelemetry | None
    _credential: DefaultAzureCredential | None

    async def ensure(self) -> None:
        """Create tables and queues that are missing. Safe to repeat."""
        await asyncio.gather(self._tables.ensure(), self._queues.ensure())

    async def close(self) -> None:
        """Write what was measured and not yet written, and close all connections."""
        with suppress(SyncError):
            await self.recorder.flush()
        await asyncio.gather(self._tables.close(), self._queues.close(), self._blobs.close(), self._fhir.aclose())
        for source in (self._dicom, self._orthanc):
            if source is not None:
                await source.aclose()
        await self.lost.close()
        if self._topic is not None:
            await self._topic.close()
        if self._webhook is not None:
            await self._webhook.aclose()
        if self._credential is not None:
            await self._credential.close()
        if self._exports is not None:
            await self._exports.close()


_running: asyncio.Task[Running] | None = None
_background: set[asyncio.Task[None]] = set()
"""Tasks of this process that never end; the loop itself would not keep them."""

logger = logging.getLogger(__name__)


async def running() -> Running:
    """
    Return the services of this process, building them on the first call.

    Concurrent first calls share one start; a failed start is tried again by the next call.

    Raises
    ------
    ConfigError
        A setting is missing or wrong; logged too, as critical.
    StoreUnavailable
        The state account did not answer.
    """
    global _running  # noqa: PLW0603 -- one per process is the point
    if _running is None or (_running.done() and (_running.cancelled() or _running.exception() is not None)):
        _running = asyncio.create_task(_start())
    return await asyncio.shield(_running)


async def _start() -> Running:
    try:
        built = await start(Settings.load())
    except ConfigError as problem:
        logger.critical("%s %s: nothing is synced and no message is lost until it is mended", problem.code, problem)
        raise
    _background.add(asyncio.create_task(built.recorder.run(built.services.settings.series_interval)))
    return built


async def start(settings: Settings) -> Running:
    """
    Build the services for these settings, and create tables and queues that are missing. Safe to repeat.

    Raises
    ------
    ConfigError
        A connection string is none.
    StoreUnavailable
        The state account did not answer.
    """
    built = connect(settings)
    try:
        await built.ensure()
    except BaseException:
        await built.close()
        raise
    return built


def connect(settings: Settings) -> Running:
    """
    Build the services for these settings; nothing is asked of any of them yet. Needs a running event loop.

    Raises
    ------
    ConfigError
        A connection string is none.
    """
    quieten_libraries()
    credential = DefaultAzureCredential() if _needs_identity(settings) else None
    tables = TableStore(_table_service(settings, credential))
    telemetry = Telemetry()
    queues = AzureQueues(_queue_service(settings, credential), traceparent=telemetry.traceparent)
    blobs = _blobs(settings, credential, telemetry)
    fhir = HttpFhirServer(settings.fhir_url, telemetry=telemetry, tokens=_tokens(settings, credential))
    dicom, orthanc = _dicom_service(settings, credential, telemetry), _orthanc(settings, telemetry)
    topic = _topic(settings, credential)
    services = Services(
        settings=settings,
        clock=SystemClock(),
        objects=blobs,
        locators=tables.locators,
        ledger=tables.ledger,
        dirty=tables.dirty,
        projections=tables.projections,
        patients=tables.patients,
        dead_letters=tables.dead_letters,
        drifts=tables.drifts,
        cursors=tables.cursors,
        series=tables.series,
        audit=tables.audit,
        history=tables.history,
        outbox=tables.outbox,
        tallies=tables.tallies,
        study_queue=queues,
        object_queue=queues,
        queues=queues,
        fhir=fhir,
        telemetry=telemetry,
        instances={source.account: source for source in (dicom, orthanc) if source is not None},
        dicom_feed=dicom,
        orthanc=orthanc,
        results=topic,
    )
    sources = Sources(
        account=blobs.account, containers=frozenset(settings.containers), services=frozenset(services.instances)
    )
    webhook = _webhook(settings)
    exports = _exports(settings)
    if exports is not None:
        telemetry.export_to(exports.sink, exports.tracing)
    return Running(
        services=services,
        sources=sources,
        listing=blobs,
        replayed=sources_of(Blobs(feed=blobs.feed, listing=blobs, allowed=sources), services),
        recorder=Recorder(telemetry, tables.series, services.clock),
        channels=_channels(services, webhook),
        lost=_lost_events(settings, credential),
        _tables=tables,
        _queues=queues,
        _blobs=blobs,
        _fhir=fhir,
        _dicom=dicom,
        _orthanc=orthanc,
        _topic=topic,
        _webhook=webhook,
        _exports=exports,
        _credential=credential,
    )


def _exports(settings: Settings) -> OpenTelemetry | None:
    """Export what is measured and traced, if somebody takes it."""
    if not (settings.insights_connection or settings.otlp_endpoint):
        return None
    from sync.adapters import opentelemetry  # noqa: PLC0415 -- loading it takes time that nobody else need wait

    return opentelemetry.exporting(settings)


def _channels(s: Services, webhook: Webhook | None) -> Mapping[str, AlertChannel]:
    events: dict[str, AlertChannel] = {"events": EventChannel(s)} if s.results is not None else {}
    return events | ({"webhook": webhook} if webhook is not None else {})


def _webhook(settings: Settings) -> Webhook | None:
    alert = settings.alert
    return Webhook(alert.webhook, shape=alert.webhook_shape, key=alert.webhook_key) if alert.webhook else None


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in LOCAL_HOSTS


def _needs_identity(settings: Settings) -> bool:
    source_by_identity = settings.source.startswith("https://")
    by_url = not _is_local(settings.fhir_url) or _wants_token(settings.dicom_url)
    topic_by_identity = bool(settings.events_topic) and not settings.events_key
    return not settings.storage or source_by_identity or topic_by_identity or by_url


def _wants_token(url: str) -> bool:
    """Whether a DICOM service gets a token: never in the clear, and none on this machine does."""
    return url.startswith("https://") and not _is_local(url)


def _connections() -> dict[str, Any]:
    """
    Give one client connections of its own, with time-outs.

    Without a proxy in the environment the library need not look there: it would look for a ``.netrc`` at every
    request too, on a thread, for a quarter of what a small request costs.
    """
    return {"transport": AioHttpTransport(use_env_settings=bool(getproxies()), **_TIMEOUTS)}


def _table_service(settings: Settings, credential: AsyncTokenCredential | None) -> TableServiceClient:
    if settings.storage:
        with _connection_string_of(STATE):
            return TableServiceClient.from_connection_string(settings.storage, **_TABLE_RETRIES, **_connections())
    url = f"https://{settings.storage_account}.table.core.windows.net"
    return TableServiceClient(url, credential=credential, **_TABLE_RETRIES, **_connections())


def _queue_service(settings: Settings, credential: AsyncTokenCredential | None) -> QueueServiceClient:
    if settings.storage:
        with _connection_string_of(STATE):
            return QueueServiceClient.from_connection_string(settings.storage, **_RETRIES, **_connections())
    url = f"https://{settings.storage_account}.queue.core.windows.net"
    return QueueServiceClient(url, credential=credential, **_RETRIES, **_connections())


def _lost_events(settings: Settings, credential: AsyncTokenCredential | None) -> AzureLostEvents:
    if settings.storage:
        with _connection_string_of(STATE):
            service = BlobServiceClient.from_connection_string(settings.storage, **_RETRIES, **_connections())
    else:
        url = f"https://{settings.storage_account}.blob.core.windows.net"
        service = BlobServiceClient(url, credential=credential, **_RETRIES, **_connections())
    return AzureLostEvents(service, settings.lost_events)


def _topic(settings: Settings, credential: AsyncTokenCredential | None) -> EventGridTopic | None:
    if not settings.events_topic:
        return None
    by_key = AzureKeyCredential(settings.events_key) if settings.events_key else None
    sender = by_key or credential
    assert sender is not None
    return EventGridTopic(settings.events_topic, sender, source=settings.fhir_url, **_connections())


def _blobs(settings: Settings, credential: AsyncTokenCredential | None, telemetry: Telemetry) -> AzureBlobs:
    where = settings.source or settings.storage or f"https://{settings.storage_account}.blob.core.windows.net"
    if where.startswith("https://"):
        service = BlobServiceClient(where, credential=credential, **_RETRIES, **_connections())
    else:
        with _connection_string_of(f"{PREFIX}SOURCE" if settings.source else STATE):
            service = BlobServiceClient.from_connection_string(where, **_RETRIES, **_connections())
    account = str(service.account_name)
    return AzureBlobs(service, account=account, containers=settings.containers, telemetry=telemetry)


@contextmanager
def _connection_string_of(setting: str) -> Iterator[None]:
    """Blame the setting for what a client cannot read; the client's text might quote it."""
    try:
        yield
    except ValueError:
        raise ConfigError(setting, "expected the connection string of a storage account") from None


def _dicom_service(
    settings: Settings, credential: AsyncTokenCredential | None, telemetry: Telemetry
) -> DicomService | None:
    url = settings.dicom_url
    if not url:
        return None
    tokens = None
    if credential is not None and _wants_token(url):
        tokens = CredentialTokens(credential, scope=SCOPE, failure=SourceUnavailable)
    return DicomService(DicomWeb(url, setting=f"{PREFIX}DICOM_URL", telemetry=telemetry, tokens=tokens), url)


def _orthanc(settings: Settings, telemetry: Telemetry) -> Orthanc | None:
    url = settings.orthanc_url
    if not url:
        return None
    login = (settings.orthanc_user, settings.orthanc_password) if settings.orthanc_user else None
    return Orthanc(DicomWeb(url, setting=f"{PREFIX}ORTHANC_URL", telemetry=telemetry, login=login), url)


def _tokens(settings: Settings, credential: AsyncTokenCredential | None) -> CredentialTokens | None:
    """Give tokens to a FHIR server elsewhere; one on this machine gets none."""
    if credential is None or _is_local(settings.fhir_url):
        return None
    return CredentialTokens(credential, scope=f"{settings.fhir_url}/.default")
