"""The policies ``update`` and ``reference-only``, and what happens with Patients when the policy changes."""

import pytest

from sync.testing.fhir import MemoryFhirServer
from tests.worlds import (
    OTHER,
    PATIENT_SYSTEM,
    STUDY,
    MemoryWorld,
    ehr_patient,
    ehr_study,
    other_ids,
    patient_of,
    rows,
    subject,
)

LOGICAL = {"type": "Patient", "identifier": {"system": PATIENT_SYSTEM, "value": "P1"}, "display": "Jane Doe"}


@pytest.fixture
def update():
    return MemoryWorld(patient_policy="update")


@pytest.fixture
def reference():
    return MemoryWorld(patient_policy="reference-only")


def theirs(w, resource_id="smith"):
    return w.server.peek("Patient", resource_id)


def known_as(*values):
    return [{"system": PATIENT_SYSTEM, "value": value} for value in values]


def switch(w, policy):
    w.services = w.process(patient_policy=policy)


# update


async def test_update_writes_name_gender_and_birth_date_into_an_ehrs_patient(update):
    w = update
    w.create(ehr_patient("smith", gender="male", birthDate="1980-01-01", name=[{"family": "Old"}]))
    await w.arrive("a", PatientSex="F", PatientBirthDate="19900102")
    assert (theirs(w)["name"][0]["family"], theirs(w)["gender"], theirs(w)["birthDate"]) == (
        "Doe",
        "female",
        "1990-01-02",
    )
    assert subject(w) == "smith"
    assert w.patient() is None


async def test_update_keeps_what_the_images_do_not_say_and_what_is_not_mapped(update):
    w = update
    kept = {"gender": "female", "birthDate": "1990-01-02", "telecom": [{"value": "1"}], "active": True}
    w.create(ehr_patient("smith", **kept, meta={"tag": [{"code": "vip"}]}))
    await w.arrive("a")
    assert {element: theirs(w)[element] for element in kept} == kept
    assert theirs(w)["meta"]["tag"] == [{"code": "vip"}]


async def test_update_adds_identifiers_and_leaves_those_that_are_there_as_they_are(update):
    w = update
    own = {"use": "official", "system": PATIENT_SYSTEM, "value": "P1", "period": {"start": "2020"}}
    national = {"use": "secondary", "system": "urn:example:national", "value": "N1"}
    w.create(ehr_patient("smith") | {"identifier": [own, national]})
    await w.arrive("a", OtherPatientIDsSequence=other_ids("C9"))
    identifiers = theirs(w)["identifier"]
    assert identifiers[:2] == [own, national]
    assert [identifier["value"] for identifier in identifiers[2:]] == ["C9"]


async def test_a_time_of_birth_goes_with_the_date_that_it_belonged_to_and_stays_with_the_same(update):
    w = update
    w.create(ehr_patient("smith", birthDate="1990-01-02", _birthDate={"id": "t"}))
    await w.arrive("a", PatientBirthDate="19900102")
    assert theirs(w)["_birthDate"] == {"id": "t"}
    await w.arrive("a", PatientBirthDate="19900103")
    assert "_birthDate" not in theirs(w)


async def test_a_generated_text_goes_when_it_would_no_longer_be_true(update):
    w = update
    text = {"status": "generated", "div": "<div>Old</div>"}
    w.create(ehr_patient("smith", name=[{"family": "Old"}], text=text))
    w.create(ehr_patient("roe", "P2", text={**text, "status": "additional"}))
    await w.arrive("a")
    await w.arrive("b", study="2.25.2", PatientID="P2")
    assert "text" not in theirs(w)
    assert theirs(w, "roe")["text"]["status"] == "additional"


async def test_of_several_studies_the_latest_speaks_in_any_order_and_the_others_when_it_goes(update):
    w = update
    w.create(ehr_patient("smith"))
    await w.arrive("b", study="2.25.2", StudyDate="20260202", PatientName="Roe^Jane")
    await w.arrive("a", StudyDate="20260101", PatientName="Doe^Jane")
    assert theirs(w)["name"][0]["family"] == "Roe"
    await w.go("b")
    assert theirs(w)["name"][0]["family"] == "Doe"
    await w.go("a")
    assert theirs(w)["name"][0]["family"] == "Doe"
    assert rows(w) == []


