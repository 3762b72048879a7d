import csv
import tracemalloc
import zlib
from dataclasses import replace
from struct import pack

import pytest

from sync.adapters.memory.objects import MemoryObjects
from sync.attributes import first_text, items
from sync.config import HeaderLimits
from sync.errors import (
    Contention,
    DicomDirectory,
    HeaderLimit,
    MissingIdentity,
    NotDicom,
    SourceUnavailable,
    TruncatedHeader,
    UnreadableObject,
)
from sync.header import NeedMore, look_at, parse_header, read_file
from sync.model import Finding, InstanceRecord
from tests.headers import (
    BIG_ENDIAN,
    CORPUS,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    PIXELS,
    SERIES,
    SOP,
    STUDY,
    WHEEL,
    deflate,
    dicom_file,
    element,
    identity,
    meta,
    sequence,
    wheel_file,
    wheel_files,
)

LIMITS = HeaderLimits()
NAME = element(0x00100010, "PN", "Doe^Jane")


def parse(data: bytes, limits: HeaderLimits = LIMITS) -> InstanceRecord:
    record = parse_header(data, size=len(data), limits=limits)
    assert isinstance(record, InstanceRecord)
    return record


def attributes(between: bytes, transfer_syntax: str | None = EXPLICIT, **form):
    return parse(dicom_file(identity(between=between, **form), transfer_syntax)).attributes


def codes(record: InstanceRecord) -> set[tuple[str, str]]:
    return {(finding.keyword, finding.code) for finding in record.findings}


