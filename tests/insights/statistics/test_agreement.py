"""Shares, balance, agreement and verification against published answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights.statistics import (
    begg_greenes,
    bland_altman,
    kappa,
    standardised_difference,
    standardised_difference_of_shares,
    wilson,
)
from insights.statistics.distributions import t_quantile

WRIGHT = (494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427)
MINI = (512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451)
FLEISS = [[75, 1, 4], [5, 4, 1], [0, 0, 10]]


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_by_newcombe(count, total, low, high):
    """Newcombe, Stat Med 1998;17:857-872, table I, method 3."""
    share = wilson(count, total)
    assert share.interval.low == pytest.approx(low, abs=5e-5)
    assert share.interval.high == pytest.approx(high, abs=5e-5)


def test_a_share_of_nothing_is_no_number():
    assert (wilson(0, 0).value, wilson(0, 0).interval) == (None, None)
    with pytest.raises(ValueError, match="total"):
        wilson(3, 2)


@given(st.integers(0, 500), st.integers(1, 500))
def test_a_share_lies_in_its_interval(count, total):
    share = wilson(min(count, total), total)
    assert 0 <= share.interval.low <= share.value <= share.interval.high <= 1


def test_standardised_differences():
    assert standardised_difference([1, 2, 3], [3, 4, 5]) == pytest.approx(-2)
    assert standardised_difference([4, 4], [4, 4]) == 0
    assert standardised_difference([4, 4], [5, 5]) is None
    assert standardised_difference([4], [5, 6]) is None
    assert standardised_difference_of_shares(60, 100, 40, 100) == pytest.approx(0.2 / 0.24**0.5)
    assert standardised_difference_of_shares(0, 0, 1, 2) is None


def test_kappa_of_fleiss_cohen_and_everitt():
    result = kappa(FLEISS)
    assert (result.observed, result.expected) == pytest.approx((0.89, 0.66))
    assert result.value == pytest.approx(0.676, abs=5e-4)
    assert result.error == pytest.approx(0.0877, abs=5e-4)


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_weighted_kappa_is_one_less_the_ratio_of_disagreements(weights):
    power = {"linear": 1, "quadratic": 2}[weights]
    total = 100
    rows = [sum(row) for row in FLEISS]
    columns = [sum(column) for column in zip(*FLEISS, strict=True)]
    cells = [(row, column) for row in range(3) for column in range(3)]
    disagreement = sum(FLEISS[row][column] * abs(row - column) ** power for row, column in cells)
    chance = sum(rows[row] * columns[column] / total * abs(row - column) ** power for row, column in cells)
    assert kappa(FLEISS, weights=weights).value == pytest.approx(1 - disagreement / chance)


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4))
def test_of_two_categories_all_weights_agree(counts):
    table = [counts[:2], counts[2:]]
    one, other = kappa(table), kappa(table, weights="quadratic")
    assert (one.value is None) == (other.value is None)
    if one.value is not None:
        assert other.value == pytest.approx(one.value)
        assert other.error == pytest.approx(one.error)


def test_kappa_is_not_defined_where_chance_always_agrees():
    assert kappa([[7, 0], [0, 0]]).value is None
    assert kappa([[0, 0], [0, 0]]).value is None
    assert kappa([[5, 0], [0, 5]]).value == pytest.approx(1)
    for wrong in ([[1, 2]], [[1]], [[1, -1], [0, 1]]):
        with pytest.raises(ValueError, match="square"):
            kappa(wrong)


def test_bland_and_altman_on_their_peak_flow_meters():
    result = bland_altman(list(zip(WRIGHT, MINI, strict=True)))
    assert result.bias == pytest.approx(-2.1, abs=0.05)
    assert result.deviation == pytest.approx(38.8, abs=0.05)
    assert (result.limits.low, result.limits.high) == pytest.approx((-78.1, 73.9), abs=0.05)
    assert (result.bias_interval.low, result.bias_interval.high) == pytest.approx((-22.0, 17.8), abs=0.1)
    assert bland_altman([(1, 2)]) is None


@pytest.mark.parametrize(("degrees", "t"), [(1, 12.7062), (2, 4.3027), (9, 2.2622), (16, 2.1199), (100, 1.9840)])
def test_t_of_tables(degrees, t):
    assert t_quantile(0.95, degrees) == pytest.approx(t, abs=5e-5)


def test_begg_and_greenes_on_liver_scans():
    """Drum and Christacopoulos, J Nucl Med 1972;13:908-915: 650 scans, of whom 344 were verified."""
    result = begg_greenes(
        true_positive=231,
        false_positive=32,
        false_negative=27,
        true_negative=54,
        unverified_positive=166,
        unverified_negative=140,
    )
    assert (result.naive_sensitivity.value, result.naive_specificity.value) == pytest.approx((0.895, 0.628), abs=5e-4)
    assert (result.sensitivity, result.specificity) == pytest.approx((0.836, 0.738), abs=5e-4)
    assert result.sensitivity_interval.low < result.sensitivity < result.sensitivity_interval.high
    assert (result.ppv.value, result.npv.value) == pytest.approx((0.878, 0.667), abs=5e-4)
    assert (result.verified_positive.value, result.verified_negative.value) == pytest.approx((0.613, 0.367), abs=5e-4)


@given(st.lists(st.integers(1, 200), min_size=4, max_size=4))
def test_where_all_are_verified_nothing_is_corrected(counts):
    tp, fp, fn, tn = counts
    result = begg_greenes(
        true_positive=tp,
        false_positive=fp,
        false_negative=fn,
        true_negative=tn,
        unverified_positive=0,
        unverified_negative=0,
    )
    assert result.sensitivity == pytest.approx(result.naive_sensitivity.value)
    assert result.specificity == pytest.approx(result.naive_specificity.value)


def test_without_verified_negatives_nothing_is_said():
    result = begg_greenes(
        true_positive=9,
        false_positive=1,
        false_negative=0,
        true_negative=0,
        unverified_positive=3,
        unverified_negative=90,
    )
    assert result.ppv.value == 0.9
    assert result.naive_sensitivity is result.naive_specificity is result.sensitivity is result.specificity is None