async def test_two_issuers_numbers_of_one_ehrs_patient_do_not_write_by_turns(update):
    w = update
    numbers = [{"system": "urn:example:city", "value": "1"}, {"system": "urn:example:county", "value": "2"}]
    w.create(ehr_patient("smith") | {"identifier": numbers})
    w.services = w.process(
        patient_policy="update", issuers={"CITY": "urn:example:city", "COUNTY": "urn:example:county"}
    )
    await w.arrive("a", PatientID="1", IssuerOfPatientID="CITY", PatientName="Doe^Jane")
    await w.arrive("b", study="2.25.2", PatientID="2", IssuerOfPatientID="COUNTY", PatientName="Roe^Jane")
    assert subject(w) == subject(w, OTHER) == "smith"
    assert theirs(w)["name"][0]["family"] == "Roe"
    before = w.versions()
    await w.replay()
    assert w.versions() == before


async def test_a_study_whose_identity_was_removed_never_names_an_ehrs_patient(update):
    w = update
    w.create(ehr_patient("smith", name=[{"family": "Smith"}]))
    await w.arrive("a", PatientName="Anonymous", PatientIdentityRemoved="YES")
    assert subject(w) == "smith"
    assert w.server.history("Patient", "smith") == 1


async def test_under_update_several_patients_of_others_park_the_study(update):
    w = update
    w.create(ehr_patient("smith"))
    w.create(ehr_patient("smyth"))
    await w.arrive("a")
    assert w.dead_letters() == [("study", "fhir.ambiguous_patient")]
    assert {w.server.history("Patient", patient) for patient in ("smith", "smyth")} == {1}


async def test_under_update_a_missing_patient_is_created_and_goes_with_its_last_study(update):
    w = update
    await w.arrive("a", PatientSex="F")
    assert subject(w) == patient_of("P1")
    assert w.patient()["gender"] == "female"
    await w.go("a")
    assert w.patient() is None


async def test_under_update_an_ehrs_patient_that_appears_takes_the_place_of_ours(update):
    w = update
    await w.arrive("a")
    await w.arrive("b", study="2.25.2", PatientSex="F")
    w.create(ehr_patient("smith"))
    await w.replay()
    assert subject(w) == subject(w, OTHER) == "smith"
    assert theirs(w)["gender"] == "female"
    assert w.patient() is None
    assert {key for key, _ in rows(w)} == {"linked.smith"}


async def test_under_update_an_ehrs_patient_that_appears_under_way_is_written_all_the_same(update):
    w = update
    await w.ingest(w.put("a"))
    searches = []

    def second_search():
        searches.append(1)
        w.fhir.meanwhile["search"] = second_search
        if len(searches) == 3:  # the study, the Patient, and the Patient once the row is there
            w.create(ehr_patient("smith"))

    w.fhir.meanwhile["search"] = second_search
    await w.project()
    assert len(searches) > 3
    assert subject(w) == "smith"
    assert theirs(w)["name"][0]["family"] == "Doe"


async def test_under_update_an_ehrs_patient_that_vanishes_is_replaced_by_ours(update):
    w = update
    w.create(ehr_patient("smith"))
    await w.arrive("a")
    w.erase("Patient", "smith")
    await w.replay()
    assert subject(w) == patient_of("P1")
    assert {key for key, _ in rows(w)} == {patient_of("P1").removeprefix("pt-")}


async def test_under_update_a_corrected_patient_id_moves_to_the_other_patient(update):
    w = update
    w.create(ehr_patient("typo", "TYPO"))
    w.create(ehr_patient("smith"))
    await w.arrive("b", study="2.25.2", PatientID="TYPO", PatientName="Typo^Real", StudyDate="20260101")
    await w.arrive("a", PatientID="TYPO")
    await w.arrive("a", PatientID="P1")
    assert subject(w) == "smith"
    assert theirs(w, "typo")["name"][0]["family"] == "Typo"
    assert theirs(w)["name"][0]["family"] == "Doe"


async def test_update_writes_nothing_when_all_is_right(update):
    w = update
    w.create(ehr_patient("smith", telecom=[{"value": "1"}]))
    await w.arrive("a", OtherPatientIDsSequence=other_ids("C9"))
    before = w.versions()
    await w.replay()
    await w.replay(redelivered=False)
    assert w.versions() == before
    w.fhir.calls.clear()
    await w.arrive("b", sop="2.25.101", OtherPatientIDsSequence=other_ids("C9"))
    assert w.fhir.calls == {"transact": 1}


async def test_update_brings_its_words_back_with_a_replay_after_others_changed_them(update):
    w = update
    w.create(ehr_patient("smith"))
    await w.arrive("a")
    w.edit("Patient", "smith", name=[{"family": "Other"}])
    await w.replay()
    assert theirs(w)["name"][0]["family"] == "Doe"


# reference-only


