"""Studies and Patients that Microsoft DICOM Cast made are adopted, corrected and never doubled."""

import pytest

from sync.mapping.dicom_cast import is_made_by_cast
from sync.mapping.resource import study_id
from sync.model import StudyRef
from tests.worlds import (
    PATIENT_SYSTEM,
    STUDY,
    MemoryWorld,
    cast_patient,
    cast_study,
    ehr_patient,
    patient_of,
    rows,
)

ROOT = "https://dicom.example/v1"


@pytest.fixture
def w():
    return MemoryWorld(dicomweb_url=ROOT, cast_patient_system="none")


def taken_over(w, resource_id="cast-1"):
    return w.server.peek("ImagingStudy", resource_id)


def without_meta(resource):
    return {k: v for k, v in resource.items() if k not in ("id", "meta")}


async def test_a_study_of_cast_says_what_one_of_ours_would_say(w):
    w.create(cast_patient("cast-p"))
    w.create(cast_study("cast-1", descriptions=["Head", "Neck"]))
    await w.arrive("a", StudyDescription="Head", AccessionNumber="A1")
    await w.arrive("b", sop="2.25.101", StudyDescription="Neck", AccessionNumber="A1")
    await w.arrive("c", sop="2.25.102", StudyDescription="Neck", AccessionNumber="A1")
    alone = MemoryWorld(dicomweb_url=ROOT)
    for name, sop, said in (("a", "2.25.100", "Head"), ("b", "2.25.101", "Neck"), ("c", "2.25.102", "Neck")):
        await alone.arrive(name, sop=sop, StudyDescription=said, AccessionNumber="A1")
    ours = without_meta(alone.imaging_study())
    assert without_meta(taken_over(w)) == {**ours, "subject": {**ours["subject"], "reference": "Patient/cast-p"}}
    assert w.imaging_study() is None
    assert [patient["id"] for patient in w.server.resources("Patient")] == ["cast-p"]


async def test_what_others_put_into_a_study_of_cast_survives(w):
    notes = [{"text": "Head", "authorString": "Dr. Ref"}, {"text": "seen by night"}]
    others = {"basedOn": [{"reference": "ServiceRequest/5"}], "reasonCode": [{"text": "fall"}]}
    identifier = {"system": "urn:example:ris", "value": "7"}
    study = cast_study("cast-1", descriptions=["Head"])
    study = {**study, **others, "note": [*study["note"], *notes], "identifier": [*study["identifier"], identifier]}
    w.create(study)
    await w.arrive("a", StudyDescription="Head", AccessionNumber="A1")
    assert {element: taken_over(w)[element] for element in others} == others
    assert taken_over(w)["note"] == notes
    assert identifier in taken_over(w)["identifier"]


async def test_a_note_that_is_written_after_cast_stays(w):
    w.create(cast_study("cast-1", descriptions=["Head"]))
    await w.arrive("a", StudyDescription="Head")
    w.edit("ImagingStudy", "cast-1", note=[{"text": "seen"}])
    await w.arrive("b", sop="2.25.101", StudyDescription="Head")
    await w.replay()
    assert taken_over(w)["note"] == [{"text": "seen"}]


async def test_a_replay_of_what_was_taken_over_writes_nothing(w):
    w.create(cast_patient("cast-p"))
    w.create(cast_study("cast-1", descriptions=["Head"]))
    await w.arrive("a", StudyDescription="Head")
    before = w.versions()
    await w.replay()
    await w.replay(redelivered=False)
    assert w.versions() == before


async def test_a_study_of_cast_goes_with_its_last_instance(w):
    w.create(cast_study("cast-1", descriptions=["Head"]))
    await w.arrive("a", StudyDescription="Head")
    await w.go("a")
    assert taken_over(w) is None
    await w.arrive("a")
    assert w.imaging_study() is not None


async def test_a_study_of_cast_that_we_never_wrote_is_left_alone(w):
    w.create(cast_study("cast-1"))
    await w.ingest(w.put("a"))
    await w.ingest(w.delete("a"))
    await w.project(redelivered=True)
    assert w.server.history("ImagingStudy", "cast-1") == 1


async def test_a_study_that_was_taken_over_by_a_pass_that_died_goes_all_the_same(w):
    w.create(cast_study("cast-1"))
    await w.ingest(w.put("a"))
    await w.project_and_die()
    await w.ingest(w.delete("a"))
    await w.project(redelivered=True)
    assert taken_over(w) is None


async def test_a_corrected_patient_id_moves_a_study_of_cast_which_cast_never_did(w):
    w.create(cast_patient("cast-typo", "TYPO"))
    w.create(cast_patient("cast-p"))
    w.create(cast_study("cast-1", patient="cast-typo"))
    await w.arrive("a", PatientID="P1")
    assert taken_over(w)["subject"]["reference"] == "Patient/cast-p"
    await w.arrive("a", PatientID="P3")
    assert taken_over(w)["subject"]["reference"] == f"Patient/{patient_of('P3')}"


