"""An instance becomes the same FHIR from its file and from what the DICOM service says of it, whatever is in it."""

from __future__ import annotations

import asyncio
import warnings

from hypothesis import given, settings
from hypothesis import strategies as st

from local.dicom_metadata import Refused, Stored, encode, stored
from sync.adapters.http.dicom.web import parse_json
from sync.config import HeaderLimits, MappingSettings
from sync.dicom.attributes import EXTRACTED, IDENTITY
from sync.dicom.header import parse_header
from sync.dicom.inspect import inspect_object
from sync.dicom.instance_names import instance_ref
from sync.errors import UnreadableObject
from sync.mapping.bundle import build_bundle
from sync.mapping.resource import canonical
from sync.model import InstanceRecord, LedgerRow, ObjectKey
from sync.testing.dicom import id_of
from tests.dicom_services import FeedWorld
from tests.headers import dicom_file, element
from tests.property import examples

UIDS = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SOPInstanceUID": "2.25.3"}
UIDS |= {"StudyInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2"}
TEXTS = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "ST", "TM", "UC", "UT")
TAGS = {row.keyword: row for row in EXTRACTED if row.keyword not in UIDS and row.vr in TEXTS}
TYPE_2 = ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber")
TYPE_2 += ("ReferringPhysicianName", "SeriesNumber", "Manufacturer", "InstanceNumber")
MUST = ("Modality", "PatientID", *TYPE_2)

PLAIN = st.text(st.sampled_from("aZ09 .^=-+:/*"), max_size=18)
ODD = st.text(st.sampled_from("aé山Ж\\\r\n\t\x1b\x00\x85?1"), max_size=6)
USUAL = ("CT", "ct", "M", "N/A", "20240117", "2024.01.17", "101530.5", "10:15:30", "+0100", "1", "1.0", "01", " 1 ")
VALUES = st.one_of(st.sampled_from(USUAL), PLAIN, ODD)
SETS = st.sampled_from(["", "ISO_IR 192", "ISO_IR 100", "ISO_IR 144"])
INSTANCES = st.tuples(
    st.fixed_dictionaries(
        dict.fromkeys(MUST, VALUES),
        optional={keyword: VALUES for keyword in TAGS if keyword not in MUST},
    ),
    SETS,
)


UID_ROWS = [*IDENTITY, *(row for row in EXTRACTED if row.keyword == "SOPClassUID")]


def file_of(values: dict[str, str], charset: str) -> bytes:
    codec = {"ISO_IR 192": "utf-8", "ISO_IR 144": "iso8859_5"}.get(charset, "latin-1")
    elements = {0x00080005: ("CS", charset.encode()), 0x00700080: ("CS", b"A")}
    elements |= {TAGS[word].tag: (TAGS[word].vr, text.encode(codec, "replace")) for word, text in values.items()}
    elements |= {row.tag: ("UI", UIDS[row.keyword].encode()) for row in UID_ROWS}
    return dicom_file(b"".join(element(tag, vr, value) for tag, (vr, value) in sorted(elements.items())))


def of_file(content: bytes) -> InstanceRecord | None:
    try:
        record = parse_header(content, size=len(content), limits=HeaderLimits())
    except UnreadableObject:
        return None
    return record if isinstance(record, InstanceRecord) else None


def kept(content: bytes) -> Stored | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return stored(content)
        except Refused:
            return None


def of_service(world: FeedWorld, content: bytes, made: Stored) -> InstanceRecord:
    told = parse_json(encode([made.metadata]))[0]
    key = id_of(told)
    world.service.instances, world.service.contents = {key: (1, told)}, {key: content}
    world.service.unreadable = set() if made.readable else {key}
    inspection = asyncio.run(inspect_object(instance_ref(world.service.account, "", *key[1:]), world.services))
    assert inspection.record is not None
    return inspection.record


def fhir(record: InstanceRecord) -> bytes:
    row = LedgerRow(object_key=ObjectKey("p", "r"), record=record, order="")
    return canonical(build_bundle(record.study, [row], MappingSettings())[0])


WORLDS = {setting: FeedWorld(dicom_header=setting) for setting in ("always", "when-needed")}


@settings(max_examples=examples(150), deadline=None)
@given(INSTANCES)
def test_the_same_fhir_but_for_dropped_attributes_that_an_instance_need_not_have(said):
    values, charset = said
    content = file_of(values, charset)
    file, made = of_file(content), kept(content)
    if file is None or made is None:
        return
    assert fhir(of_service(WORLDS["always"], content, made)) == fhir(file)
    told = of_service(WORLDS["when-needed"], content, made)
    dropped = {keyword for keyword in values if f"{TAGS[keyword].tag:08X}" not in made.metadata}
    if not dropped - set(MUST):
        assert fhir(told) == fhir(file)
    for keyword in MUST:
        assert told.attributes.get(keyword) == file.attributes.get(keyword), keyword
