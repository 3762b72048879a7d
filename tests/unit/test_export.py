"""The ledger as NDJSON: what an empty FHIR service would get, the same bytes each time, in files of the wished size."""

import asyncio
import hashlib
import json
from collections import Counter

import pytest

from sync.errors import InvalidResource
from sync.export import NotEmpty, export, prepare
from sync.mapping.patient import build_patient
from sync.model import StudyRef
from sync.model.exports import MANIFEST, UNFINISHED
from sync.projection.dry_run import dry_run_study
from sync.testing.table import MemoryTable
from tests.worlds import OTHER, STUDY, MemoryWorld, ehr_patient, ehr_study, study_id

PLENTY = 10**9


@pytest.fixture
async def w():
    world = MemoryWorld(dicomweb_url="https://pacs.example/dicom-web")
    await world.arrive("a", PatientSex="F")
    await world.arrive("b", sop="2.25.101")
    await world.arrive("c", study=OTHER.study_instance_uid, sop="2.25.200")
    await world.arrive("d", study="2.25.3", sop="2.25.300", PatientID="P2")
    await world.arrive("e", study="2.25.4", sop="2.25.400")
    await world.go("e")
    return world


async def exported(w, folder, max_bytes=PLENTY):
    prepare(folder, overwrite=False)
    return await export(folder, max_bytes, w.services, lambda studies, fraction: None)


def lines(folder):
    return [json.loads(line) for path in sorted(folder.glob("*.ndjson")) for line in path.read_bytes().splitlines()]


def without_meta(resources):
    return sorted(
        json.dumps({**r, "meta": {k: v for k, v in r.get("meta", {}).items() if k != "versionId"}}, sort_keys=True)
        for r in resources
    )


async def test_the_files_hold_what_the_sync_wrote(w, tmp_path):
    await exported(w, tmp_path)
    assert without_meta(lines(tmp_path)) == without_meta(w.server.resources())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "Endpoint-0001.ndjson",
        "ImagingStudy-0001.ndjson",
        "Patient-0001.ndjson",
        MANIFEST,
    ]


async def test_fhir_is_not_asked_and_nothing_is_changed(w, tmp_path):
    calls, rows = w.fhir.calls.copy(), w.store.projections.table.values()
    await exported(w, tmp_path)
    assert w.fhir.calls == calls
    assert w.store.projections.table.values() == rows


async def test_the_same_ledger_gives_the_same_bytes(w, tmp_path):
    await exported(w, tmp_path / "one")
    w.clock.advance(3600)
    await w.replay()
    await exported(w, tmp_path / "two")
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two


