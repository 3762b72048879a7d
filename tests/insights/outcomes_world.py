"""
Worlds of reads, model findings and outcomes with known answers. ``python -m tests.insights.outcomes_world`` writes
the files of docs/examples/nodules.
"""

from datetime import date, timedelta
from pathlib import Path

from tests.insights.collected import write

ROOT = Path(__file__).parents[2]
RULE = ROOT / "docs" / "examples" / "nodules.yaml"
EXAMPLE = ROOT / "docs" / "examples" / "nodules"
SCT = "http://snomed.info/sct"
READ_ON = date(2026, 1, 10)
SIDES = {"left": "7771000", "right": "24028007"}
LUNGS = {"left": "44029006", "right": "3341006", None: "39607008", "liver": "10200004"}
YES, NO, CANCER, BENIGN = "27925004", "281900007", "254637007", "30807003"
READER = {"type": "Practitioner", "identifier": {"system": "urn:example:staff", "value": "r-17"}}
MODEL = "Nodule Finder 2.1"


def coded(code, system=SCT):
    return {"coding": [{"system": system, "code": code}]}


def to(kind, identity):
    return {"reference": f"{kind}/{identity}"}


def patient(of, **more):
    return {"resourceType": "Patient", "id": of, "meta": {"lastUpdated": "2026-11-01T00:00:00Z"}, **more}


def study(of):
    return {
        "resourceType": "ImagingStudy",
        "id": f"s-{of}",
        "status": "available",
        "subject": to("Patient", of),
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:1.2.3.{int(of[1:])}"}],
        "started": READ_ON.isoformat(),
    }


def located(side):
    if side is None:
        return {}
    where = {"bodySite": coded(LUNGS[None])}
    return where | {"component": [{"code": coded("272741003"), "valueCodeableConcept": coded(SIDES[side])}]}


def read(of, said, side="left", status="final", by=READER, number=1, at="2026-01-10"):  # noqa: PLR0917
    """A report with its conclusion, and a result that has the place."""
    result = {
        "resourceType": "Observation",
        "id": f"o-{of}-{number}",
        "status": "final",
        "subject": to("Patient", of),
        "code": coded("363679005"),
        "valueCodeableConcept": coded(said),
        **located(side),
    }
    return [
        result,
        {
            "resourceType": "DiagnosticReport",
            "id": f"r-{of}-{number}",
            "status": status,
            "category": [{"coding": [{"code": "RAD"}]}],
            "code": coded("1"),
            "subject": to("Patient", of),
            "effectiveDateTime": at,
            "imagingStudy": [to("ImagingStudy", f"s-{of}")],
            "resultsInterpreter": [by],
            "conclusionCode": [coded(said)],
            "result": [to("Observation", result["id"])],
        },
    ]


def pathology(of, conclusion, after=20, side="left", status="final", number=1):  # noqa: PLR0917
    specimen = {
        "resourceType": "Specimen",
        "id": f"sp-{of}-{number}",
        "subject": to("Patient", of),
        "collection": {
            "collectedDateTime": (READ_ON + timedelta(after)).isoformat(),
            "bodySite": coded(LUNGS[side]),
        },
    }
    return [
        specimen,
        {
            "resourceType": "DiagnosticReport",
            "id": f"path-{of}-{number}",
            "status": status,
            "category": [{"coding": [{"code": "SP"}]}],
            "code": coded("2"),
            "subject": to("Patient", of),
            "conclusionCode": [coded(conclusion)],
            "specimen": [to("Specimen", specimen["id"])],
        },
    ]


def device(identity="d1", name="Nodule Finder", version="2.1"):
    return {
        "resourceType": "Device",
        "id": identity,
        "deviceName": [{"name": name, "type": "model-name"}],
        "version": [{"value": version}],
    }


def said_by_model(of, said, side="left", by="d1"):
    return {
        "resourceType": "Observation",
        "id": f"m-{of}-{by}",
        "status": "preliminary",
        "subject": to("Patient", of),
        "device": to("Device", by),
        "derivedFrom": [to("ImagingStudy", f"s-{of}")],
        "effectiveDateTime": READ_ON.isoformat(),
        "code": coded("363679005"),
        "valueCodeableConcept": coded(said),
        **located(side),
    }


def example():
    """20 patients of one reader; the model says yes of 8 and no of 6. Verified: 7 and 4; right: 6 and 3."""
    people = [f"p{number:02}" for number in range(1, 21)]
    said = dict.fromkeys(people[:8], YES) | dict.fromkeys(people[8:], NO)
    said |= {"p15": YES, "p16": YES}
    conclusions = (
        dict.fromkeys(people[:6], CANCER) | {"p07": BENIGN, "p09": CANCER} | dict.fromkeys(people[9:12], BENIGN)
    )
    resources = [patient(of) for of in people] + [study(of) for of in people] + [device()]
    for of in people:
        resources += read(of, said[of])
    resources += [said_by_model(of, said[of]) for of in people[:14]]
    for number, (of, what) in enumerate(conclusions.items()):
        resources += pathology(of, what, after=10 + 10 * number)
    return [
        *resources,
        *pathology("p15", CANCER, side="right"),
        *pathology("p16", CANCER, status="preliminary"),
        *pathology("p17", CANCER, after=181),
    ]


if __name__ == "__main__":
    write(EXAMPLE, *example())
