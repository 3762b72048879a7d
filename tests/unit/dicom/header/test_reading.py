"""A header is read in ranges, as few and as short as will do, of one version of the object."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync.dicom.attributes import first_text
from sync.dicom.header import inspect_header, read_file
from sync.errors import Contention, HeaderLimit, NotDicom, SourceUnavailable
from sync.testing.objects import MemoryObjects
from tests.headers import PIXELS, dicom_file, element, identity, wheel_file
from tests.parsing import LIMITS, NAME


class CountingObjects(MemoryObjects):
    """Notes every range that is read; ``before_read`` may play the outside world."""

    def __init__(self, before_read=lambda number: None):
        super().__init__()
        self.ranges = []
        self._before_read = before_read

    async def read(self, ref, *, start, length, etag=None):
        self._before_read(len(self.ranges))
        self.ranges.append((start, length, etag))
        return await super().read(ref, start=start, length=length, etag=etag)


class TestRangedReads:
    @staticmethod
    def big_header(size: int) -> bytes:
        return dicom_file(identity(between=element(0x00091001, "OB", bytes(size)) + NAME) + PIXELS)

    async def test_one_range_is_enough_for_a_usual_object(self):
        objects = CountingObjects()
        etag = objects.put(objects.ref("a"), wheel_file("CT_small.dcm"))
        inspection = await inspect_header(objects, objects.ref("a"), LIMITS)
        assert objects.ranges == [(0, 65536, None)]
        assert inspection.record
        assert inspection.etag == etag
        assert inspection.problem is None

    async def test_further_ranges_bring_only_missing_bytes_of_the_same_version(self):
        objects = CountingObjects()
        etag = objects.put(objects.ref("a"), self.big_header(2_000_000) + bytes(10_000_000))
        inspection = await inspect_header(objects, objects.ref("a"), LIMITS)
        assert first_text(inspection.record.attributes, "PatientName") == "Doe^Jane"
        assert objects.ranges[0] == (0, 65536, None)
        assert [start for start, _, _ in objects.ranges[1:]] == [65536]
        assert {given for _, _, given in objects.ranges[1:]} == {etag}
        assert 2_000_000 < sum(length for _, length, _ in objects.ranges) < 2_100_000

    async def test_the_time_of_the_last_change_gives_an_order_that_sorts(self):
        objects = MemoryObjects()
        orders = []
        for _ in range(3):
            objects.put(objects.ref("a"), wheel_file("CT_small.dcm"))
            orders.append((await inspect_header(objects, objects.ref("a"), LIMITS)).order)
        assert orders == sorted(orders)
        assert {len(order) for order in orders} == {32}
        assert all(order.endswith("+00:00") for order in orders)

    async def test_an_object_that_is_gone_is_a_truth(self):
        objects = MemoryObjects()
        inspection = await inspect_header(objects, objects.ref("a"), LIMITS)
        assert (inspection.etag, inspection.record, inspection.problem) == (None, None, None)

    async def test_an_object_that_goes_between_two_ranges_is_gone(self):
        objects = CountingObjects(lambda number: number == 1 and objects.delete(objects.ref("a")))
        objects.put(objects.ref("a"), self.big_header(100_000))
        assert (await inspect_header(objects, objects.ref("a"), LIMITS)).etag is None

    async def test_an_object_that_changes_between_two_ranges_is_read_anew(self):
        objects = CountingObjects(
            lambda number: number == 1 and objects.put(objects.ref("a"), dicom_file(identity(sop="2.25.99")))
        )
        objects.put(objects.ref("a"), self.big_header(100_000))
        inspection = await inspect_header(objects, objects.ref("a"), LIMITS)
        assert inspection.record.sop_instance_uid == "2.25.99"
        assert [start for start, _, _ in objects.ranges] == [0, 65536, 0]

    async def test_an_object_that_never_stops_changing_is_left_for_later(self):
        objects = CountingObjects(lambda _: objects.put(objects.ref("a"), self.big_header(100_000)))
        with pytest.raises(Contention):
            await inspect_header(objects, objects.ref("a"), LIMITS)
        assert len(objects.ranges) == 10

    async def test_an_unreadable_object_is_a_problem_with_an_etag(self):
        objects = MemoryObjects()
        etag = objects.put(objects.ref("a"), b"hello")
        inspection = await inspect_header(objects, objects.ref("a"), LIMITS)
        assert isinstance(inspection.problem, NotDicom)
        assert inspection.etag == etag
        assert inspection.problem.__traceback__ is None

    async def test_an_empty_object_is_not_dicom(self):
        objects = MemoryObjects()
        objects.put(objects.ref("a"), b"")
        assert isinstance((await inspect_header(objects, objects.ref("a"), LIMITS)).problem, NotDicom)

    async def test_a_header_beyond_the_bound_is_not_fetched(self):
        objects = CountingObjects()
        objects.put(objects.ref("a"), self.big_header(300_000))
        limits = LIMITS.model_copy(update={"max_bytes": 200_000})
        inspection = await inspect_header(objects, objects.ref("a"), limits)
        assert isinstance(inspection.problem, HeaderLimit)
        assert "DICOM_SYNC_HEADER_MAX_BYTES" in str(inspection.problem)
        assert sum(length for _, length, _ in objects.ranges) <= 200_000

    async def test_a_store_that_gives_no_bytes_where_there_are_some_is_unavailable(self):
        class Empty(MemoryObjects):
            async def read(self, ref, *, start, length, etag=None):
                chunk = await super().read(ref, start=start, length=length, etag=etag)
                return replace(chunk, data=b"" if start else chunk.data)

        objects = Empty()
        objects.put(objects.ref("a"), self.big_header(100_000))
        with pytest.raises(SourceUnavailable):
            await inspect_header(objects, objects.ref("a"), LIMITS)

    async def test_large_and_deflated_headers_are_read_too(self):
        objects = MemoryObjects()
        objects.put(objects.ref("a"), self.big_header(3_000_000))
        objects.put(objects.ref("b"), wheel_file("image_dfl.dcm"))
        assert (await inspect_header(objects, objects.ref("a"), LIMITS)).record
        assert (await inspect_header(objects, objects.ref("b"), LIMITS)).record

    def test_a_small_header_is_read_without_an_event_loop(self):
        objects = MemoryObjects()
        objects.put(objects.ref("a"), wheel_file("CT_small.dcm"))
        with pytest.raises(StopIteration) as done:
            inspect_header(objects, objects.ref("a"), LIMITS).send(None)
        assert done.value.value.record

    def test_a_missing_file_is_gone(self, tmp_path):
        assert read_file(tmp_path / "nothing", LIMITS).etag is None
