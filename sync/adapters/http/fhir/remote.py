"""Requests to a FHIR service: decides which answers are outages, and measures each request."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from sync.adapters.http.fhir.outcomes import is_own
from sync.adapters.http.no_answer import words_of
from sync.adapters.http.remote import GONE, Note, Remote
from sync.adapters.retry_after import retry_after
from sync.errors import FhirUnavailable, Throttled
from sync.telemetry.instruments import FHIR_DURATION, FHIR_UNANSWERED, RESOURCE_TYPE
from sync.telemetry.spans import FHIR_REQUEST

_FORBIDDEN_HINT = (
    "Give the function's identity the role FHIR Data Writer on the FHIR service; for another kind of access check "
    "DICOM_SYNC_FHIR_AUTH and the settings that it needs."
)


class FhirRemote(Remote):
    """A FHIR service at a base URL."""

    area = "fhir"
    unavailable = FhirUnavailable
    timeout = httpx.Timeout(120.0, connect=5.0)
    """Azure ends a bundle after 100 s (microsoft/fhir-server, ``appsettings.json``)."""

    def judge(self, response: httpx.Response) -> None:
        """
        Raise `Throttled` or `FhirUnavailable` if a retry may help; the caller decides about all other answers.

        A 403 is the service's own only with an OperationOutcome. A firewall's 403 concerns one body, so it is left to
        the caller too: it must not open the circuit breaker for all other requests.
        """
        status, wait = response.status_code, retry_after(response.headers)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise Throttled(str(status), retry_after=wait)
        if status == httpx.codes.UNAUTHORIZED or (status == httpx.codes.FORBIDDEN and is_own(response)):
            raise FhirUnavailable(str(status), code="fhir.forbidden", hint=_FORBIDDEN_HINT, retry_after=wait)
        if status == httpx.codes.REQUEST_TIMEOUT or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise FhirUnavailable(str(status), retry_after=wait)

    def no_answer(self, problem: Exception) -> FhirUnavailable:
        """Distinguish an untrusted certificate from an outage: only the operator can correct it."""
        cause: BaseException | None = problem
        while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            return FhirUnavailable(words_of(problem))
        hint = "Renew the certificate of the FHIR service, or let this machine trust its issuer."
        return FhirUnavailable("its certificate is not trusted", code="fhir.certificate", hint=hint)

    def unanswered(self) -> None:
        """Measure the missing answer: by it, the status names the service while studies wait."""
        self.telemetry.measure(FHIR_UNANSWERED)

    @contextmanager
    def observed(self, method: str, path: str) -> Iterator[Note]:
        """Measure a request, and trace it; its span names only the type of resource."""
        kind, status, began = _resource_type(path), "none", time.perf_counter()
        try:
            with self.telemetry.span(FHIR_REQUEST, method=method, type=kind, **_where(self.base)) as span:

                def note(response: httpx.Response) -> None:
                    nonlocal status
                    span.note(status_code=response.status_code, **_refused(response))
                    status = f"{response.status_code // 100}xx"

                yield note
        finally:
            took = time.perf_counter() - began
            self.telemetry.measure(FHIR_DURATION, took, method=method, type=kind, status=status)


def _refused(response: httpx.Response) -> dict[str, int]:
    """Return the status of a failure for the span; an absent resource is not a failure."""
    return {"refused": response.status_code} if response.is_error and response.status_code not in GONE else {}


def _where(base_url: str) -> dict[str, Any]:
    """Name the server in spans; OpenTelemetry's ``server.address`` and ``server.port``."""
    parts = urlsplit(base_url)
    return {"server": parts.hostname or "", "port": parts.port or (80 if parts.scheme == "http" else 443)}


def _resource_type(path: str) -> str:
    """Return the resource type of a request; a page of a search and a transaction are Bundles."""
    first = path.partition("?")[0].split("/")[1:2]
    return RESOURCE_TYPE.value(first[0]) if first else "Bundle"
