"""
Asking a DICOM server for JSON: tokens or a password, a few short retries, status codes as our errors.

Its texts never leave this module: an error page may quote what was asked for, and addresses hold UIDs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from sync.adapters.http.tokens import TokenSource
from sync.adapters.retry_after import retry_after
from sync.errors import SourceGone, SourceUnavailable
from sync.telemetry import Telemetry

ATTEMPTS = 3
LONGEST_SHORT_WAIT = 2.0
"""Seconds; a server that asks for more is left alone until the next run."""

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_LONGEST_NUMBER = 18
_INLINE_BYTES = 512 * 1024
"""Up to here parsing takes milliseconds, and a thread would cost more than it frees."""

_GONE = (404, 410)
_FORBIDDEN = (401, 403)


class DicomWeb:
    """
    A DICOM server at a base URL.

    Parameters
    ----------
    base_url
        Without a slash at the end.
    setting
        Name of the setting that holds it, for error texts.
    telemetry
        Counts ``source.requests`` and ``source.throttled``.
    tokens
        Bearer tokens; None where none are wanted.
    login
        User and password for HTTP basic authentication.
    transport
        Replaces the network, for tests.
    sleep
        Waits that many seconds before a short retry; tests wait for nothing.
    """

    def __init__(
        self,
        base_url: str,
        *,
        setting: str,
        telemetry: Telemetry,
        tokens: TokenSource | None = None,
        login: tuple[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        auth = httpx.BasicAuth(*login) if login else None
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, transport=transport, auth=auth)
        self._base = base_url
        self._setting = setting
        self._telemetry = telemetry
        self._tokens = tokens
        self._sleep = sleep

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, path: str, *, accept: str = "application/json", **parameters: str | int) -> Any:
        """
        Return the JSON of an answer; None when it has no content.

        Raises
        ------
        SourceGone
            404 or 410.
        SourceUnavailable
            Everything else that is no success, and an answer that is no JSON.
        """
        return await self._json("GET", path, headers={"Accept": accept}, params=parameters)

    async def post(self, path: str, text: str) -> Any:
        """Send a text that only asks a question, and return the JSON of the answer; like `get`."""
        return await self._json("POST", path, headers={"Accept": "application/json"}, content=text)

    async def _json(self, method: str, path: str, **request: Any) -> Any:
        answer = await self._send(method, path, **request)
        if answer.status_code == httpx.codes.NO_CONTENT or not answer.content.strip():
            return None
        try:
            if len(answer.content) > _INLINE_BYTES:
                return await asyncio.to_thread(_parse, answer.content)
            return _parse(answer.content)
        except (ValueError, RecursionError):
            hint = f"Check that {self._setting} is the address of the DICOM server and not of a page before it."
            raise SourceUnavailable("the answer is no JSON", code="source.garbage", hint=hint) from None

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait,
            retry=retry_if_exception(_worth_a_short_wait),
            sleep=self._sleep,
            reraise=True,
        )
        answer: httpx.Response = await retrying(self._send_once, method, path, **request)
        return answer

    async def _send_once(self, method: str, path: str, **request: Any) -> httpx.Response:
        answer = await self._request(method, path, refresh=False, **request)
        if answer.status_code == httpx.codes.UNAUTHORIZED and self._tokens is not None:
            answer = await self._request(method, path, refresh=True, **request)
        self._raise_for(answer)
        return answer

    async def _request(
        self, method: str, path: str, *, refresh: bool, headers: Mapping[str, str], **request: Any
    ) -> httpx.Response:
        if self._tokens is not None:
            headers = {**headers, "Authorization": f"Bearer {await self._tokens.token(refresh=refresh)}"}
        self._telemetry.count("source.requests")
        try:
            return await self._client.request(method, f"{self._base}{path}", headers=headers, **request)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            hint = f"Check that {self._setting} is right and that the server runs; reading goes on by itself."
            raise SourceUnavailable(f"no answer: {type(problem).__name__}", hint=hint) from None

    def _raise_for(self, answer: httpx.Response) -> None:
        status, wait = answer.status_code, retry_after(answer.headers)
        if httpx.codes.is_success(status):
            return
        if status in _GONE:
            raise SourceGone(str(status))
        if status == httpx.codes.TOO_MANY_REQUESTS:
            self._telemetry.count("source.throttled")
            hint = "The DICOM server is at its limit; reading goes on by itself once it allows it."
            raise SourceUnavailable(str(status), code="source.throttled", hint=hint, retry_after=wait)
        if status in _FORBIDDEN:
            hint = (
                "Give the function's identity the role DICOM Data Reader on the DICOM service; for Orthanc set "
                "DICOM_SYNC_ORTHANC_USER and DICOM_SYNC_ORTHANC_PASSWORD."
            )
            raise SourceUnavailable(str(status), code="source.forbidden", hint=hint, retry_after=wait)
        if status < httpx.codes.INTERNAL_SERVER_ERROR and status != httpx.codes.REQUEST_TIMEOUT:
            hint = f"Check that {self._setting} is the address of the DICOM server itself."
            raise SourceUnavailable(str(status), code="source.refused", hint=hint, retry_after=wait)
        raise SourceUnavailable(str(status), retry_after=wait)


def _parse(content: bytes) -> Any:
    return json.loads(content, parse_int=_integer)


def _integer(digits: str) -> int | float:
    """Take no number that is longer than any value of DICOM: one of them must not make a page unreadable."""
    return int(digits) if len(digits) <= _LONGEST_NUMBER + 1 else float("nan")


def _wait(state: RetryCallState) -> float:
    outage = state.outcome.exception() if state.outcome else None
    asked = outage.retry_after if isinstance(outage, SourceUnavailable) else None
    return asked if asked is not None else wait_random_exponential(multiplier=0.2, max=LONGEST_SHORT_WAIT)(state)


def _worth_a_short_wait(problem: BaseException) -> bool:
    return (
        isinstance(problem, SourceUnavailable)
        and problem.code in ("source.unavailable", "source.throttled")
        and (problem.retry_after is None or problem.retry_after <= LONGEST_SHORT_WAIT)
    )
