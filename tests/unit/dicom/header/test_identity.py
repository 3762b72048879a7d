"""An identity is used as its writer wrote it, or not at all, however it is read."""

from __future__ import annotations

import pytest

from sync.dicom.attributes import items
from tests.headers import dicom_file, element, identity, sequence
from tests.parsing import attributes, codes, parse
from tests.unit.dicom.header.test_json_model import read

UTF_8 = element(0x00080005, "CS", "ISO_IR 192")
LATIN_1 = element(0x00080005, "CS", "ISO_IR 100")


def header(between: bytes):
    return parse(dicom_file(identity(between=between)))


class TestInFiles:
    @pytest.mark.parametrize(
        ("charset", "raw"),
        [
            (UTF_8, b"\xc4100"),
            (LATIN_1, b"\x8a100"),
            (b"", b"\xc4100"),
            (element(0x00080005, "CS", "KLINGON"), b"\xc4100"),
            (b"", b"1\x0700"),
            (b"", b"1\t00"),
            (b"", b"1" * 20_000),
        ],
    )
    def test_an_altered_patient_id_identifies_no_patient(self, charset, raw):
        record = header(charset + element(0x00100020, "UT", raw))
        assert "PatientID" not in record.attributes

    def test_it_is_a_finding(self):
        record = header(UTF_8 + element(0x00100020, "LO", b"\xc4100"))
        assert codes(record) == {("PatientID", "text.undecodable"), ("PatientID", "identity.altered")}

    def test_a_declared_letter_is_no_alteration(self):
        assert header(UTF_8 + element(0x00100020, "LO", "Ä100".encode())).attributes["PatientID"] == ["Ä100"]

    def test_an_altered_issuer_takes_the_id_with_it(self):
        record = header(UTF_8 + element(0x00100020, "LO", "1") + element(0x00100021, "LO", b"H\xc4"))
        assert "PatientID" not in record.attributes

    def test_an_altered_issuer_in_an_item_takes_the_number_beside_the_sequence_with_it(self):
        designator = element(0x00400031, "UT", b"H\xc4")
        both = element(0x00080050, "SH", "7") + sequence(0x00080051, designator)
        assert "AccessionNumber" not in header(UTF_8 + both).attributes
        inside = header(UTF_8 + sequence(0x00400275, both, element(0x00080050, "SH", "8")))
        numbers = [item.get("AccessionNumber") for item in items(inside.attributes, "RequestAttributesSequence")]
        assert numbers == [None, ["8"]]

    def test_equipment_with_an_altered_name_has_neither_uid_nor_serial_number(self):
        named = (
            element(0x00080070, "LO", b"M\xfcller") + element(0x00181000, "LO", "7") + element(0x00181002, "UI", "1.2")
        )
        read_back = header(UTF_8 + named).attributes
        assert read_back["Manufacturer"] == ["M\ufffdller"]
        assert not {"DeviceUID", "DeviceSerialNumber"} & read_back.keys()

    def test_other_text_is_kept(self):
        assert attributes(UTF_8 + element(0x00081030, "LO", b"\xc4"))["StudyDescription"] == ["\ufffd"]


class TestInJson:
    @pytest.mark.parametrize("value", ["\ufffd100", "\x8a100", "1\x0700", "\ud800", "1\r\n2"])
    def test_an_altered_patient_id_identifies_no_patient(self, value):
        assert "PatientID" not in read(t00100020={"vr": "LO", "Value": [value]}).attributes

    def test_values_of_one_id_are_one_id(self):
        assert read(t00100020={"vr": "LO", "Value": ["HOSP", "1001"]}).attributes["PatientID"] == ["HOSP\\1001"]

    def test_an_altered_issuer_in_an_item_takes_the_id_with_it(self):
        record = read(
            t00100020={"vr": "LO", "Value": ["1"]},
            t00100024={"vr": "SQ", "Value": [{"00400032": {"vr": "UT", "Value": ["1.2\ufffd"]}}]},
        )
        assert "PatientID" not in record.attributes
        assert ("PatientID", "identity.altered") in {(finding.keyword, finding.code) for finding in record.findings}
