"""
Decides from an object's row and a change whether to inspect the object, and builds its claim. Pure.

A claim is the object's row before anything else is written: who it is now, and every study that it ever was part of.
It comes first, so that of two racing deliveries the later one always knows every study to which the earlier one may
still write.
"""

from __future__ import annotations

from sync.errors import HeaderLimit
from sync.model import Change, Inspection, Locator, StudyRef

REPLACED = (
    "Bytes arrived that are not those of the object: check the proxies and filters on the way. FHIR keeps what it has, "
    "and the object is read again by itself. If nothing stands on the way, store the object again."
)


def is_repeat(locator: Locator, change: Change) -> bool:
    """Whether the object was inspected, to the end, since it became what the change says."""
    if change.sequence is not None:
        return locator.settled and locator.sequence == change.sequence and not locator.contested
    return locator.settled and change.etag is not None and locator.etag == change.etag


def is_overtaken(locator: Locator, change: Change) -> bool:
    """
    Whether an entry is older than the stored state and changes nothing.

    It is not where claims overlapped: an earlier life of this very entry may have written its row after the younger one
    did, and died. Then the object is inspected.
    """
    older = change.inspection is not None and _is_lower(locator, change) and change.inspection.order <= locator.order
    return older and not locator.contested


def inspection_of(change: Change, locator: Locator | None) -> Inspection | None:
    """
    Return the look that the change brings, if it is as good as a look now.

    A lower sequence with a later time contradicts itself: the service was recreated under the same address, and counts
    from the beginning. Then only the object can tell.
    """
    return None if locator is not None and _is_lower(locator, change) else change.inspection


def claim_of(change: Change, locator: Locator | None, inspection: Inspection) -> Locator:
    """Take the object: who it is now, and every other study it ever was part of."""
    study = inspection.record.study if inspection.record else None
    ever = studies_of(locator) if locator else frozenset[StudyRef]()
    sequences = (change.sequence, locator.sequence if locator else None)
    return Locator(
        object=change.object,
        etag=inspection.etag,
        study=study,
        sop_instance_uid=inspection.record.sop_instance_uid if inspection.record else None,
        # Studies are only added: a delivery that was overtaken may still write into any of them.
        history=frozenset(earlier for earlier in ever if earlier != study),
        has_dead_letter=inspection.problem is not None or (locator is not None and locator.has_dead_letter),
        # The highest of both, whatever order they came in, so that a late entry of the feed cannot lower it.
        sequence=max((sequence for sequence in sequences if sequence is not None), default=None),
        # An unsettled row means that another delivery is at work, or died: from now on a repeat proves nothing.
        contested=locator is not None and (locator.contested or not locator.settled),
        order=inspection.order or (locator.order if locator else ""),
    )


def contradicts(locator: Locator, inspection: Inspection) -> bool:
    """
    Return whether bytes that gave a record no longer give one, though their ETag is the same.

    Something on the way replaced them: a filter's page, a cut that made the length fit. Another limit of ours is none.
    """
    known = locator.settled and locator.study is not None and locator.etag == inspection.etag
    return known and inspection.problem is not None and not isinstance(inspection.problem, HeaderLimit)


def studies_of(locator: Locator) -> frozenset[StudyRef]:
    """Every study that the object is, or was, part of."""
    return locator.history | ({locator.study} if locator.study else frozenset())


def _is_lower(locator: Locator, change: Change) -> bool:
    return None not in (locator.sequence, change.sequence) and (change.sequence or 0) < (locator.sequence or 0)
