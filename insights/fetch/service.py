"""Requests to a FHIR service with the sync's client: with retries, and with its failures as our errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from insights.errors import CollectError, InsightsError, Unavailable
from sync.adapters.http.fhir.answers import object_of, one_resource
from sync.adapters.http.fhir.outcomes import is_own
from sync.adapters.http.fhir.remote import FhirRemote
from sync.adapters.http.no_answer import words_of
from sync.adapters.http.trust import trusted
from sync.config import HEALTH_HOSTS, is_local
from sync.errors import SyncError, TransientError
from sync.telemetry.telemetry import Telemetry

FHIR_JSON = "application/fhir+json"
FHIR_NDJSON = "application/fhir+ndjson"

_ATTEMPTS = 6
_LONGEST_WAIT = 120.0
_FIRST_HINT = (
    "Check DICOM_SYNC_FHIR_URL or --fhir, that the service runs, and the access to it; then repeat the command."
)
_GATEWAY_HINT = (
    "A gateway, proxy or firewall answered instead of the FHIR service: check the network path, and the address; then "
    "repeat the command."
)
_BLOCK = 1 << 20

Sleep = Callable[[float], Awaitable[None]]


def failed(what: str, problem: SyncError) -> InsightsError:
    """Return a failure of the sync's FHIR client as ours: an outage, or a refusal."""
    if isinstance(problem, TransientError):
        return Unavailable(f"{what}: {problem}", code="collect.unavailable", hint=_GATEWAY_HINT)
    return CollectError(f"{what}: {problem}", code="collect.refused", hint=problem.hint)


def refused(what: str, answer: httpx.Response, *, hint: str = "") -> InsightsError:
    """Return the failure of an answer with an error status: only the service's own outcome is a refusal."""
    if is_own(answer):
        return CollectError(f"{what} answers {answer.status_code}", code="collect.refused", hint=hint)
    return Unavailable(f"{what} answers {answer.status_code}", code="collect.unavailable", hint=_GATEWAY_HINT)