class TestTransferSyntaxes:
    def test_an_instance_is_known_by_its_three_uids(self):
        record = parse(dicom_file(identity() + PIXELS))
        assert (record.study.study_instance_uid, record.series_instance_uid, record.sop_instance_uid) == (
            STUDY,
            SERIES,
            SOP,
        )

    @pytest.mark.parametrize(
        ("transfer_syntax", "form"),
        [
            (EXPLICIT, {}),
            (IMPLICIT, {"implicit": True}),
            (BIG_ENDIAN, {"big": True}),
            ("1.2.840.10008.1.2.8.1", {}),
            ("1.2.840.10008.1.2.4.50", {}),
            ("1.2.3.4.5", {}),
            ("1.2.840.113619.5.2", {"implicit": True}),
            (IMPLICIT, {}),
            (EXPLICIT, {"implicit": True}),
            (None, {}),
            (None, {"implicit": True}),
            (None, {"big": True}),
        ],
        ids=[
            "explicit",
            "implicit",
            "big-endian",
            "deflated-frames",
            "jpeg",
            "private",
            "private-implicit",
            "says-implicit",
            "says-explicit",
            "unsaid-explicit",
            "unsaid-implicit",
            "unsaid-big-endian",
        ],
    )
    @pytest.mark.parametrize("undefined", [True, False])
    def test_every_encoding_gives_the_same_record(self, transfer_syntax, form, undefined):
        code = element(0x00080100, "SH", "X1", **form) + element(0x00080104, "LO", "Chest", **form)
        between = sequence(0x00081032, code, undefined=undefined, **form) + element(0x00100020, "LO", "P1", **form)
        assert attributes(between, transfer_syntax, **form) == {
            "SOPClassUID": ["1.2.840.10008.5.1.4.1.1.2"],
            "ProcedureCodeSequence": [{"CodeValue": ["X1"], "CodeMeaning": ["Chest"]}],
            "PatientID": ["P1"],
        }

    @pytest.mark.parametrize("transfer_syntax", [DEFLATED, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"])
    def test_a_deflated_data_set_is_inflated(self, transfer_syntax):
        record = parse(dicom_file(deflate(identity(between=NAME)), transfer_syntax))
        assert first_text(record.attributes, "PatientName") == "Doe^Jane"

    def test_a_deflated_data_set_that_is_none_is_unreadable(self):
        with pytest.raises(UnreadableObject, match="damaged"):
            parse(dicom_file(b"\xff" * 100, DEFLATED))

    def test_a_deflated_stream_that_stops_early_is_truncated(self):
        whole = dicom_file(deflate(identity(between=NAME)), DEFLATED)
        with pytest.raises(TruncatedHeader):
            parse(whole[:-3])

    @pytest.mark.parametrize("form", [{}, {"implicit": True}, {"big": True}])
    def test_a_bare_data_set_without_preamble_and_meta_is_read(self, form):
        assert parse(identity(between=element(0x00100020, "LO", "P1", **form), **form)).attributes == {
            "PatientID": ["P1"]
        }

    def test_meta_information_without_preamble_is_read(self):
        assert parse(meta() + identity()).sop_instance_uid == SOP

    def test_a_wrong_group_length_is_ignored(self):
        lying = element(0x00020000, "UL", pack("<I", 9999)) + element(0x00020010, "UI", EXPLICIT)
        assert parse(bytes(128) + b"DICM" + lying + identity()).sop_instance_uid == SOP

    def test_command_elements_before_the_data_set_are_passed_over(self):
        command = element(0x00000002, "UI", "1.2.840.10008.1.1", implicit=True)
        assert parse(dicom_file(command + identity())).sop_instance_uid == SOP


class TestIdentity:
    @pytest.mark.parametrize(
        ("missing", "keyword"),
        [("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID"), ("sop", "SOPInstanceUID")],
    )
    @pytest.mark.parametrize("uid", [None, "", " ", "1.2/3", "1" * 66, "1.2\\1.3", "1.2 3", "1.\xe9"])
    def test_a_missing_or_unusable_uid_is_named(self, missing, keyword, uid):
        with pytest.raises(MissingIdentity, match=keyword) as problem:
            parse(dicom_file(identity(**{missing: uid}) + PIXELS))
        assert uid is None or len(uid) < 2 or uid not in str(problem.value)

    @pytest.mark.parametrize("uid", ["1.0", "111", "1.2.03.4", "1" * 64, "a-b.C"])
    def test_odd_but_harmless_uids_are_kept(self, uid):
        assert parse(dicom_file(identity(study=uid))).study.study_instance_uid == uid

    def test_padding_of_a_uid_is_stripped(self):
        assert parse(dicom_file(identity(study="2.25.1\0\0 "))).study.study_instance_uid == "2.25.1"

    def test_uids_may_stand_after_everything_else(self):
        late = element(0x30060002, "SH", "structures") + identity()
        assert parse(dicom_file(late + PIXELS)).sop_instance_uid == SOP

    def test_the_class_of_the_meta_information_stands_in_for_a_missing_one(self):
        assert parse(dicom_file(identity(), sop_class="1.2.3")).attributes["SOPClassUID"] == ["1.2.3"]
        own = element(0x00080016, "UI", "1.2.4")
        assert parse(dicom_file(own + identity(), sop_class="1.2.3")).attributes["SOPClassUID"] == ["1.2.4"]


class TestWhatIsNoInstance:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\0" * 64,
            b"\0" * 4096,
            b"Dear colleague,\n" * 20,
            b"<!DOCTYPE html><html></html>" * 9,
            b'{"resourceType": "Patient"}',
            b"\x89PNG\r\n\x1a\n" + bytes(300),
            b"PK\x03\x04" + bytes(300),
            b"\x1f\x8b\x08" + bytes(300),
            b"\x08\x00" + b"\xff" * 300,
            b"\x08\x00\x05\x00" + b"\x01\x00\x00\x00" + b"\x00" * 300,
            b"\x08\x00",
        ],
    )
    def test_what_is_not_dicom_is_said_to_be_so(self, data):
        with pytest.raises(NotDicom):
            parse(data)

    def test_a_directory_is_known_by_its_class(self):
        with pytest.raises(DicomDirectory):
            parse(dicom_file(identity(), sop_class="1.2.840.10008.1.3.10"))

    @pytest.mark.parametrize("prefix", [b"", bytes(128) + b"DICM"])
    def test_a_directory_without_meta_information_is_known_by_its_records(self, prefix):
        records = element(0x00041130, "CS", "DISC") + sequence(0x00041220, element(0x00041430, "CS", "PATIENT"))
        with pytest.raises(DicomDirectory):
            parse(prefix + records)


