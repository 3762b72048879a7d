"""Queries of ours against the library's own: the same requests, and the same rows and outcome of every answer."""

import json
from urllib.parse import unquote

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import DecodeError
from azure.data.tables import EntityProperty
from azure.data.tables.aio import TableClient
from hypothesis import example, given
from hypothesis import strategies as st

from sync.adapters.azure.errors import state_errors
from sync.adapters.azure.tables.queries import pages_of, rows_in
from sync.adapters.azure.tables.table import Table
from sync.adapters.azure.transport import StorageTransport
from sync.errors import StoreUnavailable, SyncError
from tests.simulation.gateway.blob_service import BlobSession
from tests.simulation.gateway.lies import Answer
from tests.simulation.gateway.virtual_time import run

KEY = AzureNamedKeyCredential("memory", "a2V5")
ACCOUNT = "https://memory.table.core.windows.net"
JSON = "application/json;odata=minimalmetadata;streaming=true;charset=utf-8"

names = st.text("abcN_", min_size=1, max_size=4)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
columns = st.one_of(
    texts.map(lambda text: (text, None)),
    texts.map(lambda text: (text, "Edm.String")),
    st.booleans().map(lambda truth: (truth, None)),
    st.integers(-(2**31), 2**31 - 1).map(lambda number: (number, None)),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: (str(number), "Edm.Int64")),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: (number, "Edm.Double")),
    st.sampled_from(["", "AA==", "eJxLzUsGAAQ7AdI="]).map(lambda data: (data, "Edm.Binary")),
    st.just(("NaN", "Edm.Double")),
)


@st.composite
def rows(draw):
    """One row as the service sends it (Azure, "Query Entities", minimal metadata)."""
    row = {
        "odata.etag": "W/\"datetime'2026-01-02T03%3A04%3A05.678Z'\"",
        "PartitionKey": draw(texts),
        "RowKey": draw(texts),
        "Timestamp@odata.type": "Edm.DateTime",
        "Timestamp": "2026-01-02T03:04:05.678Z",
    }
    for name, (value, kind) in draw(st.dictionaries(names, columns, max_size=5)).items():
        if kind is not None:
            row[f"{name}@odata.type"] = kind
        row[name] = value
    return row


class Pages:
    """Gives one answer after the other, and keeps what was asked."""

    def __init__(self, answers):
        self.left, self.asked = list(answers), []

    async def __call__(self, asked):
        self.asked.append(asked)
        answer = self.left.pop(0)
        headers = {"x-ms-request-id": "1", "Content-Length": str(len(answer.body)), **answer.headers}
        return Answer(answer.status, headers, answer.body)


def page(rows, following=None, **more):
    headers = {"Content-Type": JSON, **more}
    for header, name in zip(following or (), ("NextPartitionKey", "NextRowKey"), strict=False):
        headers[f"x-ms-continuation-{name}"] = header
    return Answer(200, headers, json.dumps({"odata.metadata": "m", "value": rows}).encode())


def refused(status, code):
    body = json.dumps({"odata.error": {"code": code, "message": {"lang": "en-US", "value": "no"}}}).encode()
    return Answer(status, {"Content-Type": JSON}, body)


async def by_library(client, condition, parameters, columns, size):
    listed = client.query_entities(condition, parameters=parameters, select=columns, results_per_page=size)
    return [[dict(row) async for row in rows] async for rows in listed.by_page()]


async def by_us(client, condition, parameters, columns, size):
    return [page async for page in pages_of(client, condition, parameters, columns=columns, size=size)]


async def asked_of(read, line, condition="", parameters=None, *, columns=None, size=None):
    transport = StorageTransport(session=BlobSession(line))
    async with TableClient(ACCOUNT, "rows", credential=KEY, transport=transport, retry_total=0) as client:
        try:
            with state_errors():
                return await read(client, condition, parameters, columns, size)
        except SyncError as problem:
            return type(problem), problem.code


def both(answers, *question, **more):
    library, ours = Pages(answers), Pages(answers)
    outcomes = [run(asked_of(by_library, library, *question, **more)), run(asked_of(by_us, ours, *question, **more))]
    return (library.asked, ours.asked), outcomes


def plain(value):
    return value.value if isinstance(value, EntityProperty) else value


def said(asked):
    """What a request says: where to, the query, and the headers that change the answer."""
    headers = {name.lower(): value for name, value in asked.headers.items()}
    kept = {name: headers.get(name) for name in ("accept", "dataserviceversion", "x-ms-version")}
    return asked.method, asked.path, {name: unquote(value) for name, value in asked.query.items() if value}, kept


def test_pages_that_lead_in_a_circle_are_an_outage():
    """The library reads them for ever, so only ours is asked."""
    line = Pages([page([], ("1!4!cA--", f"1!4!c{number % 2}--")) for number in range(50)])
    assert run(asked_of(by_us, line)) == (StoreUnavailable, "store.garbled")
    assert len(line.asked) < 6