class FhirService:
    """
    A FHIR service at a base URL.

    Parameters
    ----------
    tokens
        Returns a bearer token; None if the service needs none.
    sleep
        Waits for a number of seconds; tests replace it.
    """

    def __init__(
        self,
        remote: FhirRemote,
        downloads: httpx.AsyncClient,
        *,
        token: Callable[[], Awaitable[str]] | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._remote = remote
        self._downloads = downloads
        self._token = token
        self.sleep = sleep
        self._has_answered = False

    @property
    def base(self) -> str:
        """Return the base URL."""
        return self._remote.base

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """
        Request a path below the base URL, with delayed retries where they may help.

        A service that has not answered yet may be at another address: then the failure is raised at once.

        Raises
        ------
        Unavailable
            ``collect.unavailable``; downloaded files stay.
        """
        asked = {"Accept": FHIR_JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = await self._remote.ask("GET", path, headers=asked)
            except TransientError as outage:
                is_last = attempt == _ATTEMPTS or outage.code in ("fhir.forbidden", "fhir.certificate")
                if is_last or not self._has_answered:
                    hint = "Repeat the command; it continues." if self._has_answered else _FIRST_HINT
                    what = f"the FHIR service at {self.base}: {outage}"
                    raise Unavailable(what, code="collect.unavailable", hint=hint) from None
                await self.sleep(min(outage.retry_after or 2.0**attempt, _LONGEST_WAIT))
            except SyncError as problem:
                raise CollectError(f"the FHIR service: {problem}", code="collect.refused", hint=problem.hint) from None
            else:
                self._has_answered = True
                return answer
        raise AssertionError

    async def put(self, path: str, resource: dict[str, Any]) -> httpx.Response:
        """
        Write a resource under an id of ours. Idempotent.

        Raises
        ------
        Unavailable
            ``collect.unavailable``, at once: a person is waiting. Also if a success is not the service's own: then
            nothing may have been written.
        """
        try:
            answer = await self._remote.ask("PUT", path, headers={"Accept": FHIR_JSON}, json=resource)
            if not answer.is_error and not _tells_of_a_write(answer):
                one_resource(object_of(answer), str(resource["resourceType"]), str(resource["id"]))
        except SyncError as problem:
            raise Unavailable(f"the FHIR service: {problem}", code="collect.unavailable") from None
        return answer

    def below(self, url: str) -> str | None:
        """Return the path of a URL below the base; None for any other URL, which must get no token."""
        if not url.startswith(("http://", "https://")):
            return "/" + url.lstrip("/")
        target, home = urlsplit(url), urlsplit(self.base)
        if (target.scheme, target.netloc) != (home.scheme, home.netloc) or ".." in target.path.split("/"):
            return None
        if not target.path.startswith(f"{home.path}/"):
            return None
        return target.path[len(home.path) :] + (f"?{target.query}" if target.query else "")

    async def download(self, url: str, file: Path, *, with_token: bool) -> int:
        """
        Download a file; it gets its name once it is complete. Idempotent: an existing file is not requested.

        Raises
        ------
        Unavailable
            ``collect.unavailable``.
        """
        if file.exists():
            return file.stat().st_size
        headers = {"Accept": FHIR_NDJSON}
        ours = self.below(url) is not None
        if with_token and ours and self._token is not None:
            headers["Authorization"] = f"Bearer {await self._token()}"
        part = file.with_name(f"{file.name}.part")
        address = url if url.startswith("http") else f"{self.base}/{url.lstrip('/')}"
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._downloads.stream("GET", address, headers=headers) as answer:
                    answer.raise_for_status()
                    with part.open("wb") as out:
                        async for block in answer.aiter_bytes(_BLOCK):
                            out.write(block)
                if not _is_ndjson(answer, part):
                    raise Unavailable(
                        "a file of the export: the answer is no NDJSON", code="collect.unavailable", hint=_GATEWAY_HINT
                    )
            except httpx.HTTPError as problem:
                if attempt == _ATTEMPTS or _is_final(problem):
                    raise Unavailable(
                        f"a file of the export: {words_of(problem)}",
                        code="collect.unavailable",
                        hint="Repeat the command; it continues.",
                    ) from None
                await self.sleep(min(2.0**attempt, _LONGEST_WAIT))
            else:
                part.replace(file)
                return file.stat().st_size
        raise AssertionError


def _tells_of_a_write(answer: httpx.Response) -> bool:
    """Return whether a service that does not return the resource says that it wrote it. Source: FHIR R4 http.html."""
    return is_own(answer) or (not answer.content and ("ETag" in answer.headers or "Location" in answer.headers))


def _is_ndjson(answer: httpx.Response, file: Path) -> bool:
    """Return whether a download can be the service's own; a gateway sends a page, or nothing and no type."""
    with file.open("rb") as downloaded:
        first = downloaded.read(_BLOCK).lstrip()[:1]
    return first == b"{" or (not first and "html" not in answer.headers.get("Content-Type", "html").lower())


def _is_final(problem: httpx.HTTPError) -> bool:
    return isinstance(problem, httpx.HTTPStatusError) and problem.response.is_client_error


@asynccontextmanager
async def connected(
    base_url: str, *, transport: httpx.AsyncBaseTransport | None = None, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[FhirService]:
    """
    Connect to a FHIR service. A service of Azure gets tokens of the signed-in identity, others get none.

    Raises
    ------
    CollectError
        ``collect.url``.
    """
    url = base_url.rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CollectError("not the URL of a FHIR service", code="collect.url", hint="Give --fhir https://….")
    timeout = httpx.Timeout(120.0, connect=5.0)
    async with httpx.AsyncClient(timeout=timeout, transport=transport, verify=trusted()) as downloads:
        if parts.hostname.endswith(HEALTH_HOSTS) and not is_local(url):
            # Azure's libraries take a second to load, and others do not need them.
            from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415

            from sync.adapters.azure.tokens import CredentialTokens  # noqa: PLC0415

            async with DefaultAzureCredential() as credential:
                tokens = CredentialTokens(credential, scope=f"{url}/.default")
                remote = FhirRemote(url, telemetry=Telemetry(), tokens=tokens, transport=transport)
                try:
                    yield FhirService(remote, downloads, token=tokens.token, sleep=sleep)
                finally:
                    await remote.aclose()
        else:
            remote = FhirRemote(url, telemetry=Telemetry(), transport=transport, sleep=sleep)
            try:
                yield FhirService(remote, downloads, sleep=sleep)
            finally:
                await remote.aclose()
