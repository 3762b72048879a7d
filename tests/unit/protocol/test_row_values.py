"""Values that rows keep: the same after a round trip, and refused in words where a row is not as expected."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from sync.errors import UnreadableRow
from sync.model.timestamps import Timestamp
from sync.protocol.row_values import RowValue


@dataclass(frozen=True, kw_only=True)
class Kept:
    number: int
    at: Timestamp | None = None
    names: tuple[str, ...] = ()


KEPT = RowValue(Kept)
VALUE = Kept(number=3, at=datetime(2026, 3, 4, 5, 6, tzinfo=UTC), names=("a", "b"))


@pytest.mark.parametrize("value", [VALUE, replace(VALUE, at=None, names=())])
def test_a_value_is_the_same_after_a_round_trip(value):
    assert KEPT.read(KEPT.write(value), row="r") == value


def test_times_are_texts_as_rows_have_them():
    assert KEPT.write(VALUE) == {"number": 3, "at": "2026-03-04T05:06:00+00:00", "names": ["a", "b"]}


def test_fields_that_a_row_lacks_have_their_defaults_and_a_newer_version_may_have_more():
    assert KEPT.read({"number": 3, "later": {"x": 1}}, row="r") == Kept(number=3)


@pytest.mark.parametrize(
    "kept",
    [
        {},
        {"number": "many"},
        {"number": 3, "at": "tomorrow"},
        {"number": 3, "at": "2026-03-04T05:06:00"},  # no offset: it compares with no time of ours
        {"number": 3, "names": 5},
    ],
)
def test_another_shape_is_refused_by_the_name_of_the_field_and_without_its_value(kept):
    with pytest.raises(UnreadableRow) as refused:
        KEPT.read(kept, row="feed 7")
    assert "row feed 7: " in refused.value.detail
    assert any(field in refused.value.detail for field in ("number", "at", "names"))
    assert not any(value in refused.value.detail for value in ("many", "tomorrow", "2026"))


def test_the_default_stands_for_another_shape_only():
    default = Kept(number=0)
    assert KEPT.read_or(default, KEPT.write(VALUE), row="r") == VALUE
    assert KEPT.read_or(default, {"number": "many"}, row="r") == default
