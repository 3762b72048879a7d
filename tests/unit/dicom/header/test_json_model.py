"""DICOM JSON gives what the file gives; whatever else a server sends costs at most the value it concerns."""

import base64
import json

import pydicom
import pytest

from sync.adapters.http.dicom.web import parse_json
from sync.config import HeaderLimits
from sync.dicom.attributes import CONTENT, EXTRACTED_OF_DOCUMENTS, FRAME_GROUPS, IDENTITY, SHARED_GROUPS, walk
from sync.dicom.header import parse_header, read_json
from sync.errors import MissingIdentity, UnreadableObject
from sync.model import InstanceRecord, StudyRef
from tests.headers import SERIES, SOP, STUDY, real_files, whole_corpus

UIDS = {
    "00080018": {"vr": "UI", "Value": [SOP]},
    "0020000D": {"vr": "UI", "Value": [STUDY]},
    "0020000E": {"vr": "UI", "Value": [SERIES]},
}
VRS = {row.keyword: row.vr for row in walk((*EXTRACTED_OF_DOCUMENTS, SHARED_GROUPS, CONTENT))}


def read(**elements):
    """Read an instance that has these elements, t00100010={…}, besides its UIDs."""
    return read_json({**UIDS, **{tag[1:]: element for tag, element in elements.items()}})


def codes(record):
    return {(finding.keyword, finding.code) for finding in record.findings}


def wanted(dataset):
    """Keep the elements that the table has: pydicom's writer stumbles over others."""
    rows = (*EXTRACTED_OF_DOCUMENTS, *IDENTITY, SHARED_GROUPS, FRAME_GROUPS, CONTENT)
    tags = {row.tag for row in rows} | {0x00080005}
    kept = pydicom.Dataset({tag: dataset[tag] for tag in dataset.keys() if int(tag) in tags})  # noqa: SIM118
    kept.decode()
    return kept


def plain(attributes):
    """Forget what DICOM JSON cannot say: how an integer is spelled, empty name components at the end."""
    return {keyword: [_plain(VRS[keyword], value) for value in values] for keyword, values in attributes.items()}


def _plain(vr, value):
    if isinstance(value, dict):
        return plain(value)
    if vr == "IS":
        return str(int(float(value))) if value else value
    if vr == "DS":
        return str(float(value)) if value else value
    return value.rstrip("=") if vr == "PN" else value


def both_ways():
    """Read every real file that pydicom can write as DICOM JSON in both ways."""
    for path in real_files():
        data = path.read_bytes()
        try:
            file = pydicom.dcmread(path, stop_before_pixels=True)
            written = wanted(file).to_json_dict()
        except Exception:  # noqa: BLE001  # what pydicom cannot write cannot be compared
            continue
        try:
            record = parse_header(data, size=len(data), limits=HeaderLimits())
        except UnreadableObject:
            continue
        if isinstance(record, InstanceRecord) and not record.findings:
            yield path.name, record, written


@whole_corpus
@pytest.mark.filterwarnings("ignore")
def test_real_files_say_the_same_as_bytes_and_as_dicom_json():
    compared, differing = 0, {}
    for name, record, written in both_ways():
        again = read_json(json.loads(json.dumps(written)))
        # The class may come from the meta information, which DICOM JSON leaves out.
        expected = {k: v for k, v in record.attributes.items() if k != "SOPClassUID" or "00080016" in written}
        if (again.study, again.sop_instance_uid) != (record.study, record.sop_instance_uid) or plain(
            again.attributes
        ) != plain(expected):
            differing[name] = [k for k in VRS if again.attributes.get(k) != expected.get(k)]
        compared += 1
    assert compared > 50
    assert differing == {}


def test_the_address_wins_over_the_metadata():
    record = read_json({}, partition="north", identity=dict(zip((r.keyword for r in IDENTITY), "123", strict=True)))
    assert record.study == StudyRef(study_instance_uid="2", partition="north")
    assert (record.series_instance_uid, record.sop_instance_uid) == ("3", "1")


@pytest.mark.parametrize("tag", list(UIDS))
def test_an_instance_without_a_uid_is_none(tag):
    several = {"Value": ["1.2", "3.4"]}
    for element in (None, {}, {"Value": []}, {"Value": [None]}, {"Value": ["no uid"]}, several, 5, {"Value": [{}]}):
        with pytest.raises(MissingIdentity):
            read_json({**UIDS, tag: element})


