"""Our requests for single rows against the library's own: the same requests, and the same outcome of every answer."""

import json

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sync.adapters.azure.errors import is_outage, state_errors
from sync.adapters.azure.tables.single_rows import SingleRows
from sync.adapters.azure.tables.table import Table
from sync.adapters.azure.transport import StorageTransport
from sync.errors import StoreConflict, StoreUnavailable, SyncError
from tests.property import examples
from tests.property.test_queries import ACCOUNT, JSON, KEY, plain, refused, rows
from tests.property.test_transactions import COLUMNS, ETAG, KEYS
from tests.simulation.gateway.blob_service import BlobSession
from tests.simulation.gateway.lies import Answer
from tests.simulation.gateway.virtual_time import run

REPLACE, MERGE = UpdateMode.REPLACE, UpdateMode.MERGE
UNCHANGED = {"etag": ETAG, "match_condition": MatchConditions.IfNotModified}
WRITES = {
    "create": (lambda client, row: client.create_entity(row), lambda ours, row: ours.create_entity(row)),
    "upsert": (
        lambda client, row: client.upsert_entity(row, mode=REPLACE),
        lambda ours, row: ours.upsert_entity(row),
    ),
    "merge": (
        lambda client, row: client.update_entity(row, mode=MERGE),
        lambda ours, row: ours.update_entity(row, mode=MERGE),
    ),
    "replace": (
        lambda client, row: client.update_entity(row, mode=REPLACE, **UNCHANGED),
        lambda ours, row: ours.update_entity(row, mode=REPLACE, **UNCHANGED),
    ),
    "delete": (
        lambda client, row: client.delete_entity(row),
        lambda ours, row: ours.delete_entity(row["PartitionKey"], row["RowKey"]),
    ),
    "delete unchanged": (
        lambda client, row: client.delete_entity(row, **UNCHANGED),
        lambda ours, row: ours.delete_entity(row["PartitionKey"], row["RowKey"], etag=ETAG),
    ),
}
WRITTEN = Answer(204, {"ETag": ETAG}, b"")
ROW = {"PartitionKey": "p", "RowKey": "r"}


async def asked_of(act, answer, account=ACCOUNT):
    """Return the requests, and the outcome: what was returned, or our error."""
    asked = []

    async def line(one):
        asked.append(one)
        headers = {"x-ms-request-id": "1", "Content-Length": str(len(answer.body)), **answer.headers}
        return Answer(answer.status, headers, answer.body)

    transport = StorageTransport(session=BlobSession(line))
    credential = None if "?" in account else KEY
    async with TableClient(account, "rows", credential=credential, transport=transport, retry_total=0) as client:
        try:
            with state_errors():
                return asked, await act(client)
        except SyncError as problem:
            return asked, (type(problem), problem.code)


def both(library, ours, answer, account=ACCOUNT):
    (one,), theirs = run(asked_of(library, answer, account))
    (other,), us = run(asked_of(lambda client: ours(SingleRows(client)), answer, account))
    return (one, other), (theirs, us)


def said(asked):
    """What a request says: where to, with which signature, under which condition and in which form, and its row."""
    headers = {name.lower(): value for name, value in asked.headers.items()}
    kept = {name: headers.get(name) for name in ("accept", "content-type", "dataserviceversion", "if-match")}
    row = json.loads(asked.body) if asked.body else None
    return asked.method, asked.path, asked.query, kept, headers.get("x-ms-version"), row


@settings(max_examples=examples(60))
@given(
    st.sampled_from(sorted(WRITES)), KEYS, KEYS, COLUMNS, st.sampled_from([ACCOUNT, f"{ACCOUNT}/?sv=2026&sig=a%2Fb"])
)
def test_a_write_is_the_librarys_and_gives_its_etag(kind, partition, row, columns, account):
    entity = {"PartitionKey": partition, "RowKey": row, **columns}
    library, ours = WRITES[kind]
    (theirs, us), (_, outcome) = both(
        lambda client: library(client, entity), lambda rows: ours(rows, entity), WRITTEN, account
    )
    assert said(us) == said(theirs)
    assert outcome == (None if kind.startswith("delete") else {"etag": ETAG})


@settings(max_examples=examples(60))
@given(rows())
@example(
    {"odata.etag": 'W/"x"', "PartitionKey": "it's & that/this?", "RowKey": "ü", "Timestamp": "2026-01-02T03:04:05Z"}
)
def test_a_row_and_its_etag_are_those_of_the_library(row):
    partition, key = row["PartitionKey"], row["RowKey"]
    answer = Answer(200, {"Content-Type": JSON}, json.dumps(row).encode())
    (theirs, us), (stored, ours) = both(
        lambda client: client.get_entity(partition, key), lambda rows: rows.get_entity(partition, key), answer
    )
    assert said(us) == said(theirs)
    expected = {**{name: plain(value) for name, value in stored.items()}, "odata.etag": stored.metadata["etag"]}
    assert repr(sorted(ours.items())) == repr(sorted(expected.items()))  # as text, where NaN is NaN


