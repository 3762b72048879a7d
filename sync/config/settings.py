"""Settings of the running sync: environment variables, read once at start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import NoDecode

from sync.config.access import DicomAccess, FhirAccess
from sync.config.alerts import AlertSettings
from sync.config.clouds import CLOUDS, CloudName
from sync.config.forms import (
    AccessKey,
    Account,
    ConnectionString,
    Container,
    Containers,
    GivenRoot,
    IdentifierSystem,
    RootWithoutVersion,
    ServiceUri,
    Source,
    Topic,
    User,
    Viewer,
    WebRoot,
    is_local,
)
from sync.config.header import HeaderLimits
from sync.config.mapping import MappingSettings
from sync.config.section import PREFIX, Section
from sync.errors import ConfigError

STATE = "AzureWebJobsStorage"
"""Setting of the state account. Azure Functions defines the name and uses the account for the triggers too."""


class Settings(MappingSettings):
    """Settings of the function app and of the commands that use its services."""

    fhir_url: GivenRoot
    """Base URL of the FHIR R4 service."""

    fhir_bundle_entries: int = Field(default=500, ge=20, le=500)
    """Maximum entries of a transaction or batch. 500 is the limit of Azure's FHIR service; AWS HealthLake takes 160.
    A study with more resources is written by several transactions; if one fails, the next attempt writes the rest."""

    patient_policy: Literal["link-or-create", "reference-only", "update"] = "link-or-create"
    """
    How a study gets its Patient. ``link-or-create``: search by identifier; link one match without changing it, create
    a Patient if there is none, dead-letter the study if there are several. ``update``: the same, and also write name,
    gender, birth date and identifiers from the studies into a linked Patient, even one of the EHR. ``reference-only``:
    refer to the patient by identifier and display; read and write no Patient. A new policy applies to studies that
    change; replay the others.
    """

    cast_patient_system: IdentifierSystem = ""
    """
    Identifier system of Patients that Microsoft DICOM Cast created: its ``Patient:PatientSystemId``; ``none`` if that
    was empty, ``issuer`` if ``Patient:IsIssuerIdUsed`` was true. If no Patient matches otherwise, the sync searches in
    this system and adopts the match, unless its sex or birth date contradicts the images. Empty: no such search.
    """

    containers: Containers = ("dicom",)
    """Comma-separated list of the containers that hold DICOM files; all others are ignored."""

    quiet_period: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """Maximum seconds without a change before a study is projected; see the next setting."""

    shortest_quiet_period_seconds: Annotated[float, Field(ge=0, le=3600)] = 1.0
    """Minimum seconds without a change before the first projection of a study. A study waits for five times the longest
    gap between its objects, but at least for this minimum and at most for the quiet period. A study that is already in
    FHIR, or that has one object so far, waits for the quiet period. If this value equals or exceeds the quiet period,
    every study waits for the quiet period."""

    max_wait: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Seconds after the first change at which a study is projected even if it is still changing; at least the quiet
    period."""

    dead_letter_after_seconds: Annotated[float, Field(ge=0, le=7 * 24 * 3600)] = 3600.0
    """Seconds that an outage may delay a study or object before it also becomes a dead letter. Retries continue."""

    longest_wait_seconds: Annotated[float, Field(ge=1, le=3600)] = 300.0
    """Longest ``Retry-After`` of a service that is honored, in seconds; longer ones are cut to it."""

    delivery_budget_seconds: Annotated[float, Field(ge=30, le=540)] = 300.0
    """Seconds after which a delivery is cut off and delivered again; less than the ``functionTimeout`` of host.json."""

    max_removals_per_hour: Annotated[int, Field(ge=0, le=1000)] = 100
    """Studies that may lose instances, or be removed, within an hour; above it, removals wait for an operator."""

    max_removal_share_percent: Annotated[float, Field(ge=0, le=100)] = 10.0
    """The same limit as a percentage of the studies in FHIR; it always allows twenty studies an hour, unless the
    previous setting allows fewer."""

    reconcile_studies_per_minute: Annotated[int, Field(ge=0, le=1000)] = 50
    """Studies to compare with FHIR and the source each minute, in a continuous cycle; 0: off."""

    reconcile_repair: bool = False
    """Repair differences that the comparison finds; if false, they are only counted and shown."""

    operators: Literal["none", "key", "entra"] = "none"
    """Who may act over HTTP (retry, discard, replay, repair, pause): ``none`` no one; ``key`` holders of the function
    key;
    ``entra`` holders of the app role ``operator`` with App Service authentication, which must be on: without it the
    role could be forged, so all actions are refused."""

    sign_in: str = Field(default="", validation_alias="WEBSITE_AUTH_ENABLED")
    """Set by App Service if its authentication is on; do not set it. With operators ``entra``, all actions are refused
    unless it is ``True``: a container or pod has no front end that removes forged headers."""

    viewer_url: Viewer = ""
    """Address of a study in your image viewer, with ``{study}`` for its Study Instance UID, such as
    ``https://viewer.example.org/viewer?StudyInstanceUIDs={study}`` for OHIF; the dashboard links to it. If empty, the
    links lead to OHIF at ``/ohif`` on the host of ``DICOM_SYNC_DICOMWEB_URL``, as Orthanc serves it, unless that host
    is a DICOM service of Azure. With ``none``, or without that root, there is no link."""

    timeline: bool = False
    """Serve ``api/timeline/{patient}``: one patient over time, to people who signed in by App Service authentication
    and have the app role ``timeline`` or ``timeline-all``. Needs the package ``insights``."""

    inbox: bool = False
    """Serve ``api/inbox``: readers who signed in by App Service authentication and have the app role ``feedback`` see
    and mark the outcomes of their reads. ``python -m sync feedback watch`` fills it. Needs the package ``insights``."""

    undelivered_events: Container = "event-dead-letters"
    """Container of the state account for events that Event Grid could not deliver; they are recovered every five
    minutes. It may be absent."""

    events_topic: Topic = ""
    """URL of the Event Grid topic (``https://…/api/events``) for result events; if empty, none are published."""

    events_key: AccessKey = Field(default="", repr=False)
    """Access key of that topic; if empty, the managed identity sends and needs the role EventGrid Data Sender."""

    events_uids: bool = False
    """Include Study Instance UIDs in result events. A UID is not a name, but it identifies a patient's study."""

    metrics_interval_seconds: Annotated[float, Field(ge=1, le=60)] = 10.0
    """Seconds between writes of a worker's measurements; a crash loses at most that much."""

    metrics_by_minute_kept_hours: Annotated[float, Field(ge=2, le=14 * 24)] = 48.0
    """Hours to keep measurements by the minute and by ten minutes."""

    study_history_kept_days: Annotated[float, Field(ge=1, le=3650)] = 30.0
    """Days to keep each study's processing history."""

    metrics_by_hour_kept_days: Annotated[float, Field(ge=1, le=3650)] = 90.0
    """Days to keep measurements by the hour."""

    cloud: CloudName = "public"
    """The cloud of Azure that the services are in: ``public``, ``government`` (US) or ``china``."""

    fhir_concurrency: Annotated[int, Field(ge=1, le=1000)] = 16
    """Studies that one process projects to FHIR concurrently. The FHIR service serves at most this number times the
    number of instances at once; lower it if the service answers 429."""

    storage: ConnectionString = Field(default="", validation_alias=STATE, repr=False)
    """Connection string of the account for queues and tables; empty if a managed identity is used."""

    storage_account: Account = Field(default="", validation_alias=f"{STATE}__accountName")
    """Name of the account for queues and tables if a managed identity is used."""

    state_account: Account = ""
    """Name of the state account, if the host gets addresses (``AzureWebJobsStorage__blobServiceUri`` and so on) instead
    of a name; by name, the host finds only accounts of the public cloud."""

    storage_blob_uri: ServiceUri = Field(default="", validation_alias=f"{STATE}__blobServiceUri")
    """URL of the account's blob service, if it cannot be derived from the name, as with DNS zone endpoints."""

    storage_queue_uri: ServiceUri = Field(default="", validation_alias=f"{STATE}__queueServiceUri")
    """URL of the account's queue service, if it cannot be derived from the name."""

    storage_table_uri: ServiceUri = Field(default="", validation_alias=f"{STATE}__tableServiceUri")
    """URL of the account's table service; if unset, it is derived from the name or the queue service's URL."""

    source: Source = Field(default="", repr=False)
    """Account of the DICOM files: connection string, or blob service URL with an identity; if empty, the state
    account."""

    insights_connection: str = Field(default="", validation_alias="APPLICATIONINSIGHTS_CONNECTION_STRING", repr=False)
    """Connection string of the Application Insights for metrics and traces; if empty, none are sent. With
    ``APPLICATIONINSIGHTS_AUTHENTICATION_STRING`` (``Authorization=AAD;ClientId=…``), a managed identity signs in."""

    otlp_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Root URL of an OTLP collector for metrics and traces over HTTP (``http://collector:4318``); if empty, none are
    sent. The other ``OTEL_*`` variables apply too: headers, sampler, intervals, service name."""

    dicom_url: RootWithoutVersion = ""
    """Root URL of the DICOM service whose change feed is read, without ``/v2``; if empty, none is read."""

    dicom_header: Literal["never", "when-needed", "always"] = "when-needed"
    """
    When the sync reads the header of an instance of the DICOM service instead of its metadata, which lack attributes
    that the service considers invalid. ``never``: no request per instance, but a study may lack its patient or its
    modality. ``when-needed``: one extra request for each instance whose metadata lack the Patient ID or an attribute
    that must be present (even if empty), or have lost characters. ``always``: one request per instance, with the same
    result as for a file in blob storage. If the service cannot return the metadata, the header is read in any case.
    """

    orthanc_url: WebRoot = ""
    """Base URL of the Orthanc server whose changes are read; if empty, none is read."""

    orthanc_user: User = ""
    """User of Orthanc's REST API; if empty, requests carry no credentials."""

    orthanc_password: str = Field(default="", repr=False)
    """Password of that user."""

    header: Annotated[HeaderLimits, NoDecode] = Field(default_factory=HeaderLimits.load)
    """Limits of header reading, settings ``DICOM_SYNC_HEADER_*``."""

    alert: Annotated[AlertSettings, NoDecode] = Field(default_factory=AlertSettings.load)
    """Alert thresholds and channels, settings ``DICOM_SYNC_ALERT_*``."""

    fhir_access: Annotated[FhirAccess, NoDecode] = Field(default_factory=FhirAccess.load)
    """How the FHIR service lets the sync in, settings ``DICOM_SYNC_FHIR_*``."""

    dicom_access: Annotated[DicomAccess, NoDecode] = Field(default_factory=DicomAccess.load)
    """How the DICOM service lets the sync in, settings ``DICOM_SYNC_DICOM_*``."""

    @property
    def state(self) -> str:
        """Name of the state account if a managed identity is used."""
        return self.storage_account or self.state_account

    @property
    def signs_in(self) -> bool:
        """Whether App Service says that its authentication is on; unset means no."""
        return self.sign_in.lower() == "true"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not (self.storage or self.state or self.storage_queue_uri):
            raise ConfigError(STATE, f"is missing; it, or {STATE}__accountName, must name the state account")
        if self.orthanc_user and not self.orthanc_password:
            raise ConfigError(f"{PREFIX}ORTHANC_PASSWORD", f"is missing; expected together with {PREFIX}ORTHANC_USER")
        if self.orthanc_password and not self.orthanc_user:
            raise ConfigError(f"{PREFIX}ORTHANC_USER", f"is missing; expected together with {PREFIX}ORTHANC_PASSWORD")
        for url, access in ((self.fhir_url, self.fhir_access), (self.dicom_url, self.dicom_access)):
            if access.is_secret and url.startswith("http:") and not is_local(url):
                expected = "sends a credential in the clear: expected an https URL of the service, or none"
                raise ConfigError(access.variable("auth"), expected)
        if self.max_wait < self.quiet_period:
            raise ConfigError(f"{PREFIX}MAX_WAIT", f"expected at least {PREFIX}QUIET_PERIOD")
        return self


def state_settings() -> Settings:
    """Return settings that name the state account as the environment does, for when another of them is wrong."""
    addresses = ("storage_blob_uri", "storage_queue_uri", "storage_table_uri")
    names = ("storage", "storage_account", "state_account", "cloud", *addresses)
    values: dict[str, Any] = {name: os.environ.get(Settings.variable(name), "").strip() for name in names}
    values["cloud"] = values["cloud"] if values["cloud"] in CLOUDS else "public"
    values |= {name: section.model_construct() for name, section in sections().items()}
    return Settings.model_construct(fhir_url="http://localhost", **values)


@cache
def sections() -> Mapping[str, type[Section]]:
    """Return the fields of `Settings` that are settings of their own, with their classes."""
    fields = Settings.model_fields.items()
    return {
        name: info.annotation
        for name, info in fields
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section)
    }
