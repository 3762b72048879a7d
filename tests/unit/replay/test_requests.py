"""What may be asked of a replay."""

from datetime import UTC, datetime, timedelta

import pytest

from sync.errors import BadReplay
from sync.model import StudyRef
from sync.protocol.walk_rows import WalkRow
from sync.replay.requests import ReplayRequest, as_kept, cursor_of, parse_request, request_of

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def parsed(configured=("blob",), **fields):
    fields = {name.rstrip("_"): value for name, value in fields.items()}
    return parse_request(fields, configured=configured, now=NOW)


def test_times_are_taken_with_their_zone_and_dates_begin_at_midnight_utc():
    request = parsed(from_="2026-03-03T20:00+01:00", to="2026-03-04")
    assert request.start == datetime(2026, 3, 3, 19, tzinfo=UTC)
    assert request.end == datetime(2026, 3, 4, tzinfo=UTC)
    assert parsed(from_="2026-03-03").end is None


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "from"),
        ({"to": "2026-03-03"}, "from"),
        ({"from_": "2026-03-03T20:00"}, "zone"),
        ({"from_": "2026-03-03", "to": "2026-03-03T20:00"}, "zone"),
        ({"from_": "yesterday"}, "expected a time"),
        ({"from_": 5}, "expected a time"),
        ({"from_": ""}, "expected a time"),
        ({"from_": "2026-03-05"}, "future"),
        ({"from_": "2026-03-03", "to": "2026-03-05"}, "future"),
        ({"from_": "2026-03-03", "to": "2026-03-02"}, "before"),
        ({"from_": "2026-03-03", "to": "2026-03-03"}, "before"),
        ({"from_": "2026-03-03", "source": "pacs"}, "source"),
        ({"from_": "2026-03-03", "source": ["blob"]}, "source"),
        ({"from_": "2026-03-03", "source": "dicom"}, "DICOM_SYNC_DICOM_URL"),
        ({"from_": "2026-03-03", "source": "orthanc"}, "DICOM_SYNC_ORTHANC_URL"),
        ({"study": "abc"}, "study"),
        ({"study": "1.2\n"}, "study"),
        ({"study": "1" * 65}, "study"),
        ({"study": "1.2", "partition": 3}, "partition"),
        ({"from_": "2026-03-03", "reread": "yes"}, "reread"),
        ({"from_": "2026-03-03", "form": "x"}, "unknown"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field_and_never_its_value(fields, complaint):
    with pytest.raises(BadReplay) as refused:
        parsed(**fields)
    assert complaint in refused.value.detail
    assert "abc" not in str(refused.value)
    assert "pacs" not in str(refused.value)


@pytest.mark.parametrize("body", [None, [], "x", 3])
def test_a_body_that_is_no_object_is_refused(body):
    with pytest.raises(BadReplay):
        parse_request(body, configured=("blob",), now=NOW)


def test_a_study_needs_no_time_and_equal_requests_have_equal_names():
    request = parsed(study="1.2.3", partition="p")
    assert request.study == StudyRef(study_instance_uid="1.2.3", partition="p")
    assert request.id == parsed(study="1.2.3", partition="p").id
    assert len({request.id, parsed(study="1.2.3").id, parsed(from_="2026-03-03").id}) == 3


def test_what_is_kept_comes_back_as_it_was():
    for request in (
        ReplayRequest(source="blob", start=NOW - timedelta(hours=1), end=NOW, reread=True),
        ReplayRequest(source="dicom", start=NOW),
        ReplayRequest(source="blob", study=StudyRef(study_instance_uid="1.2", partition="p")),
    ):
        row = WalkRow(name=cursor_of(request), kind="replay", request=as_kept(request), run="r", began=NOW)
        assert request_of(row) == request
        assert row.id == request.id
