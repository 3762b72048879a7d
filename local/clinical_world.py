"""
A generator of clinical worlds: synthetic patients with boundary cases, and the correct answers about them.

Patient ``i`` is the same whatever the number of patients. Every block of 104 holds 16 boundary cases, 16 people over 45
with osteosarcoma, 40 with a read lung nodule, 4 with consents, 8 who are too young for the cohort and 20 with a
recommended stent. What is true of a patient is decided when the patient is made, so the truth is counted while writing
and owes nothing to the questions. Imaging is not made here: `local.clinical_imaging` makes DICOM files of the same
patients, and the sync makes FHIR of them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

from local.clinical_cases import CONSENTS, SCT, Resource, Stent, coded, consents, doses, stent

AS_OF = date(2026, 6, 30)
"""The day of the questions: that of ``docs/examples/osteosarcoma.yaml``."""

BLOCK = 104
"""Patients after which the cases begin again."""

_MEMBERS, _NODULES, _CONSENTS, _YOUNG = 32, 72, 76, 84
"""Where those over 45 with osteosarcoma end in a block, those with a lung nodule, with consents, and the young."""
PATIENT_SYSTEM = "urn:dicom-fhir-sync:patient-id"
"""System of the identifier by which the sync finds the Patient of a study."""

READER = {"type": "Practitioner", "identifier": {"system": "urn:example:staff", "value": "r-17"}}
ICD_O = "http://terminology.hl7.org/CodeSystem/icd-o-3"
_ORDER = ("Device", "Patient", "Condition", "MedicationRequest", "Procedure", "Encounter", "Specimen", "Observation")
_OSTEOSARCOMA, _CANCER, _BENIGN = "307576001", "254637007", "30807003"
_NODULE, _CLEAR, _LUNG = "27925004", "281900007", "39607008"
_SIDES = {"left": ("44029006", "7771000"), "right": ("3341006", "24028007")}

Membership = Literal["in", "out", "undecided"]


@dataclass(frozen=True, slots=True)
class Read:
    """A read of a lung: what was said and, if anything, found; ``counts`` is whether that outcome answers the read."""

    said: bool
    found: bool | None
    counts: bool
    kind: str = ""


@dataclass(slots=True)
class Person:
    """
    A synthetic patient.

    Attributes
    ----------
    osteosarcoma
        Whether the cohort of the example holds this person.
    ct
        Day of a CT, for which a DICOM file is made; None without one.
    dose
        Dose length product of the CT in mGy·cm; None if it was not recorded.
    """

    number: int
    case: str
    born: str
    sex: str
    osteosarcoma: Membership = "out"
    ct: date | None = None
    read: Read | None = None
    stent: Stent | None = None
    dose: int | None = None
    resources: list[Resource] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Id of the Patient in FHIR."""
        return f"cw-{self.number:06}"

    @property
    def patient_id(self) -> str:
        """Patient ID in DICOM, and value of the identifier in FHIR."""
        return f"CW-{self.number:06}"

    @property
    def accession(self) -> str:
        """Accession number of the CT."""
        return f"CWA-{self.number:06}"

    def add(self, kind: str, name: str, **content: Any) -> str:
        """Add a resource about this person; return its reference."""
        identity = f"{self.id}-{name}"
        subject = {"reference": f"Patient/{self.id}"}
        self.resources.append({"resourceType": kind, "id": identity, "subject": subject, **content})
        return f"{kind}/{identity}"


def person(number: int) -> Person:
    """Return patient ``number`` with all resources; deterministic, and independent of all other patients."""
    place, chance = number % BLOCK, random.Random(f"clinical-world-{number}")  # noqa: S311 -- no secret
    if place < len(_BOUNDARIES):
        return _boundary(number, chance)
    if place < _MEMBERS:
        return _member(number, chance)
    if place < _NODULES:
        return _nodule(number, place - _MEMBERS, chance)
    if place < _CONSENTS:
        return _consented(number, CONSENTS[place - _NODULES], chance)
    return _young(number, chance) if place < _YOUNG else _stented(number, place - _YOUNG, chance)


def people(count: int) -> Iterator[Person]:
    """Yield the first patients."""
    return (person(number) for number in range(count))