class TestWholeness:
    def test_pixel_data_ends_a_header_even_when_it_is_cut_itself(self):
        pixels = element(0x7FE00010, "OW", b"", length=1_000_000)
        assert parse(dicom_file(identity() + pixels)).sop_instance_uid == SOP

    @pytest.mark.parametrize(
        "tag", [0x7FE00008, 0x7FE00009, 0x7FE00010, 0x30060010, 0x54000100, 0x00420011, 0x0040A730, 0x0040B020]
    )
    def test_bulk_after_the_last_extracted_attribute_need_not_be_there(self, tag):
        data = dicom_file(identity() + element(tag, "OB", b"", length=50_000_000))
        assert isinstance(parse_header(data, size=60_000_000, limits=LIMITS), InstanceRecord)

    def test_an_object_that_ends_inside_an_element_is_truncated(self):
        whole = dicom_file(identity(between=NAME))
        for size in range(len(whole) - 1, len(whole) - 16, -1):
            with pytest.raises(TruncatedHeader):
                parse(whole[:size])

    def test_a_length_beyond_the_objects_end_needs_no_further_reading(self):
        data = dicom_file(element(0x00080005, "CS", "") + element(0x00090010, "OB", b"", length=5000))
        with pytest.raises(TruncatedHeader):
            parse_header(data, size=len(data) + 1000, limits=LIMITS)

    def test_an_unfinished_header_says_how_far_to_read(self):
        whole = dicom_file(identity(between=element(0x00091001, "OB", bytes(100_000))))
        more = parse_header(whole[:1000], size=len(whole), limits=LIMITS)
        assert isinstance(more, NeedMore)
        assert 100_000 < more.size <= len(whole)

    def test_a_value_of_no_interest_is_not_looked_into(self):
        nonsense = element(0x00081115, "SQ", b"\xff" * 64)
        assert parse(dicom_file(nonsense + identity())).findings == ()

    @pytest.mark.parametrize("padding", [1, 7, 8, 512, 1001])
    def test_zeros_behind_the_last_element_are_padding(self, padding):
        assert parse(dicom_file(identity() + bytes(padding))).sop_instance_uid == SOP

    def test_a_file_of_meta_information_alone_is_truncated(self):
        with pytest.raises(TruncatedHeader):
            parse(dicom_file(b""))

    def test_truncated_real_files(self):
        assert read_file(WHEEL / "test_files" / "MR_truncated.dcm", LIMITS).record
        assert read_file(WHEEL / "test_files" / "rtplan_truncated.dcm", LIMITS).record
        cut = wheel_file("CT_small.dcm")[:2000]
        with pytest.raises(TruncatedHeader):
            parse(cut)


