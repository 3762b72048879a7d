"""
Rejection notes (IHE Imaging Object Change Management): which instances of a study are withdrawn.

A note is a Key Object Selection with one of four titles. The instances that it names are no longer shown as available,
whichever object arrives first; the note itself stays an instance of the study. If its object is deleted, the instances
are shown again.
"""

from __future__ import annotations

from collections.abc import Iterable

from sync.dicom.attributes import KEY_OBJECTS, first_text, items
from sync.model import Attributes, InstanceRecord

REJECTIONS = frozenset({"113001", "113037", "113038", "113039"})
"""
Titles of rejection notes (PS3.16 CID 7011, designator ``DCM``).

Rejected for quality, for patient safety, for a wrong worklist entry; retention period expired.
"""


def is_rejection_note(attributes: Attributes) -> bool:
    """Return whether an instance is a rejection note."""
    if first_text(attributes, "SOPClassUID") != KEY_OBJECTS:
        return False
    titles = [
        (first_text(name, "CodingSchemeDesignator"), first_text(name, "CodeValue"))
        for name in items(attributes, "ConceptNameCodeSequence")
    ]
    return any(designator == "DCM" and value in REJECTIONS for designator, value in titles)


def rejected(records: Iterable[InstanceRecord]) -> frozenset[str]:
    """
    Return the SOP Instance UIDs that the rejection notes among these instances name, 0..n.

    Notes themselves are never rejected: each stays valid, even if another note names it.

    Source: PS3.16 TID 2010; IHE RAD TF-1 *Imaging Object Change Management*.
    """
    notes = [record for record in records if is_rejection_note(record.attributes)]
    if not notes:
        return frozenset()
    named = {
        uid
        for note in notes
        for item in items(note.attributes, "ContentSequence")
        for reference in items(item, "ReferencedSOPSequence")
        if (uid := first_text(reference, "ReferencedSOPInstanceUID"))
    }
    return frozenset(named) - {note.sop_instance_uid for note in notes}
