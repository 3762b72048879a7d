"""Whatever an attribute holds, a valid resource comes out: nothing raises, nothing empty leaves, nothing leaks."""

import json
import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.config import MappingSettings
from sync.dicom.attributes import EXTRACTED
from sync.dicom.detail import groups_in_detail, rows_in_detail
from sync.mapping.bundle import build_bundle
from sync.mapping.resource import canonical
from sync.model import InstanceRecord, LedgerRow, ObjectKey, StudyRef
from tests.mapping_rows import STUDY, row
from tests.property import examples

NASTY = [
    "",
    " ",
    "\x00",
    "^^^^",
    "=",
    "a\x00b\x1b",
    "\ud800",
    "\ufffe",
    "\u3000",
    "\u202eabc",
    "A  B",
    "-1",
    "1.0",
    "1E1",
    "1E999",
    "9999999999",
    "20240229",
    "20230229",
    "2024",
    "00000000",
    "240000",
    "235960.999999",
    "+0100",
    "UTC-04:00",
    "-1300",
    "M",
    "YES",
    "CT",
    "L",
    "ISO",
    "URI",
    "UUID",
    "SCT",
    "SRT",
    "DCM",
    "T-D4000",
    "urn: a b",
    "mailto:a@b.example",
    "CHEST",
    "000000",
    "a^b^c^d^e^f^g^h^i^j",
    "1.2.840.10008.5.1.4.1.1.2",
    "1" * 65,
    "http://a b",
    "urn:oid:1.2.3",
    "Family^Given^Middle^Prefix^Suffix=家^名",
]
TEXT = st.one_of(st.sampled_from(NASTY), st.text(st.characters(), max_size=20))
PLAIN = st.lists(st.one_of(TEXT, st.integers(-(2**40), 2**40)), max_size=3)


def items_of(rows):
    return st.fixed_dictionaries({}, optional={mapped.keyword: values_of(mapped) for mapped in rows})


def values_of(attribute):
    return st.lists(items_of(attribute.children), max_size=2) if attribute.vr == "SQ" else PLAIN


ATTRIBUTES = items_of((*rows_in_detail("", "full"), *groups_in_detail("full")))
SETTINGS = st.sampled_from(
    [
        MappingSettings(),
        MappingSettings(
            timezone="Europe/Berlin",
            dicomweb_url="https://pacs.example/dicomweb",
            issuers={"A  B": "urn:oid:1.2.9"},
            study_id_system="urn:oid:2.16.840.8",
            patient_other_names=True,
            patient_species=True,
            coding_schemes={"CT": "urn:oid:1.2.7"},
            patient_system="",
            detail="full",
        ),
    ]
)


def instance(number, attributes, study=STUDY, series="1.2.3"):
    record = InstanceRecord(
        study=study, series_instance_uid=series, sop_instance_uid=f"1.2.9.{number}", attributes=attributes
    )
    return LedgerRow(object_key=ObjectKey("p", str(number)), record=record, order="")


def leaves(value, path=()):
    assert value is not None, path
    if isinstance(value, dict | list):
        assert value, path
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(ATTRIBUTES, min_size=1, max_size=3), SETTINGS)
def test_any_attributes_make_a_valid_bundle_without_empty_elements(said, mapping):
    bundle, _ = build_bundle(STUDY, [instance(n, attributes) for n, attributes in enumerate(said)], mapping)
    assert json.loads(canonical(bundle)) == bundle
    for path, leaf in leaves(bundle):
        assert not isinstance(leaf, str) or leaf == leaf.strip() != "", path
        if path[-1] in ("started", "valueDateTime"):
            assert re.fullmatch(r"\d{4}(-\d\d(-\d\d(T[\d:.]+([+-]\d\d:\d\d))?)?)?", leaf), path
        if path[-1] == "system":
            assert re.match(r"(https?://|urn:)\S+", leaf), path
    [study] = [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "ImagingStudy"]
    assert study["numberOfInstances"] == len(said)


FULL = MappingSettings(
    study_id_system="urn:oid:2.16.840.1",
    patient_other_names=True,
    patient_species=True,
    patient_responsible_person=True,
)
BASE = {
    "SeriesDate": ["20240117"],
    "SeriesTime": ["1016"],
    "Manufacturer": ["Maker"],
    "PatientBirthTime": ["1200"],
    "PatientSpeciesDescription": ["Dog"],
    "ResponsiblePerson": ["Owner"],
}
SILENT = {"TypeOfPatientID", "PatientIdentityRemoved"}
"""Of one nothing depends, and of the other NO means what absence means."""


@settings(max_examples=examples(200), deadline=None)
@given(
    st.sampled_from([finding for finding in EXTRACTED if finding.vr != "SQ" and finding.keyword not in SILENT]), TEXT
)
def test_a_value_is_written_or_leaves_a_finding(attribute, value):
    if not value.strip("^= \x00\t\r\n\u3000\u2028\u2029\x85\xa0") or value.isspace():
        return
    said = {keyword: values for keyword, values in BASE.items() if keyword != attribute.keyword}

    def made(**more):
        one = row(1, **said)
        absent = {keyword: values for keyword, values in one.record.attributes.items() if keyword != attribute.keyword}
        record = replace(one.record, attributes={**absent, **more})
        return build_bundle(STUDY, [replace(one, record=record)], FULL)

    (without, _), (bundle, findings) = made(), made(**{attribute.keyword: [value]})
    same_as_absent = canonical(bundle) == canonical(without)
    assert not same_as_absent or attribute.keyword in {finding.keyword for finding in findings}


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_no_finding_holds_a_value(data):
    mark = "zqxsentinel"
    keyword = data.draw(st.sampled_from([finding.keyword for finding in EXTRACTED if finding.vr != "SQ"]))
    text = data.draw(st.sampled_from(["", "^", " ", "\x07", "=", "==="])) + mark
    _, findings = build_bundle(STUDY, [instance(1, {keyword: [text, mark]}), instance(2, {})], MappingSettings())
    assert mark not in repr(findings)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), st.text(max_size=80))
def test_any_uid_makes_a_valid_bundle(study_uid, series_uid):
    study = StudyRef(study_instance_uid=study_uid)
    bundle, _ = build_bundle(study, [instance(1, {}, study, series_uid)], MappingSettings())
    assert list(leaves(bundle))
