"""Cases of a clinical world beside diagnoses and reads: consent to research, stents, dose. Each says what is true."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

Resource = dict[str, Any]

SCT = "http://snomed.info/sct"
EXAMPLE = "urn:example:codes"
_UCUM = "http://unitsofmeasure.org"
_VESSELS = ("59438005", "13647002")  # left anterior descending, right coronary artery

CONSENTS = (
    ("consent denied", (("2025-01-10", "deny"),), "out"),
    ("consent given after a denial", (("2024-01-10", "deny"), ("2025-01-10", "permit")), "in"),
    ("consent withdrawn", (("2024-01-10", "permit"), ("2025-01-10", "deny")), "out"),
    ("consent rejected", (("2025-01-10", "rejected"),), "out"),
)
"""Case, provisions in order, and whether the cohort of the example, which asks for no objection, holds the person."""

STENT_CASES = (
    "stent in another vessel",
    "stent 91 days later",
    "stent size in centimetres",
    "stent removed, not implanted",
    "stent without a known implant",
)
STENTS = 20
"""People with a recommended stent in a block; the last five are the cases, whose implants do not count."""


@dataclass(frozen=True, slots=True)
class Stent:
    """A recommended diameter and the implanted one, in millimetres; ``used`` is None if no implant counts."""

    said: float
    used: float | None


def consents(identity: str, provisions: tuple[tuple[str, str], ...]) -> list[Resource]:
    """Return the Consents of a person; ``rejected`` is a status, the others are provisions."""
    scope = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]}
    act = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    reason = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"}]
    return [
        {
            "resourceType": "Consent",
            "id": f"{identity}-consent-{number}",
            "status": "rejected" if kind == "rejected" else "active",
            "scope": scope,
            "category": [{"coding": [{"system": act, "code": "RESEARCH"}]}],
            "policyRule": {"coding": [{"system": act, "code": "OPTIN"}]},
            "patient": {"reference": f"Patient/{identity}"},
            "dateTime": on,
            "provision": {"type": "permit" if kind == "rejected" else kind, "purpose": reason},
        }
        for number, (on, kind) in enumerate(provisions)
    ]


def stent(identity: str, place: int, chance: random.Random) -> tuple[str, Stent, list[Resource]]:
    """
    Return the case of a person with a recommended stent: the correct answer, and the resources.

    Parameters
    ----------
    place
        Among the `STENTS` of a block.
    """
    number = place - (STENTS - len(STENT_CASES))
    case = STENT_CASES[number] if number >= 0 else "stent"
    on = date(2025, 3, 1) + timedelta(chance.randrange(300))
    recommended = chance.choice((2.5, 3.0, 3.5, 4.0))
    used = recommended + chance.choice((-0.5, 0.0, 0.0, 0.5))
    vessel = place % 2
    subject = {"reference": f"Patient/{identity}"}
    resources: list[Resource] = [
        {
            "resourceType": "Observation",
            "id": f"{identity}-size",
            "status": "preliminary",
            "subject": subject,
            "code": coded("stent-diameter", EXAMPLE),
            "bodySite": coded(_VESSELS[vessel]),
            "device": {"reference": "Device/cw-stent-sizer"},
            "effectiveDateTime": on.isoformat(),
            "valueQuantity": _quantity(recommended, "mm"),
        }
    ]
    if case == "stent without a known implant":
        return case, Stent(recommended, None), resources
    days = 91 if case == "stent 91 days later" else chance.randrange(91)
    size = _quantity(used / 10, "cm") if case == "stent size in centimetres" else _quantity(used, "mm")
    action = "removed" if case == "stent removed, not implanted" else "implanted"
    implant = f"{identity}-stent"
    resources += [
        {
            "resourceType": "Device",
            "id": implant,
            "type": coded("705643001"),
            "property": [{"type": coded("nominal-diameter", EXAMPLE), "valueQuantity": [size]}],
        },
        {
            "resourceType": "Procedure",
            "id": f"{identity}-implantation",
            "status": "completed",
            "subject": subject,
            "code": coded("36969009"),
            "performedDateTime": (on + timedelta(days)).isoformat(),
            "bodySite": [coded(_VESSELS[1 - vessel] if case == "stent in another vessel" else _VESSELS[vessel])],
            "focalDevice": [
                {"action": {"coding": [{"code": action}]}, "manipulated": {"reference": f"Device/{implant}"}}
            ],
        },
    ]
    return case, Stent(recommended, used if case == "stent" else None), resources


def doses(identity: str, number: int, on: date) -> tuple[int, list[Resource]]:
    """Return the dose length product of a CT in mGy·cm, and its records: of every third a wrong one came first."""
    value = 300 + number % 7 * 50
    wrong = [_dose(f"{identity}-dose-wrong", identity, 10 * value, on, "entered-in-error")] if number % 3 == 0 else []
    return value, [*wrong, _dose(f"{identity}-dose", identity, value, on, "final")]


def _dose(name: str, identity: str, value: int, on: date, status: str) -> Resource:
    total = coded("113813", "http://dicom.nema.org/resources/ontology/DCM")
    return {
        "resourceType": "Observation",
        "id": name,
        "status": status,
        "subject": {"reference": f"Patient/{identity}"},
        "code": coded("73569-6", "http://loinc.org"),
        "effectiveDateTime": on.isoformat(),
        "component": [{"code": total, "valueQuantity": _quantity(value, "mGy.cm")}],
    }


def _quantity(value: float, unit: str) -> Resource:
    return {"value": round(value, 2), "unit": unit, "system": _UCUM, "code": unit}


def coded(code: str, system: str = SCT) -> Resource:
    """Return a code as a CodeableConcept."""
    return {"coding": [{"system": system, "code": code}]}
