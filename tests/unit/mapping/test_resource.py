"""What of a resource is ours, and what of others survives our writes."""

import pytest

from sync.config import MappingSettings
from sync.mapping.imaging_study import build_study, with_subject
from sync.mapping.ownership import IMAGING_STUDY_ELEMENTS, Ownership, differs, has_foreign, overlay
from sync.mapping.resource import content_hash, is_our_id, patient_id, study_id, unstamped
from sync.model import StudyRef
from tests.mapping_rows import row

STUDY = StudyRef(study_instance_uid="2.25.1")
UID = {"use": "official", "system": "urn:dicom:uid", "value": "urn:oid:2.25.1"}
ACCESSION = {"type": {"coding": [{"code": "ACSN"}]}, "system": "urn:a", "value": "A1"}
OURS = {
    "resourceType": "ImagingStudy",
    "id": study_id(STUDY),
    "identifier": [UID],
    "status": "available",
    "description": "Head",
    "subject": {"reference": "Patient/p"},
}
CREATED = Ownership.of_study(adopted=False, written=frozenset(), study_id_system="urn:study-ids")
ADOPTED = Ownership.of_study(adopted=True, written=frozenset(OURS), study_id_system="")

FOREIGN = {
    "note": [{"text": "seen"}],
    "encounter": {"reference": "Encounter/1"},
    "reasonReference": [{"display": "a fall"}],
    "extension": [{"url": "urn:x", "valueString": "y"}],
    "text": {"status": "additional", "div": "<div>by hand</div>"},
    "language": "de",
}


def held(**elements):
    return {**OURS, **elements, "meta": {"versionId": "3", "lastUpdated": "2026-01-01T00:00:00Z", "source": "#1"}}


@pytest.mark.parametrize("owned", [CREATED, ADOPTED], ids=["created", "adopted"])
@pytest.mark.parametrize("element", FOREIGN)
def test_an_element_of_others_survives(element, owned):
    merged = overlay(held(**{element: FOREIGN[element]}), {**OURS, "description": "Neck"}, owned)
    assert merged[element] == FOREIGN[element]
    assert merged["description"] == "Neck"


@pytest.mark.parametrize("element", FOREIGN)
def test_an_element_of_others_means_that_an_update_has_to_read_first(element):
    merged = overlay(held(**{element: FOREIGN[element]}), OURS, CREATED)
    assert has_foreign(merged, OURS)


def test_profile_tag_and_security_of_others_survive_and_server_stamps_go():
    theirs = {"profile": ["urn:p"], "tag": [{"code": "t"}], "security": [{"code": "R"}]}
    document = held()
    document["meta"] |= theirs
    merged = overlay(document, OURS, CREATED)
    assert merged["meta"] == theirs
    assert has_foreign(merged, OURS)
    assert not differs(document, merged)


def test_server_stamps_alone_are_neither_foreign_nor_a_difference():
    merged = overlay(held(), OURS, CREATED)
    assert "meta" not in merged
    assert not has_foreign(merged, OURS)
    assert not differs(held(), merged)


def test_an_identifier_of_another_system_survives_beside_ours():
    theirs = {"system": "urn:ris", "value": "R7"}
    merged = overlay(held(identifier=[theirs, UID]), OURS, CREATED)
    assert merged["identifier"] == [UID, theirs]
    assert has_foreign(merged, OURS)


def test_a_changed_accession_number_replaces_ours_whatever_its_system():
    new = {**ACCESSION, "system": "urn:b", "value": "B2"}
    merged = overlay(held(identifier=[UID, ACCESSION]), {**OURS, "identifier": [UID, new]}, CREATED)
    assert merged["identifier"] == [UID, new]


def test_an_adopted_study_keeps_its_owners_accession_number_beside_ours():
    ours = {**ACCESSION, "system": "urn:default", "value": "A1"}
    merged = overlay(held(identifier=[UID, ACCESSION]), {**OURS, "identifier": [UID, ours]}, ADOPTED)
    assert merged["identifier"] == [UID, ours, ACCESSION]


def test_what_we_no_longer_say_goes_from_a_study_that_we_created():
    ours = {k: v for k, v in OURS.items() if k != "description"}
    identifiers = [UID, ACCESSION, {"system": "urn:study-ids", "value": "S1"}]
    merged = overlay(held(identifier=identifiers, modality=[{"code": "CT"}]), ours, CREATED)
    assert merged == ours


def test_what_we_no_longer_say_goes_from_an_adopted_study_only_if_we_had_said_it():
    ours = {k: v for k, v in OURS.items() if k != "description"}
    merged = overlay(held(location={"display": "Room 1"}), ours, ADOPTED)
    assert "description" not in merged
    assert merged["location"] == {"display": "Room 1"}


def test_an_adopted_study_keeps_its_id():
    assert overlay({**held(), "id": "theirs"}, OURS, ADOPTED)["id"] == "theirs"


def test_exact_ownership_takes_nothing_but_what_is_said():
    endpoint = {"resourceType": "Endpoint", "id": "e", "status": "active"}
    theirs = {**endpoint, "status": "off", "name": "PACS", "managingOrganization": {"display": "H"}}
    assert overlay(theirs, endpoint, Ownership.of_exactly(endpoint)) == {**theirs, "status": "active"}


