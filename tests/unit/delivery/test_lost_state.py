"""What the pages of operation promise: lost records are made anew from the files, and FHIR stays as it is."""

import pytest

from sync.model import Action, Change
from tests.worlds import OTHER, STUDY, MemoryWorld, ehr_patient, ehr_study


async def everything_is_looked_at(w):
    for ref in w.store.objects.refs():
        await w.ingest(Change(object=ref, action=Action.CREATED))
    await w.settle()


def without_records(w, **settings):
    """The same files and the same FHIR service, with a state account that holds nothing."""
    fresh = MemoryWorld(server=w.server)
    fresh.store.objects = w.store.objects
    fresh.services = fresh.process(**settings)
    return fresh


@pytest.mark.parametrize("policy", ["link-or-create", "update", "reference-only"])
async def test_lost_records_are_made_anew_and_nothing_is_written(policy):
    w = MemoryWorld(patient_policy=policy)
    w.create(ehr_patient("of-the-ehr", "P2"))
    w.create(ehr_study("theirs", OTHER, subject={"reference": "Patient/of-the-ehr"}))
    for number in range(3):
        await w.arrive(f"{number}.dcm", sop=f"2.25.10{number}")
    await w.arrive("other.dcm", study=OTHER.study_instance_uid, series="2.25.20", sop="2.25.200", PatientID="P2")
    before = w.versions()
    fresh = without_records(w, patient_policy=policy)
    await everything_is_looked_at(fresh)
    assert fresh.versions() == before
    assert fresh.outstanding() == []
    await fresh.go("1.dcm")
    assert fresh.imaging_study(STUDY)["numberOfInstances"] == 2


async def test_what_an_object_left_that_is_gone_may_be_forgotten():
    w = MemoryWorld()
    created = w.put("a.dcm")
    await w.ingest(created)
    await w.settle()
    await w.go("a.dcm")
    assert w.imaging_study(STUDY) is None
    (left,) = w.store.locators.table.values()
    assert (left.etag, left.settled) == (None, True)
    row = w.store.locators.table.get(left.object.key)
    w.store.locators.table.delete(left.object.key, row.etag)
    await w.ingest(created)  # the event comes once more, late
    await w.settle()
    assert w.imaging_study(STUDY) is None


async def test_a_setting_of_the_mapping_holds_for_what_is_there_without_another_look_at_the_files():
    w = MemoryWorld()
    await w.arrive("a.dcm", StudyTime="101530")
    assert w.imaging_study(STUDY)["started"] == "2026-01-02"
    w.services = w.process(timezone="Europe/Berlin")
    await w.services.dirty.mark(STUDY, w.clock.now(), bypass_cache=True)
    await w.project(STUDY)
    assert w.imaging_study(STUDY)["started"] == "2026-01-02T10:15:30+01:00"