def models() -> list[Resource]:
    """Return the Devices of the algorithms whose findings and sizes are in the world."""
    named = (("cw-nodule-finder", "Nodule Finder", "2.1"), ("cw-stent-sizer", "Stent Sizer", "1.0"))
    return [
        {
            "resourceType": "Device",
            "id": identity,
            "deviceName": [{"name": name, "type": "model-name"}],
            "version": [{"value": version}],
        }
        for identity, name, version in named
    ]


def in_order(resources: Iterable[Resource]) -> list[Resource]:
    """Return resources in an order in which each comes after those that it refers to."""
    rank = {kind: number for number, kind in enumerate(_ORDER)}
    return sorted(resources, key=lambda one: (rank.get(one["resourceType"], len(rank)), "link" in one, one["id"]))


def truth(world: Iterable[Person]) -> dict[str, Any]:
    """Return the correct answers: the members of the example cohort, reads with outcomes, stents, dose."""
    members: dict[str, list[str]] = {"in": [], "undecided": []}
    cases, reads, table = Counter[str](), Counter[str](), Counter[str]()
    stents: list[Stent] = []
    doses_of: list[int] = []
    for one in world:
        stents += [one.stent] if one.stent else []
        doses_of += [one.dose] if one.dose else []
        cases[one.case] += 1
        if one.osteosarcoma != "out":
            members[one.osteosarcoma].append(one.id)
        if one.read is not None:
            reads["reads"] += 1
            reads["with outcome"] += one.read.counts
            if one.read.counts:
                table[f"said {_word(one.read.said)}, found {_word(bool(one.read.found))}"] += 1
    return {
        "as_of": AS_OF.isoformat(),
        "cases": dict(sorted(cases.items())),
        "osteosarcoma": members,
        "reader": {**reads, "table": dict(sorted(table.items()))},
        "stents": _sizes(stents),
        "dose": {"records": len(doses_of), "total": sum(doses_of)},
    }


def _sizes(stents: list[Stent]) -> dict[str, float]:
    """Return the number of recommendations, the number with an implant, and the mean difference in millimetres."""
    differences = [pair.said - pair.used for pair in stents if pair.used is not None]
    bias = sum(differences) / len(differences) if differences else 0.0
    return {"recommended": len(stents), "implants": len(differences), "bias": round(bias, 6)}


def _word(value: bool) -> str:  # noqa: FBT001 -- it is the value that is written
    return "yes" if value else "no"


def _started(number: int, case: str, born: str, sex: str) -> Person:
    one = Person(number, case, born, sex)
    one.resources.append(
        {
            "resourceType": "Patient",
            "id": one.id,
            "identifier": [{"system": PATIENT_SYSTEM, "value": one.patient_id}],
            "name": [{"family": "Synthetic", "given": [f"P{number:06}"]}],
            "gender": sex,
            "birthDate": born,
        }
    )
    return one


def _diagnose(one: Person, on: str, *, status: str = "confirmed", codings: tuple[tuple[str, str], ...] = ()) -> None:
    coding = [{"system": system, "code": code} for system, code in codings or ((SCT, _OSTEOSARCOMA),)]
    verification = {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": status}]
    }
    one.add("Condition", "dx", code={"coding": coding}, onsetDateTime=on, verificationStatus=verification)


_Boundary = tuple[str, str, str, Membership]
_BOUNDARIES: tuple[_Boundary, ...] = (
    ("a day short of 46", "1980-07-01", "2026-01-15", "out"),
    ("the 46th birthday", "1980-06-30", "2026-01-15", "in"),
    ("a day before the window", "1970-01-01", "2024-06-29", "out"),
    ("the first day of the window", "1970-01-01", "2024-06-30", "in"),
    ("refuted", "1970-01-01", "2026-01-15", "out"),
    ("entered in error", "1970-01-01", "2026-01-15", "out"),
    ("birth year that may be either side", "1980", "2026-01-15", "undecided"),
    ("birth year that is old enough", "1979", "2026-01-15", "in"),
    ("two codings of one condition", "1970-01-01", "2026-01-15", "in"),
    ("provisional", "1970-01-01", "2026-01-15", "out"),
    ("merged record", "1970-01-01", "2026-01-15", "in"),
    ("restricted record", "1970-01-01", "2026-01-15", "out"),
    ("month that may be either side", "1970-01-01", "2024-06", "undecided"),
    ("outcome of the other side", "1960-01-01", "", "out"),
    ("preliminary outcome", "1960-01-01", "", "out"),
    ("outcome 400 days later", "1960-01-01", "", "out"),
)
_STATUS = {"refuted": "refuted", "entered in error": "entered-in-error", "provisional": "provisional"}


