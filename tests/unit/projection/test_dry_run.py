"""A dry run reports what the real run would write, and writes nothing anywhere."""

import copy

import pytest

from sync.errors import AmbiguousMatch
from sync.projection.dry_run import dry_run_study
from tests.worlds import STUDY, MemoryWorld, ehr_patient, patient_of, study_id


@pytest.fixture
def w():
    return MemoryWorld(dicomweb_url="https://pacs.example/dicom-web")


def written(planned):
    return sorted((write.resource_type, write.resource_id) for write in planned.writes)


def everything(w):
    tables = ("projections", "patients", "dead_letters", "dirty")
    return copy.deepcopy(
        [list(w.server.resources()), *({k: v.etag for k, v in getattr(w.store, t).table._rows.items()} for t in tables)]
    )


async def test_what_is_right_needs_no_write(w):
    await w.arrive("a")
    assert written(await dry_run_study(STUDY, w.services)) == []


async def test_everything_that_is_gone_would_be_written_and_nothing_is(w):
    await w.arrive("a")
    w.erase_all()
    before = everything(w)
    would = await dry_run_study(STUDY, w.services)
    assert [kind for kind, _ in written(would)] == ["Endpoint", "ImagingStudy", "Patient"]
    assert everything(w) == before
    await w.replay()
    assert {(r["resourceType"], r["id"]): r for r in w.server.resources()}.keys() == set(written(would))


async def test_a_study_that_would_change_its_patient_leaves_the_rows_alone(w):
    await w.arrive("a")
    await w.ingest(w.put("a", PatientID="P2"))
    before = everything(w)
    would = await dry_run_study(STUDY, w.services)
    assert ("Patient", patient_of("P2")) in written(would)
    assert [(gone.resource_type, gone.resource_id) for gone in would.removals] == [("Patient", patient_of("P1"))]
    assert everything(w) == before


async def test_a_study_without_instances_would_be_removed(w):
    await w.arrive("a")
    await w.ingest(w.delete("a"))
    would = await dry_run_study(STUDY, w.services)
    assert {gone.resource_id for gone in would.removals} == {study_id(STUDY), patient_of("P1")}


async def test_what_would_set_the_study_aside_is_told(w):
    await w.arrive("a")
    w.create(ehr_patient("one"))
    w.create(ehr_patient("two"))
    with pytest.raises(AmbiguousMatch):
        await dry_run_study(STUDY, w.services)
