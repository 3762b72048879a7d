"""
Connections to Azure Storage that pass on only the answers of Storage itself, and limit how long the library sleeps.

A gateway, a firewall or a captive portal between us and the account may answer in its place: with 404 or 200, and a
page of HTML. Storage marks every answer, including failures, with the header ``x-ms-request-id``. An answer without it
becomes the error of an unanswered request, which the library retries and the adapters treat as an outage.

Source: Azure "Status and error codes" and "Troubleshooting API operations" (``x-ms-request-id`` on every response).
"""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime
from typing import Any

from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport

from sync.adapters.clocks import seconds_set, steady_now
from sync.adapters.retry_after import date_of
from sync.ports import ClockOffset

REQUEST_ID = "x-ms-request-id"
"""Header of every answer of Azure Storage, and of no gateway."""

_FIRST_BYTE = re.compile(r"bytes[ =](\d{1,18})-")

LONGEST_SLEEP = 5.0
"""Maximum seconds that the library sleeps before a retry, whatever ``Retry-After`` asks for."""


CLOCK_INTERVAL = 10.0
"""Seconds after which the time of an answer is compared with our clock again."""


class NotFromStorage(ServiceResponseError):
    """The answer did not come from the storage service."""

    def __init__(self, status: int) -> None:
        super().__init__(f"an answer without {REQUEST_ID}")
        self.answered = status


class BoundedTransport(AioHttpTransport):  # type: ignore[misc]  # the library types it as Any
    """Limits the library's own waits: its policies sleep for as long as an answer's ``Retry-After`` says."""

    async def sleep(self, duration: float) -> None:
        """Sleep, but never longer than `LONGEST_SLEEP`."""
        await asyncio.sleep(min(max(duration, 0.0), LONGEST_SLEEP))


class StorageTransport(BoundedTransport):
    """
    Returns only answers of Azure Storage itself.

    Parameters
    ----------
    offset
        Receives the offset of our clock from the time in the answers.
    """

    def __init__(self, *, offset: ClockOffset | None = None, **config: Any) -> None:
        super().__init__(**config)
        self._offset = offset
        self._compared = -CLOCK_INTERVAL

    async def send(self, request: Any, **config: Any) -> Any:
        """
        Send a request as the library does.

        Raises
        ------
        NotFromStorage
            The answer lacks the header that Storage sets on every answer, or is a different part of the blob.
        """
        sent = steady_now()
        response: Any = await super().send(request, **config)
        if not response.headers.get(REQUEST_ID) or not _is_of_range(request, response):
            response.internal_response.close()
            raise NotFromStorage(int(response.status_code))
        if self._offset is not None and time.monotonic() >= self._compared + CLOCK_INTERVAL:
            self._compared = time.monotonic()
            _compare_clocks(response, sent, self._offset)
        return response


def _compare_clocks(response: Any, sent: datetime, offset: ClockOffset) -> None:
    told = date_of(response.headers)
    if told is not None and not response.headers.get("Age"):  # an answer with an Age comes from a cache
        offset.note(told, sent=sent, received=steady_now(), seconds_set=seconds_set())


def _is_of_range(request: Any, response: Any) -> bool:
    """Return whether a part of a blob begins at the requested byte: a cache may answer with another part of it."""
    asked = _FIRST_BYTE.match(str(request.headers.get("x-ms-range") or ""))
    told = _FIRST_BYTE.match(str(response.headers.get("Content-Range") or ""))
    return asked is None or told is None or int(asked[1]) == int(told[1])
