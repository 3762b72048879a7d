"""
A FHIR R4 service over HTTP: `sync.ports.FhirServer` with httpx and tenacity.

Status codes become our errors here and nowhere else. Texts of the service never leave this module: an OperationOutcome
may quote what was sent, so only its issue codes and element paths are kept. Look-ups by identifier go by POST, so that
no patient id stands in a URL and thereby in access logs.

Source: FHIR R4 http.html (transaction, conditional requests, search by POST), Azure Health Data Services FHIR REST.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from sync.adapters.circuit_breaker import CircuitBreaker
from sync.adapters.http.tokens import TokenSource
from sync.adapters.retry_after import retry_after
from sync.errors import FhirConflict, FhirRejected, FhirUnavailable, ForeignLink, Throttled, TransientError
from sync.instruments import FHIR_DURATION, RESOURCE_TYPE
from sync.model import FhirPage, FhirWrite, Resource
from sync.spans import FHIR_REQUEST
from sync.telemetry import Telemetry

MAX_ENTRIES = 500
"""Entries of a bundle that Azure accepts."""

PAGE = 200
"""Resources of one page of a listing."""

ATTEMPTS = 3
LONGEST_SHORT_WAIT = 2.0
"""Seconds; a service that asks for more is left alone, and the study waits in the queue instead."""

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_MEDIA = "application/fhir+json"
_ESCAPED = re.compile(r"([\\,|$])")
_ETAG = re.compile(r'^(?:W/)?"?([^"]*)"?$')
_ELEMENT_PATH = re.compile(
    r"(?:Bundle|Device|DiagnosticReport|DocumentReference|Endpoint|ImagingStudy|Observation|Patient)(?:\.[a-z][A-Za-z]{0,40}(?:\[\d{1,5}\])?){0,10}"
)
"""A path of element names and nothing else: a server may put a value into what should be a path."""

_CONFLICTS = (409, 412)
_GONE = (404, 410)


class HttpFhirServer:
    """
    The FHIR service at a base URL.

    Parameters
    ----------
    base_url
        Without a slash at the end.
    telemetry
        Learns of each request, retry and 429.
    tokens
        Bearer tokens; None for a server on this machine.
    transport
        Replaces the network, for tests.
    breaker
        Shared by all callers of the service in this process.
    sleep
        Waits that many seconds before a short retry; tests wait for nothing.
    page
        Resources that a page of a listing is to hold.
    """

    def __init__(
        self,
        base_url: str,
        *,
        telemetry: Telemetry,
        tokens: TokenSource | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        breaker: CircuitBreaker | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        page: int = PAGE,
    ) -> None:
        headers = {"Accept": _MEDIA, "Prefer": "return=minimal"}
        self._client = httpx.AsyncClient(headers=headers, timeout=_TIMEOUT, transport=transport)
        self._base = base_url.rstrip("/")
        self._server = _where(base_url)
        self._telemetry = telemetry
        self._tokens = tokens
        self._breaker = breaker or CircuitBreaker()
        self._sleep = sleep
        self._page = page

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def read(self, resource_type: str, resource_id: str) -> Resource | None:
        """Return the resource, or None when it never was or is deleted."""
        answer = await self._send("GET", f"/{resource_type}/{resource_id}", headers={"Cache-Control": "no-cache"})
        if answer.status_code in _GONE:
            return None
        _raise_for(answer.status_code, answer)
        return _object(answer)

    async def read_all(self, references: Sequence[str]) -> Sequence[Resource | None]:
        """Return each resource, or None in its place, by batches of at most 500 reads."""
        found: list[Resource | None] = []
        for start in range(0, len(references), MAX_ENTRIES):
            found += await self._batch(references[start : start + MAX_ENTRIES])
        return found

    async def search(self, resource_type: str, system: str | None, value: str) -> Sequence[Resource]:
        """Return the resources that carry the identifier, never from a cache; the first page holds enough of them."""
        wanted = _escape(value) if system is None else f"{_escape(system)}|{_escape(value)}"
        form = {"identifier": wanted, "_count": "10"}
        answer = await self._send("POST", f"/{resource_type}/_search", data=form, headers={"Cache-Control": "no-cache"})
        _raise_for(answer.status_code, answer)
        return _matches(answer, resource_type)

    async def page(self, resource_type: str, link: str | None = None, *, subject: str | None = None) -> FhirPage:
        """List resources of a type; see `sync.ports.FhirServer.page`. Source: R4 search.html 3.1.1.1.9, paging."""
        about = f"&subject={subject}" if subject else ""
        address = link or f"/{resource_type}?_count={self._page}&_elements=identifier{about}"
        if not address.startswith(("/", "?")):
            raise ForeignLink("a link that is not relative to the service")
        answer = await self._send("GET", address, headers={"Cache-Control": "no-cache"})
        _raise_for(answer.status_code, answer)
        return FhirPage(resources=_matches(answer, resource_type), following=_following(answer, self._base))

    async def transact(self, writes: Sequence[FhirWrite]) -> Sequence[str | None]:
        """Apply the writes as transactions of at most 500 entries; see `sync.ports.FhirServer.transact`."""
        versions: list[str | None] = []
        for start in range(0, len(writes), MAX_ENTRIES):
            versions += await self._transaction(writes[start : start + MAX_ENTRIES])
        return versions

    async def _batch(self, references: Sequence[str]) -> list[Resource | None]:
        entries = [{"request": {"method": "GET", "url": reference}} for reference in references]
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
        headers = {"Content-Type": f"{_MEDIA}; charset=utf-8", "Cache-Control": "no-cache"}
        answer = await self._send("POST", "", content=json.dumps(bundle), headers=headers)
        _raise_for(answer.status_code, answer)
        answered = _entries(answer)
        if len(answered) != len(references):
            raise FhirUnavailable(f"{len(answered)} entries answered {len(references)}")
        return [_read_entry(entry) for entry in answered]

    async def _transaction(self, writes: Sequence[FhirWrite]) -> list[str | None]:
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [_entry(write) for write in writes]}
        body = json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        answer = await self._send("POST", "", content=body, headers={"Content-Type": f"{_MEDIA}; charset=utf-8"})
        _raise_for(answer.status_code, answer, writes)
        entries = _entries(answer)
        if len(entries) != len(writes):
            raise FhirUnavailable(f"{len(entries)} entries answered {len(writes)}")
        return [_version(write, _part(entry, "response")) for write, entry in zip(writes, entries, strict=True)]

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send with a few short retries; every request here is safe to repeat, for ids are chosen by us."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait,
            retry=retry_if_exception(_worth_a_short_wait),
            sleep=self._sleep,
            before_sleep=lambda _: self._telemetry.count("fhir.retries"),
            reraise=True,
        )
        answer: httpx.Response = await retrying(self._send_once, method, path, **request)
        return answer

    async def _send_once(self, method: str, path: str, **request: Any) -> httpx.Response:
        if (pause := self._breaker.remaining()) > 0:
            raise FhirUnavailable("the service is left alone for a while", retry_after=pause)
        try:
            answer = await self._authorized(method, path, **request)
            _raise_for_outage(answer)
        except TransientError as outage:
            self._breaker.failed(outage.retry_after)
            if isinstance(outage, Throttled):
                self._telemetry.count("fhir.throttled")
            raise
        self._breaker.succeeded()
        return answer

    async def _authorized(self, method: str, path: str, **request: Any) -> httpx.Response:
        answer = await self._request(method, path, refresh=False, **request)
        if answer.status_code == httpx.codes.UNAUTHORIZED and self._tokens is not None:
            answer = await self._request(method, path, refresh=True, **request)
        return answer

    async def _request(
        self, method: str, path: str, *, refresh: bool, headers: Mapping[str, str], **request: Any
    ) -> httpx.Response:
        if self._tokens is not None:
            headers = {**headers, "Authorization": f"Bearer {await self._tokens.token(refresh=refresh)}"}
        self._telemetry.count("fhir.requests")
        kind, status, began = _resource_type(path), "none", time.perf_counter()
        try:
            with self._telemetry.span(FHIR_REQUEST, method=method, type=kind, **self._server) as span:
                answer = await self._client.request(method, f"{self._base}{path}", headers=headers, **request)
                span.note(status_code=answer.status_code, **_refused(answer))
            status = f"{answer.status_code // 100}xx"
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise _no_answer(problem) from None
        finally:
            took = time.perf_counter() - began
            self._telemetry.measure(FHIR_DURATION, took, method=method, type=kind, status=status)
        return answer


def _refused(answer: httpx.Response) -> dict[str, int]:
    """Tell the status of an answer that is a failure to whoever traces; that something is not there is none."""
    return {"refused": answer.status_code} if answer.is_error and answer.status_code not in _GONE else {}


def _where(base_url: str) -> dict[str, Any]:
    """Name the server in spans; OpenTelemetry's ``server.address`` and ``server.port``."""
    parts = urlsplit(base_url)
    return {"server": parts.hostname or "", "port": parts.port or (80 if parts.scheme == "http" else 443)}


