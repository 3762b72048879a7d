"""Large headers are read a few at a time, whatever number of objects a process has in hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from sync.config import HeaderLimits
from sync.dicom.header import reading
from sync.dicom.header.reading import LARGE_AT_ONCE, inspect_header
from sync.model import Chunk, ObjectRef
from tests.worlds import dicom

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


class Store:
    """Holds one file under every name; counts how many are read past their first range at the same time."""

    def __init__(self, data):
        self.data, self.now, self.most = data, 0, 0

    async def read(self, ref, *, start, length, etag=None):
        if start:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.01)
            self.now -= 1
        data = self.data[start : start + length]
        return Chunk(data=data, etag="1", size=len(self.data), last_modified=WHEN)


async def test_large_headers_wait_for_one_another():
    file = dicom(ImageComments="x" * 9000, PatientID="P1")
    data = file[:132] + file[132:]
    store = Store(data)
    refs = [ObjectRef(account="memory", container="dicom", name=str(n)) for n in range(4 * LARGE_AT_ONCE)]
    limits = HeaderLimits(first_read_bytes=1024)
    small = reading.INLINE_BYTES
    reading.INLINE_BYTES = 1024
    try:
        inspections = await asyncio.gather(*(inspect_header(store, ref, limits) for ref in refs))
    finally:
        reading.INLINE_BYTES = small
    assert all(inspection.record is not None for inspection in inspections)
    assert 0 < store.most <= LARGE_AT_ONCE


async def test_small_headers_do_not_wait():
    store = Store(dicom(ImageComments="x" * 3000))
    refs = [ObjectRef(account="memory", container="dicom", name=str(n)) for n in range(4 * LARGE_AT_ONCE)]
    await asyncio.gather(*(inspect_header(store, ref, HeaderLimits(first_read_bytes=1024)) for ref in refs))
    assert store.most > LARGE_AT_ONCE
