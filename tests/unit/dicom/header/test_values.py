"""Values of a header as a record has them: text as the file has it, or left out with a finding."""

from __future__ import annotations

from struct import pack

import pytest

from sync.dicom.attributes import items
from sync.model import Finding
from tests.headers import BIG_ENDIAN, EXPLICIT, dicom_file, element, identity, sequence
from tests.parsing import NAME, attributes, codes, parse


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

    def test_text_of_one_value_is_never_cut_at_a_backslash(self):
        between = (
            element(0x00081030, "LO", "CT ABDOMEN W\\WO CONTRAST")
            + element(0x00100010, "PN", "Doe\\Jane")
            + element(0x00100020, "LO", "HOSP\\1001")
            + element(0x00181002, "UI", "1.2\\1.3")
        )
        read = attributes(between)
        assert read["StudyDescription"] == ["CT ABDOMEN W\\WO CONTRAST"]
        assert read["PatientName"] == ["Doe\\Jane"]
        assert read["PatientID"] == ["HOSP\\1001"]
        assert read["DeviceUID"] == ["1.2\\1.3"]

    def test_a_code_beyond_ascii_is_read_in_the_character_set_and_found(self):
        between = element(0x00080005, "CS", "ISO_IR 192") + element(0x00180015, "CS", "SCHÄDEL".encode())
        record = parse(dicom_file(identity(between=between)))
        assert record.attributes["BodyPartExamined"] == ["SCHÄDEL"]
        assert codes(record) == {("BodyPartExamined", "code.beyond_ascii")}

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
        record = parse(dicom_file(identity(between=element(0x00081030, "LO", b"\x07A\tB\r\nC\x0bD\x7f"))))
        assert record.attributes["StudyDescription"] == ["A\tB\r\nCD"]
        assert codes(record) == {("StudyDescription", "text.control")}

    def test_a_value_beyond_reason_costs_only_itself(self):
        record = parse(dicom_file(identity(between=element(0x00081030, "UT", b"A" * 20_000) + NAME)))
        assert codes(record) == {("StudyDescription", "value.too_long")}
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
            ("ISO 2022 IR 100\\ISO 2022 IR 144", b"A^\x1b-L\xb6^\xe9", "A^Ж^é"),
            ("ISO 2022 IR 100\\ISO 2022 IR 87", b"J\xf6rg=\x1b$B;3ED\x1b(B \xe9", "Jörg=山田 é"),
            ("ISO_IR 203", b"\xbcuvre \xa4", "Œuvre €"),
            ("ISO 2022 IR 100\\ISO 2022 IR 203", b"\xe9^\x1b-b\xbc", "é^Œ"),
            ("ISO_IR 13", b"\xd4\xcf\xc0\xde", "ﾔﾏﾀﾞ"),
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

    @pytest.mark.parametrize(
        ("charset", "raw", "text"),
        [
            ("ISO_IR 6", b"M\xfcller", "M\ufffdller"),
            ("ISO 2022 IR 6\\ISO 2022 IR 144", b"A^\x1b-L\xb6^\xe9", "A^Ж^\ufffd"),
            ("\\ISO 2022 IR 149", b"\xfb\xf3", "\ufffd\ufffd"),
            ("\\ISO 2022 IR 13", b"\xd4\xcf", "\ufffd\ufffd"),
            ("ISO_IR 100", b"\x8ei\x9eek", "\ufffdi\ufffdek"),
            ("ISO_IR 13", b"\x8a1\xd4", "\ufffd1ﾔ"),
        ],
    )
    def test_what_the_declared_set_cannot_hold_is_undecodable(self, charset, raw, text):
        record = self.name(charset, raw)
        assert record.attributes["PatientName"] == [text]
        assert codes(record) == {("PatientName", "text.undecodable")}

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