def _resource_type(path: str) -> str:
    """Tell what a request is about; a page of a search, and a transaction, are Bundles."""
    first = path.partition("?")[0].split("/")[1:2]
    return RESOURCE_TYPE.value(first[0]) if first else "Bundle"


def _no_answer(problem: Exception) -> FhirUnavailable:
    """Tell a certificate that is not trusted from an outage: nobody but the operator can mend it."""
    cause: BaseException | None = problem
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return FhirUnavailable(f"no answer: {type(problem).__name__}")
    hint = "Renew the certificate of the FHIR service, or let this machine trust its issuer."
    return FhirUnavailable("its certificate is not trusted", code="fhir.certificate", hint=hint)


def _wait(state: RetryCallState) -> float:
    """Seconds before the next short retry: what the service asked for, else jittered and growing."""
    outage = state.outcome.exception() if state.outcome else None
    asked = outage.retry_after if isinstance(outage, TransientError) else None
    return asked if asked is not None else wait_random_exponential(multiplier=0.2, max=LONGEST_SHORT_WAIT)(state)


def _worth_a_short_wait(problem: BaseException) -> bool:
    return (
        isinstance(problem, TransientError)
        and problem.code != "fhir.forbidden"
        and (problem.retry_after is None or problem.retry_after <= LONGEST_SHORT_WAIT)
    )


