"""Each failure of the Azure libraries becomes one of ours, and nothing of its text comes along."""

import socket
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)

from sync.adapters.azure.errors import concerns_all, error_code, source_errors, state_errors
from sync.adapters.azure.transport import NotFromStorage
from sync.errors import (
    SourceArchived,
    SourceChanged,
    SourceGone,
    SourceUnavailable,
    StoreConflict,
    StoreUnavailable,
    SyncError,
    TransientError,
)

SENTINEL = "Zztestperson"


class Request:
    def __init__(self, headers):
        self.headers = headers
        self.url = "https://account/q?comp=list" if headers else "https://account/q?comp=list&sig=abc"


class Response:
    def __init__(self, status, **headers):
        self.status_code = status
        self.reason = SENTINEL
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def text(self):
        return SENTINEL


def answered(status, code=None, kind=HttpResponseError, **headers):
    problem = kind(message=f"https://account/{SENTINEL}", response=Response(status, **headers))
    if code:
        problem.error_code = code
    return problem


def translated(errors, problem):
    with pytest.raises(SyncError) as caught, errors():
        raise problem
    return caught.value


STATE = [
    (answered(404, "EntityNotFound", kind=ResourceNotFoundError), StoreConflict),
    (answered(409, "EntityAlreadyExists", kind=ResourceExistsError), StoreConflict),
    (answered(404, kind=ResourceNotFoundError), StoreUnavailable),
    (answered(409, kind=ResourceExistsError), StoreUnavailable),
    (answered(412), StoreUnavailable),
    (NotFromStorage(404), StoreUnavailable),
    (answered(409, "EntityAlreadyExists"), StoreConflict),
    (answered(412, "UpdateConditionNotSatisfied"), StoreConflict),
    (answered(404, "ResourceNotFound"), StoreConflict),
    (answered(404, "TableNotFound"), StoreUnavailable),
    (answered(404, "QueueNotFound"), StoreUnavailable),
    (answered(409, "TableBeingDeleted"), StoreUnavailable),
    (answered(400), StoreUnavailable),
    (answered(413), StoreUnavailable),
    (answered(429), StoreUnavailable),
    (answered(500), StoreUnavailable),
    (answered(503, "ServerBusy"), StoreUnavailable),
    (answered(403), StoreUnavailable),
    (answered(401, kind=ClientAuthenticationError), StoreUnavailable),
    (ServiceRequestError(SENTINEL), StoreUnavailable),
    (ServiceResponseError(SENTINEL), StoreUnavailable),
    (TimeoutError(SENTINEL), StoreUnavailable),
    (ConnectionResetError(SENTINEL), StoreUnavailable),
]

SOURCE = [
    (answered(404, "BlobNotFound"), SourceGone),
    (answered(404, "ContainerNotFound"), SourceGone),
    (answered(404), SourceUnavailable),
    (answered(404, kind=ResourceNotFoundError), SourceUnavailable),
    (answered(410), SourceUnavailable),
    (answered(404, "AccountIsDisabled"), SourceUnavailable),
    (NotFromStorage(404), SourceUnavailable),
    (answered(412), SourceUnavailable),
    (answered(409, "BlobBeingRehydrated"), SourceArchived),
    (answered(409, "ContainerBeingDeleted"), SourceGone),
    (answered(412, "ConditionNotMet"), SourceChanged),
    (answered(403, "AuthorizationFailure"), SourceUnavailable),
    (answered(409, "BlobArchived"), SourceArchived),
    (answered(500), SourceUnavailable),
    (ServiceRequestError(SENTINEL), SourceUnavailable),
    (TimeoutError(SENTINEL), SourceUnavailable),
]

BOTH = [(state_errors, *case) for case in STATE] + [(source_errors, *case) for case in SOURCE]


def named(value):
    if isinstance(value, HttpResponseError):
        return f"{value.status_code} {error_code(value)}".strip()
    return getattr(value, "__name__", type(value).__name__)


@pytest.mark.parametrize(("errors", "problem", "expected"), BOTH, ids=named)
def test_each_failure_is_one_of_our_errors(errors, problem, expected):
    assert type(translated(errors, problem)) is expected


@pytest.mark.parametrize(("errors", "problem", "expected"), BOTH, ids=named)
def test_no_text_of_a_library_is_left_in_ours_or_its_traceback(errors, problem, expected):
    error = translated(errors, problem)
    shown = "".join(traceback.format_exception(error))
    assert SENTINEL not in f"{error} {error.detail} {error.hint} {error.code}"
    assert f"account/{SENTINEL}" not in shown


