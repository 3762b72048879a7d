"""Turns the settings of a FHIR or DICOM service into the credentials that requests carry."""

from __future__ import annotations

from contextlib import AsyncExitStack

from azure.core.credentials_async import AsyncTokenCredential

from sync.adapters.http.access import (
    Access,
    ClientAuthentication,
    ClientCredentials,
    SharedSecret,
    SignedAssertion,
    StaticToken,
    tls_of,
)
from sync.adapters.http.tokens import TokenSource
from sync.config import AccessSettings, is_local
from sync.errors import TransientError


def wants_identity(url: str, settings: AccessSettings) -> bool:
    """
    Return whether requests carry a token of our Azure identity.

    By default, the token is sent only to other machines and over https, never in the clear.
    """
    by_url = url.startswith("https://") and not is_local(url)
    return bool(url) and (settings.auth == "entra" or (settings.auth == "auto" and by_url))


def access_of(
    url: str,
    settings: AccessSettings,
    credential: AsyncTokenCredential | None,
    closing: AsyncExitStack,
    *,
    audience: str,
    failure: type[TransientError],
) -> Access:
    """
    Return the credentials for requests to the service. Makes no request yet.

    Parameters
    ----------
    audience
        Audience of Entra ID tokens, if the settings name none.
    failure
        The error to raise for a missing token.

    Raises
    ------
    ConfigError
        A key or certificate cannot be read or used.
    """
    certificate = settings.client_certificate
    tls = tls_of(certificate, settings.variable("client_certificate")) if certificate else None
    login = (settings.user, settings.password) if settings.auth == "basic" else None
    tokens: TokenSource | None = None
    if wants_identity(url, settings) and credential is not None:
        from sync.adapters.azure.tokens import CredentialTokens

        scope = f"{(settings.audience or audience).rstrip('/')}/.default"
        tokens = CredentialTokens(credential, scope=scope, failure=failure)
    elif settings.auth == "bearer":
        tokens = StaticToken(settings.token)
    elif settings.auth in ("client-credentials", "private-key-jwt"):
        credentials = ClientCredentials(
            settings.token_url, _client(settings), scope=settings.scope, failure=failure, tls=tls
        )
        closing.push_async_callback(credentials.aclose)
        tokens = credentials
    return Access(tokens=tokens, login=login, headers=dict(settings.headers), tls=tls)


def _client(settings: AccessSettings) -> ClientAuthentication:
    if settings.auth == "client-credentials":
        return SharedSecret(settings.client_id, settings.client_secret)
    setting = settings.variable("private_key")
    return SignedAssertion(
        settings.client_id, settings.token_url, settings.private_key, key_id=settings.key_id, setting=setting
    )