@pytest.mark.parametrize("dataset", [None, [], "text", 5, True])
def test_what_is_no_object_is_unreadable(dataset):
    with pytest.raises(UnreadableObject):
        read_json(dataset)


@pytest.mark.parametrize(
    ("element", "values"),
    [
        ({"vr": "IS", "Value": [3]}, ["3"]),
        ({"vr": "IS", "Value": ["3"]}, ["3"]),
        ({"vr": "IS", "Value": ["03 "]}, ["03"]),
        ({"vr": "IS", "Value": [3.0]}, ["3"]),
        ({"vr": "IS", "Value": [2.5]}, ["2.5"]),
        ({"vr": "is", "value": [3]}, ["3"]),
        ({"Value": [3]}, ["3"]),
        ({"Value": 3}, ["3"]),
        ({"vr": "US", "Value": [3]}, [3]),
        ({"vr": "US", "Value": ["3"]}, [3]),
        ({"vr": "US", "InlineBinary": base64.b64encode(b"\3\0\4\0").decode()}, [3, 4]),
        ({"vr": "UN", "InlineBinary": base64.b64encode(b"12 ").decode()}, ["12"]),
        ({"vr": "IS", "Value": ["-Infinity"]}, ["-Infinity"]),
        ({"vr": "IS", "Value": [None]}, []),
        ({"vr": "IS", "Value": [1, None]}, ["1", ""]),
        ({"vr": "IS", "Value": []}, []),
        ({"vr": "IS"}, []),
        ({}, []),
        (None, []),
    ],
)
def test_numbers_come_in_every_form(element, values):
    record = read(t00200013=element)
    assert (record.attributes["InstanceNumber"], record.findings) == (values, ())


@pytest.mark.parametrize(
    ("element", "code"),
    [
        ({"vr": "IS", "Value": [float("nan")]}, "value.malformed"),
        ({"vr": "IS", "Value": [float("-inf")]}, "value.malformed"),
        ({"vr": "IS", "Value": [10**5000]}, "value.malformed"),
        ({"vr": "IS", "Value": [True]}, "value.malformed"),
        ({"vr": "IS", "Value": [[1]]}, "value.malformed"),
        ({"vr": "IS", "Value": [{"Alphabetic": "1"}]}, "value.malformed"),
        ({"vr": "US", "Value": ["three"]}, "value.malformed"),
        ({"vr": "US", "InlineBinary": "AAAA"}, "value.length"),
        ({"vr": "IS", "InlineBinary": "A"}, "value.malformed"),
        ({"vr": "IS", "InlineBinary": 7}, "value.malformed"),
        ({"vr": "IS", "BulkDataURI": "https://pacs.example/bulk"}, "value.elsewhere"),
        ({"vr": "SQ", "Value": [{}]}, "vr.unexpected"),
        ({"vr": "OB", "Value": [1]}, "vr.unexpected"),
        ({"vr": "IS", "Value": ["1" * 20_000]}, "value.too_long"),
        ("3", "value.malformed"),
        ([3], "value.malformed"),
    ],
)
def test_a_value_that_is_none_costs_a_finding_and_nothing_else(element, code):
    record = read(t00200013=element, t00080060={"vr": "CS", "Value": ["CT"]})
    assert "InstanceNumber" not in record.attributes
    assert record.attributes["Modality"] == ["CT"]
    assert codes(record) == {("InstanceNumber", code)}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"Alphabetic": "Doe^Jane"}, "Doe^Jane"),
        ({"alphabetic": "Doe^Jane", "Ideographic": "山田^太郎"}, "Doe^Jane=山田^太郎"),
        ({"Phonetic": "やまだ"}, "==やまだ"),
        ("Doe^Jane", "Doe^Jane"),
        ({"Alphabetic": "Doe ", "Phonetic": None}, "Doe"),
    ],
)
def test_names_keep_their_component_groups(value, name):
    assert read(t00100010={"vr": "PN", "Value": [value]}).attributes["PatientName"] == [name]


def test_a_name_with_a_group_that_is_no_text_is_omitted():
    assert codes(read(t00100010={"vr": "PN", "Value": [{"Alphabetic": ["Doe"]}]})) == {
        ("PatientName", "value.malformed")
    }


def test_hexadecimal_digits_may_be_small():
    assert read(t0008103e={"vr": "LO", "Value": ["CHEST"]}).attributes["SeriesDescription"] == ["CHEST"]


