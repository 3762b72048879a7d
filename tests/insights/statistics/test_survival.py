"""Survival against published answers: 6-MP against placebo in leukaemia (Freireich, Blood 1963;21:699-716)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights.statistics import Survival, kaplan_meier, log_rank
from insights.statistics.distributions import chi_squared_above

DRUG = [Survival(time, event=True) for time in (6, 6, 6, 7, 10, 13, 16, 22, 23)] + [
    Survival(time, event=False) for time in (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)
]
PLACEBO = [
    Survival(time, event=True) for time in (1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23)
]
PEOPLE = st.lists(st.builds(Survival, st.integers(0, 30).map(float), st.booleans()), max_size=40)


@pytest.mark.parametrize(
    ("week", "at_risk", "survival", "error", "interval"),
    [
        (6, 21, 0.8571, 0.0764, (0.6197, 0.9516)),
        (7, 17, 0.8067, 0.0869, (0.5631, 0.9228)),
        (10, 15, 0.7529, 0.0963, (0.5032, 0.8894)),
        (13, 12, 0.6902, 0.1068, (0.4316, 0.8491)),
    ],
)
def test_the_curve_of_6_mp(week, at_risk, survival, error, interval):
    point = kaplan_meier(DRUG).at(week)
    assert point.time == week
    assert point.at_risk == at_risk
    assert point.survival == pytest.approx(survival, abs=5e-5)
    assert point.error == pytest.approx(error, abs=5e-5)
    assert (point.interval.low, point.interval.high) == pytest.approx(interval, abs=1e-4)


def test_the_curve_of_placebo_and_both_medians():
    curve = kaplan_meier(PLACEBO)
    assert curve.at(5).survival == pytest.approx(0.5714, abs=5e-5)
    assert (curve.median, kaplan_meier(DRUG).median) == (8, 23)
    assert (curve.points[-1].survival, curve.points[-1].interval) == (0.0, None)


def test_log_rank():
    test = log_rank([DRUG, PLACEBO])
    assert test.chi_squared == pytest.approx(16.79, abs=5e-3)
    assert test.p == pytest.approx(4.17e-5, rel=1e-2)
    assert (test.degrees, test.observed) == (1, (9, 21))
    assert test.expected == pytest.approx((19.25, 10.75), abs=5e-3)
    assert log_rank([PLACEBO, DRUG]).chi_squared == pytest.approx(test.chi_squared)


def test_who_is_censored_at_the_time_of_an_event_was_at_risk():
    curve = kaplan_meier([Survival(3, event=True), Survival(3, event=False)])
    assert [(point.at_risk, point.survival) for point in curve.points] == [(2, 0.5)]


def test_numbers_at_risk():
    curve = kaplan_meier(DRUG)
    assert [curve.at_risk(week) for week in (0, 6, 7, 35, 36)] == [21, 21, 17, 1, 0]


def test_before_any_event_there_is_no_point():
    assert kaplan_meier(DRUG).at(5.9) is None
    assert kaplan_meier([]).points == ()


@pytest.mark.parametrize("groups", [[[], DRUG], [[Survival(4, event=False)] * 3, [Survival(5, event=False)] * 3]])
def test_what_cannot_be_compared(groups):
    assert log_rank(groups) is None


@pytest.mark.parametrize("time", [-1, math.nan, math.inf])
def test_a_wrong_time_is_refused(time):
    with pytest.raises(ValueError, match="time"):
        kaplan_meier([Survival(time, event=True)])


@given(PEOPLE)
def test_without_censoring_the_curve_is_the_share_that_is_left(people):
    people = [Survival(survival.time, event=True) for survival in people]
    for point in kaplan_meier(people).points:
        left = sum(survival.time > point.time for survival in people)
        assert point.survival == pytest.approx(left / len(people))


@given(PEOPLE, st.randoms())
def test_the_order_of_people_does_not_matter_and_the_curve_only_falls(people, random):
    curve = kaplan_meier(people)
    random.shuffle(people)
    assert kaplan_meier(people) == curve
    heights = [1.0, *(point.survival for point in curve.points)]
    assert heights == sorted(heights, reverse=True)
    for point in curve.points:
        if point.interval is not None:
            assert 0 <= point.interval.low <= point.survival <= point.interval.high <= 1


@given(PEOPLE, PEOPLE, PEOPLE)
def test_expected_events_add_up_to_those_observed(one, two, three):
    test = log_rank([one, two, three])
    if test is not None:
        assert sum(test.expected) == pytest.approx(sum(test.observed))
        assert 0 <= test.p <= 1


def test_splitting_a_group_only_adds_differences():
    split = log_rank([DRUG[::2], DRUG[1::2], PLACEBO])
    assert split.degrees == 2
    assert split.chi_squared >= log_rank([DRUG, PLACEBO]).chi_squared


@pytest.mark.parametrize(
    ("value", "degrees", "p"),
    [(3.841459, 1, 0.05), (5.991465, 2, 0.05), (7.814728, 3, 0.05), (9.487729, 4, 0.05), (11.0705, 5, 0.05)],
)
def test_chi_squared_of_tables(value, degrees, p):
    assert chi_squared_above(value, degrees) == pytest.approx(p, abs=1e-6)
