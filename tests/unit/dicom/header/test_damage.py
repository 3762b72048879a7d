"""A length that lies never puts an instance into another series; what writers are known to do is read all the same."""

from __future__ import annotations

from struct import pack

import pytest

from sync.config import HeaderLimits
from sync.dicom.attributes import first_text, items
from sync.dicom.header import parse_header
from sync.errors import DamagedHeader, UnreadableObject
from sync.model import InstanceRecord
from tests.headers import BIG_ENDIAN, IMPLICIT, PIXELS, SERIES, SOP, STUDY, dicom_file, element, identity
from tests.parsing import attributes, codes, parse

CLASS = element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2")
LONG_UID = "1.2.826.0.1.3680043.8.498.12345678901234567890"


def uid(tag: int, value: str, **form) -> bytes:
    return element(tag, "UI", value, **form)


def shortened(tag: int, by: int, **form) -> bytes:
    """Return a UID whose length says ``by`` bytes less than there are."""
    whole = uid(tag, LONG_UID, **form)
    start = len(whole) - len(LONG_UID) - len(LONG_UID) % 2
    size = len(LONG_UID) - by
    place = start - (4 if form.get("implicit") else 2)
    return whole[:place] + pack("<I" if form.get("implicit") else "<H", size) + whole[start:]


class TestLengthsThatLie:
    @pytest.mark.parametrize("by", range(8, 32, 2))
    @pytest.mark.parametrize("form", [{}, {"implicit": True}])
    def test_a_shortened_series_uid_is_no_series(self, by, form):
        dataset = uid(0x00080018, SOP, **form) + uid(0x0020000D, STUDY, **form) + shortened(0x0020000E, by, **form)
        dataset += element(0x00200011, "IS", "1", **form) + PIXELS
        with pytest.raises(DamagedHeader):
            parse(dicom_file(dataset, IMPLICIT if form else None))

    @pytest.mark.parametrize("by", range(1, 8))
    @pytest.mark.parametrize("form", [{}, {"implicit": True}])
    def test_nor_is_one_of_a_large_object_that_could_hold_what_follows(self, by, form):
        dataset = uid(0x00080018, SOP, **form) + uid(0x0020000D, STUDY, **form) + shortened(0x0020000E, by, **form)
        dataset += element(0x00200010, "SH", "1 ", **form) + element(0x00200011, "IS", "1", **form)
        data = dicom_file(dataset + PIXELS, IMPLICIT if form else None)
        with pytest.raises(DamagedHeader):
            parse_header(data, size=2**32, limits=HeaderLimits())

    @pytest.mark.parametrize("tag", [0x31091010, 0x31091001, 0x50000010, 0x60000010, 0x30060002])
    @pytest.mark.parametrize("form", [{}, {"implicit": True}])
    def test_what_can_follow_the_header_is_no_damage(self, tag, form):
        dataset = identity(**form) + element(tag, "UN", b"1234", **form)
        assert isinstance(parse(dicom_file(dataset, IMPLICIT if form else None)), InstanceRecord)

    @pytest.mark.parametrize("tag", [0x00080018, 0x0020000D])
    def test_neither_is_another_shortened_uid(self, tag):
        uids = {0x00080018: SOP, 0x0020000D: STUDY, 0x0020000E: SERIES}
        dataset = b"".join(
            shortened(unique, 12) if unique == tag else uid(unique, value) for unique, value in uids.items()
        )
        with pytest.raises(UnreadableObject):
            parse(dicom_file(CLASS + dataset + PIXELS))

    def test_items_outside_of_a_sequence_do_not_give_their_uids(self):
        inner = uid(0x0020000D, "2.25.99")
        item = pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
        stray = element(0x00400275, "SQ", b"")
        dataset = CLASS + uid(0x00080018, SOP) + uid(0x0020000D, STUDY) + stray + item + uid(0x0020000E, SERIES)
        with pytest.raises(DamagedHeader):
            parse(dicom_file(dataset + PIXELS))

    def test_two_series_uids_are_none(self):
        with pytest.raises(DamagedHeader):
            parse(dicom_file(identity() + uid(0x0020000E, "2.25.99")))
        assert isinstance(parse(dicom_file(identity() + uid(0x0020000E, SERIES))), InstanceRecord)


class TestWhatWritersDo:
    def test_groups_out_of_order_are_read_and_found(self):
        late = element(0x00100020, "LO", "1") + element(0x00080060, "CS", "CT")
        record = parse(dicom_file(identity(between=late)))
        assert first_text(record.attributes, "Modality") == "CT"
        assert ("StudyInstanceUID", "header.disordered") in codes(record)

    def test_a_uid_as_text_is_read_and_found(self):
        dataset = CLASS + uid(0x00080018, SOP) + element(0x0020000D, "LO", STUDY) + uid(0x0020000E, SERIES)
        record = parse(dicom_file(dataset))
        assert record.study.study_instance_uid == STUDY
        assert codes(record) == {("StudyInstanceUID", "vr.unexpected")}

    def test_a_uid_as_numbers_is_damaged(self):
        with pytest.raises(DamagedHeader):
            parse(dicom_file(CLASS + uid(0x00080018, SOP) + element(0x0020000D, "US", STUDY) + uid(0x0020000E, SERIES)))

    def test_a_blank_vr_has_a_length_of_two_bytes(self):
        blank = pack("<HH2sH", 0x0028, 0x0120, b"  ", 2) + b"\0\0"
        assert attributes(blank + element(0x00700080, "CS", "A"))["ContentLabel"] == ["A"]

    def test_a_label_behind_the_content_tree_is_read(self):
        tree = element(0x0040A730, "SQ", pack("<HHI", 0xFFFE, 0xE000, 0))
        record = parse(dicom_file(identity() + tree + element(0x00700080, "CS", "LABEL")))
        assert record.attributes["ContentLabel"] == ["LABEL"]

    def test_a_un_sequence_is_little_endian_in_a_big_endian_data_set(self):
        code = element(0x00080100, "SH", "RPID", implicit=True)
        item = pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + code + pack("<HHI", 0xFFFE, 0xE00D, 0)
        value = item + pack("<HHI", 0xFFFE, 0xE0DD, 0)
        header = pack(">HH2sHI", 0x0008, 0x1032, b"UN", 0, 0xFFFFFFFF)
        record = parse(dicom_file(identity(between=header + value, big=True), BIG_ENDIAN))
        assert [first_text(item, "CodeValue") for item in items(record.attributes, "ProcedureCodeSequence")] == ["RPID"]
