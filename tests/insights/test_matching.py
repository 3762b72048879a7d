"""Which outcome answers which finding: time, site, side, the first final one."""

from datetime import date, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights.outcomes.matching import ELSEWHERE, Days, Finding, Place, Truth, match

DAY = date(2026, 1, 10)
LEFT, RIGHT = Place("lung", "left"), Place("lung", "right")


ON_THE_DAY = Days(DAY, DAY)


def finding(place=LEFT, days=ON_THE_DAY, said=True, patient="p"):
    return Finding("f", "f", patient, days, place, said)


def truth(identity="t", after=10, place=LEFT, final=True, rank=0, patient="p", positive=True):  # noqa: PLR0917
    days = Days(DAY + timedelta(after), DAY + timedelta(after))
    return Truth(identity, "pathology", rank, patient, days, final, place, positive)


def only(one, *truths, within=180):
    (matched,) = match([one], truths, within)
    return matched


@pytest.mark.parametrize(("after", "outcome"), [(-1, "none"), (0, "found"), (180, "found"), (181, "none")])
def test_an_outcome_is_in_time_from_day_0_to_day_180(after, outcome):
    assert only(finding(), truth(after=after)).outcome == outcome


def test_the_first_final_outcome_wins_in_any_order():
    truths = [truth("late", 40), truth("early", 20), truth("draft", 5, final=False)]
    for order in permutations(truths):
        matched = only(finding(), *order)
        assert matched.answer.truth.id == "early"
        assert [pair.truth.id for pair in matched.later] == ["late"]
        assert [pair.truth.id for pair in matched.waiting] == ["draft"]
        assert matched.answer.between == "20"


def test_a_weaker_kind_answers_only_alone():
    weak, strong = truth("condition", 1, rank=2), truth("pathology", 90, rank=0)
    assert only(finding(), weak, strong).answer.truth.id == "pathology"
    assert only(finding(), weak).answer.truth.id == "condition"


def test_a_preliminary_outcome_waits():
    matched = only(finding(), truth(final=False))
    assert (matched.answer, matched.outcome) == (None, "waiting")


def test_the_other_side_is_shown_and_never_counts():
    matched = only(finding(LEFT), truth(place=RIGHT))
    assert (matched.answer, matched.outcome) == (None, "other side")
    assert len(matched.other_side) == 1
    assert only(finding(LEFT), truth(place=Place("lung", "both"))).outcome == "found"


@pytest.mark.parametrize(
    ("where", "flags"),
    [
        (LEFT, ()),
        (Place("lung"), ("side unknown",)),
        (Place(None, "left"), ("site unknown",)),
        (Place(), ("site unknown", "side unknown")),
        (Place("lung", "none"), ()),
    ],
)
def test_what_is_not_known_of_the_place_is_flagged(where, flags):
    assert only(finding(), truth(place=where)).answer.flags == flags


@pytest.mark.parametrize("where", [Place("liver", "none"), Place(ELSEWHERE)])
def test_another_site_is_no_outcome(where):
    assert only(finding(), truth(place=where)).outcome == "none"
    assert only(finding(Place()), truth(place=Place(ELSEWHERE))).outcome == "none"


def test_another_patient_is_no_outcome():
    assert only(finding(), truth(patient="q")).outcome == "none"


def test_a_partial_date_that_does_not_say_is_undecidable():
    january = Days(date(2026, 1, 1), date(2026, 1, 31))
    assert only(finding(days=january), truth(after=10)).outcome == "undecidable"
    inside = only(finding(days=january), truth(after=60))
    assert (inside.outcome, inside.answer.between) == ("found", "39 to 69")
    assert only(finding(days=None), truth()).outcome == "undecidable"


@given(
    st.lists(st.tuples(st.integers(-5, 200), st.sampled_from([LEFT, RIGHT, Place(), Place("lung")]), st.booleans())),
    st.randoms(),
)
def test_no_order_of_outcomes_changes_anything(drawn, random):
    truths = [truth(str(number), *arguments) for number, arguments in enumerate(drawn)]
    shuffled = random.sample(truths, len(truths))
    one = only(finding(), *truths)
    assert one == only(finding(), *shuffled)
    counted = ([one.answer] if one.answer else []) + list(one.later)
    assert all(pair.truth.final and pair.truth.place != RIGHT and 0 <= pair.least <= 180 for pair in counted)
