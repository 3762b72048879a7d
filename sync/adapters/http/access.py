"""
Credentials of a request: tokens of several kinds, a login, a client certificate, headers.

    OAuth 2.0 client credentials     RFC 6749 4.4, the client by HTTP basic (2.3.1)
    SMART Backend Services           the same grant, the client by a signed assertion (RFC 7523, private_key_jwt)
    fixed token, login, headers      as they are
    mutual TLS                       a client certificate, in the TLS context

No secret is in a ``repr``, an error or a log line. The answers of a token endpoint stay in this module: they may quote
the request.

Sources: RFC 6749, RFC 6750, RFC 7523; SMART App Launch 2.2 "Backend Services" and "Asymmetric authentication".
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from sync.adapters.http.no_answer import words_of
from sync.adapters.http.tokens import TokenSource
from sync.adapters.http.trust import trusted
from sync.errors import ConfigError, FhirUnavailable, TransientError

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 240
"""Lifetime of an assertion in seconds; SMART allows five minutes at most."""

EARLY = 60.0
"""Seconds before its expiry at which a token is replaced."""

SHORTEST_LIFE = 30.0
"""Minimum seconds for which a token is used, so that a short-lived token does not cost a request each time."""

NEW_FOR = 5.0
"""Seconds during which a new token is not replaced although a service refuses it: another would not help."""

_DEFAULT_LIFE, _LONGEST_LIFE = 300.0, 24 * 3600.0
_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_CURVES: Mapping[int, str] = {256: "ES256", 384: "ES384"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Credentials for one service; all empty: no authentication."""

    tokens: TokenSource | None = field(default=None, repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: ssl.SSLContext | None = None


class ClientAuthentication(Protocol):
    """How a client proves itself to a token endpoint."""

    def proof(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return headers and form fields of a token request."""
        ...


class SharedSecret(ClientAuthentication):
    """Authenticates by a secret, in the header of HTTP basic authentication."""

    def __init__(self, client_id: str, secret: str) -> None:
        self._login = httpx.BasicAuth(quote(client_id, safe=""), quote(secret, safe=""))

    def proof(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the header."""
        request = next(self._login.auth_flow(httpx.Request("POST", "https://unused.invalid")))
        return {"Authorization": request.headers["Authorization"]}, {}


class SignedAssertion(ClientAuthentication):
    """
    Authenticates by a JWT that is signed with a private key.

    Raises
    ------
    ConfigError
        The key cannot sign.
    """

    def __init__(self, client_id: str, token_url: str, key: str, *, key_id: str = "", setting: str = "") -> None:
        self._claims = {"iss": client_id, "sub": client_id, "aud": token_url}
        self._headers = {"typ": "JWT"} | ({"kid": key_id} if key_id else {})
        self._key, self._algorithm = _signing_key(pem_of(key, setting), setting)

    def proof(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the form fields; each assertion has its own id and is valid for minutes."""
        import jwt

        claims = {**self._claims, "exp": int(time.time()) + ASSERTION_SECONDS, "jti": uuid.uuid4().hex}
        assertion = jwt.encode(claims, self._key, algorithm=self._algorithm, headers=self._headers)
        return {}, {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}


class StaticToken(TokenSource):
    """A token that an operator configured; it is never replaced."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, *, refresh: bool = False) -> str:  # noqa: ARG002 -- the port says it
        """Return it."""
        return self._token


class ClientCredentials(TokenSource):
    """
    Tokens that an OAuth 2.0 authorization server issues to the sync itself.

    One request at a time; a token is kept until shortly before its expiry.

    Parameters
    ----------
    failure
        The error class if there is no token: with its own code for an outage, ``area.forbidden`` for a refusal.
    transport, now
        Replace network and clock, for tests.
    """

    def __init__(
        self,
        token_url: str,
        client: ClientAuthentication,
        *,
        scope: str = "",
        failure: type[TransientError] = FhirUnavailable,
        tls: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = token_url
        self._proof = client
        self._scope = scope
        self._failure = failure
        self._now = now
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, transport=transport, verify=tls or trusted())
        self._lock = asyncio.Lock()
        self._token, self._asked, self._until = "", 0.0, 0.0

    async def token(self, *, refresh: bool = False) -> str:
        """Return a token; a new one if ``refresh``, unless another caller has just requested one."""
        async with self._lock:
            is_old = self._now() >= self._asked + NEW_FOR
            if not self._token or self._now() >= self._until or (refresh and is_old):
                self._token, life = await self._ask()
                self._asked = self._now()
                self._until = self._now() + max(life - EARLY, SHORTEST_LIFE)
            return self._token

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self) -> tuple[str, float]:
        headers, fields = self._proof.proof()
        form = {"grant_type": "client_credentials", **({"scope": self._scope} if self._scope else {}), **fields}
        try:
            response = await self._client.post(self._url, data=form, headers={"Accept": "application/json", **headers})
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise self._failure(f"no token: {words_of(problem)}", hint=_NO_ANSWER) from None
        if response.status_code in (400, 401, 403):
            code = f"{self._failure.code.partition('.')[0]}.forbidden"
            raise self._failure(f"no token: {response.status_code}", code=code, hint=_REFUSED)
        if not response.is_success:
            raise self._failure(f"no token: {response.status_code}", hint=_NO_ANSWER)
        return self._read(response)

    def _read(self, response: httpx.Response) -> tuple[str, float]:
        try:
            body: Any = response.json()
        except (ValueError, RecursionError):
            body = None
        token = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
            raise self._failure("no token: the answer holds none", hint=_NO_ANSWER)
        life = body.get("expires_in")
        is_stated = isinstance(life, int | float) and not isinstance(life, bool) and life > 0
        return token, min(float(life), _LONGEST_LIFE) if is_stated else _DEFAULT_LIFE


_NO_ANSWER = (
    "Check the token URL, and whether the authorization server runs; the sync continues automatically once it answers."
)
_REFUSED = "The authorization server refuses the client: check client id, secret or key, and scope."


def pem_of(value: str, setting: str) -> str:
    """Return PEM text: the setting itself, or the content of the file that it names; `ConfigError` without either."""
    if "-----BEGIN" in value:
        return value
    try:
        return Path(value).read_text("ascii")
    except (OSError, ValueError):
        raise ConfigError(setting, "expected PEM text, or the path of a file that can be read") from None


def tls_of(certificate: str, setting: str) -> ssl.SSLContext:
    """Return a TLS context with a client certificate; `ConfigError` if the setting lacks it or its private key."""
    context = ssl.create_default_context()
    with tempfile.NamedTemporaryFile("w", encoding="ascii", suffix=".pem") as file:  # only its owner may read it
        try:
            file.write(pem_of(certificate, setting))
            file.flush()
            context.load_cert_chain(file.name, password=_no_password)
        except (ssl.SSLError, ValueError, OSError):
            raise ConfigError(setting, "expected a certificate and its private key without a password") from None
    return context


def _no_password() -> str:
    raise ValueError  # else OpenSSL would ask for a passphrase on the terminal


def _signing_key(pem: str, setting: str) -> tuple[Any, str]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(setting, "expected a private key in PEM without a password") from None
    if isinstance(key, rsa.RSAPrivateKey):
        return key, "RS384"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in _CURVES:
        return key, _CURVES[key.curve.key_size]
    raise ConfigError(setting, "expected an RSA key, or an elliptic one of curve P-384 or P-256")
