"""The records of each study: whether it is dirty, what was written to FHIR, and its patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sync.model.identity import StudyRef
from sync.model.instances import Attributes, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyStudy:
    """An outstanding study: the outbox row. Times are aware UTC."""

    study: StudyRef
    first_marked: datetime
    last_marked: datetime
    attempts: int = 0
    not_before: datetime | None = None
    failing_since: datetime | None = None
    """When the failures began that ``attempts`` counts."""
    failure: str = ""
    """Code of the last of them; it tells of now only while ``failing_since`` is set."""
    bypass_cache: bool = False
    """Whether FHIR must be read for the next attempt: the cached projection is bypassed."""
    comparison: bool = False
    """Whether no object came with any of its marks: it is only to be compared with FHIR, and waits for nothing."""
    longest_gap: float | None = None
    """Seconds; longest gap between the last objects that a process saw of the study, None if none saw two of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """
    What we last wrote to FHIR for one study; a cache of the server, and the write-ahead note of patient rows.

    ``version`` and ``content_hash`` describe the ImagingStudy that we wrote or found equal; both are None when we left
    none. ``foreign`` is true when it carried elements of others, which an update has to read and keep. ``elements``
    are the top-level elements that we wrote. ``taken_over`` tells of an adopted resource that its maker has left to us.
    ``begun`` is noted before the first write, so that no crash hides one.
    ``patient_key`` is the key of the patient row that the study keeps, ``patient_keys`` holds every one that it ever
    had: an attempt that crashed, or lost a race, may have left a row or a Patient under any of them. ``derived`` holds,
    as ``Type/id``, every resource that an instance of this study ever made: with the hash of its content, or with an
    empty text when it should not exist.
    """

    study: StudyRef
    fhir_id: str
    adopted: bool = False
    taken_over: bool = False
    version: str | None = None
    content_hash: str | None = None
    foreign: bool = False
    elements: frozenset[str] = frozenset()
    begun: bool = False
    patient_id: str | None = None
    patient_key: str | None = None
    patient_hash: str | None = None
    patient_keys: frozenset[str] = frozenset()
    derived: Mapping[str, str] = field(default_factory=dict)
    shared_hashes: frozenset[str] = frozenset()
    """Of the resources that it refers to and shares with other studies, as they should be: Endpoint, Devices."""
    series: int = 0
    instances: int = 0
    findings: tuple[Finding, ...] = ()
    patient_findings: tuple[Finding, ...] = ()
    """Those of ``findings`` that only an inspection of the Patient and its other studies can give."""
    error: str | None = None
    published_state: str = ""
    """What result events last said of it: a digest, a failure's code, or nothing; see `sync.protocol.outbox`."""
    published_count: int = 0
    finished: bool = False
    """False while an attempt is on its way (or died there): trust ids, ``begun`` and ``patient_keys`` only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRow:
    """What one study contributes to its patient; the Patient resource is built from all rows of its key."""

    patient_key: str
    study: StudyRef
    study_date: str
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEvent:
    """
    Something that a study gave rise to, for people to read: nothing is decided by it.

    ``outcome`` is a word of `sync.model.Projected`; counts are those of the study then. Aware UTC.
    """

    study: StudyRef
    at: datetime
    outcome: str
    series: int = 0
    instances: int = 0

    @property
    def state(self) -> str:
        """State that the study had then, in the words of `sync.monitoring.study_state.StudyState`."""
        if self.outcome.endswith("dead_lettered"):
            return "dead_lettered"
        return "synced" if self.instances else "removed"
