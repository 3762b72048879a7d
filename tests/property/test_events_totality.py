"""Whatever a queue holds, parsing answers with changes within the allow-list and permanent errors; it never raises."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sync.errors import BadEvent, PermanentError
from sync.events import Sources, message_text, parse_message, parse_study_message, study_message
from sync.model import Change, StudyRef

SOURCES = Sources(account="imagestore", containers=frozenset({"dicom"}))
TOPIC = "/subscriptions/1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/imagestore"
SUBJECT = "/blobServices/default/containers/dicom/blobs/"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
names = st.text(st.characters(), min_size=1, max_size=40)
urls = st.one_of(
    st.text(max_size=40),
    names.map("https://imagestore.blob.core.windows.net/dicom/{}".format),
    names.map("http://127.0.0.1:10000/imagestore/{}".format),
)


def mostly(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The value that belongs there, or any JSON."""
    return st.one_of(value, value, value, json_values)


kinds = st.sampled_from(
    ["Microsoft.Storage." + name for name in ("BlobCreated", "BlobDeleted", "BlobRenamed", "BlobTierChanged", "Other")]
)
payloads = st.fixed_dictionaries(
    {"api": mostly(st.sampled_from(["PutBlob", "CreateFile"]))},
    optional={
        "eTag": mostly(st.text(max_size=8)),
        "url": mostly(urls),
        "sourceUrl": mostly(urls),
        "destinationUrl": mostly(urls),
    },
)
subjects = mostly(names.map(SUBJECT.__add__))
grid_events = st.fixed_dictionaries(
    {"topic": mostly(st.just(TOPIC)), "subject": subjects, "eventType": mostly(kinds), "data": mostly(payloads)},
    optional={"id": mostly(st.uuids().map(str))},
)
cloud_events = st.fixed_dictionaries(
    {
        "source": mostly(st.just(TOPIC)),
        "subject": subjects,
        "type": mostly(kinds),
        "data": mostly(payloads),
        "specversion": mostly(st.just("1.0")),
    }
)
events = st.one_of(grid_events, cloud_events, json_values)
messages = st.one_of(events, st.lists(events, max_size=4)).map(json.dumps) | st.text(st.characters())


@given(messages)
def test_any_message_gives_changes_within_the_allow_list_or_permanent_errors(text: str) -> None:
    for change in parse_message(text, SOURCES):
        if isinstance(change, Change):
            assert change.object.account == SOURCES.account
            assert change.object.container in SOURCES.containers
            change.object.name.encode()
        else:
            assert isinstance(change, PermanentError)


@given(st.lists(grid_events, min_size=2, max_size=4))
def test_an_event_means_the_same_whatever_stands_beside_it(several: list[dict[str, Any]]) -> None:
    together = [str(event) for event in parse_message(json.dumps(several), SOURCES)]
    apart = [str(event) for one in several for event in parse_message(json.dumps(one), SOURCES)]
    assert together == apart


@given(names)
def test_no_error_holds_the_name(name: str) -> None:
    marked = f"DOE^JOHN{name}"
    event = {"topic": TOPIC, "subject": f"{SUBJECT}../{marked}", "eventType": "BlobCreated", "data": {}}
    (problem,) = parse_message(json.dumps(event), SOURCES)
    assert isinstance(problem, PermanentError)
    assert "DOE" not in f"{problem} {problem.detail} {problem.hint} {problem!r}"


@given(messages)
def test_any_study_message_is_a_study_or_a_bad_event(text: str) -> None:
    with contextlib.suppress(BadEvent):
        assert isinstance(parse_study_message(text).study, StudyRef)


@given(st.builds(StudyRef, study_instance_uid=st.text(min_size=1), partition=st.text()))
def test_every_study_survives_its_message(study: StudyRef) -> None:
    assert parse_study_message(study_message(study)).study == study
    assert message_text(base64.b64encode(study_message(study).encode())) == study_message(study)
    assert message_text(study_message(study).encode()) == study_message(study)


@given(st.binary() | st.text(max_size=40).map(str.encode) | st.binary().map(base64.b64encode))
def test_any_bytes_of_a_message_are_some_text(content: bytes) -> None:
    message_text(content).encode()
