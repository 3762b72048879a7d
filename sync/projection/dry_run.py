"""
Predicts the writes of projecting a study, without writing anything.

The ordinary projection runs on ports that read the real services and keep every write to themselves. So the code that
decides in `sync.projection` decides here too: a check can neither know less than the sync nor disagree with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sync.errors import FhirConflict
from sync.mapping.ownership import DERIVED_ELEMENTS
from sync.model import (
    DeadLetter,
    DeadLetterEntry,
    DeadLetterPage,
    FhirPage,
    FhirWrite,
    LedgerRow,
    PatientRow,
    Projection,
    Resource,
    Stored,
    StudyRef,
    StudySearch,
    SubjectKind,
    references_in,
)
from sync.ports import Caches, DeadLetters, FhirServer, PatientRows, Project
from sync.projection import read_fhir_state, write_study
from sync.projection.last_record import LastRecord
from sync.telemetry.telemetry import Telemetry

_REMOVED_FOR_GOOD = frozenset({"ImagingStudy", "Patient", *DERIVED_ELEMENTS})
"""Types whose removal a server may refuse because others refer to them; the sync then leaves those resources."""


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """
    The writes and removals of one attempt.

    It would send ``writes`` and try ``removals``. ``held`` is every resource that it read, by type and id; None when
    there is none. ``record`` is the study's present projection row, ``after`` the one that it would write (None: no
    change). ``patient_row`` is the one that it would leave of its patient, if it would write one.
    """

    study: StudyRef
    record: Projection | None
    after: Projection | None
    rows: Sequence[LedgerRow]
    writes: Sequence[FhirWrite]
    removals: Sequence[FhirWrite]
    held: dict[tuple[str, str], Resource | None]
    patient_row: PatientRow | None


async def dry_run_study(
    study: StudyRef,
    s: Project,
    *,
    fhir: FhirServer | None = None,
    record: Stored[Projection] | None = None,
    rows: Sequence[LedgerRow] | None = None,
) -> DryRun:
    """
    Return the writes of projecting the study now without the cached projection. Only reads.

    Parameters
    ----------
    fhir
        The service to compare with; None for the real one. An empty one gives all that the study consists of: its
        Patient is then what this study alone says, for patient rows are read for the real service only.
    record
        The study's projection row, if it was read just now; None: it is read here.
    rows
        The ledger's rows, if they were read just now and ``fhir`` is not the real service; None: they are read here.

    Raises
    ------
    Conflict
        The study changed meanwhile.
    PermanentError
        The attempt would dead-letter the study.
    """
    watched = ReadOnlyFhir(fhir or s.fhir)
    projections = _Unwritten(s.projections)
    patients = _PatientRowsApart(s.patients if fhir is None else None)
    apart = replace(
        s,
        fhir=watched,
        projections=projections,
        patients=patients,
        dead_letters=_NoDeadLetters(),
        telemetry=Telemetry(),
        results=None,
        caches=Caches(),
    )
    record = record or await s.projections.read(study)
    held = await read_fhir_state(study, record, apart, trust=False)
    rows = await s.ledger.read(study) if rows is None else rows
    await write_study(study, rows, held, record, apart, trust=False)
    return DryRun(
        study=study,
        record=record.value if record else None,
        after=projections.last or (record.value if record else None),
        rows=rows,
        writes=watched.writes,
        removals=watched.removals,
        held=watched.held,
        patient_row=patients.left,
    )


@dataclass
class ReadOnlyFhir(FhirServer):
    """A FHIR service that is read and never written; it records the resources read and the writes requested."""

    server: FhirServer
    writes: list[FhirWrite] = field(default_factory=list)
    removals: list[FhirWrite] = field(default_factory=list)
    held: dict[tuple[str, str], Resource | None] = field(default_factory=dict)

    async def read(self, resource_type: str, resource_id: str) -> Resource | None:
        """Read the real service."""
        resource = await self.server.read(resource_type, resource_id)
        self.held[resource_type, resource_id] = resource
        return resource

    async def read_all(self, references: Sequence[str]) -> Sequence[Resource | None]:
        """Read the real service."""
        resources = await self.server.read_all(references)
        for reference, resource in zip(references, resources, strict=True):
            resource_type, resource_id = reference.split("/")
            self.held[resource_type, resource_id] = resource
        return resources

    async def search(self, resource_type: str, system: str | None, value: str) -> Sequence[Resource]:
        """Search the real service."""
        resources = await self.server.search(resource_type, system, value)
        self.held.update({(resource_type, resource["id"]): resource for resource in resources})
        return resources

    async def page(self, resource_type: str, link: str | None = None, *, subject: str | None = None) -> FhirPage:
        """List the real service."""
        return await self.server.page(resource_type, link, subject=subject)

    async def find_studies(self, search: StudySearch, link: str | None = None) -> FhirPage:
        """Search the real service."""
        return await self.server.find_studies(search, link)

    async def last_version(self, resource_type: str, resource_id: str) -> Resource | None:
        """Read the real service."""
        return await self.server.last_version(resource_type, resource_id)

    async def referrers(self, references: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """Search the real service, as it would be after the removals and writes so far."""
        referring = await self.server.referrers(references)
        removed = {write.reference for write in self.removals}
        written = {write.reference: write.resource for write in self.writes if write.reference not in removed}
        unchanged = {reference: referring[reference] - removed - set(written) for reference in references}
        named = {address: set(references_in(resource)) for address, resource in written.items()}
        return {
            reference: unchanged[reference] | {address for address, targets in named.items() if reference in targets}
            for reference in references
        }

    async def transact(self, writes: Sequence[FhirWrite]) -> Sequence[str | None]:
        """
        Record the writes; nothing reaches the service.

        Raises
        ------
        FhirConflict
            A removal by itself counts as refused, as if others referred to the resource: the sync's reaction shows
            whether anything is left to do.
        """
        deletions = [write for write in writes if write.resource is None]
        self.removals += deletions
        if len(deletions) == len(writes) and all(write.resource_type in _REMOVED_FOR_GOOD for write in deletions):
            raise FhirConflict("a dry run removes nothing")
        self.writes += [write for write in writes if write.resource is not None]
        return [None if write.resource is None else "dry run" for write in writes]


class _Unwritten(LastRecord):
    """Records of which ``last`` is the one that the attempt would write."""

    async def read(self, study: StudyRef) -> Stored[Projection] | None:
        return await self._records.read(study)

    async def write(self, projection: Projection, etag: str | None) -> str:  # noqa: ARG002 -- nothing to fence
        self.last = projection
        return "dry run"


class _PatientRowsApart(PatientRows):
    """
    The real table's rows, overlaid with the changes of one attempt.

    Parameters
    ----------
    real
        None for no rows but those of the attempt.
    """

    def __init__(self, real: PatientRows | None) -> None:
        self._real = real
        self._changes: dict[tuple[str, str], PatientRow | None] = {}

    async def upsert(self, row: PatientRow) -> None:
        self._changes[row.patient_key, row.study.key] = row

    async def delete(self, patient_key: str, study: StudyRef) -> None:
        self._changes[patient_key, study.key] = None

    async def read(self, patient_key: str) -> Sequence[PatientRow]:
        stored = await self._real.read(patient_key) if self._real is not None else ()
        rows: dict[str, PatientRow | None] = {row.study.key: row for row in stored}
        rows.update({study: row for (key, study), row in self._changes.items() if key == patient_key})
        return [row for row in rows.values() if row is not None]

    def between(self, first: str, before: str) -> AsyncIterator[Sequence[PatientRow]]:
        raise NotImplementedError("an attempt asks for one patient at a time")

    @property
    def left(self) -> PatientRow | None:
        """The row that the attempt has left."""
        return next((row for row in self._changes.values() if row is not None), None)


class _NoDeadLetters(DeadLetters):
    async def put(self, letter: DeadLetter) -> bool:  # noqa: ARG002 - a port's
        return False

    async def clear(self, kind: SubjectKind, subject: str) -> None:
        pass

    async def read(self, kind: SubjectKind, subject: str) -> Stored[DeadLetter] | None:  # noqa: ARG002 - a port's
        return None

    async def subjects(self, kind: SubjectKind, most: int) -> frozenset[str]:  # noqa: ARG002 - a port's
        return frozenset()

    async def delete(self, letter: DeadLetter, etag: str) -> None:
        pass

    async def page(self, **_which: object) -> DeadLetterPage:
        return DeadLetterPage()

    async def entries(self) -> Sequence[DeadLetterEntry]:
        return ()

    async def all(self) -> AsyncIterator[DeadLetter]:
        no_letters: tuple[DeadLetter, ...] = ()
        for letter in no_letters:
            yield letter
