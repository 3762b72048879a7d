"""The records of each study: its dirty mark, the resources written to FHIR, and its patient."""

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
    """Code of the last failure; it describes the present only while ``failing_since`` is set."""
    bypass_cache: bool = False
    """Whether FHIR must be read for the next attempt: the cached projection is bypassed."""
    comparison: bool = False
    """Whether none of its marks came from an object: the study is only compared with FHIR, without waiting."""
    longest_gap: float | None = None
    """Seconds: the longest gap that a process saw between the study's last objects; None if none saw two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """
    The last write to FHIR for one study: a cache of the server's state, and a write-ahead record of patient rows.

    ``version`` and ``content_hash`` describe the ImagingStudy that we wrote or found equal; both are None when we left
    no ImagingStudy. ``foreign`` is true when the resource had elements of other writers, which an update must read and
    keep. ``elements`` are the top-level elements that we wrote. ``taken_over`` is true for an adopted resource that its
    author has left to us. ``begun`` is set before the first write, so that a crash cannot hide that there was one.
    ``patient_key`` is the key of the patient row that the study keeps, ``patient_keys`` holds every one that it ever
    had: an attempt that crashed, or lost a race, may have left a row or a Patient under any of them. ``derived`` maps
    every resource that was ever made from an instance of this study, as ``Type/id``, to the hash of its content, or to
    an empty text when it should not exist.
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
    """Hashes of the resources that the study shares with others (Endpoint, Devices), as they should be."""
    series: int = 0
    instances: int = 0
    findings: tuple[Finding, ...] = ()
    patient_findings: tuple[Finding, ...] = ()
    """The part of ``findings`` that requires reading the Patient and its other studies."""
    error: str | None = None
    published_state: str = ""
    """The state last published: a digest, the code of a failure, or empty; see `sync.protocol.outbox`."""
    published_count: int = 0
    finished: bool = False
    """False during an attempt, or after it died: then trust only ids, ``begun`` and ``patient_keys``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRow:
    """The demographics that one study contributes; the Patient is built from all rows of its key."""

    patient_key: str
    study: StudyRef
    study_date: str
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEvent:
    """
    An entry of a study's processing history, for people to read; no code decides by it.

    ``outcome`` is a word of `sync.model.Projected`; the counts are those of the study at that time. Aware UTC.
    """

    study: StudyRef
    at: datetime
    outcome: str
    series: int = 0
    instances: int = 0

    @property
    def state(self) -> str:
        """The study's state at that time, in the words of `sync.monitoring.study_state.StudyState`."""
        if self.outcome.endswith("dead_lettered"):
            return "dead_lettered"
        return "synced" if self.instances else "removed"
