"""
Requests JSON from a DICOM server and interprets its answers and statuses.

The server's texts never leave this module: an error page may quote the request, and addresses hold UIDs.

Only the server's own 404 proves that an instance is gone: a gateway in front of it answers 404 too. Each kind of server
recognises its own 404 in `DicomWeb.is_own`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx

from sync.adapters.http.no_answer import words_of
from sync.adapters.http.remote import GONE, Remote
from sync.adapters.retry_after import retry_after
from sync.errors import GarbageAnswer, SourceGone, SourceUnavailable

_UNKNOWN_RESOURCE = 17
"""Orthanc's own number of an error, ``ErrorCode_UnknownResource``."""

_LONGEST_NUMBER = 18
_INLINE_BYTES = 512 * 1024
"""Up to this size, parsing takes milliseconds, and a thread would cost more than it saves."""

_DICOM = "application/dicom; transfer-syntax=*"
_FORBIDDEN = (401, 403)
_DEPENDENCY_HINT = (
    "The DICOM service cannot reach its own key or storage (customer-managed key, external data store): see its health "
    "in the portal; reading continues automatically."
)
_PAGE_HEAD = 512
"""Bytes at the beginning of a body that identify a web page."""

_FORBIDDEN_HINT = (
    "Give the function's identity the role DICOM Data Reader on the DICOM service, or check DICOM_SYNC_DICOM_AUTH; for "
    "Orthanc set "
    "DICOM_SYNC_ORTHANC_USER and DICOM_SYNC_ORTHANC_PASSWORD."
)


class DicomWeb(Remote):
    """
    A DICOM server at a base URL.

    Parameters
    ----------
    setting
        Name of the setting that holds the URL, for error texts.
    **more
        Passed on to `sync.adapters.http.remote.Remote`.
    """

    area = "source"
    unavailable = SourceUnavailable

    def __init__(self, base_url: str, *, setting: str, **more: Any) -> None:
        super().__init__(base_url, **more)
        self._setting = setting

    async def get(self, path: str, *, accept: str = "application/json", **parameters: str | int) -> Any:
        """
        Return the JSON of an answer; None when it has no content.

        Raises
        ------
        SourceGone
            The server's own 404 (`is_own`).
        SourceUnavailable
            Every other failure, and an answer that is not JSON.
        """
        return await self._json("GET", path, headers={"Accept": accept}, params=parameters)

    def content(self, path: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Yield the bytes of a DICOM file in the stored transfer syntax; raises like `get`."""
        return self.stream(path, headers={"Accept": _DICOM})

    async def post(self, path: str, text: str) -> Any:
        """Send a query as text, which changes nothing, and return the JSON of the answer; like `get`."""
        return await self._json("POST", path, headers={"Accept": "application/json"}, content=text)

    async def _json(self, method: str, path: str, **request: Any) -> Any:
        response = await self.ask(method, path, **request)
        if response.status_code == httpx.codes.NO_CONTENT or not response.content.strip():
            return None
        try:
            if len(response.content) > _INLINE_BYTES:
                return await asyncio.to_thread(parse_json, response.content)
            return parse_json(response.content)
        except (ValueError, RecursionError):
            hint = f"Check that {self._setting} is the address of the DICOM server, not of a web page in front of it."
            raise GarbageAnswer("the answer is no JSON", hint=hint) from None

    def no_answer(self, problem: Exception) -> SourceUnavailable:
        """Report an outage."""
        return SourceUnavailable(words_of(problem), hint=self._outage_hint())

    def _outage_hint(self) -> str:
        return f"Check that {self._setting} is right and that the server runs; reading continues automatically."

    def is_own(self, response: httpx.Response) -> bool:
        """
        Return whether a failure may come from the server itself: its body is plain text or empty.

        Source: microsoft/dicom-server ``ExceptionHandlingMiddleware`` (a message as the whole body). This is not yet a
        proof; `sync.adapters.http.dicom.service` asks further.
        """
        kind = response.headers.get("Content-Type", "text/plain").lower()
        return kind.startswith("text/plain") and not response.content.lstrip().startswith(b"<")

    def gateway(self, detail: str, *, wait: float | None = None) -> SourceUnavailable:
        """Return our error for an answer that is not the server's own."""
        hint = (
            "A gateway, proxy or firewall answered instead of the DICOM server: check the network path; if there is "
            f"none in between, correct {self._setting}. Nothing is treated as deleted meanwhile."
        )
        return SourceUnavailable(detail, code="source.gateway", hint=hint, retry_after=wait)

    def judge(self, response: httpx.Response) -> None:
        """Raise `SourceGone` for the server's own 404, and `SourceUnavailable` for every other failure."""
        status, wait = response.status_code, retry_after(response.headers)
        if httpx.codes.is_success(status):
            return
        if status == httpx.codes.NOT_FOUND and self.is_own(response):
            raise SourceGone(str(status))
        if status in GONE or (status == httpx.codes.FORBIDDEN and b"<html" in response.content[:_PAGE_HEAD].lower()):
            raise self.gateway(str(status), wait=wait)
        if status == httpx.codes.FAILED_DEPENDENCY:
            raise SourceUnavailable(str(status), code="source.dependency", hint=_DEPENDENCY_HINT, retry_after=wait)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            hint = "The DICOM server is at its limit; reading continues automatically."
            raise SourceUnavailable(str(status), code="source.throttled", hint=hint, retry_after=wait)
        if status in _FORBIDDEN:
            raise SourceUnavailable(str(status), code="source.forbidden", hint=_FORBIDDEN_HINT, retry_after=wait)
        if status < httpx.codes.INTERNAL_SERVER_ERROR and status != httpx.codes.REQUEST_TIMEOUT:
            hint = f"Check that {self._setting} is the address of the DICOM server itself."
            raise SourceUnavailable(str(status), code="source.refused", hint=hint, retry_after=wait)
        raise SourceUnavailable(str(status), hint=self._outage_hint(), retry_after=wait)


class OrthancWeb(DicomWeb):
    """An Orthanc, whose failures are JSON objects that name its own error. Source: Orthanc ``HttpDescribeErrors``."""

    def is_own(self, response: httpx.Response) -> bool:
        """Return whether Orthanc itself says that the resource is unknown; a missing file of a known one is 404 too."""
        try:
            body = json.loads(response.content)
        except (ValueError, RecursionError):
            return False
        stated = body.get("HttpStatus") if isinstance(body, dict) else None
        return stated == response.status_code and body.get("OrthancStatus") == _UNKNOWN_RESOURCE


def parse_json(content: bytes) -> Any:
    """Parse the JSON of an answer; numbers other than plain integers keep their text. Raises ValueError."""
    return json.loads(content, parse_int=_integer, parse_float=str, parse_constant=str)


def _integer(digits: str) -> int | str:
    """Keep the text of a number that is not a plain integer: a decimal string of DICOM is text (PS3.5 6.2)."""
    return int(digits) if len(digits) <= _LONGEST_NUMBER and digits != "-0" else digits
