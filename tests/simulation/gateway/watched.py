"""What must never happen to FHIR: losing what the store still holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sync.mapping.resource import is_our_id, study_id
from sync.model import FhirWrite, StudyRef
from sync.testing.fhir import MemoryFhirServer
from tests.simulation.contents import Content
from tests.worlds import ehr_patient, run

EHR = "P2"
"""Patient ID of the Patient that an EHR keeps from the beginning."""


class WatchedFhirServer(MemoryFhirServer):
    """Notes each write that takes away what an object says that was there all the time."""

    def __init__(self, wrong: list[str]) -> None:
        super().__init__()
        self._wrong = wrong
        self._kept: dict[str, set[str]] = {}
        run(super().transact([FhirWrite(resource_type="Patient", resource_id="ehr", resource=ehr_patient("ehr", EHR))]))

    def keep(self, content: Content) -> None:
        """Tell the watcher that from now on the store holds an object of this content."""
        study = study_id(StudyRef(study_instance_uid=f"2.25.{content.study}"))
        self._kept.setdefault(study, set()).add(f"2.25.{content.sop}")

    async def transact(self, writes: Sequence[FhirWrite]) -> Sequence[str | None]:
        """Apply the writes."""
        before = {study: _instances(self.peek("ImagingStudy", study)) & kept for study, kept in self._kept.items()}
        versions = await super().transact(writes)
        if any(_is_doubled(write) for write in writes):
            self._wrong.append("a second Patient was made beside the EHR's")
        for study, had in before.items():
            if lost := had - _instances(self.peek("ImagingStudy", study)):
                self._wrong.append(f"{len(lost)} of {len(had)} instances that the store holds were removed")
        return versions


def _is_doubled(write: FhirWrite) -> bool:
    identifiers = (write.resource or {}).get("identifier", []) if write.resource_type == "Patient" else []
    return is_our_id(write.resource_id) and any(identifier.get("value") == EHR for identifier in identifiers)


def _instances(study: Any) -> set[str]:
    series = (study or {}).get("series", [])
    return {instance["uid"] for one_series in series for instance in one_series.get("instance", [])}
