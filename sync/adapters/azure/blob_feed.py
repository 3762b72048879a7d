"""
The change feed of a storage account, read from the blobs that hold it: container ``$blobchangefeed``.

    meta/Segments.json                          how far the feed may be read: ``lastConsumable``
    idx/segments/YYYY/MM/DD/hhmm/meta.json      one segment: ``status``, ``chunkFilePaths`` (folders, one a shard)
    log/<shard>/YYYY/MM/DD/hhmm/00000.avro      its records

A chunk is copied to a temporary file and decoded from there in a thread, so that a large one costs no memory. Source:
Azure "Change feed support in Azure Blob Storage" (specifications).
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Any

from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from sync.adapters.azure.errors import ensure_whole, error_code, source_errors
from sync.adapters.azure.listed_items import items_of
from sync.errors import FeedMalformed, FeedMissing, SourceGone
from sync.model import FeedSegment
from sync.model.timestamps import utc_of
from sync.ports import BlobFeed

CONTAINER = "$blobchangefeed"
PORTION = 1000
"""Records handed over at once."""

IN_MEMORY = 4 * 1024 * 1024
"""Bytes of a chunk up to which no temporary file is made."""

_LARGEST_MANIFEST = 1024 * 1024
_SEGMENT = re.compile(r"idx/segments/(\d{4})/(\d{2})/(\d{2})/(\d{2})(\d{2})/meta\.json")
_NO_FEED = (400, 404, 409)
"""Answers of accounts that do not support the feed, or have none (yet); with the service's own error code."""


class AzureBlobFeed(BlobFeed):
    """The change feed of one account; the caller closes the client."""

    def __init__(self, service: BlobServiceClient) -> None:
        self._container: ContainerClient = service.get_container_client(CONTAINER)

    async def segments(self, start: datetime, end: datetime) -> AsyncIterator[FeedSegment]:
        """Iterate over segments; see `sync.ports.BlobFeed.segments`."""
        consumable = await self._last_consumable()
        for year in range(start.year, min(end, consumable).year + 1):
            for begin, name in await self._segments_of(year):
                if start <= begin < end and begin <= consumable:
                    yield _segment(begin, await self._manifest(name))

    async def records(self, segment: FeedSegment) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """Iterate over records; see `sync.ports.BlobFeed.records`. A shard without a chunk has none."""
        for shard in sorted(segment.shards):
            for name in await self._names(shard):
                with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as chunk:
                    await self._copy(name, chunk)
                    portions = await asyncio.to_thread(_opened, chunk)
                    while portion := await asyncio.to_thread(_portion, portions):
                        yield portion

    async def _last_consumable(self) -> datetime:
        with source_errors():
            try:
                data = await self._read("meta/Segments.json")
            except HttpResponseError as problem:
                if problem.status_code in _NO_FEED and error_code(problem):
                    raise FeedMissing("there is no change feed") from None
                raise
        return _time(_object(data).get("lastConsumable"))

    async def _segments_of(self, year: int) -> list[tuple[datetime, str]]:
        """Return time and name of a year's segments: two requests instead of hundreds, one per day."""
        names = await self._names(f"idx/segments/{year:04}/")
        return [(_begin(match), name) for name in names if (match := _SEGMENT.fullmatch(name))]

    async def _manifest(self, name: str) -> Mapping[str, Any]:
        with source_errors():
            return _object(await self._read(name))

    async def _read(self, name: str) -> bytes:
        download = await self._container.download_blob(name, length=_LARGEST_MANIFEST, offset=0, decompress=False)
        data: bytes = await download.readall()
        ensure_whole(len(data), download.size)
        return data

    async def _names(self, prefix: str) -> list[str]:
        with source_errors():
            names = self._container.list_blob_names(name_starts_with=prefix)
            return sorted([str(name) async for name in items_of(names)])

    async def _copy(self, name: str, to: IO[bytes]) -> None:
        try:
            with source_errors():
                download = await self._container.download_blob(name, decompress=False)
                async for piece in download.chunks():
                    to.write(piece)
            # A chunk that is truncated between two blocks still decodes; its last records would be skipped.
            ensure_whole(to.tell(), download.size)
        except SourceGone:
            pass  # its retention ended while it was read
        to.seek(0)


def _begin(path: re.Match[str]) -> datetime:
    year, month, day, hour, minute = map(int, path.groups())
    try:
        return datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError:
        raise FeedMalformed("a segment is named after no time") from None


def _segment(begin: datetime, manifest: Mapping[str, Any]) -> FeedSegment:
    paths = manifest.get("chunkFilePaths")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise FeedMalformed("a segment names no chunk files")
    shards = tuple(path.removeprefix(f"{CONTAINER}/") for path in paths)
    if any(not shard.startswith("log/") for shard in shards):
        raise FeedMalformed("a segment names chunk files outside the log")
    return FeedSegment(begin=begin, finished=manifest.get("status") == "Finalized", shards=shards)


def _opened(chunk: IO[bytes]) -> Iterator[Any]:
    if not chunk.read(1):
        return iter(())
    chunk.seek(0)
    import fastavro

    with _decoding():
        return iter(fastavro.reader(chunk))


def _portion(records: Iterator[Any]) -> Sequence[Mapping[str, Any]]:
    with _decoding():
        portion = list(islice(records, PORTION))
    if not all(isinstance(record, dict) for record in portion):
        raise FeedMalformed("a record is no object")
    return portion


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except Exception:  # noqa: BLE001 -- the decoder raises whatever the bytes lead to
        raise FeedMalformed("a chunk file cannot be decoded") from None


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise FeedMalformed("a manifest is not JSON") from None
    if not isinstance(document, dict):
        raise FeedMalformed("a manifest is no JSON object")
    return document


def _time(text: Any) -> datetime:
    try:
        return utc_of(text)
    except ValueError:
        raise FeedMalformed("lastConsumable is no time") from None
