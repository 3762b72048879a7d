"""A directory that was deleted or renamed as a whole leaves no ghosts, and its files are found where they are now."""

import json

import pytest

from sync.delivery.handlers import handle_object_message, handle_poison_object
from sync.errors import StoreUnavailable
from sync.events import Sources
from tests.deliveries import later
from tests.worlds import MemoryWorld

ALLOWED = Sources(account="memory", containers=frozenset({"dicom"}))


def directory(kind, folder, **data):
    topic = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Storage/storageAccounts/memory"
    subject = f"/blobServices/default/containers/dicom/blobs/{folder}"
    fields = {"eventType": f"Microsoft.Storage.{kind}", "topic": topic, "subject": subject, "id": "1", "data": data}
    return json.dumps([fields])


DELETED = directory("DirectoryDeleted", "inbox", recursive="true")
RENAMED = directory(
    "DirectoryRenamed",
    "archive",
    sourceUrl="https://memory.dfs.core.windows.net/dicom/inbox",
    destinationUrl="https://memory.dfs.core.windows.net/dicom/archive",
)


@pytest.fixture
async def w():
    world = MemoryWorld()
    for number, name in enumerate(("inbox/a.dcm", "inbox/deep/er/b.dcm", "inbox2/c.dcm", "inbox.dcm")):
        await world.arrive(name, sop=f"2.25.10{number}")
    return world


async def deliver(w, text):
    await handle_object_message(text, ALLOWED, w.services)
    await later(w, 1)
    await w.settle()


async def test_a_deleted_directory_takes_its_files_from_fhir_at_any_depth_and_no_others(w):
    for name in ("inbox/a.dcm", "inbox/deep/er/b.dcm"):
        w.store.objects.delete(w.store.objects.ref(name))
    await deliver(w, DELETED)
    assert w.imaging_study()["numberOfInstances"] == 2


async def test_a_renamed_directory_changes_nothing_in_fhir_and_the_old_names_are_gone(w):
    objects, before = w.store.objects, w.versions()
    for name in ("a.dcm", "deep/er/b.dcm"):
        old = objects.ref(f"inbox/{name}")
        objects.put(objects.ref(f"archive/{name}"), objects._blobs[old].data)
        objects.delete(old)
    await deliver(w, RENAMED)
    assert w.imaging_study()["numberOfInstances"] == 4
    assert w.versions() == before
    assert (await w.store.locators.read(objects.ref("inbox/a.dcm"))).value.etag is None
    assert (await w.store.locators.read(objects.ref("archive/deep/er/b.dcm"))).value.study is not None


@pytest.mark.parametrize("text", [DELETED, RENAMED])
async def test_an_event_that_is_not_true_or_comes_twice_harms_nothing(w, text):
    before = w.versions()
    await deliver(w, text)
    await deliver(w, text)
    assert (w.versions(), w.dead_letters()) == (before, [])
    assert w.imaging_study()["numberOfInstances"] == 4


async def test_while_storage_does_not_answer_the_message_comes_again(w):
    w.store.locators.below = raising_rows
    with pytest.raises(StoreUnavailable):
        await handle_object_message(DELETED, ALLOWED, w.services)


async def raising_rows(*_):
    raise StoreUnavailable("503")
    yield


async def test_a_message_that_failed_too_often_is_kept_as_it_is(w):
    await handle_poison_object(DELETED, ALLOWED, w.services)
    (letter,) = w.dead_letters()
    (letter,) = w.store.dead_letters.table.values()
    assert (letter.code, letter.message) == ("poison.object", DELETED)
