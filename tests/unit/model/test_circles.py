"""Circles of pages: noticed wherever they begin and however long they are, and nowhere else."""

import pytest

from sync.errors import FhirUnavailable, SourceUnavailable, StoreUnavailable
from sync.model.circles import Passed, followed, listed_on, queried_on


def pages_until_noticed(before, length):
    """How many pages are asked for, of a listing whose last ``length`` pages come again for ever."""
    passed = Passed()
    for number in range(10_000):
        marker = str(number if number < before else before + (number - before) % length)
        if passed.has(marker):
            return number
        passed = passed.then(marker)
    raise AssertionError("read for ever")


@pytest.mark.parametrize("before", [0, 1, 2, 3, 7, 8, 50, 333])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 64, 100])
def test_a_circle_is_noticed_soon_after_it_closes(before, length):
    asked = pages_until_noticed(before, length)
    assert before + length <= asked <= 3 * max(before, length) + length


def test_a_listing_without_a_circle_is_read_to_its_end():
    passed = Passed()
    for number in range(5_000):
        assert not passed.has(str(number))
        passed = passed.then(str(number))
    assert not passed.then(None).has(None), "the end is no marker"


@pytest.mark.parametrize(
    ("noted", "refusal"),
    [(listed_on, SourceUnavailable), (followed, FhirUnavailable), (queried_on, StoreUnavailable)],
)
def test_each_kind_of_listing_is_refused_as_for_a_marker_that_stays(noted, refusal):
    passed = noted(noted(Passed(), "a"), "b")
    with pytest.raises(refusal, match="circle"):
        noted(passed, "a")
    noted(passed, None)
