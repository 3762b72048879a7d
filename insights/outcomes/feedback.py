"""Feedback to one reader: findings, outcomes, and the number of reads with a known outcome. No scores."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from insights.collect.store import Store
from insights.errors import OutcomeError
from insights.outcomes.findings import read_reads
from insights.outcomes.matching import Matched, agreement, match, said_of
from insights.outcomes.people import choose_people
from insights.outcomes.rule import prepare
from insights.outcomes.systems import check_systems
from insights.outcomes.truths import read_truths
from insights.outcomes.writing import Results, audit, case, write_results
from insights.views import Catalogue


@dataclass(frozen=True, slots=True)
class Feedback:
    """
    The feedback for one reader.

    Attributes
    ----------
    reads, preliminary
        Numbers of final and of preliminary imaging reports.
    known
        Reads with a final outcome.
    open_reads
        Reads without an outcome whose time limit has not passed yet.
    uncoded
        Reads without a code of the rule; their outcomes are shown without agreement.
    matched
        Every finding, with its outcomes.
    """

    rule: str
    as_of: str
    within_days: int
    reads: int
    preliminary: int
    known: int
    open_reads: int
    uncoded: int
    matched: tuple[Matched, ...]

    @property
    def headline(self) -> str:
        """Return the number of reads with a known outcome."""
        return f"An outcome is known of {self.known} of {self.reads} reads."


def feedback(file: Path, data: Path, reader: str) -> Feedback:
    """
    Return the feedback to a reader from collected data.

    Raises
    ------
    OutcomeError
        The rule is wrong, no report names the reader, or the data is coded in other systems.
    """
    prepared = prepare(file)
    rule = prepared.rule
    if rule.said is None:
        raise OutcomeError(f"{prepared.located.where(())}: said and found are missing", code="outcome.nothing_said")
    with Store(data).reading(Catalogue.shipped()) as reading:
        as_of = choose_people(reading, prepared, research=False)
        reads = read_reads(reading.connection, reader, rule, prepared.codes)
        check_systems(reading.connection, prepared)
        truths = read_truths(reading.connection, rule, prepared.codes)
    matched = match(reads.findings, truths, rule.within_days)
    known = {pair.finding.record_id for pair in matched if pair.answer}
    opened = as_of - timedelta(days=rule.within_days)
    still = {pair.finding.record_id for pair in matched if pair.finding.days is None or pair.finding.days.last > opened}
    return Feedback(
        rule=rule.rule,
        as_of=as_of.isoformat(),
        within_days=rule.within_days,
        reads=reads.count,
        preliminary=reads.preliminary,
        known=len(known),
        open_reads=len(still - known),
        uncoded=len({pair.finding.record_id for pair in matched if pair.finding.said is None}),
        matched=matched,
    )


def report(file: Path, data: Path, reader: str, out: Path, *, overwrite: bool = False) -> str:
    """
    Write the feedback to a reader as text, JSON and CSV, readable by the owner only, and audit it; return the text.

    Raises
    ------
    OutcomeError
        See `feedback`.
    CohortError
        ``cohort.out_exists``, ``cohort.out``.
    """
    given = feedback(file, data, reader)
    shown = [pair for pair in given.matched if pair.outcome != "none"]
    rows = [_row(pair) for pair in shown]
    results = Results(_text(given, shown), _facts(given, rows), {"cases.csv": rows})
    write_results(out, results, overwrite=overwrite)
    audit(data, {"command": "feedback report", "rule": given.rule, "reader": reader, "rows": len(rows)}, out)
    return results.text


def _row(matched: Matched) -> dict[str, Any]:
    return {**case(matched), "agreement": agreement(matched)}


def _facts(given: Feedback, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "rule": given.rule,
        "as_of": given.as_of,
        "within_days": given.within_days,
        "headline": given.headline,
        "reads": given.reads,
        "reads_with_outcome": given.known,
        "reads_still_open": given.open_reads,
        "reads_without_code": given.uncoded,
        "preliminary_reports": given.preliminary,
        "agreement": dict(sorted(Counter(row["agreement"] for row in rows if row["agreement"]).items())),
        "cases": rows,
    }


def _text(given: Feedback, shown: list[Matched]) -> str:
    lines = [
        f"# {given.rule}: feedback on your reads",
        "",
        given.headline,
        "",
        f"As of {given.as_of}; outcomes of 0 to {given.within_days} days after the study. For you alone.",
        "",
        "| report | you said | where | was found | by | days between | agreement | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for pair in shown:
        row = case(pair)
        where = " ".join(part for part in (row["side"], row["site"]) if part not in ("", "none"))
        note = "; ".join(part for part in (row["flags"], _other(pair)) if part)
        cells = [
            row["record_id"], said_of(pair.finding.said), where, row["was_found"], row["found_by"],
            row["days_between"], agreement(pair), note,
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Still within {given.within_days} days: {given.open_reads} reads. Without such a code: {given.uncoded}.",
        f"Preliminary reports, which are no reads yet: {given.preliminary}.",
        "",
        "Cases with an outcome are no fair sample: patients who look ill are examined further (docs/feedback.md).",
    ]
    return "\n".join(lines) + "\n"


def _other(matched: Matched) -> str:
    """Return the outcomes that are shown and not counted."""
    parts = (("later", matched.later), ("waiting", matched.waiting), ("other side", matched.other_side))
    counts = [f"{name}: {len(pairs)}" for name, pairs in parts if pairs]
    if matched.undecidable:
        counts.append(f"date too vague: {len(matched.undecidable)}")
    return ", ".join(counts)
