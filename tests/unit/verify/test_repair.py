"""A repair deletes no row of an object that may still be there."""

import pytest

from sync.feeds import read_dicom_feed
from sync.model import Drift, DriftKind
from sync.testing.dicom import id_of
from sync.verify.repair import Budget, repair_study
from tests.dicom_services import FeedWorld, instance, study_ref


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