# Patients


def patient(*identifiers, **elements):
    return {"resourceType": "Patient", "id": "pt-1", "identifier": list(identifiers), **elements}


MRN = {"use": "usual", "system": "urn:h", "value": "1"}


def test_a_second_number_of_the_same_system_survives_in_a_patient():
    theirs = {"use": "old", "system": "urn:h", "value": "2"}
    assert overlay(patient(MRN, theirs), patient(MRN), Ownership.of_patient())["identifier"] == [MRN, theirs]


def test_an_other_patient_id_that_no_study_states_any_more_goes():
    other = {"use": "secondary", "system": "urn:other", "value": "9"}
    assert overlay(patient(MRN, other), patient(MRN), Ownership.of_patient())["identifier"] == [MRN]


def test_the_label_of_removed_identity_comes_and_goes_and_others_stay():
    pseudonymised = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "PSEUDED"}
    restricted = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    plain, labelled = patient(MRN), patient(MRN, meta={"security": [pseudonymised]})
    both = patient(MRN, meta={"security": [pseudonymised, restricted]})
    assert overlay(patient(MRN, meta={"security": [restricted]}), labelled, Ownership.of_patient()) == both
    assert overlay(both, plain, Ownership.of_patient())["meta"] == {"security": [restricted]}
    assert overlay(labelled, plain, Ownership.of_patient()) == plain


# Comparison


@pytest.mark.parametrize("stamp", [{"versionId": "9"}, {"lastUpdated": "now"}, {"source": "#2"}])
def test_what_a_server_stamps_is_no_difference(stamp):
    assert not differs({**OURS, "meta": stamp}, OURS)


def test_a_generated_narrative_is_no_difference():
    assert not differs({**OURS, "text": {"status": "generated", "div": "<div/>"}}, OURS)


@pytest.mark.parametrize("change", [{"description": "Neck"}, {"note": []}, {"meta": {"tag": [{"code": "t"}]}}])
def test_any_other_change_is_a_difference(change):
    assert differs({**OURS, **change}, OURS)


def test_the_order_of_keys_is_no_difference():
    assert not differs(dict(reversed(OURS.items())), OURS)
    assert content_hash(dict(reversed(OURS.items()))) == content_hash(OURS)


def test_our_ids_are_told_from_those_of_others():
    assert is_our_id(study_id(STUDY))
    assert is_our_id(patient_id("0" * 40))
    assert not any(is_our_id(other) for other in ("is-1", "pt-smith", "1234", study_id(STUDY) + "0"))


def test_every_element_that_the_mapping_writes_is_owned():
    code = {"CodeValue": ["1"], "CodingSchemeDesignator": ["99X"], "CodeMeaning": ["Anything"]}
    more = {
        "InstitutionName": ["Hospital"],
        "NameOfPhysiciansReadingStudy": ["Leser^Lena"],
        "ProcedureCodeSequence": [code],
        "ReasonForPerformedProcedureCodeSequence": [code],
    }
    built = build_study(STUDY, [row(**more)], MappingSettings(dicomweb_url="https://pacs.example/dicom-web"))
    said = with_subject(built.imaging_study, "p", built.patient)
    assert frozenset(said) - {"resourceType", "id"} == IMAGING_STUDY_ELEMENTS


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ({"issued": "2024-01-17T10:15:30.1234+01:00"}, {"issued": "2024-01-17T10:15:30.123400+01:00"}),
        ({"started": "2024-01-17T10:15:30+00:00"}, {"started": "2024-01-17T10:15:30.000Z"}),
        (
            {"series": [{"started": "2024-01-17T10:15:30.5Z"}]},
            {"series": [{"started": "2024-01-17T10:15:30.50+00:00"}]},
        ),
        ({"valueQuantity": {"value": 1e16}}, {"valueQuantity": {"value": 10**16}}),
    ],
)
def test_another_spelling_of_one_value_is_no_difference(held, wanted):
    assert not differs({**OURS, **held}, {**OURS, **wanted})


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ({"issued": "2024-01-17T10:15:30.12+01:00"}, {"issued": "2024-01-17T10:15:30.123+01:00"}),
        ({"description": "2024-01-17T10:15:30.0Z"}, {"description": "2024-01-17T10:15:30Z"}),
        ({"valueQuantity": {"value": 1.5}}, {"valueQuantity": {"value": 1}}),
    ],
)
def test_another_value_is_a_difference_and_so_is_another_text(held, wanted):
    assert differs({**OURS, **held}, {**OURS, **wanted})


def test_a_resource_is_sent_back_without_what_the_server_stamped():
    held = {**OURS, "meta": {"versionId": "3", "lastUpdated": "2026-01-01T00:00:00.120Z", "tag": [{"code": "a"}]}}
    assert unstamped(held) == {**OURS, "meta": {"tag": [{"code": "a"}]}}
    assert unstamped({**OURS, "meta": {"versionId": "3"}}) == {k: v for k, v in OURS.items() if k != "meta"}
