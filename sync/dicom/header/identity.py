"""
Values that form an identity: an altered value identifies nothing (PS3.3 C.7.1.1, 10.17, 10.18).

Two ids that differ only in characters that were dropped or could not be decoded would become equal, and two patients
one. So an identifier is used as its writer wrote it, or not at all. An identifier without its issuer is a different
one, so if the issuer is unusable, the identifier is left out too. Both readers apply this rule with the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sync.dicom.header.text import Flaw
from sync.model import Finding

ALTERED: Flaw = ("identity.altered", "not used")

_CODE = ("CodeValue", "LongCodeValue", "URNCodeValue")
_DESIGNATOR = ("LocalNamespaceEntityID", "UniversalEntityID", "UniversalEntityIDType")
_DEVICE = ("DeviceUID", "DeviceSerialNumber")
_GROUPS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("PatientID",), ("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence")),
    (("AccessionNumber",), ("IssuerOfAccessionNumberSequence",)),
    (("PlacerOrderNumberImagingServiceRequest",), ("OrderPlacerIdentifierSequence",)),
    (("FillerOrderNumberImagingServiceRequest",), ("OrderFillerIdentifierSequence",)),
    (("SpecimenIdentifier",), ("IssuerOfTheSpecimenIdentifierSequence",)),
    (("ContainerIdentifier",), ("IssuerOfTheContainerIdentifierSequence",)),
    (("AdmissionID",), ("IssuerOfAdmissionIDSequence",)),
    (("UniqueDeviceIdentifier",), ()),
    (_DEVICE, ("Manufacturer", "ManufacturerModelName")),
    (_CODE, ("CodingSchemeDesignator",)),
    (_DESIGNATOR, ()),
    *(((keyword,), ()) for keyword in ("RequestedProcedureID", "StudyID", "SpecimenUID", "CodingSchemeUID")),
    *(((keyword,), ()) for keyword in ("ObservationUID", "UID", "ReferencedSOPInstanceUID")),
)
"""Groups of identifiers, each with the attributes without which it cannot be used."""

SPOILS: Mapping[str, tuple[str, ...]] = {
    keyword: identifiers for identifiers, others in _GROUPS for keyword in (*identifiers, *others)
}
"""Keyword of an altered value -> the identifiers beside it that cannot be used then."""


@dataclass(slots=True, kw_only=True)
class Notes:
    """
    Notes that a reader takes: findings, and the spoiled identifiers of the current data set or item.

    ``spoiled_item`` says whether the item that was read last was spoiled.
    """

    findings: set[Finding] = field(default_factory=set)
    spoiled: set[str] | None = None
    spoiled_item: bool = False

    def find(self, keyword: str, flaw: Flaw) -> None:
        """Note a finding about an attribute; identifiers that depend on it can no longer be used."""
        code, action = flaw
        self.findings.add(Finding(keyword=keyword, code=code, action=action))
        self.spoil(keyword)

    def spoil(self, keyword: str) -> None:
        """Note that a value was altered; no effect unless an identifier depends on it."""
        if keyword in SPOILS:
            self.spoiled = (self.spoiled or set()) | set(SPOILS[keyword])

    def enter(self) -> set[str] | None:
        """Begin a data set or an item; return the enclosing one's notes, for `leave`."""
        outer, self.spoiled = self.spoiled, None
        return outer

    def leave(self, values: dict[str, list[Any]], outer: set[str] | None) -> None:
        """End the data set or item: remove the spoiled identifiers from its values."""
        spoiled, self.spoiled = self.spoiled, outer
        self.spoiled_item = spoiled is not None
        for keyword in spoiled or ():
            if values.pop(keyword, None):
                code, action = ALTERED
                self.findings.add(Finding(keyword=keyword, code=code, action=action))
