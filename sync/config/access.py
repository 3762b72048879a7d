"""
How the sync authenticates to a FHIR or DICOM service: one section for each, with the same settings.

Secrets are never shown: no ``repr``, no error and no log has them. They may be Key Vault references, which App Service
and Functions replace before the process starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from sync.config.forms import Headers, OneLine, PemOrFile, Scope, SecureUrl, User
from sync.config.section import PREFIX, Section
from sync.errors import ConfigError

NEEDED: Mapping[str, tuple[str, ...]] = {
    "auto": (),
    "none": (),
    "entra": (),
    "client-credentials": ("token_url", "client_id", "client_secret"),
    "private-key-jwt": ("token_url", "client_id", "private_key"),
    "bearer": ("token",),
    "basic": ("user", "password"),
}
"""Mode -> settings that it cannot do without."""

OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "auto": ("audience",),
    "entra": ("audience",),
    "client-credentials": ("scope",),
    "private-key-jwt": ("scope", "key_id"),
}
"""Mode -> further settings that it reads."""


class AccessSettings(Section):
    """Settings of access to one service: mode of authentication, credentials, headers."""

    auth: Literal["auto", "none", "entra", "client-credentials", "private-key-jwt", "bearer", "basic"] = "auto"
    """How the sync authenticates. ``auto``: Entra ID for an https URL of another machine, else nothing. ``entra``: a
    token of the managed identity. ``client-credentials``: OAuth 2.0 with a secret. ``private-key-jwt``: OAuth 2.0 with
    a signed assertion, as in SMART Backend Services. ``bearer``: a fixed token. ``basic``: user and password."""

    audience: Scope = ""
    """Audience of Entra ID tokens; empty: for a FHIR service its URL, for a DICOM service Azure's own audience."""

    token_url: SecureUrl = ""
    """Token endpoint of the authorization server: https, or a local address."""

    client_id: OneLine = ""
    """Client id that the authorization server gave the sync."""

    client_secret: OneLine = Field(default="", repr=False)
    """Secret of that client, for ``client-credentials``."""

    scope: Scope = ""
    """Scopes to ask for, separated by blanks, such as ``system/*.cruds``; empty: the server's default."""

    private_key: PemOrFile = Field(default="", repr=False)
    """Private key that signs the assertion of ``private-key-jwt``: RSA (RS384) or elliptic P-384 (ES384), as PEM text
    or the absolute path of a file."""

    key_id: OneLine = ""
    """``kid`` of the private key in the key set that is registered with the authorization server."""

    token: OneLine = Field(default="", repr=False)
    """The fixed token of ``bearer``."""

    user: User = ""
    """User of ``basic``."""

    password: str = Field(default="", repr=False)
    """Password of the user of ``basic``."""

    client_certificate: PemOrFile = Field(default="", repr=False)
    """Certificate and private key for mutual TLS, as PEM text or the absolute path of a file; with any ``AUTH``."""

    headers: Headers = Field(default_factory=dict, repr=False)
    """JSON object: name -> value of headers that every request carries, such as the key of an API gateway."""

    @property
    def is_secret(self) -> bool:
        """Whether requests carry something that only the service may see; of ``auto`` the URL decides."""
        return self.auth not in ("auto", "none") or bool(self.headers)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for name in NEEDED[self.auth]:
            if not getattr(self, name):
                raise ConfigError(self.variable(name), f"is missing; {self.variable('auth')}={self.auth} needs it")
        return self

    def unread(self) -> list[str]:
        """Return the fields that are set and that the mode does not read."""
        read = {"auth", "client_certificate", "headers", *NEEDED[self.auth], *OPTIONAL.get(self.auth, ())}
        return [name for name in type(self).model_fields if name not in read and getattr(self, name)]


class FhirAccess(AccessSettings):
    """Access to the FHIR service, settings ``DICOM_SYNC_FHIR_*``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX + "FHIR_")


class DicomAccess(AccessSettings):
    """Access to the DICOM service, settings ``DICOM_SYNC_DICOM_*``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX + "DICOM_")