@pytest.mark.parametrize(
    ("errors", "code", "role"),
    [
        (state_errors, "store.forbidden", "Storage Table Data Contributor"),
        (source_errors, "source.forbidden", "Storage Blob Data Reader"),
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_role_is_named(errors, code, role, status):
    error = translated(errors, answered(status, "AuthorizationFailure"))
    assert error.code == code
    assert role in error.hint


@pytest.mark.parametrize(
    ("signed", "code", "told"),
    [
        ({"Authorization": "SharedKey account:abc="}, "AuthenticationFailed", "account key in the connection string"),
        # Azurite's code for a wrong key, and Azure's for a firewall.
        ({"Authorization": "SharedKey account:abc="}, "AuthorizationFailure", "account key in the connection string"),
        ({"Authorization": "SharedKeyLite account:abc="}, "AuthorizationFailure", "account key"),
        ({}, "AuthorizationPermissionMismatch", "shared access signature"),
        ({"Authorization": "Bearer t"}, "AuthenticationFailed", "token of the identity"),
        ({"Authorization": "Bearer t"}, "AuthorizationFailure", "Give the identity the role"),
    ],
)
@pytest.mark.parametrize("errors", [state_errors, source_errors])
def test_what_to_correct_is_told_by_how_the_request_was_signed(errors, signed, code, told):
    problem = answered(403, code)
    problem.response.request = Request(signed)
    error = translated(errors, problem)
    assert told in error.hint
    assert ("role" in error.hint) == ("role" in told)
    assert error.detail == f"403 {code}"


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (ServiceRequestError(SENTINEL), "no connection"),
        (ServiceRequestError(SENTINEL, error=ConnectionRefusedError(SENTINEL)), "the connection was refused"),
        (ServiceRequestError(SENTINEL, error=socket.gaierror(SENTINEL)), "no address is known for its host name"),
        (ServiceRequestTimeoutError(SENTINEL), "no connection in time"),
        (ServiceResponseError(SENTINEL), "the connection ended before the answer"),
        (ServiceResponseTimeoutError(SENTINEL), "no answer in time"),
        (ClientAuthenticationError(SENTINEL), "no token"),
        (AzureError(SENTINEL), "no answer"),
        (answered(503, "ServerBusy"), "503 ServerBusy"),
        (answered(500), "500"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("errors", [state_errors, source_errors])
def test_the_detail_is_in_our_words_and_names_no_class_of_a_library(errors, problem, told):
    assert translated(errors, problem).detail == told


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("-3", None)])
def test_the_wait_that_is_asked_for_is_kept(header, seconds):
    assert translated(state_errors, answered(503, Retry_After=header)).retry_after == seconds


def test_a_moment_to_wait_for_is_kept_too():
    header = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < translated(state_errors, answered(503, Retry_After=header)).retry_after <= 3600


@pytest.mark.parametrize("wrong", [-3600, 0, 3600])
@pytest.mark.parametrize("date", [True, False])
def test_a_moment_to_wait_for_is_of_the_services_clock(wrong, date):
    """Of a service whose clock is an hour ahead of ours a wait of 90 s became an hour; of one behind, none."""
    theirs = datetime.now(UTC) + timedelta(seconds=wrong)
    headers = {"Retry_After": format_datetime(theirs + timedelta(seconds=90), usegmt=True)}
    headers |= {"Date": format_datetime(theirs, usegmt=True)} if date else {}
    asked = translated(state_errors, answered(503, **headers)).retry_after
    assert asked == (90 if date else pytest.approx(max(wrong + 90, 0), abs=30))


@pytest.mark.parametrize("status", [400, 404, 409, 412, 413])
def test_a_refusal_may_concern_a_single_row(status):
    assert not concerns_all(answered(status, "EntityNotFound"))


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 412, 413, 502])
@pytest.mark.parametrize(("errors", "code"), [(state_errors, "store.gateway"), (source_errors, "source.gateway")])
def test_an_answer_that_is_not_the_services_own_is_an_outage_that_names_a_gateway(errors, code, status):
    error = translated(errors, NotFromStorage(status))
    assert error.code == code
    assert "gateway" in error.hint


def library_fails(text="Zztestperson"):
    """Fail as the library does over an answer: in a frame of its own."""
    namespace = {"__name__": "azure.storage.blob"}
    exec("import zlib\ndef read(data): zlib.decompressobj(31).decompress(data)", namespace)
    namespace["read"](text.encode())


@pytest.mark.parametrize(("errors", "code"), [(state_errors, "store.garbled"), (source_errors, "source.garbled")])
def test_what_a_library_raises_over_an_answer_is_an_outage(errors, code):
    with pytest.raises(TransientError) as caught, errors():
        library_fails()
    assert caught.value.code == code
    assert SENTINEL not in f"{caught.value}"


@pytest.mark.parametrize(
    "problem", [*map(answered, (401, 403, 408, 429, 500, 503)), answered(404, "TableNotFound"), ServiceRequestError("")]
)
def test_an_outage_concerns_all_rows(problem):
    assert concerns_all(problem)


@pytest.mark.parametrize("errors", [state_errors, source_errors])
def test_defects_of_ours_pass_as_they_are(errors):
    with pytest.raises(KeyError), errors():
        raise KeyError


@pytest.mark.parametrize("errors", [state_errors, source_errors])
def test_an_identity_without_a_token_is_told_to_sign_in_for_no_role_would_help(errors):
    failure = translated(errors, ClientAuthenticationError(message=SENTINEL))
    assert failure.code.endswith(".forbidden")
    assert "az login" in failure.hint
    assert "role" not in failure.hint
    assert SENTINEL not in str(failure)