def test_items_are_read_by_the_table_and_one_that_is_none_costs_its_sequence():
    code = {"00080100": {"vr": "SH", "Value": ["T-1"]}, "00081030": {"vr": "LO", "Value": ["not in the table"]}}
    read_whole = read(t00081032={"vr": "SQ", "Value": [code, {}, None]})
    assert read_whole.attributes["ProcedureCodeSequence"] == [{"CodeValue": ["T-1"]}, {}, {}]
    assert codes(read(t00081032={"vr": "SQ", "Value": [code, "text"]})) == {
        ("ProcedureCodeSequence", "sequence.malformed")
    }
    assert codes(read(t00081032={"vr": "SQ", "InlineBinary": "AAAA"})) == {("ProcedureCodeSequence", "value.malformed")}


def test_half_a_surrogate_pair_and_control_characters_are_dropped_with_a_finding():
    record = read(t00081030={"vr": "LO", "Value": ["A\ud800B"]}, t0008103E={"vr": "LO", "Value": ["A\x07B"]})
    assert record.attributes["StudyDescription"] == ["A\ufffdB"]
    assert record.attributes["SeriesDescription"] == ["AB"]
    assert codes(record) == {("StudyDescription", "text.undecodable"), ("SeriesDescription", "text.control")}


def test_a_record_has_a_largest_size():
    row = {"vr": "SQ", "Value": [{"00080104": {"vr": "LO", "Value": ["x" * 10_000]}}] * 30}
    assert ("CodeMeaning", "value.too_long") in codes(read(t00081032=row))


def test_a_backslash_parts_values_except_in_a_text_of_one_value():
    record = read(t00101001={"vr": "PN", "Value": ["A\\B"]}, t00420010={"vr": "ST", "Value": ["A\\B"]})
    assert record.attributes["OtherPatientNames"] == ["A", "B"]
    assert record.attributes["DocumentTitle"] == ["A\\B"]


def test_a_tree_that_is_too_deep_or_too_large_costs_the_tree_only():
    sop_class = {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.88.11"]}
    deep = {"0040A160": {"Value": ["bottom"]}}
    for _ in range(60):
        deep = {"0040A730": {"vr": "SQ", "Value": [deep]}}
    wide = {"0040A730": {"Value": [{"0040A160": {"Value": ["x" * 60_000]}}] * 10}}
    for tree in (deep, wide):
        record = read_json({**UIDS, "00080016": sop_class, **tree})
        assert "ContentSequence" not in record.attributes
        assert codes(record) == {("ContentSequence", "content.too_large")}


class TestSpelling:
    @pytest.mark.parametrize("spelled", ["1E18", "1e+30", "37.0", "8.664e-005", "1" * 19, "-0"])
    def test_a_number_is_the_text_that_it_was(self, spelled):
        answer = parse_json(b'[{"0040A30A":{"vr":"DS","Value":[' + spelled.encode() + b"]}}]")
        assert answer[0]["0040A30A"]["Value"] in ([spelled], [int(spelled)] if spelled.isdigit() else [spelled])

    @pytest.mark.parametrize(("value", "text"), [(1e18, "1e+18"), (10**18, "1" + "0" * 18), (3.0, "3"), (0.5, "0.5")])
    def test_any_finite_number_is_a_decimal_string(self, value, text):
        assert read(t00200013={"vr": "DS", "Value": [value]}).attributes["InstanceNumber"] == [text]

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("\x1b$)A王^\x1b$)A小东", "王^小东"),
            ("\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "山田^太郎"),
        ],
    )
    def test_escape_sequences_are_no_letters_of_a_name(self, text, name):
        record = read(t00100010={"vr": "PN", "Value": [{"Alphabetic": "W", "Ideographic": text}]})
        assert record.attributes["PatientName"] == [f"W={name}"]

    def test_a_replaced_letter_is_found(self):
        record = read(t00081030={"vr": "LO", "Value": ["M\ufffdller"]})
        assert record.attributes["StudyDescription"] == ["M\ufffdller"]
        assert codes(record) == {("StudyDescription", "text.undecodable")}

    def test_leading_blanks_are_text_even_beside_a_control_character(self):
        record = read(t00420010={"vr": "ST", "Value": ["  a\x07\r\n b \0"]})
        assert record.attributes["DocumentTitle"] == ["  a\r\n b"]
