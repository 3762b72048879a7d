"""
Sensitivity and specificity if not every finding was verified.

Positive findings are verified more often, so the uncorrected sensitivity is too high. The correction by Begg and
Greenes assumes that verification depends only on the finding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from insights.statistics.distributions import normal_quantile
from insights.statistics.proportions import Interval, Proportion, wilson


@dataclass(frozen=True, slots=True)
class Accuracy:
    """
    Figures of a finding against the truth.

    Attributes
    ----------
    naive_sensitivity, naive_specificity
        Of the verified findings; None, like the corrected ones, if no negative finding was verified.
    sensitivity, specificity
        Corrected; None if they cannot be computed.
    sensitivity_interval, specificity_interval
        By the delta method on the logit; None if a cell is 0.
    verified_positive, verified_negative
        Shares of positive and of negative findings that were verified.
    """

    ppv: Proportion
    npv: Proportion
    naive_sensitivity: Proportion | None
    naive_specificity: Proportion | None
    sensitivity: float | None
    sensitivity_interval: Interval | None
    specificity: float | None
    specificity_interval: Interval | None
    verified_positive: Proportion
    verified_negative: Proportion


def begg_greenes(
    *,
    true_positive: int,
    false_positive: int,
    false_negative: int,
    true_negative: int,
    unverified_positive: int,
    unverified_negative: int,
    level: float = 0.95,
) -> Accuracy:
    """
    Return predictive values, and sensitivity and specificity, uncorrected and corrected for verification.

    Sources: Begg and Greenes, Biometrics 1983;39:207-215; Zhou, Obuchowski and McClish, Statistical Methods in
    Diagnostic Medicine, 10.2 (variance of the logit).

    Raises
    ------
    ValueError
        A count is negative.
    """
    counts = (true_positive, false_positive, false_negative, true_negative, unverified_positive, unverified_negative)
    if min(counts) < 0:
        raise ValueError("a count is 0 or more")
    positive, negative = true_positive + false_positive, false_negative + true_negative
    all_positive, all_negative = positive + unverified_positive, negative + unverified_negative
    naive = negative > 0
    estimable = naive and positive > 0
    ill = _expected(true_positive, positive, all_positive), _expected(false_negative, negative, all_negative)
    well = _expected(true_negative, negative, all_negative), _expected(false_positive, positive, all_positive)
    sensitivity = ill[0] / (ill[0] + ill[1]) if estimable and ill[0] + ill[1] else None
    specificity = well[0] / (well[0] + well[1]) if estimable and well[0] + well[1] else None
    variance = None
    if min(counts[:4]) > 0:
        variance = (
            false_positive / (true_positive * positive)
            + true_negative / (false_negative * negative)
            + (all_positive + all_negative) / (all_positive * all_negative),
            false_negative / (true_negative * negative)
            + true_positive / (false_positive * positive)
            + (all_positive + all_negative) / (all_positive * all_negative),
        )
    return Accuracy(
        ppv=wilson(true_positive, positive, level=level),
        npv=wilson(true_negative, negative, level=level),
        naive_sensitivity=wilson(true_positive, true_positive + false_negative, level=level) if naive else None,
        naive_specificity=wilson(true_negative, true_negative + false_positive, level=level) if naive else None,
        sensitivity=sensitivity,
        sensitivity_interval=_around(sensitivity, variance[0], level) if variance else None,
        specificity=specificity,
        specificity_interval=_around(specificity, variance[1], level) if variance else None,
        verified_positive=wilson(positive, all_positive, level=level),
        verified_negative=wilson(negative, all_negative, level=level),
    )


def _expected(count: int, verified: int, everyone: int) -> float:
    """Return the expected number if all had been verified."""
    return everyone * count / verified if verified else 0.0


def _around(value: float | None, variance: float, level: float) -> Interval | None:
    """Return the interval of a share, computed on its logit."""
    if value is None or not 0 < value < 1:
        return None
    centre, half = math.log(value / (1 - value)), normal_quantile(level) * math.sqrt(variance)
    return Interval(1 / (1 + math.exp(half - centre)), 1 / (1 + math.exp(-half - centre)))
