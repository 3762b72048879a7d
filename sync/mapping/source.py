"""One instance as the source of resources: the references and times that all of its resources share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sync.config import MappingSettings
from sync.dicom.attributes import texts
from sync.mapping.endpoint import dicomweb_root
from sync.mapping.resource import derived_id
from sync.mapping.terminology import DICOM_UID_SYSTEM
from sync.mapping.timestamps import Keywords, fhir_datetime
from sync.mapping.values import Findings, clean, filled
from sync.model import Attributes, InstanceRecord, Resource

_CONTENT = Keywords(date="ContentDate", time="ContentTime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    An instance, and the resource of its study.

    ``imaging_study`` is the study's resource as mapped: references to it are corrected before they are written.
    """

    record: InstanceRecord
    imaging_study: Resource
    settings: MappingSettings
    findings: Findings

    @property
    def attributes(self) -> Attributes:
        """Attributes of the header."""
        return self.record.attributes

    @property
    def sop_class(self) -> str:
        """SOP Class UID; empty when there is none."""
        return next(iter(texts(self.attributes, "SOPClassUID")), "")

    @property
    def identifier(self) -> Resource:
        """SOP Instance UID in the form that R4 gives to DICOM UIDs."""
        return dicom_uid(clean(self.record.sop_instance_uid))

    @property
    def study(self) -> Resource:
        """Reference to the ImagingStudy."""
        return {"reference": f"ImagingStudy/{self.imaging_study['id']}"}

    @property
    def based_on(self) -> Sequence[Resource] | None:
        """The orders that the study answers."""
        orders: Sequence[Resource] | None = self.imaging_study.get("basedOn")
        return orders

    @property
    def started(self) -> str | None:
        """When the study began: the time to which its findings apply."""
        began: str | None = self.imaging_study.get("started")
        return began

    @property
    def written(self) -> str | None:
        """When the document was written, (0008,0023) and (0008,0033)."""
        return fhir_datetime(self.attributes, _CONTENT, self.settings.timezone, self.findings)

    @property
    def url(self) -> str | None:
        """Address of the object itself (PS3.18 10.4.1.1.1, WADO-RS); None if no DICOMweb root is configured."""
        root, record = dicomweb_root(self.settings), self.record
        study, series, sop = record.study.study_instance_uid, record.series_instance_uid, record.sop_instance_uid
        return f"{root}/studies/{study}/series/{series}/instances/{sop}" if root else None

    def resource(self, resource_type: str, elements: Resource, *, place: str = "") -> Resource:
        """Make a resource of this instance: elements that are None or empty are left out."""
        resource_id = derived_id(resource_type, self.record.study, self.record.sop_instance_uid, place)
        return filled({"resourceType": resource_type, "id": resource_id, **elements})


def dicom_uid(value: str) -> Resource:
    """Return the FHIR *Identifier* of a DICOM UID."""
    return {"system": DICOM_UID_SYSTEM, "value": f"urn:oid:{value}"}