async def test_an_empty_study_of_cast_is_known_by_its_source():
    study = cast_study("cast-1")
    del study["series"]
    assert is_made_by_cast(study, ROOT)
    assert is_made_by_cast({**study, "meta": {"source": f"{ROOT}/#b7e1"}}, ROOT)
    assert not is_made_by_cast(study, "")
    assert not is_made_by_cast({**study, "meta": {}}, ROOT)


async def test_a_study_that_we_wrote_is_not_taken_for_one_of_cast(w):
    await w.arrive("a")
    assert not is_made_by_cast(w.imaging_study(), ROOT)


# Patients of Cast


@pytest.mark.parametrize(
    ("setting", "identifier"),
    [
        ("none", {"value": "P1"}),
        ("issuer", {"system": "CITY", "value": "P1"}),
        ("urn:example:cast", {"system": "urn:example:cast", "value": "P1"}),
        ("hospital", {"system": "hospital", "value": "P1"}),
    ],
)
@pytest.mark.parametrize("policy", ["link-or-create", "update"])
async def test_a_patient_of_cast_is_found_under_the_system_that_cast_wrote(setting, identifier, policy):
    w = MemoryWorld(cast_patient_system=setting, patient_policy=policy)
    w.create({**cast_patient("cast-p"), "identifier": [identifier]})
    await w.arrive("a", IssuerOfPatientID="CITY", PatientBirthDate="19900102")
    assert w.server.peek("ImagingStudy", study_id(STUDY))["subject"]["reference"] == "Patient/cast-p"
    assert len(list(w.server.resources("Patient"))) == 1
    before = w.versions()
    await w.replay()
    assert w.versions() == before


async def test_without_the_setting_patients_of_cast_are_not_searched():
    w = MemoryWorld()
    w.create(cast_patient("cast-p"))
    await w.arrive("a")
    assert w.patient() is not None


async def test_with_update_a_patient_of_cast_gets_the_right_identifier_instead_of_the_wrong_one():
    w = MemoryWorld(cast_patient_system="none", patient_policy="update")
    national = {"system": "urn:example:national", "value": "N1"}
    w.create({**cast_patient("cast-p"), "identifier": [{"value": "P1"}, national], "telecom": [{"value": "1"}]})
    await w.arrive("a", PatientSex="F")
    held = w.server.peek("Patient", "cast-p")
    assert [(coding.get("system"), coding["value"]) for coding in held["identifier"]] == [
        ("urn:example:national", "N1"),
        (PATIENT_SYSTEM, "P1"),
    ]
    assert (held["gender"], held["telecom"]) == ("female", [{"value": "1"}])


async def test_with_update_one_number_of_two_issuers_that_cast_put_together_comes_apart():
    w = MemoryWorld(cast_patient_system="none", patient_policy="update")
    w.create(cast_patient("cast-p"))
    await w.arrive("a", IssuerOfPatientID="CITY")
    await w.arrive("b", study="2.25.2", IssuerOfPatientID="COUNTY")
    subjects = {study["subject"]["reference"] for study in w.server.resources("ImagingStudy")}
    assert len(subjects) == 2


async def test_a_patient_of_cast_that_contradicts_the_images_is_another_person(w):
    w.create(cast_patient("cast-p", birthDate="1950-05-05"))
    await w.arrive("a", PatientBirthDate="19900102")
    assert w.patient() is not None
    assert w.server.history("Patient", "cast-p") == 1


async def test_a_patient_that_is_known_properly_comes_before_one_of_cast(w):
    w.create(cast_patient("cast-p"))
    w.create(ehr_patient("smith"))
    await w.arrive("a")
    assert w.imaging_study()["subject"]["reference"] == "Patient/smith"


async def test_several_patients_of_cast_park_the_study(w):
    w.create(cast_patient("cast-p"))
    w.create(cast_patient("cast-q"))
    await w.arrive("a")
    assert w.dead_letters() == [("study", "fhir.ambiguous_patient")]


async def test_our_own_patients_move_to_those_of_cast_once_the_setting_is_there():
    w = MemoryWorld()
    w.create(cast_patient("cast-p"))
    await w.arrive("a")
    await w.arrive("b", study="2.25.2")
    w.services = w.process(cast_patient_system="none")
    await w.replay()
    other = w.imaging_study(StudyRef(study_instance_uid="2.25.2"))
    assert other["subject"]["reference"] == w.imaging_study()["subject"]["reference"] == "Patient/cast-p"
    assert w.patient() is None
    assert rows(w) == []
