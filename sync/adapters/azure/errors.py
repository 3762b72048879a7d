"""
Translates exceptions of the Azure libraries into errors of the sync.

Texts of the libraries hold addresses, and so names of blobs: none of them is kept but the status and the service's
error code. The library's exception is cut off (``from None``) for the same reason.

That a blob or row is missing, or that another writer won, is believed only if the service states it with its own error
code; the status alone may be a gateway's. Source: Azure "Blob service error codes", "Table service error codes", "Queue
service error codes".
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)

from sync.adapters.azure.transport import NotFromStorage
from sync.adapters.no_answer import ENDED, LATE, NO_CONNECTION, NO_CONNECTION_YET, reason_of
from sync.adapters.retry_after import retry_after
from sync.errors import (
    SourceArchived,
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
GATEWAY = (
    "A gateway, proxy or firewall answered instead of the storage account: check the network path, including private "
    "endpoints. Nothing is treated as deleted meanwhile; work continues automatically once the account answers."
)
GARBLED = (
    "An answer of the storage account arrived truncated or altered: check proxies and gateways in between. The request "
    "is repeated automatically; if this continues, report the type and place in the detail."
)
ROLES_FOR_SOURCE = "Give the identity the role Storage Blob Data Reader on the account of the DICOM files."

WRONG_KEY = (
    "The account key in the connection string was refused: check that it belongs to that account, that the account "
    "allows keys and this network, and that the clock of this machine is right."
)
"""Remedy for a request that was signed with a key: no role would help."""

WRONG_SIGNATURE = (
    "The shared access signature was refused: check that it belongs to that account, has not expired and allows this "
    "operation, and that the clock of this machine is right."
)
"""Remedy for a request with a signature in its address."""

IDENTITY_REFUSED = (
    "The token of the identity was refused: check that the identity is in the account's tenant, and that the clock of "
    "this machine is right; on your own machine, sign in again with `az login`."
)
"""Remedy for ``AuthenticationFailed`` of an identity: it was not recognised, so no role would help."""

SIGN_IN = "Check the managed identity of the function app, or sign in with `az login`."
"""Remedy for a request that was never sent because the identity got no token: no role would help."""

_NOT_RECOGNISED = "AuthenticationFailed"
_DENIED = (401, 403)
_BAD_REQUEST = 400
_NOT_FOUND = 404
_ASK_LATER = (408, 429)
_SERVER_ERROR = 500
_CONDITION_NOT_MET = 412
_NOT_WITHOUT_CODE = (400, 403, _NOT_FOUND, 405, 409, 410, _CONDITION_NOT_MET, 413)
"""Refusals that Blob Storage always sends with a code; without one, a gateway sent them."""

_LOST_RACE = (_NOT_FOUND, 409, _CONDITION_NOT_MET)
_NOT_YET = (
    "AccountBeingCreated",
    "OperationTimedOut",
    "QueueBeingDeleted",
    "QueueNotFound",
    "TableBeingDeleted",
    "TableNotFound",
)
"""Error codes with the status of a lost race that are outages nevertheless."""

_GONE = ("BlobNotFound", "ContainerNotFound", "ResourceNotFound", "ContainerBeingDeleted")
"""Error codes of Blob Storage for an object, or its container, that does not exist."""

_ARCHIVED = ("BlobArchived", "BlobBeingRehydrated")
"""Error code for a blob in the archive tier, which must be rehydrated before it can be read."""

_LIBRARIES = frozenset({"aiohttp", "azure", "email", "http", "isodate", "json", "multidict", "urllib", "xml", "yarl"})
"""Packages that read the services' answers."""


@contextmanager
def state_errors() -> Iterator[None]:
    """Translate errors of tables and queues: 404, 409 and 412 become `StoreConflict`, all others `StoreUnavailable`."""
    try:
        yield
    except AzureError as problem:
        raise state_error(problem) from None
    except (TimeoutError, OSError):
        raise StoreUnavailable("no answer") from None
    except Exception as problem:
        if not is_garbled(problem):
            raise
        raise StoreUnavailable(place_of(problem), code="store.garbled", hint=GARBLED) from None


