"""
Finds the values on which the instances of a study or series agree.

Every instance repeats the attributes of its patient, study and series, and now and then one differs. The value of the
majority wins, the smallest one if there is no majority: a choice that depends on nothing but the set of instances, so
arrival order, repeats and batching cannot change it. Instances without a value have no vote.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sync.mapping.rejections import rejected
from sync.mapping.resource import canonical
from sync.mapping.values import Findings
from sync.model import Attributes, Finding, InstanceRecord, LedgerRow


def current_instances(rows: Iterable[LedgerRow], findings: Findings | None = None) -> list[InstanceRecord]:
    """
    Return one record for each instance of each series, by SOP Instance UID, then Series Instance UID.

    Several objects may hold one instance with different content, such as a corrected copy under another name. The
    latest content wins, by the time of the store that holds it (`LedgerRow.order`); of equal times the copy with more
    attributes. An instance that two series claim stays in both, because it is unknown which of them is wrong. Instances
    that a rejection note names are left out.

    Parameters
    ----------
    findings
        Receives both kinds of ambiguity and the rejected instances, each once.
    """
    latest: dict[tuple[str, str], LedgerRow] = {}
    for row in rows:
        key = (row.record.sop_instance_uid, row.record.series_instance_uid)
        before = latest.get(key)
        if before is not None and findings is not None and before.record != row.record:
            findings.note("SOPInstanceUID", "instance.several_contents", "latest content used")
        if before is None or _precedence(row) > _precedence(before):
            latest[key] = row
    withdrawn = rejected(row.record for row in latest.values())
    kept = [key for key in sorted(latest) if key[0] not in withdrawn]
    if findings is not None and len(kept) < len(latest):
        findings.note("SOPInstanceUID", "instance.rejected", "left out")
    if findings is not None and len({sop for sop, _ in kept}) < len(kept):
        findings.note("SOPInstanceUID", "instance.several_series", "kept in each series")
    return [latest[key].record for key in kept]


def one_of_each(rows: Iterable[LedgerRow]) -> list[InstanceRecord]:
    """Return the latest record of each SOP Instance UID that is not rejected, by UID: one resource id each."""
    latest: dict[str, LedgerRow] = {}
    for row in rows:
        before = latest.get(row.record.sop_instance_uid)
        if before is None or _precedence(row) > _precedence(before):
            latest[row.record.sop_instance_uid] = row
    withdrawn = rejected(row.record for row in latest.values())
    return [latest[sop].record for sop in sorted(latest) if sop not in withdrawn]


def _precedence(row: LedgerRow) -> tuple[str, int, bytes, tuple[Finding, ...]]:
    record = row.record
    filled = sum(_is_filled(values) for values in record.attributes.values())
    return row.order, filled, canonical([record.series_instance_uid, record.attributes]), record.findings


class Witnesses:
    """
    The instances that vote, and the findings that record their disagreements.

    Parameters
    ----------
    instances
        The attributes of each instance, in any order.
    level
        ``study`` or ``series``, for the code of the findings.
    """

    def __init__(self, instances: Sequence[Attributes], level: str, findings: Findings) -> None:
        self._instances = instances
        self._findings = findings
        self._level = level

    def agree(self, *keywords: str) -> dict[str, Sequence[Any]]:
        """
        Return the majority's values of each attribute; attributes without any value are left out.

        The attributes belong together: once the first is decided, only those that hold its winner are asked about the
        second, and so on. So an identifier never gets another identifier's issuer, nor a date another date's time.
        """
        agreed, disputed = self._decide(keywords)
        for keyword in disputed:
            self._findings.note(keyword, f"{self._level}.conflicting_values", "majority value used")
        return agreed

    def majority(self, *keywords: str) -> dict[str, Sequence[Any]]:
        """Return the same as `agree`, for attributes whose values are all used: a difference is not a finding."""
        return self._decide(keywords)[0]

    def _decide(self, keywords: Sequence[str]) -> tuple[dict[str, Sequence[Any]], list[str]]:
        voters = self._instances
        agreed: dict[str, Sequence[Any]] = {}
        disputed = []
        for keyword in keywords:
            winner, voters, differs = _ask(voters, keyword)
            if differs:
                disputed.append(keyword)
            if winner is not None:
                agreed[keyword] = winner
        return agreed, disputed

    def preferring(self, keyword: str, values: Collection[str]) -> Witnesses:
        """Return the witnesses whose value 1 is one of ``values``; all witnesses if there are none."""
        preferred = [
            attributes for attributes in self._instances if str((attributes.get(keyword) or ("",))[0]) in values
        ]
        return Witnesses(preferred or self._instances, self._level, self._findings)

    def supporters(self, keyword: str) -> Witnesses:
        """Return the witnesses that hold the majority's value; all witnesses if there is no value."""
        _, voters, _ = _ask(self._instances, keyword)
        return Witnesses(voters, self._level, self._findings)

    def distinct(self, *keywords: str) -> list[dict[str, Sequence[Any]]]:
        """Return every combination of values that occurs, each once, in an order that depends only on the values."""
        variants: dict[bytes, dict[str, Sequence[Any]]] = {}
        previous: list[Any] | None = None
        for attributes in self._instances:
            values = [attributes.get(keyword) for keyword in keywords]
            if values != previous:
                stated = {k: v for k, v in zip(keywords, values, strict=True) if v is not None and _is_filled(v)}
                variants[canonical(stated)] = stated
                previous = values
        return [variants[key] for key in sorted(variants)]


def _ask(voters: Sequence[Attributes], keyword: str) -> tuple[Sequence[Any] | None, Sequence[Attributes], bool]:
    """Return the winner (None without any value), its voters (all if there is no winner), and whether others differ."""
    values = [attributes.get(keyword) for attributes in voters]
    first = values[0] if values else None
    if values.count(first) == len(values):
        return (first if _is_filled(first) else None), voters, False
    votes: dict[bytes, list[int]] = {}
    for index, value in enumerate(values):
        if _is_filled(value):
            votes.setdefault(canonical(value), []).append(index)
    if not votes:
        return None, voters, False
    supporters = votes[min(votes, key=lambda vote: (-len(votes[vote]), vote))]
    return values[supporters[0]], [voters[index] for index in supporters], len(votes) > 1


def _is_filled(values: Sequence[Any] | None) -> bool:
    return any(isinstance(value, Mapping) or str(value).strip(" \x00") for value in values or () if value is not None)
