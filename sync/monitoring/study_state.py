"""The state of one study for operators: its resources in FHIR, and the values that could not be used."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, TypeAdapter

from sync.model import DeadLetter, DirtyStudy, Finding, Projection, StudyRef, SubjectKind
from sync.model.timestamps import Timestamp
from sync.monitoring.hints import hint_of
from sync.ports import Core, Project
from sync.protocol.dirty_studies import due_at

UNKNOWN = {
    "code": "study.unknown",
    "hint": "No object of this study was ever seen. Check the Study Instance UID and the partition, or run a backfill.",
}
"""Answer for an unknown study."""


ShownDeadLetter = Annotated[DeadLetter, PlainSerializer(DeadLetter.shown, when_used="json")]
"""A dead letter in JSON: without its message, which may hold patient data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCounts:
    """The counts of the study in FHIR."""

    series: int = 0
    instances: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInFhir:
    """The resources that represent the study; ``reference`` and ``url`` are None while there is no ImagingStudy."""

    reference: str | None
    url: str | None
    version: str | None
    adopted: bool
    patient: str | None
    derived: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGroup:
    """Findings of one code: their number, and the actions taken for each attribute, by DICOM keyword."""

    count: int
    attributes: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCounts:
    """Attributes that could not be used, by code of the finding; never their values."""

    total: int
    by_code: Mapping[str, FindingGroup]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Times of a dirty study: when it was first and last marked, when it is due, and since when attempts fail."""

    first: Timestamp
    last: Timestamp
    due: Timestamp
    attempts: int
    not_before: Timestamp | None
    failing_since: Timestamp | None = None
    failure: str = ""
    """Code of the last attempt's failure; empty unless it failed."""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyState:
    """
    State of one study. Holds no patient data but the UID that the caller sent.

    ``state`` is *dirty* (waits to be written, or is being written), *dead_lettered* (see ``dead_letter``), *synced*, or
    *removed* (its last instance is gone).
    """

    study: str
    partition: str
    key: str
    state: Literal["dirty", "dead_lettered", "synced", "removed"]
    counts: StudyCounts
    fhir: StudyInFhir | None
    findings: FindingCounts
    dead_letter: ShownDeadLetter | None
    marks: Marks | None


_JSON = TypeAdapter(StudyState)


async def study_state(study: StudyRef, s: Project) -> dict[str, Any] | None:
    """Return `read_study_state` as JSON; None for a study that was never seen."""
    state = await read_study_state(study, s)
    return _JSON.dump_python(state, mode="json") if state is not None else None


async def read_study_state(study: StudyRef, s: Project) -> StudyState | None:
    """
    Return the whole state of a study; None for a study that was never seen. Reads three rows and writes nothing.

    Raises
    ------
    StoreUnavailable
        Storage did not answer.
    """
    marked, recorded, dead_lettered = await asyncio.gather(
        s.dirty.read(study), s.projections.read(study), s.dead_letters.read(SubjectKind.STUDY, study.key)
    )
    dirty, projection = marked.value if marked else None, recorded.value if recorded else None
    letter = dead_lettered.value if dead_lettered else None
    if dirty is None and projection is None and letter is None:
        return None
    return StudyState(
        study=study.study_instance_uid,
        partition=study.partition,
        key=study.key,
        state=_state(dirty, projection, letter),
        counts=StudyCounts(series=projection.series, instances=projection.instances) if projection else StudyCounts(),
        fhir=_in_fhir(projection, s) if projection else None,
        findings=grouped(projection.findings if projection else ()),
        dead_letter=letter,
        marks=_marks(dirty, s) if dirty else None,
    )


def _state(
    dirty: DirtyStudy | None, projection: Projection | None, letter: DeadLetter | None
) -> Literal["dirty", "dead_lettered", "synced", "removed"]:
    if dirty is not None:
        return "dirty"
    if letter is not None or (projection is not None and projection.error):
        return "dead_lettered"
    if projection is None or not projection.finished:
        return "dirty"
    return "synced" if projection.instances else "removed"


def _in_fhir(projection: Projection, s: Core) -> StudyInFhir:
    """Return references to the existing resources of the study."""
    present = projection.finished and projection.instances > 0
    reference = f"ImagingStudy/{projection.fhir_id}"
    return StudyInFhir(
        reference=reference if present else None,
        url=f"{s.settings.fhir_url}/{reference}" if present else None,
        version=projection.version,
        adopted=projection.adopted,
        patient=f"Patient/{projection.patient_id}" if projection.patient_id else None,
        derived=sorted(address for address, digest in projection.derived.items() if digest),
    )


def grouped(findings: Iterable[Finding]) -> FindingCounts:
    """Group findings by code."""
    by_code: dict[str, dict[str, list[str]]] = {}
    for finding in sorted(findings):
        by_code.setdefault(finding.code, {}).setdefault(finding.keyword, []).append(finding.action)
    groups = {
        code: FindingGroup(count=sum(len(actions) for actions in keywords.values()), attributes=keywords)
        for code, keywords in sorted(by_code.items())
    }
    return FindingCounts(total=sum(group.count for group in groups.values()), by_code=groups)


def _marks(dirty: DirtyStudy, s: Core) -> Marks:
    return Marks(
        first=dirty.first_marked,
        last=dirty.last_marked,
        due=due_at(dirty, s),
        attempts=dirty.attempts,
        not_before=dirty.not_before,
        failing_since=dirty.failing_since,
        failure=dirty.failure if dirty.failing_since else "",
        hint=hint_of(dirty.failure) if dirty.failing_since else "",
    )
