"""What stores do without an event: a change of metadata alone is no drift, and an undeleted object comes back."""

from sync.model import DriftKind
from sync.protocol.claims import studies_of
from sync.verify.checking import Checker
from sync.verify.objects import check_objects
from sync.verify.reconcile import reconcile
from sync.verify.source import GRACE, check_listed_object
from tests.deliveries import later
from tests.unit.verify.test_full_scan import Naps
from tests.worlds import STUDY, MemoryWorld


async def world():
    w = MemoryWorld(reconcile_studies_per_minute=10)
    await w.arrive("a")
    return w, w.store.objects.ref("a")


async def listed(w):
    (listed_object,) = (await w.store.objects.page("dicom")).objects
    return listed_object


def touch(w, ref):
    """Give the object another ETag and the same bytes, as a change of its metadata does."""
    return w.store.objects.put(ref, w.store.objects._blobs[ref].data)


async def test_a_change_of_metadata_alone_is_no_drift_and_is_read_once():
    w, ref = await world()
    etag, before = touch(w, ref), w.versions()
    w.clock.advance(GRACE + 1)
    assert await check_listed_object(await listed(w), w.services) == []
    assert (await w.store.locators.read(ref)).value.etag == etag
    touch(w, ref)
    assert await check_objects(STUDY, w.services) == []
    assert w.versions() == before


async def test_other_content_stays_a_drift():
    w, ref = await world()
    w.put("a", StudyDescription="Other")
    w.clock.advance(GRACE + 1)
    (drift,) = await check_listed_object(await listed(w), w.services)
    assert drift.kind is DriftKind.OBJECT_CHANGED
    (drift,) = await check_objects(STUDY, w.services)
    assert drift.kind is DriftKind.OBJECT_CHANGED
    assert studies_of((await w.store.locators.read(ref)).value) == {STUDY}


async def test_what_became_unreadable_is_a_drift():
    w, ref = await world()
    w.store.objects.put(ref, b"no DICOM")
    w.clock.advance(GRACE + 1)
    assert [drift.kind for drift in await check_listed_object(await listed(w), w.services)] == [
        DriftKind.OBJECT_CHANGED
    ]


async def test_an_undeleted_object_comes_back_though_no_event_tells_of_it():
    w, ref = await world()
    data = w.store.objects._blobs[ref].data
    await w.go("a")
    assert w.imaging_study() is None
    w.store.objects.put(ref, data)
    w.clock.advance(GRACE + 1)
    for _ in range(3):
        await reconcile(w.services, w.store.objects, Checker(sleep=Naps()))
        w.clock.advance(60)
    await later(w, 1)
    await w.settle()
    assert w.imaging_study()["numberOfInstances"] == 1
