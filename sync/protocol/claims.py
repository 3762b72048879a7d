"""
What is known of an object against what has happened to it: whether to look, and what a look makes of it. Pure.

A claim is the object's row before anything else is written: who it is now, and every study that it ever was part of.
It comes first, so that of two racing deliveries the later one always knows every study to which the earlier one may
still write.
"""

from __future__ import annotations

from sync.model import Change, Inspection, Locator, StudyRef


def is_repeat(known: Locator, change: Change) -> bool:
    """Whether the object was looked at, to the end, since it became what the change says."""
    if change.sequence is not None:
        return known.settled and known.sequence == change.sequence and not known.contested
    return known.settled and change.etag is not None and known.etag == change.etag


def is_overtaken(known: Locator, change: Change) -> bool:
    """
    Whether an entry is older than what is known, so that there is nothing to do.

    It is not where claims overlapped: an earlier life of this very entry may have written its row after the younger one
    did, and died. Then the object is looked at.
    """
    older = change.inspection is not None and _is_lower(known, change) and change.inspection.order <= known.order
    return older and not known.contested


def inspection_of(change: Change, known: Locator | None) -> Inspection | None:
    """
    Return the look that the change brings, if it is as good as a look now.

    A lower sequence with a later time contradicts itself: the service was made anew under the same address, and counts
    from the beginning. Then only the object can tell.
    """
    return None if known is not None and _is_lower(known, change) else change.inspection


def claim_of(change: Change, known: Locator | None, inspection: Inspection) -> Locator:
    """Take the object: who it is now, and every other study it ever was part of."""
    study = inspection.record.study if inspection.record else None
    ever = studies_of(known) if known else frozenset[StudyRef]()
    seen = (change.sequence, known.sequence if known else None)
    return Locator(
        object=change.object,
        etag=inspection.etag,
        study=study,
        sop_instance_uid=inspection.record.sop_instance_uid if inspection.record else None,
        history=frozenset(other for other in ever if other != study),
        has_dead_letter=inspection.problem is not None or (known is not None and known.has_dead_letter),
        sequence=max((each for each in seen if each is not None), default=None),
        contested=known is not None and (known.contested or not known.settled),
        order=inspection.order or (known.order if known else ""),
    )


def studies_of(known: Locator) -> frozenset[StudyRef]:
    """Every study that the object is, or was, part of."""
    return known.history | ({known.study} if known.study else frozenset())


def _is_lower(known: Locator, change: Change) -> bool:
    return None not in (known.sequence, change.sequence) and (change.sequence or 0) < (known.sequence or 0)