def _entry(write: FhirWrite) -> dict[str, Any]:
    url = f"{write.resource_type}/{write.resource_id}"
    if write.resource is None:
        return {"request": {"method": "DELETE", "url": url}}
    request = {"method": "PUT", "url": url}
    if write.if_match is not None:
        request["ifMatch"] = f'W/"{write.if_match}"'
    return {"resource": write.resource, "request": request}


def _read_entry(entry: Mapping[str, Any]) -> Resource | None:
    """Take the resource out of one entry of a batch's answer; None when it is not there."""
    response = _part(entry, "response")
    status = _status(response)
    if status in _GONE:
        return None
    _raise_for(status, response.get("outcome"))
    resource = dict(_part(entry, "resource"))
    if not resource:
        raise FhirUnavailable("an entry answered without its resource")
    return resource


def _status(response: Mapping[str, Any]) -> int:
    digits = str(response.get("status") or "")[:3]
    return int(digits) if digits.isdecimal() else 0


def _version(write: FhirWrite, response: Mapping[str, Any]) -> str | None:
    """Check one entry of a transaction's answer: not every server's transactions are atomic."""
    status = _status(response)
    if write.resource is None:
        if status not in _GONE:
            _raise_for(status, response.get("outcome"))
        return None
    _raise_for(status, response.get("outcome"), [write])
    etag = _ETAG.match(str(response.get("etag") or ""))
    if etag and etag[1]:
        return etag[1]
    history = str(response.get("location") or "").partition("/_history/")[2]
    return history or None


