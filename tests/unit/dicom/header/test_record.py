"""Whatever bytes come, they are a record or one of our errors, whole and within bounds."""

from __future__ import annotations

import csv
import tracemalloc
import zlib
from struct import pack

import pytest

from sync.dicom.attributes import first_text
from sync.dicom.header import NeedMore, parse_header, read_file
from sync.errors import DicomDirectory, HeaderLimit, MissingIdentity, NotDicom, TruncatedHeader, UnreadableObject
from sync.model import InstanceRecord
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
from tests.parsing import LIMITS, NAME, attributes, codes, parse


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


class TestLimits:
    def test_depth_is_bounded_for_sequences_that_are_not_read(self):
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
        limits = LIMITS.model_copy(update={"max_inflated_bytes": 4 * 1024 * 1024})
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
            with pytest.raises(HeaderLimit, match="DICOM_SYNC_HEADER_MAX_INFLATED_BYTES"):
                parse(data, limits)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 * limits.max_inflated_bytes


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
        path.name: inspection.problem.code
        for path in wheel_files()
        if (inspection := read_file(path, LIMITS)).problem is not None
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
        inspection = read_file(CORPUS / row["path"], LIMITS)
        code = inspection.problem and inspection.problem.code
        cut = row["path"].endswith("truncated_in_header.dcm")
        assert code == ("header.truncated" if cut else expected[row["class"]]), row["path"]
        if inspection.record:
            record = inspection.record
            uids = (record.study.study_instance_uid, record.series_instance_uid, record.sop_instance_uid)
            assert uids == (row["study_uid"], row["series_uid"], row["sop_uid"]), row["path"]
