"""Our tables against those that pydicom makes from the standard."""

from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts
from pydicom.uid import UID_dictionary

from sync.mapping.sop_classes import sop_class_name
from sync.mapping.terminology import (
    ACQUISITION_MODALITIES,
    CODING_SCHEMES,
    DCM,
    LATERALITY,
    MODALITIES,
    modality_system,
)
from sync.mapping.values import system_uri


def codes_of(scheme, cid):
    return {
        code
        for keyword in cid_concepts[cid][scheme]
        for code, (_, cids) in concepts[scheme][keyword].items()
        if cid in cids
    }


def test_acquisition_modalities_are_those_of_cid_29():
    assert codes_of("DCM", 29) == ACQUISITION_MODALITIES


def test_every_modality_of_cid_33_has_a_system_and_those_of_the_standard_only():
    assert codes_of("DCM", 33) | ACQUISITION_MODALITIES <= MODALITIES
    assert modality_system("XR") is None


def test_every_coding_scheme_with_a_uid_of_dicom_has_a_system():
    designators = {entry[4]: uid for uid, entry in UID_dictionary.items() if entry[1] == "Coding Scheme"}
    others = {"DCM": DCM, "I11": "http://id.who.int/icd/release/11/mms", "MAYONRISBSASRG": None}
    expected = {name: others.get(name, f"urn:oid:{uid}") for name, uid in designators.items()}
    assert {name: CODING_SCHEMES.get(name) for name in designators} == expected
    assert CODING_SCHEMES["MAYOASRG"] == "urn:oid:1.2.840.10008.2.16.12"


def test_every_system_is_an_absolute_uri():
    assert [system for system in CODING_SCHEMES.values() if system_uri(system) != system] == []


def test_lateralities_are_those_of_cid_244():
    assert {coding["code"] for coding in LATERALITY.values()} == codes_of("SCT", 244)


def test_every_storage_class_below_the_arc_has_its_name():
    arc = "1.2.840.10008.5.1.4.1.1."
    named = {
        uid: entry[0]
        for uid, entry in UID_dictionary.items()
        if uid.startswith(arc) and entry[1] == "SOP Class" and "Storage" in entry[0] and "DICOS" not in entry[0]
    }
    assert len(named) > 150
    assert {uid: sop_class_name(uid) for uid in named} == named
    assert sop_class_name("1.2.3") is None
    assert sop_class_name(arc + "9999") is None
