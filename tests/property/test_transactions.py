"""Transactions of ours against the library's own: the same requests, and the same outcome of every answer."""

import json
from email import message_from_bytes

import pytest
from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError
from azure.data.tables import TableTransactionError, UpdateMode
from azure.data.tables.aio import TableClient
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sync.adapters.azure.errors import state_errors
from sync.adapters.azure.tables.transactions import TransactionClient
from sync.adapters.azure.tables.wire_form import columns_of
from sync.adapters.azure.transport import StorageTransport
from sync.errors import StoreConflict, StoreUnavailable, SyncError
from tests.property import examples
from tests.simulation.gateway.blob_service import BlobSession
from tests.simulation.gateway.lies import Answer
from tests.simulation.gateway.virtual_time import run

KEY = AzureNamedKeyCredential("memory", "a2V5")
ACCOUNT = "https://memory.table.core.windows.net"
ETAG = "W/\"datetime'2026-01-02T03%3A04%3A05.678Z'\""

# As in Azure "Performing entity group transactions", with CRLF at the end of each line.
GOOD_PART = (
    "HTTP/1.1 204 No Content\r\nContent-ID: 1\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-cache\r\n"
    "Preference-Applied: return-no-content\r\nDataServiceVersion: 3.0;\r\n"
    "Location: https://memory.table.core.windows.net/rows(PartitionKey='p',RowKey='1')\r\n"
    "DataServiceId: https://memory.table.core.windows.net/rows(PartitionKey='p',RowKey='1')\r\nETag: {etag}\r\n\r\n\r\n"
)
BAD_PART = (
    "HTTP/1.1 {status} Conflict\r\nContent-ID: 1\r\nX-Content-Type-Options: nosniff\r\nDataServiceVersion: 3.0;\r\n"
    "Content-Type: application/json;odata=minimalmetadata;streaming=true;charset=utf-8\r\n\r\n{body}\r\n"
)


def refused(status, code, message):
    body = json.dumps({"odata.error": {"code": code, "message": {"lang": "en-US", "value": message}}})
    return BAD_PART.format(status=status, body=body)


def answer_of(parts, status=202):
    head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    inner = "".join(f"--changesetresponse_b\r\n{head}{part}" for part in parts) + "--changesetresponse_b--\r\n"
    body = (
        "--batchresponse_a\r\nContent-Type: multipart/mixed; boundary=changesetresponse_b\r\n\r\n"
        f"{inner}--batchresponse_a--\r\n"
    )
    return Answer(status, {"Content-Type": "multipart/mixed; boundary=batchresponse_a"}, body.encode())


