"""
Requests to an HTTP service: adds tokens, retries briefly, pauses while it is down, and translates its failures.

A subclass defines only the differences: the error for a status (`Remote.judge`) and for a missing answer
(`Remote.no_answer`), and what is measured (`Remote.observed`). Every request must be idempotent.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar

import httpx

from sync.adapters.circuit_breaker import CircuitBreaker
from sync.adapters.http.access import Access
from sync.adapters.http.no_answer import AnswerTooLarge
from sync.adapters.http.retrying import Sleep, short_retries
from sync.adapters.http.tokens import TokenSource
from sync.adapters.http.trust import trusted
from sync.errors import SyncError, TransientError
from sync.telemetry.telemetry import Telemetry

GONE = (404, 410)

UNANSWERED_SECONDS = 20.0
"""Seconds after which a request without an answer counts against its service, long before it times out."""

LARGEST_ANSWER = 128 * 1024 * 1024
"""Maximum bytes of an answer that is read as a whole; a real service's largest answers have a tenth of it."""


Note = Callable[[httpx.Response], None]
"""Records the outcome of a request."""


class Remote(ABC):
    """
    A service at a base URL.

    Parameters
    ----------
    base_url
        Without a slash at the end.
    telemetry
        Counts ``requests``, ``retries`` and ``throttled`` under the area's name.
    tokens
        Bearer tokens; None if the service requires none.
    login
        User and password for HTTP basic authentication.
    access
        All credentials that the service requires, in place of ``tokens`` and ``login``.
    headers
        Headers of every request.
    transport
        Replaces the network, for tests.
    breaker
        Shared by all callers of the service in this process; None: requests are sent however often it failed.
    sleep
        Waits the given seconds before a short retry; tests do not wait.
    """

    area: ClassVar[str]
    """Prefix of error codes and counts."""

    unavailable: ClassVar[type[TransientError]]
    """The error for an outage; its code is ``area.unavailable``."""

    timeout: ClassVar[httpx.Timeout] = httpx.Timeout(60.0, connect=5.0)
    """Seconds; longer than the service's own limit for a request, so that its answer is not lost."""

    def __init__(
        self,
        base_url: str,
        *,
        telemetry: Telemetry,
        tokens: TokenSource | None = None,
        login: tuple[str, str] | None = None,
        access: Access | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        breaker: CircuitBreaker | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        access = access or Access(tokens=tokens, login=login)
        auth = httpx.BasicAuth(*access.login) if access.login else None
        self._client = httpx.AsyncClient(
            headers={**(headers or {}), **access.headers},
            timeout=self.timeout,
            transport=transport,
            auth=auth,
            verify=access.tls or trusted(),
        )
        self._tokens = access.tokens
        self._breaker = breaker
        self._outage: TransientError | None = None
        self._sleep = sleep
        self.base = base_url.rstrip("/")
        self.telemetry = telemetry

    @abstractmethod
    def judge(self, response: httpx.Response) -> None:
        """Raise our error for an answer about which the caller has nothing to decide."""

    @abstractmethod
    def no_answer(self, problem: Exception) -> TransientError:
        """Return our error for a request that got no answer."""

    @contextmanager
    def observed(self, method: str, path: str) -> Iterator[Note]:  # noqa: ARG002 -- for those who do observe
        """Observe one request; whatever it raises passes through."""
        yield lambda _: None

    def unanswered(self) -> None:  # noqa: B027 -- for those who do observe
        """Observe that a request went on for `UNANSWERED_SECONDS` more without an answer."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(self, method: str, path: str, *, headers: Mapping[str, str], **request: Any) -> httpx.Response:
        """
        Send a request, and repeat it after a short wait where that may help.

        Parameters
        ----------
        path
            Path below the base URL.
        **request
            Further arguments of `httpx.AsyncClient.request`.

        Raises
        ------
        SyncError
            As `judge` or `no_answer` decides; while the circuit breaker is open, `unavailable` without a request.
        """
        retrying = short_retries(
            self._is_outage, sleep=self._sleep, noted=lambda: self.telemetry.count(f"{self.area}.retries")
        )
        response: httpx.Response = await retrying(self._ask_once, method, path, headers=headers, **request)
        return response

    @asynccontextmanager
    async def stream(self, path: str, *, headers: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """
        Send a GET request and give the bytes of its answer as they come; leaving the block closes the connection.

        Raises
        ------
        SyncError
            As `ask`; `no_answer` too when the answer ends early.
        """
        retrying = short_retries(
            self._is_outage, sleep=self._sleep, noted=lambda: self.telemetry.count(f"{self.area}.retries")
        )
        response: httpx.Response = await retrying(self._ask_once, "GET", path, headers=headers, stream=True)
        try:
            yield self._bytes_of(response)
        finally:
            await response.aclose()

    async def _bytes_of(self, response: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except httpx.HTTPError as problem:
            raise self.no_answer(problem) from None

    def _is_outage(self, problem: TransientError) -> bool:
        return problem.code in (f"{self.area}.unavailable", f"{self.area}.throttled")

    async def _ask_once(self, method: str, path: str, **request: Any) -> httpx.Response:
        if self._breaker and (pause := self._breaker.remaining()) > 0:
            why = self._outage  # a service that refuses us is not reported as one that does not answer
            code, hint = (why.code, why.hint) if isinstance(why, self.unavailable) else (None, None)
            before = f" after: {why.detail}" if why is not None and why.detail else ""
            detail = f"the service is left alone for a while{before}"
            raise self.unavailable(detail, retry_after=pause, code=code, hint=hint)
        waiting = _Waiting(self._note_unanswered)
        try:
            response = await self._authorized(method, path, waiting=waiting, **request)
            try:
                self.judge(response)
            except SyncError:
                await response.aclose()
                raise
        except TransientError as outage:
            # A request counts once: if it was noted as unanswered, its time-out is not a second failure.
            if self._breaker and (not waiting.noted or outage.retry_after):
                self._breaker.failed(outage.retry_after)
            self._outage = outage
            if outage.code == f"{self.area}.throttled":
                self.telemetry.count(outage.code)
            raise
        if self._breaker:
            self._breaker.succeeded()
        return response

    def _note_unanswered(self, times: int) -> None:
        self.unanswered()
        if self._breaker and times == 1:
            self._breaker.failed()
            self._outage = self.no_answer(TimeoutError())

    async def _authorized(self, method: str, path: str, **request: Any) -> httpx.Response:
        response = await self._send(method, path, refresh=False, **request)
        if response.status_code == httpx.codes.UNAUTHORIZED and self._tokens is not None:
            await response.aclose()
            response = await self._send(method, path, refresh=True, **request)
        return response

    async def _send(
        self,
        method: str,
        path: str,
        *,
        refresh: bool,
        waiting: _Waiting,
        headers: Mapping[str, str],
        stream: bool = False,
        **request: Any,
    ) -> httpx.Response:
        if self._tokens is not None:
            headers = {**headers, "Authorization": f"Bearer {await self._tokens.token(refresh=refresh)}"}
        self.telemetry.count(f"{self.area}.requests")
        try:
            with self.observed(method, path) as note:
                outgoing = self._client.build_request(method, f"{self.base}{path}", headers=headers, **request)
                with waiting:
                    response = await self._client.send(outgoing, stream=True)
                if not stream or not response.is_success:
                    await _read(response)  # `judge` may read the body
                note(response)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise self.no_answer(problem) from None
        return response


class _Waiting:
    """Counts each `UNANSWERED_SECONDS` that a request goes on without even the first byte of an answer."""

    def __init__(self, note: Callable[[int], None]) -> None:
        self.noted = 0
        self._note = note
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(UNANSWERED_SECONDS, self._elapsed)

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _elapsed(self) -> None:
        self.noted += 1
        self._note(self.noted)
        self.__enter__()


async def _read(response: httpx.Response) -> None:
    """
    Read the whole answer as `httpx.Response.aread` does, up to `LARGEST_ANSWER`; the connection is free afterwards.

    Raises
    ------
    AnswerTooLarge
        The answer is larger. Bytes count after decompression: a few kilobytes of gzip may expand to gigabytes.
    """
    try:
        content = await _bounded(response)
    except BaseException:
        await response.aclose()
        raise
    response._content = content  # noqa: SLF001 -- there is no public way to keep what was read in bounds


async def _bounded(response: httpx.Response) -> bytes:
    parts, size = list[bytes](), 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > LARGEST_ANSWER:
            raise AnswerTooLarge(f"more than {LARGEST_ANSWER} bytes")
        parts.append(part)
    return b"".join(parts)
