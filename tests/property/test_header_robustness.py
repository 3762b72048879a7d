"""
What no file may do to the header reader, and what pydicom says of the same bytes.

Files are the wheel's real ones (and those of a corpus, where there is one), cut and flipped.
"""

import io
import time
from collections import deque

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.filereader import data_element_generator, read_preamble
from pydicom.multival import MultiValue

from sync.config import HeaderLimits
from sync.dicom.attributes import (
    CONTENT,
    CONTENT_CLASSES,
    ENHANCED_CLASSES,
    FRAME_GROUPS,
    SHARED_GROUPS,
    extracted_of,
)
from sync.dicom.header import NeedMore, inspect_header, parse_header, read_file
from sync.errors import MissingIdentity, NotDicom, TruncatedHeader, UnreadableObject
from sync.model import InstanceRecord
from sync.testing.objects import MemoryObjects
from tests.headers import (
    deflate,
    dicom_file,
    element,
    identity,
    real_files,
    sequence,
    wheel_file,
    wheel_files,
    whole_corpus,
)
from tests.property import examples

LIMITS = HeaderLimits()

VALID = [
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "SC_rgb_rle_16bit.dcm",
    "chrH31.dcm",
    "badVR.dcm",
    "reportsi.dcm",
    "test-SR.dcm",
    "ExplVR_BigEndNoMeta.dcm",
    "ExplVR_LitEndNoMeta.dcm",
    "rtplan.dcm",
    "rtstruct.dcm",
]
"""Whole files of all encodings: some end with pixel data, some with a later tag, some with their last byte."""


def outcome(data: bytes, size: int | None = None):
    """The record, NeedMore, or the class of the problem; any other exception fails the test."""
    try:
        return parse_header(data, size=len(data) if size is None else size, limits=LIMITS)
    except UnreadableObject as problem:
        return type(problem)


def cuts(data: bytes) -> list[int]:
    """Every size up to 2,000 bytes, and the last 300 sizes."""
    return sorted({*range(min(2000, len(data))), *range(max(0, len(data) - 300), len(data))})


def boundaries(data: bytes) -> set[int]:
    """Positions between the root elements of a file, by pydicom's reading of it."""
    implicit, little = pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=True).original_encoding
    file = io.BytesIO(data)
    read_preamble(file, force=True)
    if data[file.tell() : file.tell() + 2] == b"\2\0":
        deque(data_element_generator(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2), maxlen=0)
    return {file.tell() for _ in data_element_generator(file, implicit, little)} | {file.tell()}


@pytest.mark.parametrize("name", VALID)
def test_a_file_cut_at_any_byte_never_pretends_to_be_whole(name):
    """Between two elements is the one place where a cut file cannot be told from a short one."""
    data = wheel_file(name)
    whole, between_elements = outcome(data), boundaries(data)
    assert isinstance(whole, InstanceRecord)
    ended = False
    for size in cuts(data):
        cut = outcome(data[:size])
        if size in between_elements and not ended:
            assert isinstance(cut, InstanceRecord) or cut in (MissingIdentity, NotDicom, TruncatedHeader)
        elif ended or isinstance(cut, InstanceRecord):
            assert cut == whole or is_cut_in_its_tree(cut, whole)
            ended = True
        else:
            assert cut in (NotDicom, TruncatedHeader)


def is_cut_in_its_tree(cut, whole):
    """A report that ends within its content is an instance still, and says so."""
    said = {key: values for key, values in whole.attributes.items() if key != CONTENT.keyword}
    return said == cut.attributes and {finding.code for finding in cut.findings} == {"content.truncated"}


@pytest.mark.parametrize("name", VALID)
def test_the_first_bytes_of_an_object_give_its_record_or_ask_for_more(name):
    data = wheel_file(name)
    whole = outcome(data)
    for size in cuts(data):
        part = outcome(data[:size], len(data))
        if isinstance(part, NeedMore):
            assert size < part.size <= len(data)
        else:
            assert part == whole or (part is NotDicom and size < 132)


def test_a_deflated_file_cut_at_any_byte_is_truncated():
    code = element(0x00080100, "SH", "X1") + element(0x00080104, "LO", "Chest")
    plain = identity(between=sequence(0x00081032, code) + element(0x00100010, "PN", "Doe^Jane"))
    data = dicom_file(deflate(plain), "1.2.840.10008.1.2.1.99")
    assert isinstance(outcome(data), InstanceRecord)
    for size in range(len(data)):
        assert outcome(data[:size]) in (NotDicom, TruncatedHeader)
        assert isinstance(outcome(data[:size], len(data)), NeedMore)


