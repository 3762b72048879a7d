"""A repair deletes no row of an object that may still be there."""

import asyncio

import pytest

from sync.errors import FhirUnavailable
from sync.feeds import read_dicom_feed
from sync.model import Drift, DriftKind, StudyRef
from sync.testing.dicom import id_of
from sync.verify.repair import Budget, repair_study
from sync.verify.studies import check_study
from tests.dicom_services import FeedWorld, instance, study_ref
from tests.worlds import STUDY, MemoryWorld


@pytest.fixture
async def w():
    world = FeedWorld()
    for sop in (1, 2):
        world.service.store(instance(sop=sop))
    await read_dicom_feed(world.services)
    await world.settle()
    return world


async def rows(w):
    return await w.services.ledger.read(study_ref(1))


async def repair_without_locators(w):
    """Repair the drift of two objects of which only the rows are left."""
    w.store.locators.table._rows.clear()
    study = study_ref(1)
    drifts = [
        Drift(subject=study.key, kind=DriftKind.OBJECT_GONE, resource=f"object/{row.object_key}")
        for row in await rows(w)
    ]
    await repair_study(study, drifts, Budget(10), w.services)


async def test_rows_that_no_complete_list_names_are_deleted(w):
    w.service.delete("", study_ref(1).study_instance_uid)
    await repair_without_locators(w)
    assert list(await rows(w)) == []


async def test_rows_stay_while_a_service_can_list_only_a_part_of_the_study(w):
    w.service.unreadable |= {id_of(instance(sop=1)), id_of(instance(sop=2))}
    await repair_without_locators(w)
    assert len(await rows(w)) == 2


async def test_a_blob_that_no_locator_names_is_not_taken_for_gone_until_its_container_was_listed():
    w = MemoryWorld()
    await w.ingest(w.put("a/1"))
    await w.settle()
    w.store.locators.table._rows.clear()
    drifts = await check_study(STUDY, w.services)
    assert [drift.kind for drift in drifts] == [DriftKind.OBJECT_GONE]
    await repair_study(STUDY, drifts, Budget(10), w.services)
    assert len(await w.services.ledger.read(STUDY)) == 1, "the store was never asked about it"
    w.delete("a/1")
    await repair_study(STUDY, drifts, Budget(10), w.services, listed=True)
    assert list(await w.services.ledger.read(STUDY)) == []


async def test_an_instance_that_a_list_leaves_out_is_asked_for_by_its_name(w, monkeypatch):
    async def none(study):
        for ref in ():
            yield ref

    monkeypatch.setattr(w.service, "objects_of", none)
    await repair_without_locators(w)
    assert len(await rows(w)) == 2
    assert all([await w.services.locators.find(row.object_key) for row in await rows(w)])


async def test_a_row_that_neither_locator_nor_uids_name_stays(w, monkeypatch):
    w.service.delete("", study_ref(1).study_instance_uid)
    monkeypatch.setattr("sync.verify.objects.possible_refs", lambda *of: iter(()))
    await repair_without_locators(w)
    assert len(await rows(w)) == 2


async def test_repairs_count_among_the_projections_that_a_process_runs_at_once(monkeypatch):
    w = MemoryWorld()
    running, most = 0, 0

    async def counted(study, s, **_):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    monkeypatch.setattr("sync.verify.objects.project_study", counted)
    several = [StudyRef(study_instance_uid=f"2.25.{n}") for n in range(1, 100)]
    await asyncio.gather(*(repair_study(study, [], Budget(0), w.services) for study in several))
    assert most == w.services.settings.fhir_concurrency


async def test_a_copy_is_deleted_within_the_limit_though_fhir_did_not_answer_at_first(monkeypatch):
    """The first try had taken the one place there was, so the next left the copy."""
    w = MemoryWorld()
    await w.arrive("a")
    w.create({**w.imaging_study(), "id": "copy-1"})
    drifts, budget = await check_study(STUDY, w.services), Budget(1)
    assert [drift.kind for drift in drifts] == [DriftKind.DOUBLED]

    async def unavailable(references):
        monkeypatch.undo()
        raise FhirUnavailable("no answer")

    monkeypatch.setattr(w.services.fhir, "referrers", unavailable)
    with pytest.raises(FhirUnavailable):
        await repair_study(STUDY, drifts, budget, w.services)
    assert await repair_study(STUDY, drifts, budget, w.services) == []
    assert w.server.peek("ImagingStudy", "copy-1") is None