async def test_files_stay_below_their_size_and_the_manifest_tells_the_truth(w, tmp_path):
    await exported(w, tmp_path, max_bytes=1500)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert len([file for file in manifest["files"] if file["type"] == "ImagingStudy"]) > 1
    for file in manifest["files"]:
        content = (tmp_path / file["name"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert file["count"] == content.count(b"\n")
        assert file["bytes"] <= 1500 or file["count"] == 1
    assert manifest["resources"] == {"Endpoint": 1, "ImagingStudy": 3, "Patient": 2}
    assert {path.name for path in tmp_path.iterdir()} == {file["name"] for file in manifest["files"]} | {MANIFEST}


async def test_a_folder_that_holds_something_is_left_alone(w, tmp_path):
    (tmp_path / "holiday.jpg").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(NotEmpty):
            prepare(tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


async def test_an_earlier_export_is_replaced_only_when_told_to(w, tmp_path):
    await exported(w, tmp_path, max_bytes=1500)
    (tmp_path / "Patient-0009.ndjson.part").write_text("of one that was killed")
    with pytest.raises(NotEmpty):
        prepare(tmp_path, overwrite=False)
    prepare(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [UNFINISHED]


async def test_an_adopted_study_is_left_out_and_a_linked_patient_stays_linked(tmp_path):
    w = MemoryWorld()
    w.create(ehr_patient("of-the-ehr"))
    w.create(ehr_study("theirs"))
    await w.arrive("a")
    await w.arrive("b", study=OTHER.study_instance_uid, sop="2.25.200")
    told = await exported(w, tmp_path)
    [study] = lines(tmp_path)
    assert (study["id"], study["subject"]["reference"]) == (study_id(OTHER), "Patient/of-the-ehr")
    assert told.left_out == {"adopted": 1}


async def test_an_outage_leaves_no_manifest(w, tmp_path):
    prepare(tmp_path, overwrite=False)

    async def breaks(key):
        raise OSError

    w.store.patients.read = breaks
    with pytest.raises(OSError):
        await export(tmp_path, PLENTY, w.services, lambda studies, fraction: None)
    assert not (tmp_path / MANIFEST).exists()
    assert (tmp_path / UNFINISHED).exists()
    assert list(tmp_path.glob("Patient*.ndjson")) == [], "a file that is not whole has no name"


async def test_a_folder_tells_from_before_the_old_files_go_until_the_manifest_is_there_that_it_is_unfinished(
    w, tmp_path, monkeypatch
):
    await exported(w, tmp_path, max_bytes=1500)

    def killed(path, *, missing_ok=False):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, overwrite=True)
    assert (tmp_path / UNFINISHED).exists()
    prepare(tmp_path, overwrite=True)
    assert (tmp_path / UNFINISHED).exists()
    prepare(tmp_path, overwrite=False)
    await export(tmp_path, PLENTY, w.services, lambda studies, fraction: None)
    assert not (tmp_path / UNFINISHED).exists()
    assert (tmp_path / MANIFEST).exists()


async def test_loading_the_files_into_an_empty_service_leaves_verify_nothing_to_do(w, tmp_path):
    from tests.unit.verify.test_full_scan import kinds

    before = without_meta(w.server.resources())
    await exported(w, tmp_path)
    w.erase_all()
    for resource in lines(tmp_path):
        w.create(resource)
    assert without_meta(w.server.resources()) == before
    assert await kinds(w) == {}
    transactions = w.fhir.calls["transact"]
    await w.replay()
    assert w.fhir.calls["transact"] == transactions
    assert w.imaging_study(STUDY)["numberOfInstances"] == 2


async def test_the_ledger_is_read_by_ranges_and_the_rows_of_each_patient_once(w, tmp_path, monkeypatch):
    asked = Counter()
    for name in ("projections", "patients", "ledger"):
        port = getattr(w.services, name)

        def counting(study_or_key, *more, read=port.read, name=name):
            asked[name] += 1
            return read(study_or_key, *more)

        monkeypatch.setattr(port, "read", counting)
    between, ranges = w.store.ledger.between, []
    w.store.ledger.between = lambda first, last: ranges.append((first, last)) or between(first, last)
    listed = sorted([projection.study.key async for projection in w.services.projections.all()])
    await exported(w, tmp_path)
    assert asked == {"patients": 2} != {"patients": len(listed)}
    assert ranges == [(listed[0], listed[-1])]


async def test_a_patient_that_only_the_row_of_another_study_spoils_is_what_the_first_study_says(
    w, tmp_path, monkeypatch
):
    def spoilt(key, rows, settings):
        if len(rows) > 1:
            raise InvalidResource("a defect")
        return build_patient(key, rows, settings)

    monkeypatch.setattr("sync.export.build_patient", spoilt)
    told = await exported(w, tmp_path)
    assert told.resources["Patient"] == 2
    assert not told.left_out


async def test_a_study_without_a_record_is_passed_over_and_one_without_rows_is_not_written(w, tmp_path):
    w.store.ledger.studies[STUDY.key] = MemoryTable()
    w.store.projections.table.discard(OTHER.key)
    await exported(w, tmp_path)
    studies = [resource["id"] for resource in lines(tmp_path) if resource["resourceType"] == "ImagingStudy"]
    assert studies == [study_id(StudyRef(study_instance_uid="2.25.3"))]


async def test_no_more_studies_than_are_mapped_at_once_are_read_ahead(w, tmp_path, monkeypatch):
    monkeypatch.setattr("sync.export.AT_ONCE", 1)
    between, map_study = w.store.ledger.between, dry_run_study
    heard = []

    async def told(first, last):
        async for rows in between(first, last):
            heard.append("rows")
            yield rows

    async def slowly(*study, **how):
        await asyncio.sleep(0)
        heard.append("mapped")
        return await map_study(*study, **how)

    w.store.ledger.between = told
    monkeypatch.setattr("sync.export.dry_run_study", slowly)
    await exported(w, tmp_path)
    assert heard.count("rows") == 3
    for end in range(len(heard)):
        assert heard[:end].count("rows") - heard[:end].count("mapped") <= 2  # one, and the one that waits
