"""Queue messages become changes, or errors that name no blob."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sync.errors import BadEvent, ForeignSource, PermanentError
from sync.events import (
    Sources,
    StudyMessage,
    hint_message,
    message_digest,
    message_text,
    parse_message,
    parse_study_message,
    study_message,
)
from sync.model import Action, Change, ObjectRef, StudyRef

MESSAGES = Path(__file__).parents[2] / "data" / "events"
SOURCES = Sources(account="imagestore", containers=frozenset({"dicom", "archive"}))
SLICE = ObjectRef(account="imagestore", container="dicom", name="ct/slice 1.dcm")
EVENT_ID = "831e1650-001e-001b-66ab-eeb76e069631"
SUBJECT = "/blobServices/default/containers/dicom/blobs/"


def message(name: str) -> str:
    return (MESSAGES / f"{name}.json").read_text(encoding="utf-8")


def event(name: str = "created-event-grid", **changed: Any) -> dict[str, Any]:
    """The one event of a message, with fields of its envelope or (``data_x``) of its data changed."""
    document = json.loads(message(name))
    fields = document[0] if isinstance(document, list) else document
    data = {key.removeprefix("data_"): value for key, value in changed.items() if key.startswith("data_")}
    rest = {key: value for key, value in changed.items() if not key.startswith("data_")}
    return {**fields, "data": {**fields["data"], **data}, **rest}


def parse(*events: Any, sources: Sources = SOURCES) -> list[Change | PermanentError]:
    return parse_message(json.dumps(list(events)), sources)


def only(results: list[Change | PermanentError]) -> Any:
    assert len(results) == 1
    return results[0]


@pytest.mark.parametrize(
    "name",
    [
        "created-event-grid",
        "created-cloud-events",
        "created-cloud-events-bare",
        "created-spec-version-misspelt",
        "lake-flush-with-close",
        "change-feed-record",
    ],
)
def test_a_created_blob_is_the_same_change_in_every_envelope(name: str) -> None:
    change = only(parse_message(message(name), SOURCES))
    expected = Change(object=SLICE, action=Action.CREATED, etag="0x8D4BCC2E4835CD0", event_id=EVENT_ID, likely_new=True)
    assert change == expected


@pytest.mark.parametrize("name", ["deleted-event-grid", "deleted-cloud-events", "lake-delete-file"])
def test_a_deleted_blob_is_a_deletion_without_an_etag(name: str) -> None:
    change = only(parse_message(message(name), SOURCES))
    assert change == Change(object=SLICE, action=Action.DELETED, event_id=EVENT_ID)


def test_a_blob_that_left_its_tier_is_looked_at_for_it_may_have_left_the_archive() -> None:
    change = only(parse_message(message("tier-changed"), SOURCES))
    assert change == Change(object=SLICE, action=Action.CREATED, event_id=EVENT_ID)


@pytest.mark.parametrize("name", ["lake-create-file", "subscription-validation"])
def test_events_that_leave_every_object_as_it_was_give_nothing(name: str) -> None:
    assert parse_message(message(name), SOURCES) == []


def test_a_renamed_blob_is_a_creation_and_a_deletion() -> None:
    created, deleted = parse_message(message("lake-renamed"), SOURCES)
    part = ObjectRef(account="imagestore", container="dicom", name="inbox/slice 1.part")
    assert created == Change(object=SLICE, action=Action.CREATED, event_id=EVENT_ID)
    assert deleted == Change(object=part, action=Action.DELETED, event_id=EVENT_ID)


def test_a_blob_renamed_into_the_container_is_only_created() -> None:
    url = "https://imagestore.dfs.core.windows.net/elsewhere/slice.part"
    assert only(parse(event("lake-renamed", data_sourceUrl=url))).action is Action.CREATED


def test_a_blob_renamed_out_of_the_container_is_only_deleted() -> None:
    subject = "/blobServices/default/containers/elsewhere/blobs/slice.dcm"
    assert only(parse(event("lake-renamed", subject=subject))).action is Action.DELETED


def test_a_blob_renamed_among_foreign_containers_is_foreign() -> None:
    url = "https://imagestore.dfs.core.windows.net/elsewhere/slice.part"
    subject = "/blobServices/default/containers/elsewhere/blobs/slice.dcm"
    assert isinstance(only(parse(event("lake-renamed", subject=subject, data_sourceUrl=url))), ForeignSource)


def test_an_upload_by_sftp_counts_once_it_is_committed() -> None:
    assert parse(event(data_api="SftpCreate")) == []
    assert only(parse(event(data_api="SftpCommit"))).action is Action.CREATED


OLD_FOLDER = ObjectRef(account="imagestore", container="dicom", name="inbox")
NEW_FOLDER = ObjectRef(account="imagestore", container="dicom", name="ct")


def test_a_renamed_directory_is_a_folder_removed_and_where_its_objects_are_now() -> None:
    change = only(parse_message(message("lake-directory-renamed"), SOURCES))
    assert (change.object, change.action, change.moved_to) == (OLD_FOLDER, Action.FOLDER_REMOVED, NEW_FOLDER)
    again = only(parse_message(hint_message(change), SOURCES))
    assert (again.object, again.action, again.moved_to, again.again) == (OLD_FOLDER, change.action, NEW_FOLDER, True)


def test_a_directory_renamed_out_of_the_container_is_removed() -> None:
    subject = "/blobServices/default/containers/elsewhere/blobs/ct"
    change = only(parse(event("lake-directory-renamed", subject=subject)))
    assert (change.object, change.moved_to) == (OLD_FOLDER, None)
    assert only(parse_message(hint_message(change), SOURCES)).moved_to is None


def test_a_directory_renamed_into_the_container_asks_for_a_backfill() -> None:
    url = "https://imagestore.dfs.core.windows.net/elsewhere/inbox"
    problem = only(parse(event("lake-directory-renamed", data_sourceUrl=url)))
    assert problem.code == "event.unsupported"
    assert "backfill" in problem.hint


def test_a_directory_renamed_among_foreign_containers_is_foreign() -> None:
    url, subject = "https://imagestore.dfs.core.windows.net/x/y", "/blobServices/default/containers/x/blobs/z"
    renamed = event("lake-directory-renamed", data_sourceUrl=url, subject=subject)
    assert isinstance(only(parse(renamed)), ForeignSource)


def test_a_deleted_directory_is_removed_with_all_it_held_and_an_empty_one_is_nothing() -> None:
    deleted = {"eventType": "Microsoft.Storage.DirectoryDeleted", "data_api": "DeleteDirectory"}
    change = only(parse(event(**deleted, data_recursive="true")))
    assert (change.object, change.action) == (SLICE, Action.FOLDER_REMOVED)
    assert parse(event(**deleted, data_recursive="false")) == []
    assert parse(event(**deleted)) == []


@pytest.mark.parametrize("field", ["look_again", "moved_to"])
def test_a_folder_message_of_ours_is_checked_like_an_event(field: str) -> None:
    change = only(parse_message(message("lake-directory-renamed"), SOURCES))
    fields = json.loads(hint_message(change))
    fields[field]["container"] = "elsewhere"
    assert isinstance(only(parse_message(json.dumps(fields), SOURCES)), ForeignSource)
    fields[field] = 5
    assert isinstance(only(parse_message(json.dumps(fields), SOURCES)), BadEvent)


def test_an_unknown_type_is_refused_and_not_repeated() -> None:
    problem = only(parse(event(eventType="Contoso.Private.Thing")))
    assert problem.code == "event.unsupported"
    assert "Contoso" not in str(problem)


@pytest.mark.parametrize(
    ("spelt", "etag"),
    [('"0x1"', "0x1"), ("0x1", "0x1"), ('W/"0x1"', "0x1"), ("", None), ('""', None), (None, None), (7, None)],
)
def test_an_etag_is_taken_without_quotes_and_weak_mark(spelt: Any, etag: str | None) -> None:
    assert only(parse(event(data_eTag=spelt))).etag == etag


@pytest.mark.parametrize(
    "name",
    [
        "100%.dcm",
        "a%20b.dcm",
        "a b+c.dcm",
        "Müller^Ä.dcm",
        "no-suffix",
        "a//b",
        "blobs/containers/x",
        "line\nbreak",
        "ñ",
    ],
)
def test_the_subject_holds_the_blob_name_as_it_is(name: str) -> None:
    assert only(parse(event(subject=SUBJECT + name))).object.name == name


def test_the_subject_wins_over_the_container_in_the_url() -> None:
    url = "https://imagestore.blob.core.windows.net/other/ct/slice%201.dcm"
    assert only(parse(event(data_url=url))).object == SLICE


def test_a_name_that_event_grid_damaged_is_refused_rather_than_taken_for_gone() -> None:
    assert isinstance(only(parse(event(subject=SUBJECT + "scan\ufffd\ufffd.dcm"))), BadEvent)


def test_a_name_that_really_holds_a_replacement_character_is_taken() -> None:
    url = "https://imagestore.blob.core.windows.net/dicom/scan%EF%BF%BD.dcm"
    assert only(parse(event(subject=SUBJECT + "scan\ufffd.dcm", data_url=url))).object.name == "scan\ufffd.dcm"


@pytest.mark.parametrize("name", ["../other/x.dcm", "a/../../other/x", "a/./b", "..\\x", ".."])
def test_a_name_that_would_leave_its_container_is_refused(name: str) -> None:
    assert isinstance(only(parse(event(subject=SUBJECT + name))), BadEvent)


def test_a_name_that_no_request_could_carry_is_refused() -> None:
    assert isinstance(only(parse(event(subject=SUBJECT + "half\ud83d.dcm"))), BadEvent)


def test_a_name_longer_than_any_blob_name_is_refused() -> None:
    assert isinstance(only(parse(event(subject=SUBJECT + "x" * 1025))), BadEvent)


@pytest.mark.parametrize(
    "url",
    [
        "https://imagestore.blob.core.windows.net/dicom/x",
        "https://imagestore.dfs.core.windows.net/dicom/x",
        "https://imagestore.z12.blob.storage.azure.net/dicom/x",
        "https://imagestore.blob.core.chinacloudapi.cn/dicom/x",
        "http://127.0.0.1:10000/imagestore/dicom/x",
        "http://localhost:10000/imagestore/dicom/x",
        "",
        None,
    ],
)
def test_a_url_of_the_configured_account_is_accepted(url: str | None) -> None:
    assert only(parse(event(data_url=url))).object == SLICE


@pytest.mark.parametrize(
    "url",
    [
        "https://other.blob.core.windows.net/dicom/x",
        "https://imagestore.blob.core.windows.net@evil.example/dicom/x",
        "https://evil.example/dicom/x",
        "http://127.0.0.1:10000/other/dicom/x",
        "http://169.254.169.254/metadata",
        "file:///etc/passwd",
    ],
)
def test_a_url_of_another_account_makes_the_event_foreign(url: str) -> None:
    assert isinstance(only(parse(event(data_url=url))), ForeignSource)


def test_an_event_of_another_account_is_foreign() -> None:
    topic = event()["topic"].replace("imagestore", "other")
    assert isinstance(only(parse(event(topic=topic))), ForeignSource)


def test_an_event_of_another_service_is_foreign() -> None:
    topic = "/subscriptions/1/resourceGroups/g/providers/Microsoft.HealthcareApis/workspaces/imagestore"
    assert isinstance(only(parse(event(topic=topic))), ForeignSource)


def test_an_event_of_another_container_is_foreign() -> None:
    problem = only(parse(event(subject="/blobServices/default/containers/private/blobs/doe^john.dcm")))
    assert isinstance(problem, ForeignSource)
    assert "private" not in str(problem)
    assert "doe" not in str(problem)


def test_the_account_is_compared_without_case_and_spelt_as_configured() -> None:
    topic = event()["topic"].replace("storageAccounts/imagestore", "StorageAccounts/ImageStore")
    assert only(parse(event(topic=topic))).object.account == "imagestore"


def test_a_message_of_azurite_is_read_by_its_path() -> None:
    sources = Sources(account="devstoreaccount1", containers=frozenset({"dicom"}))
    assert only(parse_message(message("created-azurite"), sources)).object.account == "devstoreaccount1"


def test_good_and_bad_events_of_one_message_stand_side_by_side() -> None:
    foreign = event(subject="/blobServices/default/containers/private/blobs/x")
    results = parse(event(), foreign, 7, event("deleted-event-grid"))
    assert [type(result) for result in results] == [Change, ForeignSource, BadEvent, Change]


@pytest.mark.parametrize("text", ["", "{", "null", "7", '"text"', "{}", "[1]", "[[]]", "[" * 100_000, "9" * 5000])
def test_text_that_is_no_event_gives_one_bad_event(text: str) -> None:
    assert isinstance(only(parse_message(text, SOURCES)), BadEvent)


def test_an_empty_array_asks_for_nothing() -> None:
    assert parse_message("[]", SOURCES) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"subject": None},
        {"subject": "/blobServices/default/containers/dicom"},
        {"subject": "/blobServices/default/containers/dicom/blobs/"},
        {"topic": 5},
        {"data": []},
        {"eventType": ""},
        {"data_url": "http://[broken"},
        {"data_url": {"a": 1}},
    ],
)
def test_an_event_without_what_the_schema_promises_is_bad(changed: dict[str, Any]) -> None:
    fields = {**event(), **{key: value for key, value in changed.items() if not key.startswith("data_")}}
    if "data_url" in changed:
        fields["data"]["url"] = changed["data_url"]
    assert isinstance(only(parse(fields)), BadEvent)


@pytest.mark.parametrize("event_id", [None, 7, "x" * 65, "DOE^JOHN 1970"])
def test_an_event_id_that_is_none_is_left_out(event_id: Any) -> None:
    assert only(parse(event(id=event_id))).event_id == ""


def test_a_study_message_survives_the_queue() -> None:
    study = StudyRef(study_instance_uid="1.2.840.1", partition="ward")
    assert parse_study_message(study_message(study)) == StudyMessage(study=study)


def test_a_study_message_brings_the_span_that_sent_it() -> None:
    sender = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    text = study_message(StudyRef(study_instance_uid="1.2.3"), sender)
    assert parse_study_message(text) == StudyMessage(study=StudyRef(study_instance_uid="1.2.3"), links=(sender,))


@pytest.mark.parametrize(
    "text",
    [
        '{"study_instance_uid":"1.2.3"}',
        '{"study_instance_uid":"1.2.3", "traceparent": 7}',
        '{"study_instance_uid":"1.2.3", "traceparent": "Doe^Jane"}',
        '{"study_instance_uid":"1.2.3", "traceparent": {"a": 1}}',
    ],
)
def test_a_study_message_that_brings_no_span_brings_none(text: str) -> None:
    assert parse_study_message(text).links == ()


def test_a_study_message_without_a_partition_is_of_the_default_one() -> None:
    assert parse_study_message('{"study_instance_uid":"1.2.3"}').study == StudyRef(study_instance_uid="1.2.3")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "7",
        "[" * 100_000,
        '{"study_instance_uid": 5}',
        '{"study_instance_uid": ""}',
        '{"study_instance_uid": "1.2", "partition": 5}',
        '{"study_instance_uid": "\\ud800"}',
    ],
)
def test_text_that_names_no_study_is_a_bad_event(text: str) -> None:
    with pytest.raises(BadEvent):
        parse_study_message(text)


def test_the_digest_of_a_message_tells_messages_apart_without_holding_them() -> None:
    assert message_digest("doe^john") != message_digest("doe^jane")
    assert len(message_digest("doe^john")) == 40
    assert message_digest("\ud800") == message_digest("\ud800")


@pytest.mark.parametrize("name", ["created-event-grid", "created-cloud-events-bare", "change-feed-record"])
def test_a_message_is_the_same_text_with_base64_and_without(name: str) -> None:
    plain = message(name).encode()
    assert message_text(plain) == message_text(base64.b64encode(plain)) == message(name)


@pytest.mark.parametrize("content", [b"\xff\xfe\xfd", base64.b64encode(b"\xff\xfe\xfd"), b""])
def test_bytes_that_are_no_text_become_a_bad_event(content: bytes) -> None:
    assert isinstance(only(parse_message(message_text(content), SOURCES)), BadEvent)