class Line:
    """Keeps what is asked, and gives one answer."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    async def __call__(self, asked):
        self.asked.append(asked)
        headers = {"x-ms-request-id": "1", "Content-Length": str(len(self.answer.body)), **self.answer.headers}
        return Answer(self.answer.status, headers, self.answer.body)


async def submitted(wrap, operations, line):
    """Return the ETags, or our error and the place of the row that is to blame."""
    transport = StorageTransport(session=BlobSession(line))
    async with TableClient(ACCOUNT, "rows", credential=KEY, transport=transport, retry_total=0) as client:
        place = None
        try:
            with state_errors():
                try:
                    return [part.get("etag") for part in await wrap(client).submit_transaction(operations)]
                except AzureError as problem:
                    place = problem.index if isinstance(problem, TableTransactionError) else None
                    raise
        except SyncError as problem:
            return type(problem), problem.code, place


def both(operations, answer):
    """Return what the library and ours asked, and what each made of the answer."""
    library, ours = Line(answer), Line(answer)
    outcomes = [
        run(submitted(lambda client: client, operations, library)),
        run(submitted(TransactionClient, operations, ours)),
    ]
    return (library.asked, ours.asked), outcomes


def parts_in(asked):
    """Return the requests in a transaction, read as e-mail: first line, condition and row of each."""
    head = f"Content-Type: {asked.headers['Content-Type']}\r\n\r\n".encode()
    [changeset] = message_from_bytes(head + asked.body).get_payload()
    requests = []
    for part in changeset.get_payload():
        assert part.get_content_type() == "application/http"
        assert part["Content-Transfer-Encoding"] == "binary"
        first, _, rest = part.get_payload().partition("\n")
        inner = message_from_bytes(rest.encode())
        content = inner.get_payload()
        if first.startswith("DELETE"):
            assert not content.strip()
            requests.append((first.strip(), inner["If-Match"], None))
            continue
        assert int(inner["Content-Length"]) == len(content)
        assert inner["Content-Type"] == "application/json"
        requests.append((first.strip(), inner["If-Match"], json.loads(content)))
    return requests


KEYS = st.text("ab'/ %?ü.-", min_size=1, max_size=8)
VALUES = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=20),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
COLUMNS = st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), VALUES, max_size=6)


@st.composite
def written(draw):
    """Some rows of one partition, and how each is written."""
    operations = []
    for key in draw(st.lists(KEYS, min_size=1, max_size=5, unique=True)):
        entity = {"PartitionKey": "p.'/ü", "RowKey": key, **draw(COLUMNS)}
        replace = {"mode": UpdateMode.REPLACE}
        unless = {"etag": ETAG, "match_condition": MatchConditions.IfNotModified}
        kind = draw(st.sampled_from(["create", "upsert", "update", "delete"]))
        more = {"create": (), "upsert": (replace,), "update": ({**replace, **unless},), "delete": ()}
        operations.append((kind, entity, *more[kind]))
    return operations


@settings(max_examples=examples(40))
@given(written())
def test_a_request_says_what_the_librarys_says(operations):
    ((theirs,), (ours,)), _ = both(operations, answer_of([GOOD_PART.format(etag=ETAG)] * len(operations)))
    assert parts_in(ours) == parts_in(theirs)
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    told = ("x-ms-version", "DataServiceVersion", "MaxDataServiceVersion", "Accept")
    assert {name: ours.headers[name] for name in told} == {name: theirs.headers[name] for name in told}
    assert ours.headers["Authorization"].startswith("SharedKey memory:")


ROWS = [("upsert", {"PartitionKey": "p", "RowKey": str(n)}, {"mode": UpdateMode.REPLACE}) for n in range(3)]

PARTS = st.one_of(
    st.sampled_from([GOOD_PART.format(etag=ETAG), GOOD_PART.replace("ETag: {etag}\r\n", "")]),
    st.builds(
        refused,
        st.sampled_from([400, 403, 404, 409, 412, 429, 500, 503]),
        st.sampled_from(
            ["EntityAlreadyExists", "UpdateConditionNotSatisfied", "ResourceNotFound", "TableNotFound", ""]
        ),
        st.sampled_from(["0:x", "2:The entity exists.\nRequestId:1", "x", "99:x", ""]),
    ),
    st.just(BAD_PART.format(status=409, body="<html>")),
)


@settings(max_examples=examples(80))
@given(st.lists(PARTS, min_size=1, max_size=4))
@example([GOOD_PART.format(etag=ETAG)] * 3)
@example([refused(409, "EntityAlreadyExists", "1:The specified entity already exists.")])
@example([refused(412, "UpdateConditionNotSatisfied", "2:The update condition was not satisfied.")])
def test_an_answer_means_what_the_library_takes_it_for(parts):
    _, (theirs, ours) = both(ROWS, answer_of(parts))
    assert ours == theirs


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 429, 500, 503])
@pytest.mark.parametrize("code", ["InvalidInput", "TableNotFound", "ServerBusy", None])
def test_a_transaction_that_is_refused_as_a_whole_fails_as_in_the_library(status, code):
    body = json.dumps({"odata.error": {"code": code, "message": {"lang": "", "value": "x"}}}) if code else "<html>"
    _, (theirs, ours) = both(ROWS, Answer(status, {"Content-Type": "application/json"}, body.encode()))
    assert ours[:2] == theirs[:2]


WHOLE = answer_of([GOOD_PART.format(etag=ETAG)] * 3)
REFUSED = answer_of([refused(409, "EntityAlreadyExists", "1:x")])


END = b"--batchresponse_a--"


@settings(max_examples=examples(60))
@given(st.sampled_from([WHOLE, REFUSED]), st.integers(0, len(WHOLE.body)))
def test_an_answer_without_its_end_is_an_outage(whole, place):
    cut = Answer(202, whole.headers, whole.body[: min(place, whole.body.index(END) + len(END) - 1)])
    _, (_, ours) = both(ROWS, cut)
    assert ours[:2] == (StoreUnavailable, "store.garbled")


@settings(max_examples=examples(60))
@given(st.sampled_from([WHOLE, REFUSED]), st.integers(0, len(WHOLE.body)), st.binary(min_size=1, max_size=4))
def test_a_changed_answer_is_no_other_exception(whole, place, put):
    changed = whole.body[:place] + put + whole.body[place + len(put) :]
    _, (_, ours) = both(ROWS, Answer(202, whole.headers, changed))
    assert isinstance(ours, list) or ours[0] in (StoreUnavailable, StoreConflict)


@pytest.mark.parametrize("more", ["; charset=utf-8", ";charset=utf-8; x=y"])
def test_what_stands_behind_the_boundary_makes_no_difference(more):
    answer = Answer(202, {"Content-Type": WHOLE.headers["Content-Type"] + more}, WHOLE.body)
    _, (theirs, ours) = both(ROWS, answer)
    assert ours == theirs == [ETAG] * 3


def test_an_answer_to_two_transactions_is_an_outage():
    doubled = WHOLE.body[: WHOLE.body.index(END)] + WHOLE.body
    _, (_, ours) = both(ROWS, Answer(202, WHOLE.headers, doubled))
    assert ours[:2] == (StoreUnavailable, "store.garbled")


@pytest.mark.parametrize("value", [None, 2**31, -(2**31) - 1, float("nan"), float("inf"), [1], ("x", "Edm.Guid")])
def test_a_value_that_no_row_holds_is_refused_before_it_is_sent(value):
    with pytest.raises(TypeError):
        columns_of({"PartitionKey": "p", "RowKey": "r", "value": value})
