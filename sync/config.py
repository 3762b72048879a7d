"""
Settings: environment variables, typed, read once, refused loudly.

`MappingSettings` is all that `python -m sync map` needs; `Settings` adds what the running sync needs. Values never
change after start; white space around them is dropped, and a blank one is one that is not set. What a setting means is
said here, once: docs/settings.md is made of it.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from sync.errors import ConfigError

PREFIX = "DICOM_SYNC_"

STATE = "AzureWebJobsStorage"
"""Setting of the state account; Azure Functions gives it its name, and uses it for the triggers too."""

_URI_CHARACTERS = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")
"""RFC 3986: what a URI may hold; FHIR servers refuse the rest, one study at a time."""

SYSTEM_SCHEMES = ("http://", "https://", "urn:")
"""How the URI of an identifier or code system may begin; FHIR validators take others for references."""

_CONTAINER = re.compile(r"\$root|\$web|(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")
"""Azure Storage, "Naming and referencing containers, blobs, and metadata"."""

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine: there, and nowhere else, addresses may be plain http without a credential."""

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")


def _absolute_uri(value: str) -> str:
    if value and not (value.startswith(SYSTEM_SCHEMES) and _URI_CHARACTERS.fullmatch(value)):
        raise ValueError("expected a URI such as https://hospital.example/patient-ids or urn:oid:2.16.840.1.113883")
    return value


def _web_root(value: str) -> str:
    if value and not _is_web_root(value):
        raise ValueError("expected an http(s) URL without user name, query or fragment")
    return value.rstrip("/")


def _is_web_root(value: str) -> bool:
    try:
        parts = urlsplit(value)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, an IPv6 address that is none
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in ("http", "https") and named and plain and bool(_URI_CHARACTERS.fullmatch(value))