@settings(max_examples=examples(200), deadline=None)
@given(
    name=st.sampled_from([*VALID, "CT_small.dcm", "image_dfl.dcm", "nested_priv_SQ.dcm", "waveform_ecg.dcm"]),
    flips=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_flipped_bytes_give_a_record_or_a_problem_in_bounded_time(name, flips):
    data = bytearray(wheel_file(name))
    for place, byte in flips:
        data[place % len(data)] = byte
    started = time.process_time()
    result = outcome(bytes(data))
    assert isinstance(result, InstanceRecord) or issubclass(result, UnreadableObject)
    assert time.process_time() - started < 2


@settings(max_examples=examples(200), deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", bytes(128) + b"DICM", dicom_file(b""), identity(), dicom_file(identity())]),
)
def test_any_bytes_give_a_record_or_a_problem(tail, start):
    result = outcome(start + tail)
    assert isinstance(result, InstanceRecord) or issubclass(result, UnreadableObject)


def test_extreme_headers_take_bounded_time():
    """The largest walk that the default limits allow: as many elements as allowed, in sequences that are not read."""
    item = element(0x00091003, "SH", "")
    data = dicom_file(identity(between=sequence(0x00091001, *[item] * 60_000)))
    started = time.process_time()
    assert isinstance(outcome(data), InstanceRecord)
    assert time.process_time() - started < 5


class Ranges(MemoryObjects):
    """Notes the ranges that are read."""

    def __init__(self):
        super().__init__()
        self.ranges = []

    async def read(self, ref, *, start, length, etag=None):
        self.ranges.append((start, length))
        return await super().read(ref, start=start, length=length, etag=etag)


async def test_small_ranges_give_what_one_range_gives():
    tiny = LIMITS.model_copy(update={"first_read_bytes": 512})
    for path in wheel_files():
        objects = Ranges()
        objects.put(objects.ref("a"), path.read_bytes())
        by_ranges = await inspect_header(objects, objects.ref("a"), tiny)
        at_once = read_file(path, LIMITS.model_copy(update={"first_read_bytes": 10_000_000}))
        assert by_ranges.record == at_once.record, path.name
        assert type(by_ranges.problem) is type(at_once.problem), path.name
        ends = [start + length for start, length in objects.ranges]
        assert [start for start, _ in objects.ranges] == [0, *ends[:-1]], path.name
        assert len(ends) <= 8, path.name


def by_pydicom(dataset: pydicom.Dataset, rows) -> dict:
    """What pydicom says of the extracted attributes, in our shape."""
    values = {}
    for row in rows:
        if row.tag not in dataset:
            continue
        read_element = dataset[row.tag]
        if read_element.VR == "SQ":
            inner = (*row.children, row) if row.recursive else row.children
            values[row.keyword] = [by_pydicom(item, inner) for item in read_element.value]
        elif isinstance(read_element.value, MultiValue):
            values[row.keyword] = [str(value).strip(" \0") for value in read_element.value]
        else:
            text = "" if read_element.value is None else str(read_element.value).strip(" \0")
            values[row.keyword] = [text] if text else []
    return values


def groups_by_pydicom(dataset: pydicom.Dataset) -> dict:
    """What all frames share; what each says, every different one once, only where the former holds no anatomy."""
    shared = by_pydicom(dataset, (SHARED_GROUPS,))
    if any("FrameAnatomySequence" in group for group in shared.get("SharedFunctionalGroupsSequence", ())):
        return shared
    frames = by_pydicom(dataset, (FRAME_GROUPS,))
    for keyword, groups in frames.items():
        frames[keyword] = [group for n, group in enumerate(groups) if group and group not in groups[:n]]
    return shared | frames


def without_trailing_groups(attributes: dict) -> dict:
    """pydicom drops empty component groups at the end of a person name; we keep what the file has."""
    return {
        keyword: [value.rstrip("=") if isinstance(value, str) else without_trailing_groups(value) for value in values]
        for keyword, values in attributes.items()
    }


@whole_corpus
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_values_are_those_that_pydicom_reads():
    compared = 0
    for path in real_files():
        record = read_file(path, LIMITS).record
        if record is None:
            continue
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        sop_class = str(dataset.get("SOPClassUID", ""))
        tree = (CONTENT,) if sop_class in CONTENT_CLASSES else ()
        expected = by_pydicom(dataset, (*extracted_of(sop_class), *tree))
        if sop_class in ENHANCED_CLASSES:
            expected |= groups_by_pydicom(dataset)
        if not expected.get("SOPClassUID") and "MediaStorageSOPClassUID" in dataset.file_meta:
            expected["SOPClassUID"] = [str(dataset.file_meta.MediaStorageSOPClassUID)]
        assert without_trailing_groups(record.attributes) == without_trailing_groups(expected), path.name
        uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
        assert (record.study.study_instance_uid, record.series_instance_uid, record.sop_instance_uid) == uids
        compared += 1
    assert compared > 80
