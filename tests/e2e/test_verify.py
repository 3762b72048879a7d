"""The commands verify and export beside a running world, on both servers, as an operator has them."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sync.mapping.resource import canonical, study_id
from sync.model import StudyRef
from tests.e2e.commands import Said, sync
from tests.e2e.conftest import Place
from tests.e2e.running import World, until

STUDIES = 6
PATIENTS = 2

LOADED_IN_ORDER = (
    "Patient",
    "Device",
    "Endpoint",
    "ImagingStudy",
    "Observation",
    "DiagnosticReport",
    "DocumentReference",
)
"""Each after what it refers to: the world is shared, and others may have left resources of any type in its ledger."""


@dataclass(frozen=True)
class Archive:
    """Some studies in a world, and how FHIR showed them before anything was broken."""

    world: World
    place: Place
    studies: tuple[str, ...]

    def resources(self) -> dict[str, bytes]:
        """Everything of ours about these studies, without what servers stamp."""
        studies = [study for uid in self.studies if (study := self.world.study(uid)) is not None]
        patients = {study["subject"]["reference"] for study in studies}
        kept = [*studies, *(self.world.read(reference) for reference in sorted(patients))]
        return {f"{one['resourceType']}/{one['id']}": plain(one) for one in kept if one is not None}

    def id_of(self, number: int) -> str:
        return study_id(StudyRef(study_instance_uid=self.studies[number]))


def plain(resource: dict) -> bytes:
    """Return it without what servers stamp: version, time, source."""
    meta = {k: v for k, v in resource.get("meta", {}).items() if k in ("profile", "security", "tag")}
    return canonical({**{k: v for k, v in resource.items() if k != "meta"}, **({"meta": meta} if meta else {})})


@pytest.fixture(scope="module", params=[pytest.param("embedded", marks=pytest.mark.long), "embedded_azure", "hapi"])
def archive(request: pytest.FixtureRequest) -> Iterator[Archive]:
    world: World = request.getfixturevalue(f"{request.param}_world")
    place = Place()
    for study in range(STUDIES):
        for instance in (1, 2):
            content = place.file(study, 1, instance, patient=f"{place.patient}-{study % PATIENTS}")
            world.upload(place.name(f"{study}-{instance}"), content)
    studies = tuple(place.study(study) for study in range(STUDIES))
    until(lambda: all(in_fhir(world, uid) for uid in studies), "all studies are whole in FHIR", 90)
    world.settle()
    yield Archive(world, place, studies)
    world.delete_all(place.token)


def in_fhir(world: World, uid: str) -> bool:
    study = world.study(uid)
    return study is not None and study["numberOfInstances"] == 2


def put(world: World, resource: dict) -> None:
    address = f"{resource['resourceType']}/{resource['id']}"
    world.fhir.put(address, json=resource).raise_for_status()


def drifts(said: Said) -> dict[str, str]:
    """Return address -> kind of what was reported."""
    return {line["resource"]: line["kind"] for line in said.lines if line["event"] == "drift"}


def test_verify_names_what_was_damaged_deleted_doubled_and_orphaned_and_repair_corrects_all(archive):
    world, before = archive.world, archive.resources()
    clean = sync(world, "verify", "--json")
    assert clean.code == 0, clean.out + clean.err
    assert clean.lines[-1]["studies"] >= STUDIES

    damaged, deleted, doubled = (archive.id_of(number) for number in (0, 1, 2))
    put(world, {**world.read(f"ImagingStudy/{damaged}"), "status": "unknown", "numberOfInstances": 77})
    world.fhir.delete(f"ImagingStudy/{deleted}").raise_for_status()
    copy = {**world.read(f"ImagingStudy/{doubled}"), "id": f"copy-{archive.place.token}"}
    put(world, copy)
    unknown = StudyRef(study_instance_uid=f"2.25.{uuid.uuid4().int}")
    orphan = {**copy, "id": study_id(unknown)}
    orphan["identifier"] = [{"system": "urn:dicom:uid", "value": f"urn:oid:{unknown.study_instance_uid}"}]
    put(world, orphan)

    said = sync(world, "verify", "--json")
    assert said.code == 1, said.err
    assert drifts(said) == {
        f"ImagingStudy/{damaged}": "drift.foreign_modified",
        f"ImagingStudy/{deleted}": "drift.missing",
        f"ImagingStudy/{copy['id']}": "drift.doubled",
        f"ImagingStudy/{orphan['id']}": "drift.orphaned",
    }

    repaired = sync(world, "verify", "--repair")
    assert repaired.code == 0, repaired.out + repaired.err
    assert "No drift is left." in repaired.out
    assert sync(world, "verify", "--json").code == 0
    assert archive.resources() == before
    gone = [world.read(f"ImagingStudy/{resource['id']}") for resource in (copy, orphan)]
    assert gone == [None, None]


def test_one_study_is_verified_by_its_uid_or_by_its_id_in_fhir(archive):
    world = archive.world
    world.fhir.delete(f"ImagingStudy/{archive.id_of(3)}").raise_for_status()
    assert sync(world, "verify", "--study", archive.studies[4]).code == 0
    said = sync(world, "verify", "--study", archive.studies[3], "--json")
    assert (said.code, list(drifts(said).values())) == (1, ["drift.missing"])
    assert sync(world, "verify", "--study", archive.id_of(3), "--repair").code == 0
    assert world.study(archive.studies[3]) is not None


@pytest.fixture(params=["fhir_embedded_azure", pytest.param("hapi", marks=pytest.mark.long)])
def another_server(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


def test_an_export_rebuilds_another_server_byte_for_byte(archive, tmp_path, another_server):
    folder = tmp_path / "export"
    said = sync(archive.world, "export", str(folder), "--max-mb", "1", "--json")
    assert said.code == 0, said.err
    assert said.lines[0] == json.loads((folder / "manifest.json").read_text())
    load(folder, another_server)
    with httpx.Client(base_url=f"{another_server}/", timeout=60) as client:
        for address, wanted in archive.resources().items():
            assert plain(client.get(address).raise_for_status().json()) == wanted
    checked = sync(archive.world, "verify", "--fhir-only", "--json", DICOM_SYNC_FHIR_URL=another_server)
    ours = {line["study"] for line in checked.lines if line["event"] == "drift"}
    assert not ours & {StudyRef(study_instance_uid=uid).key for uid in archive.studies}


def load(folder: Path, base: str) -> None:
    """Load an export as a bulk import would: by id, in transactions."""
    resources = [
        json.loads(line) for path in sorted(folder.glob("*.ndjson")) for line in path.read_bytes().splitlines()
    ]
    resources.sort(key=lambda one: LOADED_IN_ORDER.index(one["resourceType"]))
    with httpx.Client(base_url=base, timeout=120) as client:
        for start in range(0, len(resources), 100):
            entries = [
                {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
                for one in resources[start : start + 100]
            ]
            bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
            client.post("", json=bundle, headers={"Prefer": "return=minimal"}).raise_for_status()
