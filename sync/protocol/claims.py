"""
Decides from an object's row and a change whether to inspect the object, and builds its claim. Pure.

A claim is the object's row, written before anything else: the object's present identity, and every study that it was
ever part of. It is written first, so that of two racing deliveries the later one always knows every study to which the
earlier one may still write.
"""

from __future__ import annotations

from sync.errors import HeaderLimit
from sync.model import Change, Inspection, Locator, StudyRef

REPLACED = (
    "Bytes arrived that are not those of the object: check the proxies and filters on the way. FHIR keeps what it has, "
    "and the object is read again by itself. If nothing stands on the way, store the object again."
)


def is_repeat(locator: Locator, change: Change) -> bool:
    """Return whether the object was already inspected to the end in the state that the change reports."""
    if change.sequence is not None:
        return locator.settled and locator.sequence == change.sequence and not locator.contested
    return locator.settled and change.etag is not None and locator.etag == change.etag


def is_overtaken(locator: Locator, change: Change) -> bool:
    """
    Return whether a feed entry is older than the stored state, so that it changes nothing.

    False if claims overlapped: an earlier delivery of this very entry may have written its row after the newer entry
    did, and died. Then the object is inspected.
    """
    older = change.inspection is not None and _is_lower(locator, change) and change.inspection.order <= locator.order
    return older and not locator.contested


def inspection_of(change: Change, locator: Locator | None) -> Inspection | None:
    """
    Return the inspection that the change carries, if it is as good as inspecting the object now.

    A lower sequence with a later time means that the service was recreated under the same address and counts from the
    beginning. Then the object itself must be inspected.
    """
    return None if locator is not None and _is_lower(locator, change) else change.inspection


def claim_of(change: Change, locator: Locator | None, inspection: Inspection) -> Locator:
    """Return the claim: the object's present identity, and every other study that it was ever part of."""
    study = inspection.record.study if inspection.record else None
    ever = studies_of(locator) if locator else frozenset[StudyRef]()
    sequences = (change.sequence, locator.sequence if locator else None)
    return Locator(
        object=change.object,
        etag=inspection.etag,
        study=study,
        sop_instance_uid=inspection.record.sop_instance_uid if inspection.record else None,
        # Studies are only added: an overtaken delivery may still write into any of them.
        history=frozenset(earlier for earlier in ever if earlier != study),
        has_dead_letter=inspection.problem is not None or (locator is not None and locator.has_dead_letter),
        # The higher of the two, in whatever order they arrived, so that a late feed entry cannot lower it.
        sequence=max((sequence for sequence in sequences if sequence is not None), default=None),
        # An unsettled row means that another delivery is at work, or died: from now on a repeat proves nothing.
        contested=locator is not None and (locator.contested or not locator.settled),
        order=inspection.order or (locator.order if locator else ""),
    )


def contradicts(locator: Locator, inspection: Inspection) -> bool:
    """
    Return whether bytes that once gave a record no longer do, although their ETag is unchanged.

    A proxy replaced or truncated the bytes on the way. A changed limit of ours is no contradiction.
    """
    known = locator.settled and locator.study is not None and locator.etag == inspection.etag
    return known and inspection.problem is not None and not isinstance(inspection.problem, HeaderLimit)


def studies_of(locator: Locator) -> frozenset[StudyRef]:
    """Return every study that the object is, or was, part of."""
    return locator.history | ({locator.study} if locator.study else frozenset())


def _is_lower(locator: Locator, change: Change) -> bool:
    return None not in (locator.sequence, change.sequence) and (change.sequence or 0) < (locator.sequence or 0)