@given(pages=st.lists(st.lists(rows(), max_size=3), min_size=1, max_size=3))
def test_rows_are_those_of_the_library(pages):
    following = [("1!4!cA--", f"1!4!c{number}--") for number in range(len(pages))]
    answers = [page(rows, following[number]) for number, rows in enumerate(pages[:-1])] + [page(pages[-1])]
    _, (theirs, ours) = both(answers)
    assert repr([[{k: plain(v) for k, v in row.items()} for row in rows] for rows in theirs]) == repr(
        [[{"PartitionKey": row["PartitionKey"], "RowKey": row["RowKey"], **row} for row in rows] for rows in ours]
    )


@given(
    partition=texts,
    wanted=st.none() | st.lists(names, min_size=1, max_size=3),
    size=st.none() | st.integers(1, 1000),
    following=st.tuples(texts.filter(str.strip), texts.filter(str.strip)),
)
@example(partition="it's & that/this?", wanted=["RowKey", "etag"], size=1000, following=("1!8!YSZi", "1!4!cg=="))
def test_requests_are_those_of_the_library(partition, wanted, size, following):
    following = tuple(word.encode("ascii", "ignore").decode().strip() or "x" for word in following)
    answers = [page([], following), page([])]
    condition, parameters = "PartitionKey eq @partition and a ge @partition", {"partition": partition}
    (theirs, ours), _ = both(answers, condition, parameters, columns=wanted, size=size)
    assert len(ours) == 2
    assert [said(asked) for asked in ours] == [said(asked) for asked in theirs]


def test_a_query_of_everything_names_no_condition():
    (theirs, ours), _ = both([page([])])
    assert said(ours[0]) == said(theirs[0])
    assert ours[0].query == {}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "TableNotFound"),
        (404, ""),
        (400, "InvalidInput"),
        (401, "AuthenticationFailed"),
        (403, "AuthorizationFailure"),
        (409, "TableBeingDeleted"),
        (412, "UpdateConditionNotSatisfied"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServerBusy"),
        (204, ""),
    ],
)
def test_a_refusal_means_what_the_library_takes_it_for(status, code):
    _, (theirs, ours) = both([refused(status, code)])
    assert ours == theirs
    assert ours[0] is not list


@given(body=st.binary(max_size=40) | st.from_regex(rb'\{"value": ?[\[{"0-9a-z:,\]} ]{0,20}', fullmatch=True))
@example(body=b"")
@example(body=b"[]")
@example(body=b"null")
@example(body=b'{"value": null}')
@example(body=b'{"value": [1]}')
@example(body=b'{"value": [{"a@odata.type": "Edm.Binary", "a": "A"}]}')
@example(body=b'{"value": [{"a@odata.type": "Edm.Binary", "a": 1}]}')
@example(body=b'{"value": [{"a@odata.type": "Edm.Double", "a": "x"}]}')
@example(body=b'{"value": [{"a@odata.type": ["Edm.Double"], "a": "x"}]}')
def test_what_is_no_answer_is_an_outage_or_rows(body):
    ours = run(asked_of(by_us, Pages([Answer(200, {"Content-Type": JSON}, body)])))
    assert ours == (StoreUnavailable, "store.garbled") or all(isinstance(row, dict) for rows in ours for row in rows)


@pytest.mark.parametrize("kind", ["Edm.Guid", "Edm.DateTime", "Edm.Something", None, 1])
def test_a_column_of_a_type_that_no_row_of_ours_has_stays_as_it_is(kind):
    assert rows_in({"value": [{"RowKey": "r", "x@odata.type": kind, "x": "text"}]}) == [{"RowKey": "r", "x": "text"}]


def test_a_row_has_the_etag_that_the_answer_names_or_that_its_time_makes():
    timed = {"RowKey": "r", "Timestamp": "2026-01-02T03:04:05.1234567Z"}
    named = {"RowKey": "s", "odata.etag": 'W/"x"', **timed}
    etags = [row["odata.etag"] for row in rows_in({"value": [timed, named]}, etags=True)]
    assert etags == ["W/\"datetime'2026-01-02T03%3A04%3A05.1234567Z'\"", 'W/"x"']
    with pytest.raises(DecodeError):
        rows_in({"value": [{"RowKey": "r"}]}, etags=True)


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_the_first_rows_end_where_they_are_enough(most):
    row = [{"RowKey": str(number)} for number in range(3)]
    line = Pages([page(row[:2], ("p", "r")), page([], ("p", "s")), page(row[2:])])

    async def first(client, *_):
        return await Table(client).first(most)

    assert run(asked_of(first, line)) == row[:most]
    assert len(line.asked) == (1 if most <= 2 else 3)
    assert line.asked[0].query == {"$top": str(most)}
