"""Explains why an HTTP service gave no answer, for the details of errors."""

from __future__ import annotations

import httpx

from sync.adapters.no_answer import ENDED, LATE, NO_CONNECTION, NO_CONNECTION_YET, reason_of


class AnswerTooLarge(httpx.DecodingError):
    """The answer exceeds the limit: no supported service sends one, and reading it would exhaust the memory."""


_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (httpx.ConnectTimeout, NO_CONNECTION_YET),
    (httpx.PoolTimeout, "no connection is free"),
    (httpx.TimeoutException, LATE),
    (TimeoutError, LATE),
    (httpx.ProxyError, "the proxy gave no connection"),
    (httpx.ConnectError, NO_CONNECTION),
    (httpx.UnsupportedProtocol, "the address is neither http nor https"),
    (httpx.InvalidURL, "the address is not valid"),
    (httpx.TooManyRedirects, "it redirects too often"),
    (AnswerTooLarge, "its answer is too large"),
    (httpx.DecodingError, "its answer cannot be decoded"),
    (httpx.TransportError, ENDED),
)
"""Exceptions of the library, subclasses before their bases."""


def words_of(problem: BaseException) -> str:
    """Return why there is no answer: the operating system's cause, else the kind of exception."""
    if isinstance(problem, httpx.HTTPStatusError):
        return f"status {problem.response.status_code}"
    return reason_of(problem, _KINDS)
