"""
An outcome as an item of an inbox, and a mark on it: FHIR Communications under ids of ours. Pure.

Outcomes stay in FHIR with the patient's other data, under the same access rules; no table of ours contains them. The id
of an item is a hash of rule, finding and addressee, so that a repeat writes the same resource. Its state is a hash of
its content, so that a corrected outcome makes the item new, and a mark on the former state does not count.

Source: FHIR R4 communication.html (recipient, about, inResponseTo).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from insights.outcomes.addressees import Addressed, Addressee
from insights.outcomes.matching import Matched, Pair, agreement, said_of
from sync.model import digest
from sync.model.elements import part, parts, text
from sync.model.result_events import FeedbackFound, ModelOutcome, ResultEvent

Resource = dict[str, Any]
Mark = Literal["agree", "disagree", "not-relevant"]

MARKS: tuple[Mark, ...] = get_args(Mark)
SYSTEM = "urn:dicom-fhir-sync:feedback"
READER_TAG = "urn:dicom-fhir-sync:feedback-addressee"
STATE = "urn:dicom-fhir-sync:feedback-state"
ITEM, MARK = "item", "mark"
WITHDRAWN = "entered-in-error"
_KINDS = {"pathology": "DiagnosticReport", "procedure": "Procedure", "condition": "Condition", "implant": "Procedure"}


@dataclass(frozen=True, slots=True)
class Item:
    """
    An item that FHIR should contain.

    Attributes
    ----------
    state
        Hash of the content; a changed state is reported again.
    resource
        The Communication.
    """

    id: str
    state: str
    to: Addressee
    matched: Matched
    resource: Resource


def addressee_key(to: Addressee) -> str:
    """Return the hashed key of a reader or model, as in events."""
    return digest("addressee", to.model or to.reference, to.system, to.value)


def search_tag(to: Addressee) -> str:
    """Return the tag for searching an inbox; readers with the same value in two systems share it."""
    return digest("inbox", to.model or to.reference or to.value)


def recipient_of(item: Mapping[str, Any]) -> Addressee:
    """Return the recipient of an item; for a model, without its name."""
    first: Mapping[str, Any] = next(iter(parts(item, "recipient")), {})
    named = part(first, "identifier")
    return Addressee(text(first, "reference"), text(named, "system"), text(named, "value"))


def items_of(rule: str, addressed: Iterable[Addressed], now: datetime) -> list[Item]:
    """Return the items of all findings with an outcome to report; a preliminary outcome waits."""
    told = [one for one in addressed if one.matched.outcome in {"found", "other side", "undecidable"}]
    return [_item(rule, one, now) for one in told]


def _item(rule: str, addressed: Addressed, now: datetime) -> Item:
    matched, to = addressed.matched, addressed.to
    finding = matched.finding
    lines = lines_of(matched)
    pairs = _pairs(matched)
    identity = digest("feedback", rule, finding.id, addressee_key(to))
    state = digest("state", *lines, *(pair.truth.id for pair in pairs))
    told_by = "Observation" if to.model else "DiagnosticReport"
    about = [f"ImagingStudy/{finding.study_id}"] if finding.study_id else []
    about += [f"{told_by}/{finding.record_id}", *(_reference(pair) for pair in pairs)]
    resource = {
        "resourceType": "Communication",
        "id": identity,
        "meta": {"tag": [{"system": READER_TAG, "code": search_tag(to)}]},
        "identifier": [{"system": STATE, "value": state}],
        "status": "completed",
        "category": _coded(ITEM),
        "subject": {"reference": f"Patient/{finding.patient_id}"},
        "topic": {"text": rule},
        "about": [{"reference": reference} for reference in dict.fromkeys(about)],
        "recipient": [_recipient(to)],
        "sent": now.isoformat(timespec="seconds"),
        "payload": [{"contentString": line} for line in lines],
    }
    return Item(identity, state, to, matched, resource)


def lines_of(matched: Matched) -> list[str]:
    """Return the text of the item, one line per fact."""
    finding = matched.finding
    where = " ".join(part for part in (finding.place.side, finding.place.site) if part not in (None, "none"))
    statement = _told(finding.size, said_of(finding.said))
    lines = [f"Said: {statement}{f', {where}' if where else ''}"]
    for pair in _pairs(matched):
        truth = _told(pair.truth.size, said_of(pair.truth.found))
        lines += [f"Found: {truth}, by {pair.truth.kind}", f"Days between: {pair.between}"]
        lines += [f"Note: {flag}" for flag in pair.flags]
    lines += {"other side": ["Note: of the other side, not counted"], "undecidable": ["Note: date too vague"]}.get(
        matched.outcome, []
    )
    agreed = agreement(matched)
    return [*lines, f"Together: {agreed}"] if agreed else lines


def event_of(item: Item, rule: str, now: datetime) -> ResultEvent:
    """Return the event of an item: the same id for the same state."""
    key, reference = addressee_key(item.to), f"Communication/{item.id}"
    name = digest("feedback", item.id, item.state)
    if not item.to.model:
        told = FeedbackFound(resource=reference, reader=key, rule=rule)
        return ResultEvent.of(told, id=name, subject=f"readers/{key}", at=now)
    answer = item.matched.answer
    told_of = {"agreement": agreement(item.matched) or None, "found_by": answer.truth.kind if answer else None}
    finding = f"Observation/{item.matched.finding.record_id}"
    outcome = ModelOutcome.model_validate(
        {"resource": reference, "model": item.to.model, "rule": rule, "finding": finding, **told_of}
    )
    return ResultEvent.of(outcome, id=name, subject=f"models/{key}", at=now)


def withdrawn(former: Mapping[str, Any]) -> Resource:
    """Return a former item as withdrawn, because its outcome no longer holds."""
    return {**former, "status": WITHDRAWN}


def mark_of(item: Mapping[str, Any], mark: Mark, *, who: str, practitioner: str, now: datetime) -> Resource:
    """
    Return the mark of one reader on an item; a later mark replaces it, and FHIR keeps the history.

    Parameters
    ----------
    who
        Name with which the reader signed in.
    practitioner
        ``Practitioner/ID``; empty if none is known.
    """
    state = state_of(item)
    sender = {"display": who, **({"reference": practitioner} if practitioner else {})}
    return {
        "resourceType": "Communication",
        "id": digest("mark", str(item["id"]), state, who),
        "meta": {"tag": _tags(item)},
        "identifier": [{"system": STATE, "value": state}],
        "status": "completed",
        "category": _coded(MARK),
        "inResponseTo": [{"reference": f"Communication/{item['id']}"}],
        "subject": item["subject"],
        "sender": sender,
        "sent": now.isoformat(timespec="seconds"),
        "reasonCode": _coded(mark),
    }


def state_of(resource: Mapping[str, Any]) -> str:
    """Return the state of an item, or the state to which a mark refers."""
    states = (text(one, "value") for one in parts(resource, "identifier") if one.get("system") == STATE)
    return next(states, "")


def code_of(resource: Mapping[str, Any], field: str = "category") -> str:
    """Return our code of a field; empty if it has none."""
    codings = [coding for concept in parts(resource, field) for coding in parts(concept, "coding")]
    return next((text(coding, "code") for coding in codings if coding.get("system") == SYSTEM), "")


def rule_of(resource: Mapping[str, Any]) -> str:
    """Return the rule of an item."""
    return text(part(resource, "topic"), "text")


def _tags(item: Mapping[str, Any]) -> list[dict[str, str]]:
    tags = [tag for tag in parts(part(item, "meta"), "tag") if tag.get("system") == READER_TAG]
    return [{"system": READER_TAG, "code": text(tag, "code")} for tag in tags]


def _coded(code: str) -> list[Resource]:
    return [{"coding": [{"system": SYSTEM, "code": code}]}]


def _recipient(to: Addressee) -> Resource:
    if to.reference:
        return {"reference": to.reference}
    system = {"system": to.system} if to.system else {}
    return {"type": "Practitioner", "identifier": {**system, "value": to.value}}


def _pairs(matched: Matched) -> Sequence[Pair]:
    return (matched.answer,) if matched.answer else (*matched.other_side, *matched.undecidable)


def _reference(pair: Pair) -> str:
    return f"{_KINDS[pair.truth.kind]}/{pair.truth.id.partition('/')[0]}"


def _told(size: float | None, word: str) -> str:
    return f"{size:g} mm" if size is not None else word or "not coded"
