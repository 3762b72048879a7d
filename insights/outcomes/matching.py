"""
Decides which outcome answers which finding, in one place for readers and models. Pure.

A finding and an outcome match if they have the same patient and site, and the outcome is dated 0 to N days after the
finding. The first final outcome wins and later ones are listed; a preliminary one waits. An outcome of the other side
is shown but never counted; if a site or a side is unknown, the pair is flagged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

Side = Literal["left", "right", "both", "none"]

ELSEWHERE = "elsewhere"
"""A coded site that the rule does not name: it matches no other site, not even an unknown one."""


@dataclass(frozen=True, slots=True)
class Days:
    """The first and the last day that a date can mean, as written."""

    first: date
    last: date


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """
    A place in the body.

    Attributes
    ----------
    site
        Name of a site of the rule, `ELSEWHERE`, or None if unknown.
    side
        ``none`` for a site without sides; None if unknown.
    """

    site: str | None = None
    side: Side | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """
    A finding in images.

    Attributes
    ----------
    said
        Whether the finding is present; None if that has no code of the rule.
    size
        Millimetres; None for findings without a size.
    record_id
        Report or Observation that contains the finding.
    """

    id: str
    record_id: str
    patient_id: str
    days: Days | None
    place: Place = Place()
    said: bool | None = None
    size: float | None = None
    study_id: str | None = None
    told_by: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """
    A later outcome.

    Attributes
    ----------
    kind
        ``pathology``, ``procedure``, ``condition`` or ``implant``.
    rank
        Strength of the kind, 0 is the strongest; a weaker kind answers only if no stronger one does.
    final
        Whether it is final; one that is not final waits.
    found
        Whether the finding was confirmed; None for sizes.
    """

    id: str
    kind: str
    rank: int
    patient_id: str
    days: Days | None
    final: bool
    place: Place = Place()
    found: bool | None = None
    size: float | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """
    An outcome beside a finding.

    Attributes
    ----------
    least, most
        Days between them; equal unless a date is partial.
    flags
        ``site unknown``, ``side unknown``.
    """

    truth: Truth
    least: int
    most: int
    flags: tuple[str, ...] = ()

    @property
    def between(self) -> str:
        """Return the days between as text."""
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Matched:
    """
    A finding with its outcomes.

    Attributes
    ----------
    answer
        The first final outcome; None if there is none.
    later, waiting, other_side, undecidable
        Outcomes that do not count: later final ones, those that are not final, those of the other side, and those whose
        partial dates leave open whether they are in time.
    """

    finding: Finding
    answer: Pair | None = None
    later: tuple[Pair, ...] = ()
    waiting: tuple[Pair, ...] = ()
    other_side: tuple[Pair, ...] = ()
    undecidable: tuple[Pair, ...] = ()

    @property
    def outcome(self) -> str:
        """Return in one word whether there is an outcome, or why none counts."""
        if self.answer is not None:
            return "found"
        if self.waiting:
            return "waiting"
        if self.undecidable:
            return "undecidable"
        return "other side" if self.other_side else "none"


def agreement(matched: Matched) -> Literal["concordant", "discordant", ""]:
    """Return whether finding and outcome agree; empty if one of them is unknown."""
    truth = matched.answer.truth.found if matched.answer else None
    if truth is None or matched.finding.said is None:
        return ""
    return "concordant" if truth is matched.finding.said else "discordant"


def match(findings: Iterable[Finding], truths: Iterable[Truth], within_days: int) -> tuple[Matched, ...]:
    """Return every finding, in its order, with its outcomes; pure, and independent of the order of `truths`."""
    of_patient: dict[str, list[Truth]] = defaultdict(list)
    for truth in truths:
        of_patient[truth.patient_id].append(truth)
    return tuple(_matched(finding, of_patient[finding.patient_id], within_days) for finding in findings)


def _matched(finding: Finding, truths: Sequence[Truth], within_days: int) -> Matched:
    answers: list[Pair] = []
    waiting: list[Pair] = []
    other_side: list[Pair] = []
    undecidable: list[Pair] = []
    for truth in sorted(truths, key=_order):
        flags = _flags(finding.place, truth.place)
        if flags is None:
            continue
        pair = _pair(finding, truth, flags)
        timely = _timely(pair, within_days)
        if timely is False:
            continue
        if _opposite(finding.place.side, truth.place.side):
            other_side.append(pair)
        elif timely is None:
            undecidable.append(pair)
        else:
            (answers if truth.final else waiting).append(pair)
    return Matched(
        finding, answers[0] if answers else None, *map(tuple, (answers[1:], waiting, other_side, undecidable))
    )


def _order(truth: Truth) -> tuple[int, date, date, str]:
    days = truth.days or Days(date.max, date.max)
    return truth.rank, days.first, days.last, truth.id


def _pair(finding: Finding, truth: Truth, flags: tuple[str, ...]) -> Pair:
    if finding.days is None or truth.days is None:
        return Pair(truth, -1, -1, (*flags, "undated"))
    least = (truth.days.first - finding.days.last).days
    return Pair(truth, least, (truth.days.last - finding.days.first).days, flags)


def _timely(pair: Pair, within_days: int) -> bool | None:
    """Return whether an outcome is in time; None if the dates do not say."""
    if "undated" in pair.flags:
        return None
    if pair.most < 0 or pair.least > within_days:
        return False
    return True if pair.least >= 0 and pair.most <= within_days else None


def _flags(one: Place, other: Place) -> tuple[str, ...] | None:
    """Return the unknown parts of two places; None if their sites differ."""
    if ELSEWHERE in (one.site, other.site):
        return None
    if one.site is not None and other.site is not None and one.site != other.site:
        return None
    flags = ["site unknown"] if one.site is None or other.site is None else []
    if "none" not in (one.side, other.side) and (one.side is None or other.side is None):
        flags.append("side unknown")
    return tuple(flags)


def _opposite(one: Side | None, other: Side | None) -> bool:
    return {one, other} == {"left", "right"}


def said_of(value: bool | None) -> str:  # noqa: FBT001 -- the value to write
    """Return yes, no, or nothing."""
    return "" if value is None else "yes" if value else "no"
