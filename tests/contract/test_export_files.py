"""Files of exports: each is there whole or not at all, and stays as it was created."""

import pytest
from azure.storage.blob.aio import BlobServiceClient

from sync.adapters.azure.export_files import AzureExportFiles
from sync.errors import StoreUnavailable
from sync.testing.export_files import MemoryExportFiles
from tests.contract.storage import fresh


@pytest.fixture(params=["memory", "azurite"])
async def files(request):
    if request.param == "memory":
        yield MemoryExportFiles()
        return
    service = BlobServiceClient.from_connection_string(request.getfixturevalue("azurite"))
    async with service:
        yield AzureExportFiles(service, "exports")


def of(folder, content):
    path = folder / "local"
    path.write_bytes(content)
    return path


async def test_a_file_is_fetched_as_it_was_created_and_the_first_stays(files, tmp_path):
    await files.ensure()
    await files.ensure()
    name, copy = f"{fresh()}/one.ndjson", tmp_path / "copy"
    content = bytes(range(256)) * 40_000  # more than one block
    assert await files.fetch(name, copy) is False
    assert await files.create(name, of(tmp_path, content)) is True
    assert await files.create(name, of(tmp_path, b"another")) is False
    assert await files.fetch(name, copy) is True
    assert copy.read_bytes() == content


async def test_a_part_of_a_file_is_fetched_whole_or_not_at_all(files, tmp_path):
    await files.ensure()
    name, copy = f"{fresh()}/one.ndjson", tmp_path / "copy"
    content = bytes(range(256)) * 40_000
    assert await files.fetch(name, copy, start=3, size=4) is False
    await files.create(name, of(tmp_path, content))
    for start, size in ((0, 1), (3, 4), (256, 5_000_000), (len(content) - 2, 2)):
        assert await files.fetch(name, copy, start=start, size=size) is True
        assert copy.read_bytes() == content[start : start + size]
    with pytest.raises(StoreUnavailable):
        await files.fetch(name, copy, start=len(content) - 2, size=3)
    with pytest.raises(StoreUnavailable):
        await files.fetch(name, copy, start=len(content) + 1, size=3)


async def test_the_names_of_an_export_are_listed_and_what_is_removed_is_not(files, tmp_path):
    await files.ensure()
    folder = fresh()
    for name in ("a", "b"):
        await files.create(f"{folder}/{name}", of(tmp_path, b""))
    await files.create(f"{folder}x/c", of(tmp_path, b""))
    assert [name async for name in files.names(f"{folder}/")] == [f"{folder}/a", f"{folder}/b"]
    await files.remove(f"{folder}/a")
    await files.remove(f"{folder}/a")
    assert [name async for name in files.names(f"{folder}/")] == [f"{folder}/b"]
