"""All that the running sync needs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import NoDecode

from sync.config.alerts import AlertSettings
from sync.config.forms import (
    AccessKey,
    Account,
    ConnectionString,
    Container,
    Containers,
    GivenRoot,
    IdentifierSystem,
    RootWithoutVersion,
    Source,
    Topic,
    User,
    WebRoot,
)
from sync.config.header import HeaderLimits
from sync.config.mapping import MappingSettings
from sync.config.section import PREFIX, Section
from sync.errors import ConfigError

STATE = "AzureWebJobsStorage"
"""Setting of the state account; Azure Functions gives it its name, and uses it for the triggers too."""


class Settings(MappingSettings):
    """Everything the running sync needs."""

    fhir_url: GivenRoot
    """Base URL of the FHIR R4 service."""

    patient_policy: Literal["link-or-create", "reference-only", "update"] = "link-or-create"
    """
    How studies find their Patient. ``link-or-create``: one match by identifier is linked and stays as it is, none is
    created, several park the study. ``update``: the same, but what the studies say of name, gender, birth date and
    identifiers is written into a linked Patient too, even an EHR's. ``reference-only``: the study names its patient by
    identifier and display; no Patient is read or written. A new policy holds for what changes; replay the others.
    """

    cast_patient_system: IdentifierSystem = ""
    """
    Where Microsoft DICOM Cast made Patients: the identifier system that it gave them, its ``Patient:PatientSystemId``;
    ``none`` if that was empty, ``issuer`` if ``Patient:IsIssuerIdUsed`` was true. A Patient that is not found otherwise
    is looked for under it, and taken unless its sex or birth date contradicts the images. Empty: nobody looks.
    """

    containers: Containers = ("dicom",)
    """Comma-separated allow-list of the containers that hold DICOM files."""

    quiet_period: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """Seconds without a change after which a study is projected."""

    max_wait: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Seconds after its first change at which a study is projected even while it still grows; not less than the quiet
    period."""

    dead_letter_after_seconds: Annotated[float, Field(ge=0, le=7 * 24 * 3600)] = 3600.0
    """Seconds that an outage may keep a study or object waiting before it becomes a dead letter too; it is tried on all
    the same."""

    reconcile_studies_per_minute: Annotated[int, Field(ge=0, le=1000)] = 50
    """Studies that are compared with FHIR and the source each minute, one after the other and round again; 0: none."""

    reconcile_repair: bool = False
    """Whether what the comparison finds is mended at once; without it, it is only counted and shown."""

    operators: Literal["none", "key", "entra"] = "none"
    """Who may retry, discard, replay and repair over HTTP: ``none`` nobody; ``key`` whoever holds the function key;
    ``entra`` who has the app role ``operator`` with App Service authentication, which must then be on: without it
    anybody could claim the role, so nobody may act."""

    sign_in: str = Field(default="", validation_alias="WEBSITE_AUTH_ENABLED")
    """App Service itself says here whether its authentication is on; not to be set. With operators ``entra`` nobody may
    act unless it is ``True``: in a container or pod, where no front end removes a forged header, it is not there."""

    undelivered_events: Container = "event-dead-letters"
    """Container of the state account where Event Grid leaves what it could not deliver: its events are recovered every
    five minutes. One that does not exist holds nothing."""

    events_topic: Topic = ""
    """URL of the Event Grid topic (``https://…/api/events``) that gets the result events; empty: nobody is told."""

    events_key: AccessKey = Field(default="", repr=False)
    """Access key of that topic; empty: the identity sends, with the role EventGrid Data Sender."""

    events_uids: bool = False
    """Whether result events hold Study Instance UIDs. They are no names, but they do identify a patient's study."""

    metrics_interval_seconds: Annotated[float, Field(ge=1, le=60)] = 10.0
    """Seconds between two writes of a worker's measurements; so much of them does a crash lose at most."""

    metrics_by_minute_kept_hours: Annotated[float, Field(ge=2, le=14 * 24)] = 48.0
    """Hours for which measurements are kept minute by minute, and by ten minutes."""

    study_history_kept_days: Annotated[float, Field(ge=1, le=3650)] = 30.0
    """Days for which is kept, for the dashboard, what came of each study."""

    metrics_by_hour_kept_days: Annotated[float, Field(ge=1, le=3650)] = 90.0
    """Days for which measurements are kept hour by hour."""

    storage: ConnectionString = Field(default="", validation_alias=STATE, repr=False)
    """Connection string of the account for queues and tables; empty when an identity is used instead."""

    storage_account: Account = Field(default="", validation_alias=f"{STATE}__accountName")
    """Name of the account for queues and tables when an identity is used."""

    source: Source = Field(default="", repr=False)
    """Account of the DICOM files: connection string, or blob service URL with an identity; empty: same as the state."""

    insights_connection: str = Field(default="", validation_alias="APPLICATIONINSIGHTS_CONNECTION_STRING", repr=False)
    """Connection string of the Application Insights that gets metrics and traces; empty: none. With
    ``APPLICATIONINSIGHTS_AUTHENTICATION_STRING`` (``Authorization=AAD;ClientId=…``) an identity signs in there."""

    otlp_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Root of the collector that gets metrics and traces by OTLP over HTTP (``http://collector:4318``); empty: none.
    The other ``OTEL_*`` variables hold too: headers, sampler, intervals, service name."""

    dicom_url: RootWithoutVersion = ""
    """Root of the DICOM service whose change feed is read, without ``/v2``; empty: none."""

    orthanc_url: WebRoot = ""
    """Base URL of the Orthanc whose changes are read; empty: none."""

    orthanc_user: User = ""
    """User of Orthanc's REST API; empty: none is asked for."""

    orthanc_password: str = Field(default="", repr=False)
    """Password of that user."""

    header: Annotated[HeaderLimits, NoDecode] = Field(default_factory=HeaderLimits.load)
    """Bounds of header reading, settings ``DICOM_SYNC_HEADER_*``."""

    alert: Annotated[AlertSettings, NoDecode] = Field(default_factory=AlertSettings.load)
    """When alerts are raised, settings ``DICOM_SYNC_ALERT_*``."""

    @property
    def signs_in(self) -> bool:
        """Whether App Service says that its authentication is on; silence is a no."""
        return self.sign_in.lower() == "true"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.storage and not self.storage_account:
            raise ConfigError(STATE, f"is missing; it, or {STATE}__accountName, must name the state account")
        if self.orthanc_user and not self.orthanc_password:
            raise ConfigError(f"{PREFIX}ORTHANC_PASSWORD", f"is missing; expected together with {PREFIX}ORTHANC_USER")
        if self.orthanc_password and not self.orthanc_user:
            raise ConfigError(f"{PREFIX}ORTHANC_USER", f"is missing; expected together with {PREFIX}ORTHANC_PASSWORD")
        if self.max_wait < self.quiet_period:
            raise ConfigError(f"{PREFIX}MAX_WAIT", f"expected at least {PREFIX}QUIET_PERIOD")
        return self


def sections() -> dict[str, type[Section]]:
    """Return the fields of `Settings` that are settings of their own, with their classes."""
    fields = Settings.model_fields.items()
    return {
        name: info.annotation
        for name, info in fields
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section)
    }