def _raise_for_outage(answer: httpx.Response) -> None:
    """Tell what trying again may help from what the caller has to decide."""
    status, wait = answer.status_code, retry_after(answer.headers)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise Throttled(str(status), retry_after=wait)
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        hint = "Give the function's identity the role FHIR Data Contributor on the FHIR service."
        raise FhirUnavailable(str(status), code="fhir.forbidden", hint=hint, retry_after=wait)
    if status == httpx.codes.REQUEST_TIMEOUT or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise FhirUnavailable(str(status), retry_after=wait)


def _raise_for(status: int, answer: httpx.Response | Any, writes: Sequence[FhirWrite] = ()) -> None:
    """Raise our error for a status of an answer, or of one of its entries; nothing for a success."""
    if httpx.codes.is_success(status):
        return
    if status in _CONFLICTS:
        raise FhirConflict(str(status))
    if status in _GONE and any(write.if_match for write in writes):
        raise FhirConflict(f"{status}: what was to be updated is gone")
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise Throttled(str(status))
    if httpx.codes.is_client_error(status) and status != httpx.codes.REQUEST_TIMEOUT:
        raise FhirRejected(f"{status} {_issues(answer)}".strip())
    raise FhirUnavailable(f"status {status}")


def _issues(answer: httpx.Response | Any) -> str:
    """Issue codes and element paths of an OperationOutcome; its texts may quote patient data."""
    outcome: Any = answer
    if isinstance(answer, httpx.Response):
        try:
            outcome = answer.json()
        except (ValueError, RecursionError):
            return ""
    issues = outcome.get("issue") if isinstance(outcome, dict) else None
    listed = issues if isinstance(issues, list) else []
    return "; ".join(_issue(issue) for issue in listed[:10] if isinstance(issue, dict))


def _issue(issue: Mapping[str, Any]) -> str:
    code = str(issue.get("code") or "")
    stated = issue.get("expression") or issue.get("location")
    paths = [str(path) for path in stated] if isinstance(stated, list) else []
    shown = [path for path in paths if _ELEMENT_PATH.fullmatch(path)]
    return " ".join([code if re.fullmatch(r"[a-z-]{1,40}", code) else "unknown", *shown[:3]])


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise FhirUnavailable("the answer is no JSON object")
    return body


def _entries(answer: httpx.Response) -> list[dict[str, Any]]:
    entries = _object(answer).get("entry") or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FhirUnavailable("the answer is no Bundle")
    return entries


def _matches(answer: httpx.Response, resource_type: str) -> list[Resource]:
    found = [entry.get("resource") for entry in _entries(answer) if _mode(entry) == "match"]
    return [each for each in found if isinstance(each, dict) and each.get("resourceType") == resource_type]


def _following(answer: httpx.Response, base: str) -> str | None:
    """Link to the next page, relative to the base URL; one that leads elsewhere gets no request, and no token."""
    links = _object(answer).get("link") or []
    urls = [link.get("url") for link in links if isinstance(link, dict) and link.get("relation") == "next"]
    if not urls:
        return None
    try:
        target, home = urlsplit(urljoin(f"{base}/", str(urls[0]))), urlsplit(base)
        below = target.path == home.path or target.path.startswith(f"{home.path}/")
        if not below or _origin(target) != _origin(home) or ".." in target.path.split("/"):
            raise ForeignLink("the next page is outside the base URL")
    except ValueError:
        raise ForeignLink("the next page has no readable address") from None
    return f"{target.path[len(home.path) :]}?{target.query}"


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _part(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = entry.get(name)
    return part if isinstance(part, dict) else {}


def _mode(entry: Mapping[str, Any]) -> str:
    return str(_part(entry, "search").get("mode") or "match")


def _escape(token: str) -> str:
    r"""Escape a search token (R4 search.html, 3.1.1.4.0.1): ``\``, ``,``, ``|`` and ``$``."""
    return _ESCAPED.sub(r"\\\1", token)