def _boundary(number: int, chance: random.Random) -> Person:
    case, born, on, membership = _BOUNDARIES[number % BLOCK]
    one = _started(number, case, born, chance.choice(("female", "male")))
    one.osteosarcoma = membership
    if not on:
        _read(one, Read(said=True, found=True, counts=False, kind=case), date(2024, 3, 1), chance)
        return one
    codings = ((SCT, _OSTEOSARCOMA), (ICD_O, "9180/3")) if case.startswith("two codings") else ()
    _diagnose(one, on, status=_STATUS.get(case, "confirmed"), codings=codings)
    if case == "merged record":
        _merge(one)
    if case == "restricted record":
        security = [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]
        one.resources[0]["meta"] = {"security": security}
    if membership == "in":
        _treat(one, chance)
        one.ct = date(2026, 2, 1)
        _report_ct(one)
    return one


def _merge(one: Person) -> None:
    """Let the diagnosis be on a former record, which was replaced by this one."""
    former = f"{one.id}-former"
    link = [{"other": {"reference": f"Patient/{one.id}"}, "type": "replaced-by"}]
    born = one.born
    one.resources.append({"resourceType": "Patient", "id": former, "active": False, "birthDate": born, "link": link})
    one.resources[1]["subject"] = {"reference": f"Patient/{former}"}


def _member(number: int, chance: random.Random) -> Person:
    born = date(1945, 1, 1) + timedelta(chance.randrange(30 * 365))
    one = _started(number, "osteosarcoma", born.isoformat(), chance.choice(("female", "male")))
    one.osteosarcoma = "in"
    on = AS_OF - timedelta(chance.randrange(60, 700))
    _diagnose(one, on.isoformat())
    _treat(one, chance)
    if number % 8:
        one.ct = on + timedelta(chance.randrange(50))
        if number % 5:
            _report_ct(one)
    return one


def _young(number: int, chance: random.Random) -> Person:
    born = date(1990, 1, 1) + timedelta(chance.randrange(20 * 365))
    one = _started(number, "osteosarcoma, too young", born.isoformat(), chance.choice(("female", "male")))
    _diagnose(one, (AS_OF - timedelta(chance.randrange(60, 700))).isoformat())
    return one


def _consented(number: int, kind: tuple[str, tuple[tuple[str, str], ...], str], chance: random.Random) -> Person:
    """Return a person who would be in the cohort, except for the consent to research."""
    case, provisions, membership = kind
    one = _started(number, case, "1968-05-17", chance.choice(("female", "male")))
    one.osteosarcoma = "in" if membership == "in" else "out"
    _diagnose(one, "2025-11-20")
    one.resources += consents(one.id, provisions)
    return one


def _stented(number: int, place: int, chance: random.Random) -> Person:
    one = _started(number, "", "1951-09-02", chance.choice(("female", "male")))
    one.case, one.stent, resources = stent(one.id, place, chance)
    one.resources += resources
    return one


def _treat(one: Person, chance: random.Random) -> None:
    for number in range(chance.randrange(1, 4)):
        code = chance.choice(("387381009", "372817009", "386906001"))  # methotrexate, doxorubicin, ifosfamide
        one.add(
            "MedicationRequest",
            f"rx-{number}",
            status="active",
            intent="order",
            medicationCodeableConcept=coded(code),
            authoredOn=(AS_OF - timedelta(chance.randrange(400))).isoformat(),
        )


def _accession(one: Person) -> Resource:
    kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
    return {"type": kind, "system": "urn:dicom-fhir-sync:accession", "value": one.accession}


def _report(one: Person, name: str, category: str, on: date, **content: Any) -> None:
    table = "http://terminology.hl7.org/CodeSystem/v2-0074"
    kind = {"category": [coded(category, table)], "code": coded("4201000179104"), "status": "final"}
    one.add("DiagnosticReport", name, **{**kind, "effectiveDateTime": on.isoformat(), **content})


