"""
Closed forms of the statistics that the questions use: pure functions, without a library.

They take counts or sequences of numbers and return frozen values. What cannot be computed, such as a share of nothing,
is None, never a number that looks like an answer. Wrong input is a `ValueError`.
"""

from insights.statistics.agreement import BlandAltman, Kappa, bland_altman, kappa
from insights.statistics.balance import standardised_difference, standardised_difference_of_shares
from insights.statistics.proportions import Interval, Proportion, wilson
from insights.statistics.survival import Curve, CurvePoint, LogRank, Survival, kaplan_meier, log_rank
from insights.statistics.verification import Accuracy, begg_greenes

__all__ = [
    "Accuracy",
    "BlandAltman",
    "Curve",
    "CurvePoint",
    "Interval",
    "Kappa",
    "LogRank",
    "Proportion",
    "Survival",
    "begg_greenes",
    "bland_altman",
    "kaplan_meier",
    "kappa",
    "log_rank",
    "standardised_difference",
    "standardised_difference_of_shares",
    "wilson",
]