REFUSALS = [
    (404, "TableNotFound"),
    (404, "ResourceNotFound"),
    (404, "EntityNotFound"),
    (404, ""),
    (400, "InvalidInput"),
    (401, "AuthenticationFailed"),
    (403, "AuthorizationFailure"),
    (409, "EntityAlreadyExists"),
    (409, "TableBeingDeleted"),
    (412, "UpdateConditionNotSatisfied"),
    (429, "TooManyRequests"),
    (500, "InternalError"),
    (503, "ServerBusy"),
    (202, ""),
]


@pytest.mark.parametrize(("status", "code"), REFUSALS)
@pytest.mark.parametrize("kind", [kind for kind in WRITES if not kind.startswith("delete")])
def test_a_refusal_of_a_write_means_what_the_library_takes_it_for(kind, status, code):
    library, ours = WRITES[kind]
    _, outcomes = both(lambda client: library(client, ROW), lambda rows: ours(rows, ROW), refused(status, code))
    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[1], tuple)


def deletion(table):
    return table.delete("p", "r")


def deletion_unchanged(table):
    return table.delete_unchanged("p", "r", ETAG)


def reading(table):
    return table.read("p", "r", dict)


@pytest.mark.parametrize(
    ("act", "status", "code", "expected"),
    [
        (reading, 404, "ResourceNotFound", None),
        (reading, 404, "TableNotFound", (StoreUnavailable, "store.unavailable")),
        (reading, 404, "", (StoreUnavailable, "store.gateway")),
        (reading, 204, "", (StoreUnavailable, "store.unavailable")),
        (deletion, 404, "ResourceNotFound", None),
        (deletion, 404, "TableNotFound", (StoreUnavailable, "store.unavailable")),
        (deletion, 404, "", (StoreUnavailable, "store.gateway")),
        (deletion_unchanged, 404, "ResourceNotFound", (StoreConflict, "store.conflict")),
        (deletion_unchanged, 412, "UpdateConditionNotSatisfied", (StoreConflict, "store.conflict")),
        (deletion_unchanged, 404, "TableNotFound", (StoreUnavailable, "store.unavailable")),
        (deletion_unchanged, 503, "ServerBusy", (StoreUnavailable, "store.unavailable")),
    ],
)
def test_that_a_row_is_missing_is_believed_only_if_the_service_says_so(act, status, code, expected):
    assert run(asked_of(lambda client: act(Table(client)), refused(status, code)))[1] == expected


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(404, "EntityNotFound", ResourceNotFoundError), (409, "EntityAlreadyExists", ResourceExistsError)],
)
def test_marks_hear_that_their_row_is_missing_or_there(status, code, expected):
    async def raised(client):
        with pytest.raises(expected) as problem:
            await SingleRows(client).create_entity(ROW)
        return is_outage(problem.value)

    assert run(asked_of(raised, refused(status, code)))[1] is False


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b'{"PartitionKey": "p", "RowKey": "r"}', b"<html>"])
def test_an_answer_that_is_no_row_is_an_outage(body):
    _, outcome = run(asked_of(lambda client: reading(Table(client)), Answer(200, {"Content-Type": JSON}, body)))
    assert outcome == (StoreUnavailable, "store.garbled")


def test_another_row_than_the_requested_one_is_an_outage():
    row = {"odata.etag": ETAG, "PartitionKey": "p", "RowKey": "other", "Timestamp": "2026-01-02T03:04:05Z"}
    answer = Answer(200, {"Content-Type": JSON}, json.dumps(row).encode())
    assert run(asked_of(lambda client: reading(Table(client)), answer))[1] == (StoreUnavailable, "store.garbled")


def test_a_write_without_an_etag_in_its_answer_is_an_outage():
    answer = Answer(204, {}, b"")
    outcome = run(asked_of(lambda client: Table(client).write(ROW, None), answer))[1]
    assert outcome == (StoreUnavailable, "store.garbled")


@pytest.mark.parametrize(
    "condition", [{"match_condition": MatchConditions.IfNotModified}, {"match_condition": MatchConditions.IfMissing}]
)
def test_a_condition_that_cannot_be_meant_is_refused_before_a_request(condition):
    async def refused_here(client):
        with pytest.raises(ValueError, match="condition"):
            await SingleRows(client).update_entity(ROW, mode=REPLACE, **condition)

    assert run(asked_of(refused_here, WRITTEN)) == ([], None)