class TestStructure:
    @pytest.mark.parametrize("undefined", [True, False])
    def test_private_and_nested_sequences_are_passed_over(self, undefined):
        inner = sequence(0x00091002, element(0x00091003, "LO", "x"), undefined=undefined)
        private = sequence(0x00091001, inner + inner, b"", undefined=undefined)
        assert attributes(private + NAME)["PatientName"] == ["Doe^Jane"]

    def test_an_unknown_sequence_of_undefined_length_is_implicit_inside(self):
        item = element(0x00080100, "SH", "X1", implicit=True)
        unknown = sequence(0x00081032, item, vr="UN")
        assert attributes(unknown + NAME)["ProcedureCodeSequence"] == [{"CodeValue": ["X1"]}]

    def test_encapsulated_fragments_before_the_header_ends_are_passed_over(self):
        fragments = pack("<HHI", 0xFFFE, 0xE000, 4) + b"\xfe\xff\xdd\xe0" + pack("<HHI", 0xFFFE, 0xE0DD, 0)
        icon = element(0x00091001, "OB", fragments, length=0xFFFFFFFF)
        assert attributes(icon + NAME)["PatientName"] == ["Doe^Jane"]

    def test_an_undefined_length_without_items_ends_at_its_delimiter(self):
        opaque = element(0x00091001, "OB", bytes(10) + pack("<HHI", 0xFFFE, 0xE0DD, 0), length=0xFFFFFFFF)
        assert attributes(opaque + NAME)["PatientName"] == ["Doe^Jane"]

    def test_a_missing_item_delimiter_is_forgiven(self):
        item = pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + element(0x00080100, "SH", "X1")
        careless = element(0x00081032, "SQ", item + pack("<HHI", 0xFFFE, 0xE0DD, 0), length=0xFFFFFFFF)
        assert attributes(careless + NAME) == {
            "SOPClassUID": ["1.2.840.10008.5.1.4.1.1.2"],
            "ProcedureCodeSequence": [{"CodeValue": ["X1"]}],
            "PatientName": ["Doe^Jane"],
        }

    def test_a_damaged_sequence_of_defined_length_costs_only_itself(self):
        record = parse(dicom_file(identity(between=element(0x00081032, "SQ", b"not items at all") + NAME)))
        assert codes(record) == {("ProcedureCodeSequence", "sequence.malformed")}
        assert "ProcedureCodeSequence" not in record.attributes
        assert record.attributes["PatientName"] == ["Doe^Jane"]

    def test_an_item_that_reaches_out_of_its_sequence_costs_only_the_sequence(self):
        item = pack("<HHI", 0xFFFE, 0xE000, 16) + element(0x00080100, "SH", "", length=400) + bytes(8)
        record = parse(dicom_file(identity(between=element(0x00081032, "SQ", item) + NAME)))
        assert codes(record) == {("ProcedureCodeSequence", "sequence.malformed")}

    def test_a_sequence_whose_structure_is_lost_makes_the_object_unreadable(self):
        lost = pack("<HHI", 0xFFFE, 0xE000, 0) + b"\x10\0\x10\0garbage!"
        with pytest.raises(UnreadableObject, match="other than items") as problem:
            parse(dicom_file(identity(between=element(0x00081032, "SQ", lost, length=0xFFFFFFFF)) + PIXELS))
        assert type(problem.value) is UnreadableObject

    def test_of_an_attribute_that_occurs_twice_the_later_one_counts(self):
        twice = element(0x00100020, "LO", "A") + element(0x00100020, "LO", "B")
        assert attributes(twice)["PatientID"] == ["B"]

    def test_odd_lengths_are_read(self):
        assert attributes(element(0x00100020, "LO", b"ABC"))["PatientID"] == ["ABC"]

    def test_empty_sequences_and_items_are_present_but_empty(self):
        read = attributes(sequence(0x00081032) + sequence(0x00081115, b"") + sequence(0x00082218, b"", undefined=False))
        assert (read["ProcedureCodeSequence"], read["AnatomicRegionSequence"]) == ([], [{}])


