"""Entries of a change feed come in many spellings and say what their instance is now."""

from datetime import UTC, datetime

import pytest

from sync.dicom.feed_entries import entries_of
from sync.errors import BadEvent
from sync.feeds.dicom_windows import latest
from sync.model import Action, Change, Inspection
from tests.dicom_services import instance, uid

PASCAL = {
    "Sequence": 7,
    "PartitionName": "Microsoft.Default",
    "StudyInstanceUid": uid(1),
    "SeriesInstanceUid": uid(1, 1),
    "SopInstanceUid": uid(1, 1, 1),
    "Action": "create",
    "Timestamp": "2026-01-01T12:00:00.1234567Z",
    "State": "current",
    "Metadata": instance(),
    "FilePath": None,
}
"""As Azure's pages show it; the open-source server writes keys in camel case and values in Pascal case."""
CAMEL = {key[0].lower() + key[1:]: value for key, value in PASCAL.items()} | {"action": "Create", "state": "Current"}
AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


def only(**changes):
    raw = {key: value for key, value in {**PASCAL, **changes}.items() if value is not ...}
    (change,) = entries_of([raw], "pacs/")
    return change


@pytest.mark.parametrize("raw", [PASCAL, CAMEL, {key.upper(): value for key, value in PASCAL.items()}])
def test_keys_and_values_of_any_case_say_the_same(raw):
    (entry,) = entries_of([raw], "pacs/")
    change = entry.change
    assert (change.sequence, change.action, change.object.container) == (7, Action.CREATED, "")
    assert (change.inspection.record.sop_instance_uid, change.inspection.etag) == (uid(1, 1, 1), "sequence-7")
    assert entry.at == AT
    assert change.inspection.order == "2026-01-01T12:00:00.123456+00:00"


@pytest.mark.parametrize("action", ["create", "update", "delete"])
def test_state_and_metadata_say_what_the_instance_is_now_whatever_the_entry_did(action):
    for state in ("current", "replaced"):
        assert only(Action=action, State=state).change.inspection.record is not None
    gone = only(Action=action, State="deleted").change
    assert (gone.action, gone.inspection) == (
        Action.DELETED,
        Inspection(etag=None, order="2026-01-01T12:00:00.123456+00:00"),
    )


@pytest.mark.parametrize(
    "changes", [{"Metadata": None}, {"Metadata": ...}, {"State": ...}, {"State": "archived"}, {"State": 1}]
)
def test_without_metadata_or_with_a_state_unheard_of_the_instance_is_asked_for(changes):
    assert only(**changes).change.inspection is None


@pytest.mark.parametrize("sequence", [..., None, "seven", -1, 2**63, 1.5, True, [7]])
def test_an_entry_without_a_sequence_is_a_hint_to_look(sequence):
    change = only(Sequence=sequence).change
    assert (change.sequence, change.inspection) == (None, None)


def test_a_sequence_may_be_text():
    assert only(Sequence="7").change.sequence == 7


@pytest.mark.parametrize(
    "raw",
    [
        None,
        5,
        "text",
        [],
        {},
        {**PASCAL, "StudyInstanceUid": None},
        {**PASCAL, "SopInstanceUid": "../../x"},
        {**PASCAL, "SeriesInstanceUid": 5},
    ],
)
def test_an_entry_that_names_no_instance_is_an_error_and_raises_nothing(raw):
    (entry,) = entries_of([raw], "pacs/")
    assert isinstance(entry.change, BadEvent)
    assert entry.text


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-01T13:00:00.1234567+01:00", AT),
        ("2026-01-01T12:00:00.123456", AT),
        ("2026-01-01T12:00:00Z", AT.replace(microsecond=0)),
        ("yesterday", None),
        (None, None),
        (5, None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_times_are_read_with_and_without_offset(text, at):
    assert only(Timestamp=text).at == at


def test_metadata_that_are_none_are_a_problem_of_their_instance():
    for metadata in ([instance()], "text", 5, {"00100010": 5}):
        inspection = only(Metadata=metadata).change.inspection
        assert (inspection.record is None) == (inspection.problem is not None)


def test_of_one_page_only_the_youngest_entry_of_each_instance_counts():
    raw = [
        {**PASCAL, "Sequence": number, "SopInstanceUid": sop}
        for number, sop in ((3, "1.1"), (9, "1.2"), (5, "1.1"), (None, "1.3"), (4, "1.3"))
    ]
    sequences = {change.object.name[-3:]: change.sequence for change in latest(entries_of(raw, "pacs/"))}
    assert sequences == {"1.1": 5, "1.2": 9, "1.3": None}
    assert all(isinstance(entry.change, Change) for entry in entries_of(raw, "pacs/"))