@contextmanager
def source_errors() -> Iterator[None]:
    """Translate errors of reading an object: `SourceGone`, `SourceChanged`, `SourceUnavailable`."""
    try:
        yield
    except AzureError as problem:
        raise source_error(problem) from None
    except (TimeoutError, OSError):
        raise SourceUnavailable("no answer") from None
    except Exception as problem:
        if not is_garbled(problem):
            raise
        raise SourceUnavailable(place_of(problem), code="source.garbled", hint=GARBLED) from None


def is_garbled(problem: Exception) -> bool:
    """
    Return whether a library failed while reading an answer: the answer was truncated or changed on its way.

    `zlib.error` on bytes that are not compressed, `TypeError` on a body without rows: the libraries raise whatever the
    answer leads to. An exception from our own code is our defect.
    """
    if isinstance(problem, SyncError):
        return False
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(problem.__traceback__)]
    packages = [module.partition(".")[0] for module in modules]
    # A library may fail inside Python's own code, such as a codec: that counts as the library's failure.
    blamed = (
        package for package in reversed(packages) if package in _LIBRARIES or package not in sys.stdlib_module_names
    )
    return next(blamed, "") in _LIBRARIES


def place_of(problem: Exception) -> str:
    """Name the type and place of an exception, never its text."""
    place = traceback.extract_tb(problem.__traceback__)[-1]
    return f"{type(problem).__name__} at {place.filename.rpartition('/')[2]}:{place.lineno}"


def state_error(problem: AzureError) -> SyncError:
    """Choose our error for an exception from Table or Queue Storage."""
    if isinstance(problem, NotFromStorage):
        return StoreUnavailable(str(problem.answered), code="store.gateway", hint=GATEWAY)
    if isinstance(problem, DecodeError):
        return StoreUnavailable(place_of(problem), code="store.garbled", hint=GARBLED)
    if is_denied(problem):
        return StoreUnavailable(what(problem), code="store.forbidden", hint=_remedy(problem, ROLES_FOR_STATE))
    status = _status(problem)
    if status in _LOST_RACE and not is_outage(problem):
        return StoreConflict(what(problem))
    if status in _LOST_RACE and not error_code(problem):
        return StoreUnavailable(what(problem), code="store.gateway", hint=GATEWAY)
    return StoreUnavailable(what(problem), retry_after=_retry_after(problem))


def source_error(problem: AzureError) -> SyncError:
    """Choose our error for an exception from Blob Storage."""
    if isinstance(problem, NotFromStorage):
        return SourceUnavailable(str(problem.answered), code="source.gateway", hint=GATEWAY)
    if isinstance(problem, DecodeError):
        return SourceUnavailable(place_of(problem), code="source.garbled", hint=GARBLED)
    if code := error_code(problem):
        return _told_by_blobs(problem, code)
    status = _status(problem)
    if status in _NOT_WITHOUT_CODE:
        return SourceUnavailable(what(problem), code="source.gateway", hint=GATEWAY)
    return _source_outage(problem)


def _told_by_blobs(problem: AzureError, code: str) -> SyncError:
    """Choose our error for a failure that Blob Storage itself names by a code."""
    if code in _GONE:
        return SourceGone("no such object")
    if code in _ARCHIVED:
        return SourceArchived(code)
    if _status(problem) == _CONDITION_NOT_MET:
        return SourceChanged("the object has another ETag now")
    return _source_outage(problem)


def _source_outage(problem: AzureError) -> SourceUnavailable:
    if is_denied(problem):
        return SourceUnavailable(what(problem), code="source.forbidden", hint=_remedy(problem, ROLES_FOR_SOURCE))
    return SourceUnavailable(what(problem), retry_after=_retry_after(problem))