def _report_ct(one: Person) -> None:
    assert one.ct is not None
    _report(one, "ct-report", "RAD", one.ct, identifier=[_accession(one)])
    one.dose, resources = doses(one.id, one.number, one.ct)
    one.resources += resources


def _nodule(number: int, place: int, chance: random.Random) -> Person:
    """Return a person with a read lung nodule; three quarters have cancer, which was treated in one of two ways."""
    born = date(1956, 1, 1) + timedelta(chance.randrange(4 * 365))
    one = _started(number, "lung nodule", born.isoformat(), "male")
    on = date(2023, 6, 1) + timedelta(chance.randrange(365))
    cancer = place % 4 != 0
    said = cancer if place % 7 else not cancer
    cancerous = None if place % 20 == 0 else cancer
    _read(one, Read(said=said, found=cancerous, counts=cancerous is not None, kind="lung nodule"), on, chance)
    if place < 6:  # noqa: PLR2004 -- a few are enough to see images beside reads
        one.ct = on
    if cancer:
        _treat_lung(one, on, place, chance)
    return one


def _treat_lung(one: Person, on: date, place: int, chance: random.Random) -> None:
    diagnosed = on + timedelta(30)
    verified = {
        "coding": [{"code": "confirmed", "system": "http://terminology.hl7.org/CodeSystem/condition-ver-status"}]
    }
    at = {"onsetDateTime": diagnosed.isoformat(), "recordedDate": diagnosed.isoformat()}
    one.add("Condition", "lung", code=coded(_CANCER), verificationStatus=verified, bodySite=[coded(_LUNG)], **at)
    size = {"value": chance.randrange(20, 25), "unit": "mm", "code": "mm", "system": "http://unitsofmeasure.org"}
    one.add(
        "Observation",
        "size",
        status="final",
        code=coded("33728005"),
        effectiveDateTime=on.isoformat(),
        valueQuantity=size,
    )
    resected = place // 4 % 2 == 0
    code = "173171007" if resected else "367336001"  # resection, chemotherapy
    performed = (diagnosed + timedelta(chance.randrange(5, 60))).isoformat()
    one.add("Procedure", "treatment", status="completed", code=coded(code), performedDateTime=performed)
    survived = chance.randrange(120, 1500 if resected else 900)
    last = diagnosed + timedelta(survived)
    if last < AS_OF:
        one.resources[0]["deceasedDateTime"] = last.isoformat()
    seen = min(last, AS_OF - timedelta(10))
    visit = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    one.add("Encounter", "visit", status="finished", **{"class": visit}, period={"start": seen.isoformat()})


def _read(one: Person, read: Read, on: date, chance: random.Random) -> None:
    """Add the read, the model's finding, and the result of pathology."""
    one.read = read
    side = chance.choice(("left", "right"))
    conclusion_code = coded(_NODULE if read.said else _CLEAR)
    where = {"bodySite": coded(_LUNG), "status": "final", "code": coded("363679005")}
    sided = [{"code": coded("272741003"), "valueCodeableConcept": coded(_SIDES[side][1])}]
    at = {"effectiveDateTime": on.isoformat(), "component": sided}
    result = one.add("Observation", "read", valueCodeableConcept=conclusion_code, **where, **at)
    device = {"reference": "Device/cw-nodule-finder"}
    one.add("Observation", "model", valueCodeableConcept=conclusion_code, device=device, **where, **at)
    elements = {"conclusionCode": [conclusion_code], "result": [{"reference": result}], "resultsInterpreter": [READER]}
    _report(one, "read-report", "RAD", on, identifier=[_accession(one)], **elements)
    if read.found is None:
        return
    other = {"left": "right", "right": "left"}[side] if read.kind == "outcome of the other side" else side
    after = on + timedelta(400 if read.kind == "outcome 400 days later" else chance.randrange(5, 120))
    collected = {"collectedDateTime": after.isoformat(), "bodySite": coded(_SIDES[other][0])}
    specimen = one.add("Specimen", "biopsy", collection=collected)
    status = "preliminary" if read.kind == "preliminary outcome" else "final"
    conclusion = [coded(_CANCER if read.found else _BENIGN)]
    _report(one, "pathology", "SP", after, status=status, conclusionCode=conclusion, specimen=[{"reference": specimen}])
