"""
Asking a DICOM server for JSON: what its statuses mean, and its answers.

Its texts never leave this module: an error page may quote what was asked for, and addresses hold UIDs.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from sync.adapters.http.remote import GONE, Remote
from sync.adapters.retry_after import retry_after
from sync.errors import SourceGone, SourceUnavailable

_LONGEST_NUMBER = 18
_INLINE_BYTES = 512 * 1024
"""Up to here parsing takes milliseconds, and a thread would cost more than it frees."""

_FORBIDDEN = (401, 403)
_FORBIDDEN_HINT = (
    "Give the function's identity the role DICOM Data Reader on the DICOM service; for Orthanc set "
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
        As `sync.adapters.http.remote.Remote` takes them.
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
            404 or 410.
        SourceUnavailable
            Everything else that is no success, and an answer that is no JSON.
        """
        return await self._json("GET", path, headers={"Accept": accept}, params=parameters)

    async def post(self, path: str, text: str) -> Any:
        """Send a text that only asks a question, and return the JSON of the answer; like `get`."""
        return await self._json("POST", path, headers={"Accept": "application/json"}, content=text)

    async def _json(self, method: str, path: str, **request: Any) -> Any:
        answer = await self.ask(method, path, **request)
        if answer.status_code == httpx.codes.NO_CONTENT or not answer.content.strip():
            return None
        try:
            if len(answer.content) > _INLINE_BYTES:
                return await asyncio.to_thread(parse_json, answer.content)
            return parse_json(answer.content)
        except (ValueError, RecursionError):
            hint = f"Check that {self._setting} is the address of the DICOM server and not of a page before it."
            raise SourceUnavailable("the answer is no JSON", code="source.garbage", hint=hint) from None

    def no_answer(self, problem: Exception) -> SourceUnavailable:
        """Tell of an outage."""
        hint = f"Check that {self._setting} is right and that the server runs; reading goes on by itself."
        return SourceUnavailable(f"no answer: {type(problem).__name__}", hint=hint)

    def judge(self, answer: httpx.Response) -> None:
        """Raise `SourceGone` for 404 and 410, and `SourceUnavailable` for all else that is no success."""
        status, wait = answer.status_code, retry_after(answer.headers)
        if httpx.codes.is_success(status):
            return
        if status in GONE:
            raise SourceGone(str(status))
        if status == httpx.codes.TOO_MANY_REQUESTS:
            hint = "The DICOM server is at its limit; reading goes on by itself once it allows it."
            raise SourceUnavailable(str(status), code="source.throttled", hint=hint, retry_after=wait)
        if status in _FORBIDDEN:
            raise SourceUnavailable(str(status), code="source.forbidden", hint=_FORBIDDEN_HINT, retry_after=wait)
        if status < httpx.codes.INTERNAL_SERVER_ERROR and status != httpx.codes.REQUEST_TIMEOUT:
            hint = f"Check that {self._setting} is the address of the DICOM server itself."
            raise SourceUnavailable(str(status), code="source.refused", hint=hint, retry_after=wait)
        raise SourceUnavailable(str(status), retry_after=wait)


def parse_json(content: bytes) -> Any:
    """Return the JSON of an answer, with numbers that are no plain integers as the text that they were; ValueError."""
    return json.loads(content, parse_int=_integer, parse_float=str, parse_constant=str)


def _integer(digits: str) -> int | str:
    """Keep the spelling of what is more than a whole number: a decimal string of DICOM is text (PS3.5 6.2)."""
    return int(digits) if len(digits) <= _LONGEST_NUMBER and digits != "-0" else digits
