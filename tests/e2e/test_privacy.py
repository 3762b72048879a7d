"""
No patient data in what a running world says: not in its logs, answers or dead letters, whatever goes wrong.

One scene plays every path once; the tests look at all that was said meanwhile.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

import pytest
from azure.data.tables import TableServiceClient

from tests.e2e.faulty_fhir import Answer, FaultyFhir
from tests.e2e.messages import event, packed
from tests.e2e.running import World, until
from tests.e2e.sentinels import NAME, PATIENT, STUDIES, blob, file_of, found_in, found_in_all, patient_of

TALKATIVE = json.dumps(
    {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "invalid",
                "diagnostics": f"Patient {NAME} ({PATIENT}) is not acceptable",
                "details": {"text": f"{NAME}", "coding": [{"system": "urn:x", "code": PATIENT, "display": NAME}]},
                "expression": [f"Patient.name.where(family='{NAME}')"],
            }
        ],
    }
).encode()
"""Servers repeat what they were sent."""

CODES = {
    "header.not_dicom",
    "header.truncated",
    "header.missing_identity",
    "event.foreign_source",
    "event.malformed",
    "fhir.rejected",
    "fhir.ambiguous_patient",
    "poison.object",
    "poison.study",
}


@dataclass
class Scene:
    """What was said, by place."""

    said: dict[str, list[str]]
    codes: set[str]
    patient_is_in_fhir: bool


class Faults:
    """What the FHIR server answers to requests about single studies."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def __call__(self, method: str, path: str, body: bytes) -> Answer | None:
        text = unquote(path) + unquote(body.decode("utf-8", "replace"))
        about = next((what for what, study in STUDIES.items() if study in text or patient_of(what) in text), "")
        answer = self._answer(about, writes=b'"transaction"' in body or b'"batch"' in body, path=unquote(path) + text)
        self.given += [about] if answer else []
        return answer

    def _answer(self, about: str, *, writes: bool, path: str) -> Answer | None:
        if about in ("refused", "faulted"):
            return _ANSWERS[about] if writes else None
        if about == "ambiguous":
            return _ANSWERS[about] if patient_of(about) in path and not writes else None
        return _ANSWERS.get(about)


def _two_patients() -> bytes:
    known_as = [{"system": "urn:dicom-fhir-sync:patient-id", "value": patient_of("ambiguous")}]
    patients = [
        {"resourceType": "Patient", "id": f"{PATIENT}{n}", "identifier": known_as, "name": [{"family": NAME}]}
        for n in range(2)
    ]
    entries = [{"resource": patient, "search": {"mode": "match"}} for patient in patients]
    return json.dumps({"resourceType": "Bundle", "type": "searchset", "total": 2, "entry": entries}).encode()


_ANSWERS = {
    "refused": Answer(422, TALKATIVE),
    "faulted": Answer(400, f"<html>{NAME} {PATIENT}</html>".encode(), "text/html"),
    "ambiguous": Answer(200, _two_patients()),
    "down": Answer(503, TALKATIVE),
    "nonsense": Answer(200, json.dumps([NAME, {"resourceType": PATIENT}]).encode()),
    "defect": Answer(
        200, json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": NAME}]}).encode()
    ),
}


@pytest.fixture(scope="module")
def scene(fragile_world: World, faulty_fhir: FaultyFhir) -> Iterator[Scene]:
    world, said = fragile_world, {"status": [], "dead letters": [], "health": []}
    world.settle()
    bad_objects(world)
    bad_messages(world)
    world.settle()
    listen(world, said)
    faults = faulty_fhir.fault = Faults()
    try:
        # A refusal is an answer, too: in between, it keeps the sync from leaving the server alone.
        for what in ("down", "refused", "nonsense", "faulted", "defect", "ambiguous"):
            world.upload(blob(what), file_of(what))
            until(lambda what=what: what in faults.given, f"FHIR failed: {what}")
        until(
            lambda: codes_of(world) >= {"fhir.rejected", "fhir.ambiguous_patient"}, "dead letters of what FHIR refused"
        )
        listen(world, said)
        faulty_fhir.unplug()
        before = world.postponed()
        world.upload(blob("good again"), file_of("good", birth="19371204"))
        until(lambda: world.postponed() > before, "a study was tried while FHIR is down")
        listen(world, said)
    finally:
        faulty_fhir.fault = None
        with contextlib.suppress(OSError):
            faulty_fhir.plug_in()
    codes = codes_of(world)
    world.settle(150)
    listen(world, said)
    said["dead letter rows"] = rows(world, "deadletters")
    said["printed"] = list(world.printed)
    patients = json.dumps(world.all("Patient"))
    yield Scene(said, codes, "Zzyzx" in patients and PATIENT in patients)
    world.delete_all(blob("").partition("/")[0])


def codes_of(world: World) -> set[str]:
    return {code for code, _ in world.letters().values()}


def bad_objects(world: World) -> None:
    good = file_of("good")
    world.upload(blob("good"), good)
    world.upload(blob("bad date"), file_of("bad date", birth="1937SENTINEL"))
    world.upload(blob("text"), f"{NAME} {PATIENT}".encode())
    world.upload(blob("cut"), good[: len(good) * 2 // 3])
    world.upload(blob("no study"), good.replace(b"\x20\x00\x0d\x00UI", b"\x20\x00\x0c\x00UI"))


def bad_messages(world: World) -> None:
    for other in ({"account": "sentinelaccount"}, {"container": "sentinelcontainer"}):
        world.send("objects", packed(event(blob("foreign"), **other)))
    world.send("objects", packed(event(blob("vanished"))))
    world.send("objects", packed(f"{NAME} {PATIENT}"))
    world.send("objects", packed({"specversion": NAME, PATIENT: STUDIES["good"]}))
    world.send("objects", f"<{NAME} {PATIENT}>")
    world.send("studies", packed({"study": STUDIES["good"], "name": NAME}))
    world.send("objects-poison", packed(event(blob("poison"))))
    world.send("objects-poison", packed(f"{NAME} {PATIENT}"))
    world.send("studies-poison", packed({"study_instance_uid": STUDIES["poison"], "partition": ""}))


def listen(world: World, said: dict[str, list[str]]) -> None:
    for place, path in {"status": "status", "dead letters": "dead-letters", "health": "health"}.items():
        answer = world.api.get(path)
        said[place].append(f"{answer.headers} {answer.text}")


def rows(world: World, table: str) -> list[str]:
    with TableServiceClient.from_connection_string(world.addresses["storage"]) as service:
        return [str(dict(row)) for row in service.get_table_client(table).list_entities()]


def test_the_sentinels_went_all_the_way_and_every_path_was_taken(scene):
    assert scene.patient_is_in_fhir
    assert scene.codes >= CODES
    assert all(scene.said.values())
    assert len(scene.said["printed"]) > 30


def test_nothing_that_is_printed_answered_or_kept_as_a_dead_letter_names_a_patient(scene):
    assert found_in_all(scene.said) == {}


def test_the_search_finds_what_it_looks_for(fragile_world, scene):
    assert found_in("\n".join(rows(fragile_world, "locators"))), "the names of blobs are in this table on purpose"
    assert found_in("a%20Quillon") == ["Quillon"]
    assert PATIENT in found_in(packed(f"x{PATIENT}x"))