class TestValues:
    def test_text_is_as_the_file_has_it_without_padding(self):
        between = (
            element(0x00080020, "DA", "20041301")
            + element(0x00080060, "CS", " CT\\ PT ")
            + element(0x00100010, "PN", "Doe^Jane^^=x=")
            + element(0x00100020, "LO", "")
            + element(0x00100021, "LO", "  ")
            + element(0x00101001, "PN", "A\\\\B")
            + element(0x00181002, "UI", "1.2\0")
        )
        assert attributes(between) == {
            "SOPClassUID": ["1.2.840.10008.5.1.4.1.1.2"],
            "StudyDate": ["20041301"],
            "Modality": ["CT", "PT"],
            "PatientName": ["Doe^Jane^^=x="],
            "PatientID": [],
            "IssuerOfPatientID": [],
            "OtherPatientNames": ["A", "", "B"],
            "DeviceUID": ["1.2"],
        }

    def test_backslashes_of_single_valued_text_and_its_leading_blanks_are_text(self):
        assert attributes(b"", EXPLICIT) == {"SOPClassUID": ["1.2.840.10008.5.1.4.1.1.2"]}
        title = element(0x00420010, "ST", "  a\\b \0")
        assert parse(dicom_file(identity() + title)).attributes["DocumentTitle"] == ["  a\\b"]

    @pytest.mark.parametrize("form", [{}, {"big": True}])
    def test_binary_integers_are_numbers(self, form):
        order = ">" if form else "<"
        numbers = element(0x00200013, "SS", pack(order + "hh", -7, 300), **form)
        record = parse(dicom_file(identity(**form) + numbers, BIG_ENDIAN if form else EXPLICIT))
        assert record.attributes["InstanceNumber"] == [-7, 300]

    def test_a_number_of_broken_length_costs_only_itself(self):
        record = parse(dicom_file(identity() + element(0x00200013, "US", b"abc")))
        assert codes(record) == {("InstanceNumber", "value.length")}
        assert "InstanceNumber" not in record.attributes

    @pytest.mark.parametrize("vr", ["OB", "SQ", "FD"])
    def test_a_vr_that_cannot_stand_for_the_expected_one_costs_only_its_value(self, vr):
        record = parse(dicom_file(identity(between=element(0x00100020, vr, b"12345678"))))
        assert codes(record) == {("PatientID", "vr.unexpected")}
        assert "PatientID" not in record.attributes

    @pytest.mark.parametrize("vr", ["UN", "SH", "XX", "??"])
    def test_a_mistaken_vr_that_still_is_text_does_no_harm(self, vr):
        form = {"implicit": True} if vr == "??" else {}
        assert attributes(element(0x00100020, vr, "P1", **form))["PatientID"] == ["P1"]

    def test_control_characters_are_dropped_except_tab_and_line_ends(self):
        record = parse(dicom_file(identity(between=element(0x00100020, "LO", b"\x07A\tB\r\nC\x0bD\x7f"))))
        assert record.attributes["PatientID"] == ["A\tB\r\nCD"]
        assert codes(record) == {("PatientID", "text.control")}

    def test_a_value_beyond_reason_costs_only_itself(self):
        record = parse(dicom_file(identity(between=element(0x00100020, "UT", b"A" * 20_000) + NAME)))
        assert codes(record) == {("PatientID", "value.too_long")}
        assert record.attributes["PatientName"] == ["Doe^Jane"]

    def test_a_record_stays_small_whatever_the_header_holds(self):
        code = element(0x00080104, "LO", b"M" * 1000)
        record = parse(dicom_file(identity(between=sequence(0x00081032, *[code] * 1000, undefined=False)), EXPLICIT))
        assert codes(record) == {("CodeMeaning", "value.too_long")}
        assert sum("CodeMeaning" in item for item in items(record.attributes, "ProcedureCodeSequence")) < 140


