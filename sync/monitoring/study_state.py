"""What an operator wants to know of one study: is it in FHIR, as what, and what of it could not be used."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sync.model import DeadLetter, DirtyStudy, Finding, Projection, StudyRef, SubjectKind
from sync.ports import Core, Project
from sync.protocol.dirty_studies import due_at

UNKNOWN = {
    "code": "study.unknown",
    "hint": "No object of this study was ever seen. Check the Study Instance UID and the partition, or run a backfill.",
}
"""What is answered for a study that nobody knows."""


async def study_state(study: StudyRef, s: Project) -> dict[str, Any] | None:
    """
    Tell all that is known of a study. Reads three rows and writes nothing.

    Returns
    -------
    dict or None
        None for a study that was never seen. ``state`` is one of *dirty* (waits to be written, or is being written),
        *parked* (set aside: see ``dead_letter``), *synced*, *removed* (its last instance is gone). ``marks`` says since
        when it waits; ``fhir`` what stands for it; ``findings`` which attributes could not be used, never their
        values. All but the UID that was asked for is free of patient data.
    """
    dirty, recorded, kept = await asyncio.gather(
        s.dirty.read(study), s.projections.read(study), s.dead_letters.read(SubjectKind.STUDY, study.key)
    )
    marks, known = dirty.value if dirty else None, recorded.value if recorded else None
    letter = kept.value if kept else None
    if marks is None and known is None and letter is None:
        return None
    return {
        "study": study.study_instance_uid,
        "partition": study.partition,
        "key": study.key,
        "state": _state(marks, known, letter),
        "counts": {"series": known.series if known else 0, "instances": known.instances if known else 0},
        "fhir": _in_fhir(known, s) if known else None,
        "findings": grouped(known.findings if known else ()),
        "dead_letter": letter.shown() if letter else None,
        "marks": _marks(marks, s) if marks else None,
    }


def _state(marks: DirtyStudy | None, known: Projection | None, letter: DeadLetter | None) -> str:
    if marks is not None:
        return "dirty"
    if letter is not None or (known is not None and known.error):
        return "dead_lettered"
    if known is None or not known.finished:
        return "dirty"
    return "synced" if known.instances else "removed"


def _in_fhir(known: Projection, s: Core) -> dict[str, Any]:
    """Refer to what stands for the study; to nothing that is not, or no longer, there."""
    present = known.finished and known.instances > 0
    reference = f"ImagingStudy/{known.fhir_id}"
    return {
        "reference": reference if present else None,
        "url": f"{s.settings.fhir_url}/{reference}" if present else None,
        "version": known.version,
        "adopted": known.adopted,
        "patient": f"Patient/{known.patient_id}" if known.patient_id else None,
        "derived": sorted(reference for reference, digest in known.derived.items() if digest),
    }


def grouped(findings: Iterable[Finding]) -> dict[str, Any]:
    """
    Group findings by code.

    Returns
    -------
    dict
        ``total`` and ``by_code``: code -> ``count`` and ``attributes``, DICOM keyword -> what was done.
    """
    by_code: dict[str, dict[str, list[str]]] = {}
    for finding in sorted(findings):
        by_code.setdefault(finding.code, {}).setdefault(finding.keyword, []).append(finding.action)
    counted = {
        code: {"count": sum(len(actions) for actions in keywords.values()), "attributes": keywords}
        for code, keywords in sorted(by_code.items())
    }
    return {"total": sum(each["count"] for each in counted.values()), "by_code": counted}


def _marks(marks: DirtyStudy, s: Core) -> dict[str, Any]:
    return {
        "first": marks.first_marked.isoformat(),
        "last": marks.last_marked.isoformat(),
        "due": due_at(marks, s).isoformat(),
        "attempts": marks.attempts,
        "not_before": _text(marks.not_before),
    }


def _text(timestamp: datetime | None) -> str | None:
    return timestamp.isoformat() if timestamp else None
