"""Another system that writes to the same FHIR service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sync.model import StudyRef
from tests.worlds import ehr_patient, ehr_study


@dataclass
class Ehr:
    """Another system that writes to the same FHIR service: a study and its patient, and the patient of another."""

    study: str = "ehr-study"
    knows_p1: bool = False
    """Whether it has a Patient P1 too; it may come to know it late, when we have created ours already."""
    notes: list[dict[str, str]] = field(default_factory=list)
    """What it has written into its study."""
    telecom: list[dict[str, str]] = field(default_factory=list)
    """What it has written into its Patients."""
    deleted: set[str] = field(default_factory=set)
    """Ids of Patients that it keeps no more."""

    def resources(self) -> list[dict[str, Any]]:
        """Return all resources that the EHR keeps, none of them seen by us yet."""
        subject = {"reference": "Patient/ehr"}
        notes = {"note": list(self.notes)} if self.notes else {}
        study = ehr_study(self.study, StudyRef(study_instance_uid="2.25.2"), subject=subject, **notes)
        return [*self.patients(), study]

    def patients(self) -> list[dict[str, Any]]:
        """Return the EHR's Patients, none of them written by us yet."""
        known = {"ehr": "E", "ehr-2": "P2", **({"ehr-1": "P1"} if self.knows_p1 else {})}
        contact = {"telecom": list(self.telecom)} if self.telecom else {}
        return [
            ehr_patient(resource_id, value, **contact)
            for resource_id, value in known.items()
            if resource_id not in self.deleted
        ]
