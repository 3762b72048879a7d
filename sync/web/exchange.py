"""
Requests and answers of HTTP functions, and the status of each failure.

    400 request.malformed      what was asked for is not understood
    403 access.*               `sync.operators.access`
    404 request.not_found, study.unknown
    503 *                      storage or FHIR does not answer; ask again

Every failure has the same body: ``code`` (a heading of the runbook), ``detail`` and ``hint``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from sync.config import Settings
from sync.errors import AccessRefused, RequestRefused, RequestTooLong, SyncError
from sync.model.timestamps import typed_time
from sync.operators.access import Caller, operator_of
from sync.telemetry.budgets import cut_off_after
from sync.walks.pacing import FASTEST, SLOWEST

LARGEST_BODY = 64 * 1024
"""Maximum bytes of a request's body; real requests take a few hundred."""

NOT_FOUND = frozenset({"request.not_found", "study.unknown", "walk.unknown"})
"""Codes of requests for items that do not exist."""

LONGEST_ANSWER = 200.0
"""
Seconds that an HTTP function may take.

Azure's load balancer gives up after 230 s (Azure Functions, "Function app time-out duration"); the host would end a
function after ten minutes, and with it all other work of its worker process.
"""

LONGEST_PAGE = 30.0
"""
Seconds that a page of the dashboard may take; usually it takes a tenth of a second.

If storage does not answer at all, its clients would retry for minutes, and the screen would stay empty.
"""

T = TypeVar("T")

_FORM = "application/x-www-form-urlencoded"
_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that the host received; ``params`` are the path segments that the route names."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as JSON."""

    body: dict[str, Any]
    status: int = 200


def fields_of(request: Request) -> dict[str, Any]:
    """
    Return the fields of the body: a JSON object, or a form; an empty body has none.

    Raises
    ------
    RequestRefused
        The body is neither, or too large.
    """
    if len(request.body) > LARGEST_BODY:
        raise RequestRefused(f"a body of more than {LARGEST_BODY} bytes")
    if not request.body.strip():
        return {}
    kind = next((value for name, value in request.headers.items() if name.lower() == "content-type"), "")
    try:
        text = request.body.decode()
        fields = _form(text) if kind.partition(";")[0].strip().lower() == _FORM else json.loads(text)
    except (ValueError, RecursionError):
        raise RequestRefused("the body is neither JSON nor a form") from None
    if not isinstance(fields, dict):
        raise RequestRefused("the body is not a JSON object")
    return fields


def _form(text: str) -> dict[str, str]:
    """Return the fields of a form; several values of one name, as of check boxes, are joined by blanks."""
    fields: dict[str, str] = {}
    for name, value in parse_qsl(text):
        fields[name] = f"{fields[name]} {value}" if name in fields else value
    return fields


def rate_of(fields: Mapping[str, Any]) -> float | None:
    """
    Return the studies per second that a request asks for; None if it has no rate.

    Raises
    ------
    RequestRefused
        The rate is not a number from `SLOWEST` to `FASTEST`.
    """
    value = fields.get("rate")
    if value in (None, ""):
        return None
    try:
        rate = float(str(value))
    except ValueError:
        rate = 0.0
    if not SLOWEST <= rate <= FASTEST:
        raise RequestRefused(f"rate: expected studies a second, from {SLOWEST:g} to {FASTEST:,.0f}")
    return rate


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """Return a field's text, empty if the field is missing; `RequestRefused` if it is not text."""
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise RequestRefused(f"{name}: expected text")
    return value.strip()


def time_of(fields: Mapping[str, Any], name: str) -> datetime | None:
    """Return a field's time, as `typed_time` reads it, None if the field is missing; `RequestRefused` for no time."""
    try:
        return typed_time(text) if (text := text_of(fields, name)) else None
    except ValueError as problem:
        raise RequestRefused(f"{name}: {problem}") from None


def named_operator(request: Request, fields: Mapping[str, Any], settings: Settings) -> Caller:
    """
    Return the operator who sent the fields, for actions that are recorded with a name.

    Raises
    ------
    AccessRefused
        The sender may only read, or another site sent the form.
    RequestRefused
        The form does not name the operator.
    """
    caller = operator_of(request.headers, settings, says=text_of(fields, "who"))
    if not caller.name:
        raise RequestRefused("say who you are")
    return caller


def is_set(fields: Mapping[str, Any], name: str) -> bool:
    """Return whether a flag is set, as JSON or as a form writes it."""
    value = fields.get(name, False)
    return value is True or (isinstance(value, str) and value.strip().lower() in _TRUE)


def limit_of(fields: Mapping[str, Any], default: int, *, most: int) -> int:
    """Return the field ``limit``; `RequestRefused` if it is not a whole number between 1 and ``most``."""
    text = str(fields.get("limit", default)).strip()
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        raise RequestRefused(f"limit: expected a number from 1 to {most}")
    return int(text)


async def within_budget(work: Awaitable[T], *, seconds: float = LONGEST_ANSWER) -> T:
    """
    Await the answer of one HTTP function, within its budget.

    Raises
    ------
    RequestTooLong
        The work took longer and was cancelled; all work of requests is idempotent.
    """
    return await cut_off_after(seconds, work, RequestTooLong(f"more than {seconds:g} s"))


async def answered(work: Awaitable[Answer]) -> Answer:
    """Await the answer; our own errors become their HTTP status."""
    try:
        return await work
    except SyncError as failure:
        return answer_of(failure)


def answer_of(failure: SyncError) -> Answer:
    """Return the answer that reports a failure."""
    return Answer(body={"code": failure.code, "detail": failure.detail, "hint": failure.hint}, status=_status(failure))


def _status(failure: SyncError) -> int:
    if isinstance(failure, AccessRefused):
        return 403
    if isinstance(failure, RequestRefused):
        return 404 if failure.code in NOT_FOUND else 400
    return 503
