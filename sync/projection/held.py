"""The beginning of an attempt to project a study: reads its record and the state of FHIR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sync.errors import AmbiguousMatch
from sync.mapping.dicom_cast import is_made_by_cast
from sync.mapping.resource import is_our_id, study_id, study_identifier, version_of
from sync.model import Projection, Resource, Stored, StudyRef
from sync.ports import Compare, Core


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """
    The ImagingStudy in FHIR, as far as it is known.

    Both fields None: FHIR has none. Only ``resource`` None: it is known from the projection row only. Only ``version``
    None: the server keeps no versions.
    """

    resource_id: str
    adopted: bool = False
    taken_over: bool = False
    """Whether DICOM Cast, now switched off, created it."""
    notes: frozenset[str] = frozenset()
    """Texts of notes that are obsolete."""
    version: str | None = None
    resource: Resource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionAttempt:
    """One attempt to project a study; ``trust``: whether the record may replace reading the server."""

    study: StudyRef
    held: Held
    recorded: Stored[Projection] | None
    trust: bool

    @property
    def before(self) -> Projection | None:
        """The record when the attempt began."""
        return self.recorded.value if self.recorded else None

    def is_interrupted(self, *, instances: bool) -> bool:
        """
        Return whether an attempt may have died after a deletion and before recording it.

        Parameters
        ----------
        instances
            Whether the study has any now: a recorded removal says that it had none before, either.
        """
        before = self.before
        return (
            not self.trust and before is not None and (not before.finished or (before.instances > 0 and not instances))
        )

    @property
    def elements(self) -> frozenset[str]:
        """Elements of the ImagingStudy that we wrote, as far as the record says."""
        return self.recorded.value.elements if self.recorded else frozenset()

    @property
    def derived(self) -> Mapping[str, str]:
        """Derived resources in the record."""
        return self.recorded.value.derived if self.recorded else {}


async def read_fhir_state(study: StudyRef, recorded: Stored[Projection] | None, s: Compare, *, trust: bool) -> Held:
    """
    Return the study's state in FHIR, from the record or from the server. Only reads; idempotent.

    A study without a usable record is searched for by identifier once; a resource of another system is adopted. An
    adopted resource is read each time, because its owner may change it.

    Raises
    ------
    AmbiguousMatch
        Several ImagingStudies of others carry the Study Instance UID and none is ours.
    TransientError
        FHIR did not answer.
    """
    if recorded is not None and trust and _is_sufficient(recorded.value):
        return Held(resource_id=recorded.value.fhir_id, version=recorded.value.version)
    if recorded is not None:
        resource = await s.fhir.read("ImagingStudy", recorded.value.fhir_id)
        if resource is not None:
            return _perhaps_taken_over(held_as(study, resource), s, recorded=recorded.value.taken_over)
    return _perhaps_taken_over(await _look_up(study, s), s)


def held_as(study: StudyRef, resource: Resource) -> Held:
    """Return the state for a resource; one with an id that is not ours belongs to another system."""
    return Held(
        resource_id=resource["id"],
        adopted=resource["id"] != study_id(study),
        version=version_of(resource),
        resource=resource,
    )


def _perhaps_taken_over(held: Held, s: Core, *, recorded: bool = False) -> Held:
    if not held.adopted or held.resource is None:
        return held
    return replace(held, taken_over=recorded or is_made_by_cast(held.resource, s.settings.dicomweb_url))


def _is_sufficient(projection: Projection) -> bool:
    """Return whether the record can replace reading the server: we own the resource, and know its version if any."""
    return not projection.adopted and (projection.version is not None or projection.instances == 0)


async def _look_up(study: StudyRef, s: Compare) -> Held:
    matches = await s.fhir.search("ImagingStudy", *study_identifier(study))
    own = [match for match in matches if match["id"] == study_id(study)]
    candidates = own or [match for match in matches if not is_our_id(match["id"])]
    if len(candidates) > 1:
        detail = f"{len(candidates)} ImagingStudies carry the Study Instance UID"
        raise AmbiguousMatch(detail, code="fhir.ambiguous_study")
    return held_as(study, candidates[0]) if candidates else Held(resource_id=study_id(study))