def ensure_whole(received: int, expected: int) -> None:
    """
    Refuse bytes that are fewer than the service announced: a gateway cut them and made the length fit.

    Raises
    ------
    SourceUnavailable
        ``source.garbled``; try again.
    """
    if received != expected:
        raise SourceUnavailable(f"{received} of {expected} bytes", code="source.garbled", hint=GARBLED)


def etag_of(response: Mapping[str, Any]) -> str:
    """
    Return the ETag of a row that was written.

    Raises
    ------
    StoreUnavailable
        The answer has no ETag: whether the row was written is unknown.
    """
    etag = response.get("etag")
    if not is_etag(etag):
        raise StoreUnavailable("a write was answered without an ETag", code="store.garbled", hint=GARBLED)
    return str(etag)


def is_etag(value: object) -> bool:
    """Return whether a value of an answer can be the ETag of a row."""
    return isinstance(value, str) and bool(value)


def error_code(problem: AzureError) -> str:
    """
    Return the service's own name of the error, empty when there is none.

    The library does not keep the code of every request; if it did not, the code is read from the answer.
    """
    code = getattr(problem, "error_code", None)
    if name := str(getattr(code, "value", code) or ""):
        return name
    response = getattr(problem, "response", None)
    return "" if response is None else str(response.headers.get("x-ms-error-code") or _code_in_body(response))


def _code_in_body(response: Any) -> str:
    """Return the code of an error of the tables. Source: OData JSON format 4.0 19 (``odata.error``)."""
    try:
        body = json.loads(response.text())
    except Exception:  # noqa: BLE001 -- a body that is not there, or no JSON, has none
        return ""
    error = body.get("odata.error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""


def is_outage(problem: AzureError) -> bool:
    """
    Return whether an answer with the status of a lost race is an outage.

    Either the table or queue is missing, or a gateway answered: the service itself always names an error by a code.
    """
    return error_code(problem) in ("", *_NOT_YET)


def concerns_all(problem: AzureError) -> bool:
    """Return whether the failure concerns every row of a transaction: an outage does, a refusal may concern one row."""
    status = _status(problem)
    if status is None or is_denied(problem) or status in _ASK_LATER or is_outage(problem):
        return True
    return not _BAD_REQUEST <= status < _SERVER_ERROR


def _status(problem: Exception) -> int | None:
    return problem.status_code if isinstance(problem, HttpResponseError) else None


def is_denied(problem: Exception) -> bool:
    """Whether Azure refused us as who we are: no token, or none that may do this."""
    return isinstance(problem, ClientAuthenticationError) or _status(problem) in _DENIED


def _remedy(problem: AzureError, roles: str) -> str:
    """Choose the remedy by how the request was signed: error codes of Azure, its services and emulators differ."""
    if isinstance(problem, ClientAuthenticationError) and problem.response is None:
        return SIGN_IN
    request = getattr(getattr(problem, "response", None), "request", None)
    if str(getattr(request, "headers", {}).get("Authorization", "")).startswith("SharedKey"):
        return WRONG_KEY
    if "sig=" in str(getattr(request, "url", "")).partition("?")[2]:
        return WRONG_SIGNATURE
    return IDENTITY_REFUSED if error_code(problem) == _NOT_RECOGNISED else roles


_NO_ANSWER: tuple[tuple[type[AzureError], str], ...] = (
    (ServiceRequestTimeoutError, NO_CONNECTION_YET),
    (ServiceResponseTimeoutError, LATE),
    (ServiceRequestError, NO_CONNECTION),
    (ServiceResponseError, ENDED),
    (ClientAuthenticationError, "no token"),
)
"""Exceptions of the library without an answer, subclasses before their bases."""


def what(problem: AzureError) -> str:
    """Return how a request failed: status and the service's own code, or why there is no answer."""
    if (status := _status(problem)) is not None:
        return f"{status} {error_code(problem)}".rstrip()
    return reason_of(problem, _NO_ANSWER)


def _retry_after(problem: AzureError) -> float | None:
    response = getattr(problem, "response", None)
    return retry_after(response.headers) if response is not None else None
