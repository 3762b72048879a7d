"""What is in a container, page by page."""

from datetime import UTC, datetime, timedelta

import pytest

from sync.adapters.azure.blob_listing import list_blobs
from sync.errors import ForeignSource, SourceGone
from sync.model import ObjectRef
from tests.contract.storage import CONTAINER, MISSING_CONTAINER, fresh
from tests.contract.test_object_source import ODD_NAMES


async def pages(storage, prefix, size=1000):
    pages_read, token = [], None
    while True:
        page = await storage.listing.page(CONTAINER, prefix=prefix, token=token, size=size)
        pages_read.append(page)
        if (token := page.token) is None:
            return pages_read


async def filled(storage, count, prefix=None):
    prefix = prefix or fresh()
    for number in range(count):
        await storage.outside.put(f"{prefix}/{number:03}", bytes(number))
    return prefix


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_pages_of_any_size_hold_every_object_once_in_order(storage, size):
    prefix = await filled(storage, 7)
    pages_read = await pages(storage, prefix, size)
    names = [listed.object.name for page in pages_read for listed in page.objects]
    assert names == [f"{prefix}/{number:03}" for number in range(7)]
    assert all(len(page.objects) <= size for page in pages_read)


async def test_nothing_there_is_an_empty_last_page(storage):
    (page,) = await pages(storage, fresh())
    assert (list(page.objects), page.token) == ([], None)


async def test_a_listing_says_of_an_object_what_reading_it_says(storage):
    ref = await storage.outside.put(fresh(), b"12345")
    (page,) = await pages(storage, ref.name)
    (listed,) = page.objects
    chunk = await storage.objects.read(ref, start=0, length=1)
    assert (listed.object, listed.etag, listed.size) == (ref, chunk.etag, 5)
    assert listed.last_modified.utcoffset() == timedelta(0)
    assert abs(listed.last_modified - datetime.now(UTC)) < timedelta(minutes=1)


async def test_a_token_stays_good_while_objects_come_and_go(storage):
    prefix = await filled(storage, 6)
    first = await storage.listing.page(CONTAINER, prefix=prefix, size=3)
    await storage.outside.put(f"{prefix}/0005", b"")
    await storage.outside.delete(first.objects[-1].object)
    rest = await storage.listing.page(CONTAINER, prefix=prefix, token=first.token)
    assert [listed.object.name[-3:] for listed in rest.objects] == ["003", "004", "005"]


async def test_odd_names_come_back_as_they_are(storage):
    prefix = fresh()
    odd = [name for name in ODD_NAMES if "\\" not in name]  # Azurite keeps a backslash as a slash
    for name in odd:
        await storage.outside.put(f"{prefix}/{name}", b"x")  # one that is empty and ends in a slash is a folder
    names = {listed.object.name for page in await pages(storage, prefix, 5) for listed in page.objects}
    assert names == {f"{prefix}/{name}" for name in odd}


async def test_a_listing_of_azurite_reads_as_the_library_reads_it(storage, azurite_client):
    if azurite_client is None:
        return  # no answer of a server is read there
    prefix, container = fresh(), azurite_client.get_container_client(CONTAINER)
    for number, name in enumerate(ODD_NAMES):
        of_it = {"hdi_isfolder": "true", "empty": "", "word": "a b"} if number % 2 else None
        await container.upload_blob(f"{prefix}/{name}", bytes(number), metadata=of_it)
    blobs, marker = [], None
    while True:
        page = await list_blobs(container, prefix=prefix, marker=marker, size=5)
        blobs += page.blobs
        if (marker := page.marker) is None:
            break
    theirs = [blob async for blob in container.list_blobs(name_starts_with=prefix, include=["metadata"])]
    assert len(blobs) == len(ODD_NAMES)
    assert [(b.name, b.etag, b.size, b.last_modified, dict(b.metadata)) for b in blobs] == [
        (b.name, b.etag, b.size, b.last_modified, b.metadata or {}) for b in theirs
    ]


async def test_a_prefix_is_taken_letter_by_letter(storage):
    prefix = fresh()
    for name in ("a%2Fb", "a/b", "a b", "A/b"):
        await storage.outside.put(f"{prefix}{name}", b"")
    names = [listed.object.name for page in await pages(storage, f"{prefix}a/") for listed in page.objects]
    assert names == [f"{prefix}a/b"]


async def test_a_container_that_is_not_configured_is_refused(storage):
    with pytest.raises(ForeignSource):
        await storage.listing.page("private")


async def test_a_container_that_is_not_there_is_gone(storage):
    if storage.account == "memory":
        return  # every container of the store in memory is there
    with pytest.raises(SourceGone):
        await storage.listing.page(MISSING_CONTAINER)


async def test_folders_that_a_store_keeps_as_objects_are_left_out(storage, azurite_client):
    prefix = await filled(storage, 2)
    if azurite_client is not None:
        container = azurite_client.get_container_client(CONTAINER)
        await container.upload_blob(f"{prefix}/001a", b"", metadata={"hdi_isfolder": "true"})
        await container.upload_blob(f"{prefix}/001b", b"x", metadata={"hdi_isfolder": "true"})
        for marker in ("001a", "001c/"):  # an event names them too
            if marker == "001c/":
                await container.upload_blob(f"{prefix}/{marker}", b"")
            ref = ObjectRef(account=storage.account, container=CONTAINER, name=f"{prefix}/{marker}")
            with pytest.raises(SourceGone):
                await storage.objects.read(ref, start=0, length=10)
    names = [
        listed.object.name.rpartition("/")[2] for page in await pages(storage, prefix, 1) for listed in page.objects
    ]
    assert names == (["000", "001"] if azurite_client is None else ["000", "001", "001b"])
