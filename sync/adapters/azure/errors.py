"""
Where exceptions of the Azure libraries end and ours begin.

Texts of the libraries hold addresses, and so names of blobs: nothing of them is kept but the status and the service's
error code. The library's exception is cut off (``from None``) for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from sync.adapters.retry_after import retry_after
from sync.errors import (
    SourceChanged,
    SourceGone,
    SourceUnavailable,
    StoreConflict,
    StoreUnavailable,
    SyncError,
)

ROLES_FOR_STATE = (
    "Give the identity the roles Storage Table Data Contributor and Storage Queue Data Contributor on the account of "
    "queues and tables."
)
ROLES_FOR_SOURCE = "Give the identity the role Storage Blob Data Reader on the account of the DICOM files."

_DENIED = (401, 403)
_BAD_REQUEST = 400
_NOT_FOUND = 404
_ASK_LATER = (408, 429)
_SERVER_ERROR = 500
_CONDITION_NOT_MET = 412
_LOST_RACE = (_NOT_FOUND, 409, _CONDITION_NOT_MET)
_NOT_YET = (
    "AccountBeingCreated",
    "OperationTimedOut",
    "QueueBeingDeleted",
    "QueueNotFound",
    "TableBeingDeleted",
    "TableNotFound",
)
"""Answers with the status of a lost race that are outages all the same."""

_GONE = ("BlobNotFound", "ContainerNotFound", "ResourceNotFound", "ContainerBeingDeleted")


@contextmanager
def state_errors() -> Iterator[None]:
    """Translate what tables and queues raise: 404, 409 and 412 become `StoreConflict`, the rest `StoreUnavailable`."""
    try:
        yield
    except AzureError as problem:
        raise state_error(problem) from None
    except (TimeoutError, OSError):
        raise StoreUnavailable("no answer") from None


@contextmanager
def source_errors() -> Iterator[None]:
    """Translate what Blob Storage raises when an object is read: `SourceGone`, `SourceChanged`, `SourceUnavailable`."""
    try:
        yield
    except AzureError as problem:
        raise source_error(problem) from None
    except (TimeoutError, OSError):
        raise SourceUnavailable("no answer") from None


def state_error(problem: AzureError) -> SyncError:
    """Choose our error for an exception from Table or Queue Storage."""
    if _is_denied(problem):
        return StoreUnavailable(_what(problem), code="store.forbidden", hint=ROLES_FOR_STATE)
    status = _status(problem)
    if status in _LOST_RACE and not is_outage(problem):
        return StoreConflict(_what(problem))
    return StoreUnavailable(_what(problem), retry_after=_retry_after(problem))


def source_error(problem: AzureError) -> SyncError:
    """Choose our error for an exception from Blob Storage."""
    if _is_denied(problem):
        return SourceUnavailable(_what(problem), code="source.forbidden", hint=ROLES_FOR_SOURCE)
    status = _status(problem)
    if status == _NOT_FOUND or error_code(problem) in _GONE:
        return SourceGone("no such object")
    if status == _CONDITION_NOT_MET:
        return SourceChanged("the object has another ETag now")
    return SourceUnavailable(_what(problem), retry_after=_retry_after(problem))


def error_code(problem: AzureError) -> str:
    """Return the service's own name of the error, empty when there is none."""
    code = getattr(problem, "error_code", None)
    return str(getattr(code, "value", code) or "")


def is_outage(problem: AzureError) -> bool:
    """Tell whether an answer with the status of a lost race is an outage: what holds the rows is not there."""
    return error_code(problem) in _NOT_YET


def concerns_all(problem: AzureError) -> bool:
    """Tell whether every row of a transaction shares this fate: an outage does, a refusal may be about one row."""
    status = _status(problem)
    if status is None or _is_denied(problem) or status in _ASK_LATER or is_outage(problem):
        return True
    return not _BAD_REQUEST <= status < _SERVER_ERROR


def _status(problem: AzureError) -> int | None:
    return problem.status_code if isinstance(problem, HttpResponseError) else None


def _is_denied(problem: AzureError) -> bool:
    return isinstance(problem, ClientAuthenticationError) or _status(problem) in _DENIED


def _what(problem: AzureError) -> str:
    parts = (type(problem).__name__, str(_status(problem) or ""), error_code(problem))
    return " ".join(part for part in parts if part)


def _retry_after(problem: AzureError) -> float | None:
    response = getattr(problem, "response", None)
    return retry_after(response.headers) if response is not None else None