def _access_key(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", value):
        raise ValueError("expected an access key of the topic, which is base64")
    return value


def _topic(value: str) -> str:
    if not value:
        return value
    url = _web_root(value)
    if not url.startswith("https:") and urlsplit(url).hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise ValueError("expected the https URL of an Event Grid topic (http only on this machine)")
    return url


def _webhook(value: str) -> str:
    if not value:
        return value
    parts = urlsplit(value)
    local = parts.hostname in LOCAL_HOSTS
    if not (parts.scheme == "https" or (parts.scheme == "http" and local)) or not parts.hostname or "@" in parts.netloc:
        raise ValueError("expected an https URL (http only on this machine) without user name")
    return value


def _plain_key(value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", value):
        raise ValueError("expected letters and digits only")
    return value


def _given(value: str) -> str:
    if not value:
        raise ValueError("expected an http(s) URL, got nothing")
    return value


def _without_version(value: str) -> str:
    """Drop the version of the API, which people copy along."""
    return re.sub(r"/v\d+$", "", value)


def _user(value: str) -> str:
    if ":" in value:
        raise ValueError("expected a user name; HTTP basic authentication allows no colon in one")
    return value


def _source(value: str) -> str:
    """Pass a connection string: its client judges it. With an identity, Azure takes nothing but https."""
    if "://" in value.partition("=")[0] and not (_is_web_root(value) and value.startswith("https:")):
        raise ValueError("expected a connection string, or the https URL of an account's blob service")
    return value


def _account(value: str) -> str:
    if value and not _ACCOUNT.fullmatch(value):
        raise ValueError("expected the name of a storage account: 3 to 24 lower-case letters and digits")
    return value


def _containers(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or not all(_CONTAINER.fullmatch(each) for each in names):
        raise ValueError("expected names of containers, separated by commas")
    return names


def _no_blanks(value: str) -> str:
    if len(value.split()) > 1:
        raise ValueError("expected an identifier system, which has no blanks, or none, or issuer")
    return value


def _container(name: str) -> str:
    if not _CONTAINER.fullmatch(name):
        raise ValueError("expected the name of a container")
    return name


def _time_zone(value: str) -> str:
    if value:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as problem:
            raise ValueError("expected an IANA time zone such as Europe/Berlin") from problem
    return value


def _comma_list(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _json_object(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        form = '{"HOSPITAL": "https://hospital.example/patient-ids"}'
        raise ValueError(f"expected a JSON object such as {form}")  # noqa: TRY004 -- pydantic wants ValueError
    return found


Uri = Annotated[str, AfterValidator(_absolute_uri)]
WebRoot = Annotated[str, AfterValidator(_web_root)]
UrisByName = Annotated[dict[str, Uri], NoDecode, BeforeValidator(_json_object)]


class _Variables(EnvSettingsSource):
    """The environment without blank values, for portals and templates like to set them."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        self.env_vars = {name: value.strip() for name, value in self.env_vars.items() if value and value.strip()}


class Section(BaseSettings):
    """Settings that share a prefix."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- the base class passes all four
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what the caller gives, then the environment."""
        return init_settings, _Variables(settings_cls)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """
        Read the environment; overrides win over it.

        Raises
        ------
        ConfigError
            Naming the first setting that is missing or wrong, and what it should hold, never what it holds.
        """
        try:
            return cls(**overrides)
        except ValidationError as problem:
            first = problem.errors(include_input=False, include_url=False, include_context=False)[0]
            expected = "is missing" if first["type"] == "missing" else str(first["msg"]).removeprefix("Value error, ")
            raise ConfigError(cls.variable(str(first["loc"][0])), expected) from None

    @classmethod
    def variables(cls) -> dict[str, FieldInfo]:
        """Return the fields by the names of their environment variables."""
        return {cls.variable(name): info for name, info in cls.model_fields.items()}

    @classmethod
    def variable(cls, name: str) -> str:
        """Return the environment variable of a field, given by its name or alias."""
        aliases = {info.validation_alias for info in cls.model_fields.values()}
        alias = name if name in aliases else getattr(cls.model_fields.get(name), "validation_alias", None)
        return str(alias) if alias else str(cls.model_config["env_prefix"]) + name.upper()


class MappingSettings(Section):
    """What the mapping needs to know of the hospital."""

    timezone: Annotated[str, AfterValidator(_time_zone)] = ""
    """IANA zone of the scanners, for files without (0008,0201); empty: such times become dates."""

    dicomweb_url: WebRoot = ""
    """Root of the DICOMweb service that viewers use, for the Endpoint; empty: no Endpoint."""

    issuers: UrisByName = Field(default_factory=dict)
    """JSON object: issuer string, as (0010,0021) spells it -> URI of its identifier system."""

    patient_system: Uri = "urn:dicom-fhir-sync:patient-id"
    """Identifier system of Patient IDs without any issuer; a named issuer always gets a system of its own."""

    accession_system: Uri = "urn:dicom-fhir-sync:accession-number"
    """Identifier system of accession numbers without any issuer."""

    placer_system: Uri = "urn:dicom-fhir-sync:placer-order-number"
    """Identifier system of placer order numbers without any issuer."""

    filler_system: Uri = "urn:dicom-fhir-sync:filler-order-number"
    """Identifier system of filler order numbers without any issuer."""

    study_id_system: Uri = ""
    """Identifier system of Study IDs (0020,0010); empty: they are not mapped."""

    coding_schemes: UrisByName = Field(default_factory=dict)
    """JSON object: coding scheme designator -> URI of the code system, for private schemes."""

    patient_other_names: bool = False
    """Whether Other Patient Names (0010,1001) and Patient's Birth Name (0010,1005) are mapped."""

    patient_species: bool = False
    """Whether Patient Species (0010,2202) is mapped, for veterinary images."""


class HeaderLimits(Section):
    """Bounds of what a header may cost; a file beyond one becomes a dead letter ``header.limit``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX + "HEADER_")

    first_read: Annotated[int, Field(ge=512)] = 64 * 1024
    """Bytes of the first ranged read; 95 % of headers fit in 64 KiB."""

    max_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    """Bytes of one object that are read at most in search of its header's end."""

    max_inflated: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024
    """Bytes that a deflated data set may inflate to."""

    max_depth: Annotated[int, Field(ge=1)] = 32
    """Sequences within sequences."""

    max_elements: Annotated[int, Field(ge=1)] = 200_000
    """Data elements, nested ones included."""


class AlertSettings(Section):
    """When alerts are raised, and whom they reach; a figure above its threshold raises."""

    model_config = SettingsConfigDict(env_prefix=PREFIX + "ALERT_")

    lag: Annotated[float, Field(gt=0)] = 300.0
    """Seconds that the oldest outstanding study may wait: the service level."""

    queue: Annotated[float, Field(gt=0)] = 300.0
    """Seconds that the oldest visible message of a queue may wait."""

    fhir_failing: Annotated[float, Field(ge=0)] = 2.0
    """Studies that may fail to be written within three minutes because FHIR does not answer."""

    fhir_throttling: Annotated[float, Field(ge=0)] = 50.0
    """Answers 429 that FHIR may give within five minutes."""

    access: Annotated[float, Field(ge=0)] = 0.0
    """Deliveries that may fail within three minutes for credentials or a certificate."""

    dead_letters: Annotated[float, Field(ge=0)] = 10.0
    """Dead letters that may be written within ten minutes."""

    poison: Annotated[float, Field(ge=0)] = 0.0
    """Messages that may be set aside as poison within ten minutes."""

    defect: Annotated[float, Field(ge=0)] = 0.0
    """Failures by defects of the sync itself that may happen within ten minutes."""

    feed: Annotated[float, Field(gt=0)] = 900.0
    """Seconds that a change feed may neither move nor be found at its end."""

    silence: Annotated[float, Field(gt=0)] = 900.0
    """Seconds that an object may be in the source without any event that told of it."""

    drift: Annotated[float, Field(ge=0)] = 0.0
    """Disagreements between source, ledger and FHIR that may be open."""

    stopped: Annotated[float, Field(gt=0)] = 180.0
    """Seconds without an evaluation of these alerts after which the status says that the timers do not run."""

    clear_after: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """Seconds that a figure must stay at or below four fifths of its threshold before its alert is cleared."""

    webhook: Annotated[str, AfterValidator(_webhook)] = Field(default="", repr=False)
    """URL that gets alerts by POST: https, or on this machine; empty: none. It may hold a secret: no log
    has it."""

    webhook_shape: Literal["cloudevents", "teams", "slack", "pagerduty"] = "cloudevents"
    """What the webhook understands: a CloudEvent, a card for Teams, a Slack message, PagerDuty's Events API v2."""

    webhook_key: Annotated[str, AfterValidator(_plain_key)] = Field(default="", repr=False)
    """Integration key of PagerDuty, for that shape only."""

    @model_validator(mode="after")
    def _has_key(self) -> Self:
        if self.webhook and self.webhook_shape == "pagerduty" and not self.webhook_key:
            raise ConfigError(f"{PREFIX}ALERT_WEBHOOK_KEY", "is missing; PagerDuty needs its integration key")
        return self


class Settings(MappingSettings):
    """Everything the running sync needs."""

    fhir_url: Annotated[WebRoot, AfterValidator(_given)]
    """Base URL of the FHIR R4 service."""

    patient_policy: Literal["link-or-create", "reference-only", "update"] = "link-or-create"
    """
    How studies find their Patient. ``link-or-create``: one match by identifier is linked and stays as it is, none is
    created, several park the study. ``update``: the same, but what the studies say of name, gender, birth date and
    identifiers is written into a linked Patient too, even an EHR's. ``reference-only``: the study names its patient by
    identifier and display; no Patient is read or written. A new policy holds for what changes; replay the others.
    """

    cast_patient_system: Annotated[str, AfterValidator(_no_blanks)] = ""
    """
    Where Microsoft DICOM Cast made Patients: the identifier system that it gave them, its ``Patient:PatientSystemId``;
    ``none`` if that was empty, ``issuer`` if ``Patient:IsIssuerIdUsed`` was true. A Patient that is not found otherwise
    is looked for under it, and taken unless its sex or birth date contradicts the images. Empty: nobody looks.
    """

    containers: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_list), AfterValidator(_containers)] = (
        "dicom",
    )
    """Comma-separated allow-list of the containers that hold DICOM files."""

    quiet_period: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """Seconds without a change after which a study is projected."""

    max_wait: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Seconds after its first change at which a study is projected even while it still grows; not less than the quiet
    period."""

    patience: Annotated[float, Field(ge=0, le=7 * 24 * 3600)] = 3600.0
    """Seconds that an outage may keep a study or object waiting before it becomes a dead letter too; it is tried on all
    the same."""

    reconcile_studies: Annotated[int, Field(ge=0, le=1000)] = 50
    """Studies that are compared with FHIR and the source each minute, one after the other and round again; 0: none."""

    reconcile_repair: bool = False
    """Whether what the comparison finds is mended at once; without it, it is only counted and shown."""

    operators: Literal["none", "key", "entra"] = "none"
    """Who may retry, discard, replay and repair over HTTP: ``none`` nobody; ``key`` whoever holds the function key;
    ``entra`` who has the app role ``operator`` with App Service authentication, which must then be on: without it
    anybody could claim the role."""

    lost_events: Annotated[str, AfterValidator(_container)] = "event-dead-letters"
    """Container of the state account where Event Grid leaves what it could not deliver: its events are recovered every
    five minutes. One that does not exist holds nothing."""

    events_topic: Annotated[str, AfterValidator(_topic)] = ""
    """URL of the Event Grid topic (``https://…/api/events``) that gets the result events; empty: nobody is told."""

    events_key: Annotated[str, AfterValidator(_access_key)] = Field(default="", repr=False)
    """Access key of that topic; empty: the identity sends, with the role EventGrid Data Sender."""

    events_uids: bool = False
    """Whether result events hold Study Instance UIDs. They are no names, but they do identify a patient's study."""

    series_interval: Annotated[float, Field(ge=1, le=60)] = 10.0
    """Seconds between two writes of a worker's measurements; so much of them does a crash lose at most."""

    series_minutes_kept: Annotated[float, Field(ge=2, le=14 * 24)] = 48.0
    """Hours for which measurements are kept minute by minute."""

    history_kept: Annotated[float, Field(ge=1, le=3650)] = 30.0
    """Days for which is kept, for the dashboard, what came of each study."""

    series_hours_kept: Annotated[float, Field(ge=1, le=3650)] = 90.0
    """Days for which measurements are kept hour by hour."""

    storage: str = Field(default="", validation_alias=STATE, repr=False)
    """Connection string of the account for queues and tables; empty when an identity is used instead."""

    storage_account: Annotated[str, AfterValidator(_account)] = Field(
        default="", validation_alias=f"{STATE}__accountName"
    )
    """Name of the account for queues and tables when an identity is used."""

    source: Annotated[str, AfterValidator(_source)] = Field(default="", repr=False)
    """Account of the DICOM files: connection string, or blob service URL with an identity; empty: same as the state."""

    insights_connection: str = Field(default="", validation_alias="APPLICATIONINSIGHTS_CONNECTION_STRING", repr=False)
    """Connection string of the Application Insights that gets metrics and traces; empty: none. With
    ``APPLICATIONINSIGHTS_AUTHENTICATION_STRING`` (``Authorization=AAD;ClientId=…``) an identity signs in there."""

    otlp_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Root of the collector that gets metrics and traces by OTLP over HTTP (``http://collector:4318``); empty: none.
    The other ``OTEL_*`` variables hold too: headers, sampler, intervals, service name."""

    dicom_url: Annotated[WebRoot, AfterValidator(_without_version)] = ""
    """Root of the DICOM service whose change feed is read, without ``/v2``; empty: none."""

    orthanc_url: WebRoot = ""
    """Base URL of the Orthanc whose changes are read; empty: none."""

    orthanc_user: Annotated[str, AfterValidator(_user)] = ""
    """User of Orthanc's REST API; empty: none is asked for."""

    orthanc_password: str = Field(default="", repr=False)
    """Password of that user."""

    header: Annotated[HeaderLimits, NoDecode] = Field(default_factory=HeaderLimits.load)
    """Bounds of header reading, settings ``DICOM_SYNC_HEADER_*``."""

    alert: Annotated[AlertSettings, NoDecode] = Field(default_factory=AlertSettings.load)
    """When alerts are raised, settings ``DICOM_SYNC_ALERT_*``."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.storage and not self.storage_account:
            raise ConfigError(STATE, f"is missing; it, or {STATE}__accountName, must name the state account")
        if bool(self.orthanc_user) != bool(self.orthanc_password):
            raise ConfigError(f"{PREFIX}ORTHANC_PASSWORD", f"expected together with {PREFIX}ORTHANC_USER, or neither")
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