class TestCharacterSets:
    @staticmethod
    def name(charset: str | None, raw: bytes):
        between = element(0x00100010, "PN", raw)
        if charset is not None:
            between = element(0x00080005, "CS", charset) + between
        return parse(dicom_file(identity(between=between)))

    @pytest.mark.parametrize(
        ("charset", "raw", "text"),
        [
            ("ISO_IR 192", "Жук^Ян".encode(), "Жук^Ян"),
            ("ISO_IR 100", b"M\xfcller", "Müller"),
            ("ISO-IR 100", b"M\xfcller", "Müller"),
            ("ISO_IR 144", "Жук".encode("iso8859_5"), "Жук"),
            ("GB18030", "王^小".encode("gb18030"), "王^小"),
            ("ISO_IR 192\\ISO 2022 IR 87", "é".encode(), "é"),
            ("\\ISO 2022 IR 87", b"Y^T=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Y^T=山田^太郎"),
            ("\\ISO 2022 IR 149", b"H^G=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "H^G=洪^吉洞"),
            ("\\ISO 2022 IR 58", b"W=\x1b$)A\xcd\xf5", "W=王"),
            ("ISO 2022 IR 6\\ISO 2022 IR 144", b"A^\x1b-L\xb6^\xe9", "A^Ж^é"),
        ],
    )
    def test_names_are_decoded(self, charset, raw, text):
        record = self.name(charset, raw)
        assert record.attributes["PatientName"] == [text]
        assert record.findings == ()

    def test_undecodable_bytes_are_replaced_and_found(self):
        record = self.name("ISO_IR 192", b"M\xfcller")
        assert record.attributes["PatientName"] == ["M\ufffdller"]
        assert record.findings == (Finding(keyword="PatientName", code="text.undecodable", action="replaced"),)

    def test_an_unknown_escape_sequence_is_replaced_and_found(self):
        record = self.name("ISO 2022 IR 6", b"A\x1b%GB")
        assert record.attributes["PatientName"] == ["A\ufffdB"]
        assert codes(record) == {("PatientName", "text.undecodable")}

    def test_an_unknown_character_set_is_read_as_latin_1_and_found(self):
        record = self.name("KLINGON", b"M\xfcller")
        assert record.attributes["PatientName"] == ["Müller"]
        assert codes(record) == {("SpecificCharacterSet", "charset.unknown")}

    def test_text_beyond_ascii_without_a_character_set_is_found(self):
        record = self.name(None, b"M\xfcller")
        assert record.attributes["PatientName"] == ["Müller"]
        assert codes(record) == {("PatientName", "charset.undeclared")}

    def test_items_inherit_the_character_set_or_have_their_own(self):
        greek = element(0x00080005, "CS", "ISO_IR 126") + element(0x00080104, "LO", "λ".encode("iso8859_7"))
        inherits = element(0x00080104, "LO", "λ".encode())
        between = element(0x00080005, "CS", "ISO_IR 192") + sequence(0x00081032, greek, inherits)
        meanings = [item["CodeMeaning"] for item in items(attributes(between), "ProcedureCodeSequence")]
        assert meanings == [["λ"], ["λ"]]


class TestLimits:
    def test_depth_is_bounded_for_sequences_nobody_wants(self):
        nested = b""
        for _ in range(5000):
            nested = sequence(0x00091001, nested) if len(nested) < 200_000 else nested
        with pytest.raises(HeaderLimit, match="DICOM_SYNC_HEADER_MAX_DEPTH"):
            parse(dicom_file(identity(between=nested)))

    def test_depth_counts_sequences_within_sequences(self):
        def nested(depth):
            inner = b""
            for _ in range(depth):
                inner = sequence(0x00091001, inner)
            return dicom_file(identity(between=inner))

        limits = LIMITS.model_copy(update={"max_depth": 3})
        assert parse(nested(3), limits)
        with pytest.raises(HeaderLimit):
            parse(nested(4), limits)

    def test_depth_is_bounded_for_wanted_sequences(self):
        limits = LIMITS.model_copy(update={"max_depth": 1})
        equivalent = sequence(0x00080121, element(0x00080100, "SH", "X"), undefined=False)
        data = dicom_file(identity(between=sequence(0x00081032, equivalent, undefined=False)))
        with pytest.raises(HeaderLimit, match="DICOM_SYNC_HEADER_MAX_DEPTH"):
            parse(data, limits)

    @pytest.mark.parametrize("inside", [True, False])
    def test_elements_are_bounded(self, inside):
        many = element(0x00091001, "SH", "") * 1000
        data = dicom_file(identity(between=sequence(0x00091002, many) if inside else many))
        with pytest.raises(HeaderLimit, match="DICOM_SYNC_HEADER_MAX_ELEMENTS"):
            parse(data, LIMITS.model_copy(update={"max_elements": 900}))
        assert parse(data, LIMITS.model_copy(update={"max_elements": 1100}))

    @pytest.mark.parametrize("shape", ["one huge value", "many values"])
    def test_a_tiny_file_that_inflates_to_gigabytes_is_rejected_in_little_memory(self, shape):
        limits = LIMITS.model_copy(update={"max_inflated": 4 * 1024 * 1024})
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        bomb = packer.compress(element(0x00080005, "CS", "ISO_IR 100"))
        chunk = element(0x00091001, "OB", bytes(1024 * 1024))
        if shape == "one huge value":
            bomb += packer.compress(element(0x00091001, "OB", b"", length=2_000_000_000))
            chunk = bytes(1024 * 1024)
        for _ in range(128):
            bomb += packer.compress(chunk)
        data = dicom_file(bomb + packer.flush(), DEFLATED)
        tracemalloc.start()
        try:
            with pytest.raises(HeaderLimit, match="DICOM_SYNC_HEADER_MAX_INFLATED"):
                parse(data, limits)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 * limits.max_inflated


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
        look = await look_at(objects, objects.ref("a"), LIMITS)
        assert objects.ranges == [(0, 65536, None)]
        assert look.record
        assert look.etag == etag
        assert look.problem is None

    async def test_further_ranges_bring_only_missing_bytes_of_the_same_version(self):
        objects = CountingObjects()
        etag = objects.put(objects.ref("a"), self.big_header(2_000_000) + bytes(10_000_000))
        look = await look_at(objects, objects.ref("a"), LIMITS)
        assert first_text(look.record.attributes, "PatientName") == "Doe^Jane"
        assert objects.ranges[0] == (0, 65536, None)
        assert [start for start, _, _ in objects.ranges[1:]] == [65536]
        assert {given for _, _, given in objects.ranges[1:]} == {etag}
        assert 2_000_000 < sum(length for _, length, _ in objects.ranges) < 2_100_000

    async def test_the_time_of_the_last_change_gives_an_order_that_sorts(self):
        objects = MemoryObjects()
        orders = []
        for _ in range(3):
            objects.put(objects.ref("a"), wheel_file("CT_small.dcm"))
            orders.append((await look_at(objects, objects.ref("a"), LIMITS)).order)
        assert orders == sorted(orders)
        assert {len(order) for order in orders} == {32}
        assert all(order.endswith("+00:00") for order in orders)

    async def test_an_object_that_is_gone_is_a_truth(self):
        objects = MemoryObjects()
        look = await look_at(objects, objects.ref("a"), LIMITS)
        assert (look.etag, look.record, look.problem) == (None, None, None)

    async def test_an_object_that_goes_between_two_ranges_is_gone(self):
        objects = CountingObjects(lambda number: number == 1 and objects.delete(objects.ref("a")))
        objects.put(objects.ref("a"), self.big_header(100_000))
        assert (await look_at(objects, objects.ref("a"), LIMITS)).etag is None

    async def test_an_object_that_changes_between_two_ranges_is_read_anew(self):
        objects = CountingObjects(
            lambda number: number == 1 and objects.put(objects.ref("a"), dicom_file(identity(sop="2.25.99")))
        )
        objects.put(objects.ref("a"), self.big_header(100_000))
        look = await look_at(objects, objects.ref("a"), LIMITS)
        assert look.record.sop_instance_uid == "2.25.99"
        assert [start for start, _, _ in objects.ranges] == [0, 65536, 0]

    async def test_an_object_that_never_stops_changing_is_left_for_later(self):
        objects = CountingObjects(lambda _: objects.put(objects.ref("a"), self.big_header(100_000)))
        with pytest.raises(Contention):
            await look_at(objects, objects.ref("a"), LIMITS)
        assert len(objects.ranges) == 10

    async def test_an_unreadable_object_is_a_problem_with_an_etag(self):
        objects = MemoryObjects()
        etag = objects.put(objects.ref("a"), b"hello")
        look = await look_at(objects, objects.ref("a"), LIMITS)
        assert isinstance(look.problem, NotDicom)
        assert look.etag == etag
        assert look.problem.__traceback__ is None

    async def test_an_empty_object_is_not_dicom(self):
        objects = MemoryObjects()
        objects.put(objects.ref("a"), b"")
        assert isinstance((await look_at(objects, objects.ref("a"), LIMITS)).problem, NotDicom)

    async def test_a_header_beyond_the_bound_is_not_fetched(self):
        objects = CountingObjects()
        objects.put(objects.ref("a"), self.big_header(300_000))
        limits = LIMITS.model_copy(update={"max_bytes": 200_000})
        look = await look_at(objects, objects.ref("a"), limits)
        assert isinstance(look.problem, HeaderLimit)
        assert "DICOM_SYNC_HEADER_MAX_BYTES" in str(look.problem)
        assert sum(length for _, length, _ in objects.ranges) <= 200_000

    async def test_a_store_that_gives_no_bytes_where_there_are_some_is_unavailable(self):
        class Empty(MemoryObjects):
            async def read(self, ref, *, start, length, etag=None):
                chunk = await super().read(ref, start=start, length=length, etag=etag)
                return replace(chunk, data=b"" if start else chunk.data)

        objects = Empty()
        objects.put(objects.ref("a"), self.big_header(100_000))
        with pytest.raises(SourceUnavailable):
            await look_at(objects, objects.ref("a"), LIMITS)

    async def test_large_and_deflated_headers_are_read_too(self):
        objects = MemoryObjects()
        objects.put(objects.ref("a"), self.big_header(3_000_000))
        objects.put(objects.ref("b"), wheel_file("image_dfl.dcm"))
        assert (await look_at(objects, objects.ref("a"), LIMITS)).record
        assert (await look_at(objects, objects.ref("b"), LIMITS)).record

    def test_a_small_header_is_read_without_an_event_loop(self):
        objects = MemoryObjects()
        objects.put(objects.ref("a"), wheel_file("CT_small.dcm"))
        with pytest.raises(StopIteration) as done:
            look_at(objects, objects.ref("a"), LIMITS).send(None)
        assert done.value.value.record

    def test_a_missing_file_is_gone(self, tmp_path):
        assert read_file(tmp_path / "nothing", LIMITS).etag is None


class TestPrivacy:
    def test_problems_and_findings_hold_no_values(self):
        secret = "Sentinel^Patient"
        bad_uid = dicom_file(identity(study=secret, between=element(0x00100010, "PN", secret)))
        undecodable = element(0x00080005, "CS", "ISO_IR 192") + element(0x00100010, "PN", secret.encode() + b"\xff\x07")
        with pytest.raises(MissingIdentity) as problem:
            parse(bad_uid)
        assert "Sentinel" not in repr((problem.value.args, problem.value.detail, problem.value.hint))
        findings = parse(dicom_file(identity(between=undecodable))).findings
        assert len(findings) == 2
        assert "Sentinel" not in repr(findings)


def test_the_wheels_files_end_as_they_should():
    problems = {
        path.name: look.problem.code for path in wheel_files() if (look := read_file(path, LIMITS)).problem is not None
    }
    assert {name for name, code in problems.items() if code == "header.dicomdir"} >= {"DICOMDIR", "DICOMDIR-bigEnd"}
    assert {name for name, code in problems.items() if code == "header.missing_identity"} >= {"UN_sequence.dcm"}
    assert {name for name, code in problems.items() if code == "header.not_dicom"} >= {"README.txt", "zipMR.gz"}
    assert not {"CT_small.dcm", "badVR.dcm", "rtstruct.dcm", "MR_truncated.dcm"} & problems.keys()
    assert len(wheel_files()) - len(problems) > 80


def test_the_corpus_ends_as_its_manifest_says():
    manifest = CORPUS / "MANIFEST.tsv"
    rows = list(csv.DictReader(manifest.open(), delimiter="\t")) if manifest.exists() else []
    expected = {
        "ok": None,
        "ok-without-preamble": None,
        "dicomdir": "header.dicomdir",
        "not-dicom-or-raw": "header.not_dicom",
        "non-patient-object": "header.missing_identity",
        "no-study-uid": "header.missing_identity",
    }
    for row in rows:
        look = read_file(CORPUS / row["path"], LIMITS)
        code = look.problem and look.problem.code
        cut = row["path"].endswith("truncated_in_header.dcm")
        assert code == ("header.truncated" if cut else expected[row["class"]]), row["path"]
        if look.record:
            record = look.record
            uids = (record.study.study_instance_uid, record.series_instance_uid, record.sop_instance_uid)
            assert uids == (row["study_uid"], row["series_uid"], row["sop_uid"]), row["path"]
