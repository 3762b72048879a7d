"""
The client of each service, built from the settings; None if they name no such service.

An identity signs in if there is no key; its tokens are never sent to this machine or in the clear. A method that makes
a client which only some settings need (an identity, Event Grid, a DICOM service, Orthanc, a webhook) imports it.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.request import getproxies

from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from sync.adapters.azure.blobs import AzureBlobs
from sync.adapters.azure.export_files import AzureExportFiles
from sync.adapters.azure.queues import AzureQueues
from sync.adapters.azure.tables.store import TableStore
from sync.adapters.azure.transport import BoundedTransport, StorageTransport
from sync.adapters.azure.undelivered_events import AzureUndeliveredEvents
from sync.adapters.http.access import Access
from sync.adapters.http.fhir.server import HttpFhirServer
from sync.bootstrap.access import access_of, wants_identity
from sync.bootstrap.endpoints import Service, account_of, state_url
from sync.config import CLOUDS, PREFIX, STATE, AccessSettings, Settings
from sync.errors import ConfigError, FhirUnavailable, SourceUnavailable, TransientError
from sync.ports import ClockOffset, Company, ExportFiles
from sync.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from azure.core.credentials import AzureKeyCredential
    from azure.identity.aio import DefaultAzureCredential

    from sync.adapters.azure.event_grid import EventGridTopic
    from sync.adapters.azure.tokens import ScopedCredential
    from sync.adapters.http.dicom.orthanc import Orthanc
    from sync.adapters.http.dicom.service import DicomService
    from sync.adapters.http.webhook import Webhook

_TIMEOUTS: dict[str, Any] = {"connection_timeout": 10, "read_timeout": 60}
_TABLE_RETRIES: dict[str, Any] = {"retry_total": 3, "retry_backoff_factor": 0.3, "retry_backoff_max": 5}
_RETRIES: dict[str, Any] = {"retry_total": 3, "initial_backoff": 0, "increment_base": 1, "random_jitter_range": 1}
"""Three short retries, for tables and for queues and blobs; longer outages are handled by redelivery."""

logger = logging.getLogger(__name__)

Client = TypeVar("Client", TableServiceClient, QueueServiceClient, BlobServiceClient)


class Clients:
    """
    Makes the clients of the services, and closes all of them at the end.

    Each method raises `ConfigError` when a connection string is invalid. Makes no request yet; needs a running event
    loop.
    """

    def __init__(self, settings: Settings, telemetry: Telemetry, offset: ClockOffset | None = None) -> None:
        self._settings = settings
        self._offset = offset
        self._cloud = CLOUDS[settings.cloud]
        self._telemetry = telemetry
        self._closing = AsyncExitStack()
        self._credential = _identity() if _needs_identity(settings) else None
        if self._credential is not None:
            self._closing.push_async_callback(self._credential.close)

    async def close(self) -> None:
        """Close all connections, whatever closing one of them raises."""
        await self._closing.aclose()

    def tables(self, company: Company | None = None) -> TableStore:
        """Return the state's tables, whose writes wait for others to share a transaction."""
        tables = TableStore(self._of_state(TableServiceClient, "table", _TABLE_RETRIES), company)
        self._closing.push_async_callback(tables.close)
        return tables

    def queues(self) -> AzureQueues:
        """Return the queues."""
        service = self._of_state(QueueServiceClient, "queue", _RETRIES)
        queues = AzureQueues(service, traceparent=self._telemetry.traceparent)
        self._closing.push_async_callback(queues.close)
        return queues

    def undelivered_events(self) -> AzureUndeliveredEvents:
        """Return the container of events that could not be delivered."""
        lost = AzureUndeliveredEvents(
            self._of_state(BlobServiceClient, "blob", _RETRIES), self._settings.undelivered_events
        )
        self._closing.push_async_callback(lost.close)
        return lost

    def export_files(self) -> Callable[[str], ExportFiles]:
        """Return a function that opens a container of exports in the state account by its name."""
        service = self._of_state(BlobServiceClient, "blob", _RETRIES)
        self._closing.push_async_callback(service.close)
        return partial(AzureExportFiles, service)

    def blobs(self) -> AzureBlobs:
        """Return the account of the DICOM files."""
        settings = self._settings
        where = settings.source or settings.storage or state_url(settings, "blob")
        if where.startswith("https://"):
            service = BlobServiceClient(where, credential=self._credential, **_RETRIES, **self._connections())
        else:
            with _connection_string_of(f"{PREFIX}SOURCE" if settings.source else STATE):
                service = BlobServiceClient.from_connection_string(where, **_RETRIES, **self._connections())
        setting = f"{PREFIX}SOURCE" if settings.source else STATE
        account = account_of(service.url, service.account_name, setting)
        blobs = AzureBlobs(service, account=account, containers=settings.containers, telemetry=self._telemetry)
        self._closing.push_async_callback(blobs.close)
        return blobs

    def topic(self) -> EventGridTopic | None:
        """Return the topic of result events."""
        settings = self._settings
        if not settings.events_topic:
            return None
        from azure.core.credentials import AzureKeyCredential

        from sync.adapters.azure.event_grid import EventGridTopic
        from sync.adapters.azure.tokens import ScopedCredential

        sender: AzureKeyCredential | ScopedCredential
        if settings.events_key:
            sender = AzureKeyCredential(settings.events_key)
        else:
            assert self._credential is not None
            sender = ScopedCredential(self._credential, self._cloud.event_grid)
        topic = EventGridTopic(settings.events_topic, sender, source=settings.fhir_url, **connections(BoundedTransport))
        self._closing.push_async_callback(topic.close)
        return topic

    def fhir(self) -> HttpFhirServer:
        """Return the FHIR service."""
        url = self._settings.fhir_url
        access = self._access(url, self._settings.fhir_access, audience=url, failure=FhirUnavailable)
        fhir = HttpFhirServer(url, telemetry=self._telemetry, access=access, entries=self._settings.fhir_bundle_entries)
        self._closing.push_async_callback(fhir.aclose)
        return fhir

    def dicom_service(self) -> DicomService | None:
        """Return the DICOM service of Azure Health Data Services."""
        url = self._settings.dicom_url
        if not url:
            return None
        from sync.adapters.http.dicom.service import DicomService
        from sync.adapters.http.dicom.web import DicomWeb

        access = self._access(url, self._settings.dicom_access, audience=self._cloud.dicom, failure=SourceUnavailable)
        web = DicomWeb(url, setting=f"{PREFIX}DICOM_URL", telemetry=self._telemetry, access=access)
        self._closing.push_async_callback(web.aclose)
        return DicomService(web, url)

    def _access(self, url: str, settings: AccessSettings, *, audience: str, failure: type[TransientError]) -> Access:
        return access_of(url, settings, self._credential, self._closing, audience=audience, failure=failure)

    def orthanc(self) -> Orthanc | None:
        """Return the Orthanc."""
        settings = self._settings
        if not settings.orthanc_url:
            return None
        from sync.adapters.http.dicom.orthanc import Orthanc
        from sync.adapters.http.dicom.web import OrthancWeb

        login = (settings.orthanc_user, settings.orthanc_password) if settings.orthanc_user else None
        url = settings.orthanc_url
        web = OrthancWeb(url, setting=f"{PREFIX}ORTHANC_URL", telemetry=self._telemetry, login=login)
        self._closing.push_async_callback(web.aclose)
        return Orthanc(web, url)

    def webhook(self) -> Webhook | None:
        """Return the webhook of the alerts."""
        alert = self._settings.alert
        if not alert.webhook:
            return None
        from sync.adapters.http.webhook import Webhook

        webhook = Webhook(alert.webhook, shape=alert.webhook_shape, key=alert.webhook_key)
        self._closing.push_async_callback(webhook.aclose)
        return webhook

    def export(self) -> None:
        """Export metrics and traces, if an exporter is configured."""
        if not (self._settings.insights_connection or self._settings.otlp_endpoint):
            return
        try:
            from sync.adapters import opentelemetry

            exports = opentelemetry.exporting(self._settings)
        except Exception as defect:  # noqa: BLE001 -- whatever a library of telemetry raises, the sync must start
            place = traceback.extract_tb(defect.__traceback__)[-1]
            logger.error(  # noqa: TRY400 -- the text of the exception may quote a connection string
                "telemetry.not_exported error=%s at=%s:%s: the sync runs, and nothing is exported",
                type(defect).__name__,
                place.filename.rpartition("/")[2],
                place.lineno,
            )
            return
        if exports is not None:
            self._telemetry.export_to(exports.sink, exports.tracing)
            self._closing.push_async_callback(exports.close)

    def _of_state(self, client: type[Client], service: Service, retries: dict[str, Any]) -> Client:
        """Make a client of the state account, by its connection string or by identity."""
        settings = self._settings
        if settings.storage:
            with _connection_string_of(STATE):
                return client.from_connection_string(settings.storage, **retries, **self._connections())
        return client(state_url(settings, service), credential=self._credential, **retries, **self._connections())

    def _connections(self) -> dict[str, Any]:
        return connections(offset=self._offset)


def connections(kind: type[BoundedTransport] = StorageTransport, **more: Any) -> dict[str, Any]:
    """
    Give one client connections of its own, with time-outs.

    Without a proxy in the environment the library need not read the environment: it would also look for a ``.netrc`` at
    every request, on a thread, for a quarter of the cost of a small request.
    """
    return {"transport": kind(use_env_settings=bool(getproxies()), **_TIMEOUTS, **more)}


@contextmanager
def _connection_string_of(setting: str) -> Iterator[None]:
    """Blame the setting when a client cannot read a connection string; the client's own text might quote it."""
    try:
        yield
    except ValueError:
        raise ConfigError(setting, "expected the connection string of a storage account") from None


def _identity() -> DefaultAzureCredential:
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()


def _needs_identity(settings: Settings) -> bool:
    source_by_identity = settings.source.startswith("https://")
    by_url = wants_identity(settings.fhir_url, settings.fhir_access) or wants_identity(
        settings.dicom_url, settings.dicom_access
    )
    topic_by_identity = bool(settings.events_topic) and not settings.events_key
    return not settings.storage or source_by_identity or topic_by_identity or by_url
