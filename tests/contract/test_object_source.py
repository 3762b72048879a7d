"""Ranged reads of objects, under every name a store allows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientSession

from sync.errors import ForeignSource, SourceChanged, SourceGone
from sync.model import ObjectRef
from tests.contract.storage import CONTAINER, MISSING_CONTAINER, fresh

CONTENT = bytes(range(256)) * 4


async def held(storage, data=CONTENT, name=None):
    return await storage.outside.put(name or fresh(), data)


@pytest.mark.parametrize(
    ("start", "length"), [(0, 16), (16, 100), (0, 1024), (1000, 24), (1000, 500), (1023, 1), (0, 10_000)]
)
async def test_a_range_gives_its_bytes_cut_at_the_end(storage, start, length):
    chunk = await storage.objects.read(await held(storage), start=start, length=length)
    assert (chunk.data, chunk.size) == (CONTENT[start : start + length], len(CONTENT))


@pytest.mark.parametrize("start", [1024, 5000])
async def test_a_range_past_the_end_is_empty_and_still_tells_the_size(storage, start):
    chunk = await storage.objects.read(await held(storage), start=start, length=10)
    assert (chunk.data, chunk.size) == (b"", len(CONTENT))


async def test_an_empty_object_gives_no_bytes(storage):
    ref = await held(storage, b"")
    chunk = await storage.objects.read(ref, start=0, length=10)
    assert (chunk.data, chunk.size) == (b"", 0)
    assert (await storage.objects.read(ref, start=0, length=10, etag=chunk.etag)).etag == chunk.etag


async def test_the_etag_alone_is_that_of_the_bytes_and_changes_with_them(storage):
    ref = await held(storage)
    first = await storage.objects.etag(ref)
    assert first == (await storage.objects.read(ref, start=0, length=1)).etag
    await storage.outside.put(ref.name, b"others")
    assert await storage.objects.etag(ref) != first
    await storage.outside.delete(ref)
    with pytest.raises(SourceGone):
        await storage.objects.etag(ref)
    with pytest.raises(ForeignSource):
        await storage.objects.etag(replace(ref, container="others"))


async def test_an_object_that_fills_up_while_it_is_read_never_seems_cut_short(storage, monkeypatch):
    ref = await held(storage, b"")
    request = ClientSession._request

    async def fill_first(session, method, *arguments, **options):
        if method == "HEAD":  # after the range was refused, and before the size is asked for
            await storage.outside.put(ref.name, CONTENT)
        return await request(session, method, *arguments, **options)

    monkeypatch.setattr(ClientSession, "_request", fill_first)
    try:
        chunk = await storage.objects.read(ref, start=0, length=10_000)
    except SourceChanged:
        monkeypatch.undo()
        chunk = await storage.objects.read(ref, start=0, length=10_000)
    assert len(chunk.data) == chunk.size


async def test_what_the_store_says_of_an_object_comes_with_every_range(storage):
    ref = await held(storage)
    chunks = [await storage.objects.read(ref, start=start, length=1) for start in (0, 500, 5000)]
    assert len({(chunk.etag, chunk.size, chunk.last_modified) for chunk in chunks}) == 1
    assert chunks[0].last_modified.utcoffset() == timedelta(0)
    assert abs(chunks[0].last_modified - datetime.now(UTC)) < timedelta(minutes=1)
    assert not set(chunks[0].etag) & set('"/ ')


@pytest.mark.parametrize("start", [0, 5000])
async def test_the_right_etag_reads_and_another_one_tells_of_the_change(storage, start):
    ref = await held(storage)
    old = (await storage.objects.read(ref, start=0, length=1)).etag
    assert (await storage.objects.read(ref, start=start, length=1, etag=old)).etag == old
    await storage.outside.put(ref.name, CONTENT)
    with pytest.raises(SourceChanged):
        await storage.objects.read(ref, start=start, length=1, etag=old)


async def test_an_object_that_was_deleted_is_gone(storage):
    ref = await held(storage)
    await storage.outside.delete(ref)
    with pytest.raises(SourceGone):
        await storage.objects.read(ref, start=0, length=1)


async def test_an_object_that_was_deleted_between_two_reads_has_changed_or_is_gone(storage):
    ref = await held(storage)
    etag = (await storage.objects.read(ref, start=0, length=1)).etag
    await storage.outside.delete(ref)
    with pytest.raises((SourceChanged, SourceGone)):  # If-Match fails on nothing, too: some stores look at it first
        await storage.objects.read(ref, start=0, length=1, etag=etag)


async def test_an_object_of_a_container_that_is_not_there_is_gone(storage):
    ref = replace(await held(storage), container=MISSING_CONTAINER)
    with pytest.raises(SourceGone):
        await storage.objects.read(ref, start=0, length=1)


ODD_NAMES = [
    "a folder/with blanks .dcm",
    "100%.dcm",
    "100%25%20%2F.dcm",
    "a+b&c=d.dcm",
    "a#b?c=d.dcm",
    "Müller, Erika/山田^太郎/😀.dcm",
    "e\u0301 decomposed",
    "ends-with-a-dot.",
    "folder./file",
    "a/slash/at/the/end/",
    "two//slashes",
    "quotes'\"and\\backslash;~!@$^*()[]{}|<>`",
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
async def test_an_odd_name_reads_its_own_object(storage, name):
    prefix = fresh()
    ref = await held(storage, data := prefix.encode(), f"{prefix}/{name}")
    assert (await storage.objects.read(ref, start=0, length=100)).data == data


async def test_names_that_decode_to_one_another_are_different_objects(storage):
    prefix = fresh()
    names = [f"{prefix}a b", f"{prefix}a%20b", f"{prefix}a+b", f"{prefix}A b"]
    refs = [await held(storage, name.encode(), name) for name in names]
    assert [(await storage.objects.read(ref, start=0, length=100)).data.decode() for ref in refs] == names


@pytest.mark.parametrize("part", [{"account": "elsewhere"}, {"container": "private"}, {"container": "../dicom"}])
async def test_what_is_not_configured_is_refused(storage, part):
    ref = replace(await held(storage), **part)
    with pytest.raises(ForeignSource):
        await storage.objects.read(ref, start=0, length=1)


async def test_a_refusal_takes_no_request(storage, monkeypatch):
    async def never(*arguments, **options):
        raise AssertionError("a request was made")

    monkeypatch.setattr("aiohttp.ClientSession._request", never)
    foreign = ObjectRef(account="elsewhere", container=CONTAINER, name="x")
    with pytest.raises(ForeignSource):
        await storage.objects.read(foreign, start=0, length=1)


async def test_an_outside_name_stands_in_no_error(storage):
    ref = ObjectRef(account=storage.account, container=CONTAINER, name=f"Zztestperson-{fresh()}")
    with pytest.raises(SourceGone) as caught:
        await storage.objects.read(ref, start=0, length=1)
    assert "Zztestperson" not in str(caught.value)
