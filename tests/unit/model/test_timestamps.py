"""Times that services state and operators type, read in one place."""

from datetime import UTC, datetime

import pytest

from sync.model.timestamps import aware_time, typed_time, utc_of

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-03-04T05:06:07Z", "2026-03-04T06:06:07+01:00", "2026-03-04T05:06:07"])
def test_a_stated_time_is_utc_and_so_is_one_without_an_offset(text):
    assert utc_of(text) == AT


@pytest.mark.parametrize("text", [None, 7, "", "yesterday", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_within_the_calendar_is_a_value_error(text):
    with pytest.raises(ValueError):
        utc_of(text)


def test_a_typed_date_begins_at_midnight_utc():
    assert typed_time("2026-03-04") == datetime(2026, 3, 4, tzinfo=UTC)


def test_a_typed_time_needs_its_zone():
    with pytest.raises(ValueError, match="no zone"):
        typed_time("2026-03-04T05:06:07")


@pytest.mark.parametrize("text", [None, "", "soon", "0001-01-01T00:00:00+14:00"])
def test_a_typed_value_that_is_no_time_is_told_without_repeating_it(text):
    with pytest.raises(ValueError, match=r"^expected a time such as"):
        typed_time(text)


@pytest.mark.parametrize("text", ["", "40", "2026-03-04", "2026-03-04T05:06:07", None, 20260304])
def test_what_states_no_time_with_an_offset_is_none(text):
    assert aware_time(text) is None


def test_a_time_with_an_offset_is_read_as_stated():
    assert aware_time("2026-03-04T05:06:07+01:00").isoformat() == "2026-03-04T05:06:07+01:00"
