"""
Values that form an identity: one that was altered on the way identifies nothing (PS3.3 C.7.1.1, 10.17, 10.18).

Two ids that differ only in what was dropped or could not be decoded would become one, and with them two patients. So an
identifier is used as its writer wrote it, or not at all; and since an identifier without its issuer is another one, an
unusable issuer takes the identifier with it. Both readers keep this rule by the same table.
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
"""Identifiers, and the attributes that are read together with each."""

SPOILS: Mapping[str, tuple[str, ...]] = {
    keyword: identifiers for identifiers, others in _GROUPS for keyword in (*identifiers, *others)
}
"""Keyword of a value that could not be taken as it is -> the identifiers beside it that cannot be used for that."""


@dataclass(slots=True, kw_only=True)
class Notes:
    """
    What a reader notes on its way: findings, and which identities of the data set or item at hand are spoiled.

    ``spoiled_item`` tells of the item that was read last.
    """

    findings: set[Finding] = field(default_factory=set)
    spoiled: set[str] | None = None
    spoiled_item: bool = False

    def find(self, keyword: str, flaw: Flaw) -> None:
        """Note what is wrong with an attribute; what an identity is made of can no longer be used."""
        code, action = flaw
        self.findings.add(Finding(keyword=keyword, code=code, action=action))
        self.spoil(keyword)

    def spoil(self, keyword: str) -> None:
        """Note that a value is not as its writer meant it; nothing unless an identity is made of it."""
        if keyword in SPOILS:
            self.spoiled = (self.spoiled or set()) | set(SPOILS[keyword])

    def enter(self) -> set[str] | None:
        """Begin a data set or an item; return what `leave` needs."""
        outer, self.spoiled = self.spoiled, None
        return outer

    def leave(self, values: dict[str, list[Any]], outer: set[str] | None) -> None:
        """End it: take the spoiled identifiers out of its values."""
        spoiled, self.spoiled = self.spoiled, outer
        self.spoiled_item = spoiled is not None
        for keyword in spoiled or ():
            if values.pop(keyword, None):
                code, action = ALTERED
                self.findings.add(Finding(keyword=keyword, code=code, action=action))