async def test_reference_only_names_the_patient_and_touches_none(reference):
    w = reference
    w.create(ehr_patient("smith"))
    await w.arrive("a")
    await w.arrive("a", PatientSex="F")
    assert w.imaging_study()["subject"] == LOGICAL
    assert [patient["id"] for patient in w.server.resources("Patient")] == ["smith"]
    assert w.server.history("Patient", "smith") == 1
    assert w.fhir.calls["read"] == 0
    assert w.fhir.calls["search"] == 1  # for the study itself
    assert rows(w) == []


async def test_reference_only_without_a_patient_id_or_a_name_still_has_a_subject(reference):
    w = reference
    await w.arrive("a", PatientID=None, PatientName=None)
    assert w.imaging_study()["subject"] == {"type": "Patient"}


async def test_reference_only_does_not_mind_several_patients(reference):
    w = reference
    w.create(ehr_patient("smith"))
    w.create(ehr_patient("smyth"))
    await w.arrive("a")
    assert w.dead_letters() == []


async def test_reference_only_follows_a_corrected_patient_id(reference):
    w = reference
    await w.arrive("a", PatientID="TYPO")
    await w.arrive("a", PatientID="P1")
    assert w.imaging_study()["subject"] == LOGICAL


async def test_a_replay_under_reference_only_writes_nothing(reference):
    w = reference
    await w.arrive("a")
    await w.arrive("b", study="2.25.2")
    before = w.versions()
    await w.replay()
    assert w.versions() == before


async def test_reference_only_cancels_an_adopted_study_though_the_pass_that_wrote_it_died(reference):
    w = reference
    w.create(ehr_study("ris-7"))
    await w.ingest(w.put("a"))
    await w.project_and_die()
    await w.ingest(w.delete("a"))
    await w.project(redelivered=True)
    assert w.server.peek("ImagingStudy", "ris-7")["status"] == "cancelled"


# Another policy


async def test_a_new_policy_holds_for_a_study_that_changes_and_for_all_after_a_replay():
    w = MemoryWorld()
    await w.arrive("a")
    await w.arrive("b", study="2.25.2")
    switch(w, "reference-only")
    await w.arrive("a", StudyDescription="Head")
    assert w.imaging_study()["subject"] == LOGICAL
    assert subject(w, OTHER) == patient_of("P1")
    await w.replay()
    assert w.imaging_study(OTHER)["subject"] == LOGICAL


@pytest.mark.parametrize("strict", [False, True])
async def test_patients_that_we_created_go_when_references_are_enough(strict):
    w = MemoryWorld(MemoryFhirServer(checks_references=strict))
    w.create(ehr_patient("roe", "P2"))
    await w.arrive("a")
    await w.arrive("b", study="2.25.2")
    await w.arrive("c", study="2.25.3", PatientID="P2")
    switch(w, "reference-only")
    await w.replay()
    assert [patient["id"] for patient in w.server.resources("Patient")] == ["roe"]
    assert rows(w) == []
    assert (w.outstanding(), w.dead_letters()) == ([], [])


async def test_patients_are_created_when_references_are_no_longer_enough(reference):
    w = reference
    await w.arrive("a")
    switch(w, "link-or-create")
    await w.replay()
    assert subject(w) == patient_of("P1")
    assert w.patient() is not None


async def test_an_ehrs_patient_is_written_from_the_replay_on_that_brings_update_to_all():
    w = MemoryWorld()
    w.create(ehr_patient("smith"))
    await w.arrive("a")
    assert w.server.history("Patient", "smith") == 1
    switch(w, "update")
    await w.replay()
    assert theirs(w)["name"][0]["family"] == "Doe"


@pytest.mark.parametrize("policy", ["link-or-create", "reference-only"])
async def test_after_update_an_ehrs_patient_keeps_what_was_written_and_is_never_written_again(update, policy):
    w = update
    w.create(ehr_patient("smith"))
    await w.arrive("a", StudyDate="20260101", PatientName="Doe^Jane")
    await w.arrive("b", study="2.25.2", StudyDate="20260202", PatientName="Roe^Jane")
    before = w.server.history("Patient", "smith")
    switch(w, policy)
    await w.go("b")
    await w.arrive("a", PatientName="Poe^Jane")
    await w.replay()
    assert theirs(w)["name"][0]["family"] == "Roe"
    assert w.server.history("Patient", "smith") == before
    assert rows(w) == []


async def test_a_study_that_changes_under_a_new_policy_does_not_trust_the_link_of_the_old_one():
    w = MemoryWorld()
    w.create(ehr_patient("smith"))
    await w.arrive("a")
    switch(w, "update")
    await w.arrive("b", sop="2.25.101")
    assert theirs(w)["name"][0]["family"] == "Doe"
    assert STUDY in {study for _, study in rows(w)}
