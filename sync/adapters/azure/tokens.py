"""Bearer tokens of an Azure identity, for the services that take them over HTTP."""

from __future__ import annotations

from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError

from sync.adapters.azure.errors import SIGN_IN, what
from sync.errors import FhirUnavailable, TransientError


class CredentialTokens:
    """
    Bearer tokens for one service; the credential caches them, and a refused token is requested again.

    Parameters
    ----------
    scope
        The scope that the service requires of tokens.
    failure
        The error class if there is no token; its code is ``area.forbidden``.
    """

    def __init__(
        self, credential: AsyncTokenCredential, *, scope: str, failure: type[TransientError] = FhirUnavailable
    ) -> None:
        self._credential = credential
        self._scope = scope
        self._failure = failure

    async def token(self, *, refresh: bool = False) -> str:
        """Return a token; a new one when ``refresh``."""
        options: dict[str, Any] = {"enable_cae": True} if refresh else {}
        try:
            access: AccessToken = await self._credential.get_token(self._scope, **options)
        except AzureError as problem:
            code = f"{self._failure.code.partition('.')[0]}.forbidden"
            words = what(problem)
            detail = words if isinstance(problem, ClientAuthenticationError) else f"no token: {words}"
            raise self._failure(detail, code=code, hint=SIGN_IN) from None
        return access.token


class ScopedCredential:
    """
    A credential whose tokens are always for one scope.

    The client of Event Grid asks for tokens of the public cloud, whatever cloud its topic is in.
    """

    def __init__(self, credential: AsyncTokenCredential, scope: str) -> None:
        self._credential = credential
        self._scope = scope

    async def get_token(self, *_: str, **options: Any) -> AccessToken:
        """Return a token for the one scope."""
        return await self._credential.get_token(self._scope, **options)

    async def close(self) -> None:
        """Do nothing: who made the credential closes it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing: who made the credential closes it."""
