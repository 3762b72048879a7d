"""
Settings: environment variables, typed, read once, refused loudly.

`MappingSettings` is all that `python -m sync map` needs; `Settings` adds what the running sync needs. Values never
change after start. Source of the names: docs/settings.md.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sync.errors import ConfigError

PREFIX = "DICOM_SYNC_"

_URI_CHARACTERS = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")
"""RFC 3986: what a URI may hold; FHIR servers refuse the rest, one study at a time."""


def _absolute_uri(value: str) -> str:
    if value and (not urlsplit(value).scheme or not _URI_CHARACTERS.fullmatch(value)):
        raise ValueError("expected an absolute URI such as https://hospital.example/patient-ids or urn:oid:1.2.3")
    return value


def _web_root(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.netloc or not _URI_CHARACTERS.fullmatch(value)):
        raise ValueError("expected an http(s) URL")
    return value.rstrip("/")


def _time_zone(value: str) -> str:
    if value:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as problem:
            raise ValueError("expected an IANA time zone such as Europe/Berlin") from problem
    return value


def _comma_list(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Uri = Annotated[str, AfterValidator(_absolute_uri)]
WebRoot = Annotated[str, AfterValidator(_web_root)]


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", populate_by_name=True)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """
        Read the environment; overrides win over it.

        Raises
        ------
        ConfigError
            Naming the first setting that is missing or wrong, and what it should hold.
        """
        try:
            return cls(**overrides)
        except ValidationError as problem:
            first = problem.errors(include_input=False, include_url=False)[0]
            name = str(first["loc"][0]) if first["loc"] else "settings"
            setting = name if name.isupper() or name.startswith("AzureWebJobs") else PREFIX + name.upper()
            raise ConfigError(setting, str(first["msg"])) from None


class MappingSettings(_Environment):
    """What the mapping needs to know of the hospital."""

    timezone: Annotated[str, AfterValidator(_time_zone)] = ""
    """IANA zone of the scanners, for files without (0008,0201); empty: such times become dates."""

    dicomweb_url: WebRoot = ""
    """Root of the DICOMweb service that viewers use, for the Endpoint; empty: no Endpoint."""

    issuers: dict[str, Uri] = Field(default_factory=dict)
    """JSON object: issuer string, as (0010,0021) spells it -> URI of its identifier system."""

    patient_system: Uri = "urn:dicom-fhir-sync:patient-id"
    """Identifier system of Patient IDs without any issuer; a named issuer always gets a system of its own."""

    accession_system: Uri = "urn:dicom-fhir-sync:accession-number"
    """Identifier system of accession numbers without any issuer."""

    study_id_system: Uri = ""
    """Identifier system of Study IDs (0020,0010); empty: they are not mapped."""

    coding_schemes: dict[str, Uri] = Field(default_factory=dict)
    """JSON object: coding scheme designator -> URI of the code system, for private schemes."""


class HeaderLimits(_Environment):
    """Bounds of what a header may cost; a file beyond one becomes a dead letter ``header.limit``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX + "HEADER_", frozen=True, extra="ignore")

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


class Settings(MappingSettings):
    """Everything the running sync needs."""

    fhir_url: WebRoot
    """Base URL of the FHIR R4 service."""

    patient_policy: Literal["link-or-create"] = "link-or-create"
    """How studies find their Patient: one match by identifier is linked, none is created, several park the study."""

    containers: Annotated[tuple[str, ...], NoDecode, AfterValidator(tuple)] = ("dicom",)
    """Comma-separated allow-list of the containers that hold DICOM files."""

    quiet_period: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """Seconds without a change after which a study is projected."""

    max_wait: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Seconds after its first change at which a study is projected even while it still grows."""

    storage: str = Field(default="", validation_alias="AzureWebJobsStorage", repr=False)
    """Connection string of the account for queues and tables; empty when an identity is used instead."""

    storage_account: str = Field(default="", validation_alias="AzureWebJobsStorage__accountName")
    """Name of the account for queues and tables when an identity is used."""

    source: str = Field(default="", repr=False)
    """Account of the DICOM files: connection string, or blob service URL with an identity; empty: same as the state."""

    header: HeaderLimits = Field(default_factory=HeaderLimits)
    """Bounds of header reading, settings ``DICOM_SYNC_HEADER_*``."""

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: Any) -> Any:
        if isinstance(values, dict) and "containers" in values:
            values = {**values, "containers": _comma_list(values["containers"])}
        return values

    @model_validator(mode="after")
    def _storage_is_named(self) -> Self:
        if not self.containers:
            raise ValueError(f"{PREFIX}CONTAINERS: expected at least one container name")
        if not self.storage and not self.storage_account:
            raise ValueError("AzureWebJobsStorage (or AzureWebJobsStorage__accountName) must name the state account")
        return self
