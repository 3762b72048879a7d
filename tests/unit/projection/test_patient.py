"""The Patient of a study: linked, created, rebuilt, left; and what never happens to another system's."""

from sync.model import Finding
from sync.testing.fhir import MemoryFhirServer
from tests.worlds import OTHER, MemoryWorld, cast_patient, ehr_patient, other_ids, patient_of, rows, subject

# Of another system


async def test_an_ehrs_patient_is_linked_and_stays_untouched(w):
    w.create(ehr_patient("smith", gender="female"))
    await w.arrive("a", PatientSex="F")
    assert subject(w) == "smith"
    assert w.patient() is None
    assert w.server.history("Patient", "smith") == 1
    assert rows(w) == []


async def test_demographics_that_differ_from_the_ehrs_are_findings_without_values(w):
    w.create(ehr_patient("smith", gender="female", birthDate="1990-01-01"))
    await w.arrive("a", PatientSex="M", PatientBirthDate="19910101")
    kept = {"code": "patient.differs_from_ehr", "action": "kept the EHR's value"}
    assert {Finding(keyword=k, **kept) for k in ("PatientSex", "PatientBirthDate")} <= set(w.projection().findings)
    assert "1991" not in repr(w.projection())
    assert w.server.history("Patient", "smith") == 1


async def test_several_patients_of_others_park_the_study_until_they_are_merged(w):
    w.create(ehr_patient("smith"))
    w.create(ehr_patient("smyth"))
    await w.arrive("a")
    assert w.dead_letters() == [("study", "fhir.ambiguous_patient")]
    assert w.imaging_study() is None
    w.erase("Patient", "smyth")
    await w.arrive("a")
    assert subject(w) == "smith"
    assert w.dead_letters() == []


async def test_an_ehrs_patient_that_appears_beside_ours_is_linked_by_the_next_study(w):
    await w.arrive("a")
    w.create(ehr_patient("smith"))
    await w.arrive("b", study="2.25.2")
    assert subject(w, OTHER) == "smith"
    assert subject(w) == patient_of("P1")
    assert w.dead_letters() == []


async def test_a_replay_moves_all_studies_to_the_ehrs_patient_and_ours_goes(w):
    await w.arrive("a")
    await w.arrive("b", study="2.25.2")
    w.create(ehr_patient("smith"))
    await w.replay()
    assert subject(w) == subject(w, OTHER) == "smith"
    assert w.patient() is None
    assert rows(w) == []


async def test_an_ehrs_patient_that_vanishes_is_replaced_by_ours(w):
    w.create(ehr_patient("smith"))
    await w.arrive("a")
    w.erase("Patient", "smith")
    await w.replay()
    assert subject(w) == patient_of("P1")
    assert w.patient() is not None


async def test_a_patient_of_ours_that_carries_the_identifier_beside_its_own_is_no_match(w):
    await w.arrive("a", PatientID="P2", OtherPatientIDsSequence=other_ids("P1"), IssuerOfPatientID="CITY")
    await w.arrive("b", study="2.25.2", IssuerOfPatientID="CITY")
    assert len(list(w.server.resources("Patient"))) == 2
    assert subject(w) != subject(w, OTHER)
    assert w.dead_letters() == []


# Ours


async def test_a_patient_unknown_to_the_ehr_is_created(w):
    await w.arrive("a", PatientSex="F", PatientBirthDate="19900102")
    assert subject(w) == w.patient()["id"]
    assert (w.patient()["gender"], w.patient()["birthDate"]) == ("female", "1990-01-02")


async def test_studies_of_one_patient_share_it_and_the_latest_study_speaks(w):
    await w.arrive("b", study="2.25.2", StudyDate="20260202", PatientName="Roe^Jane")
    await w.arrive("a", StudyDate="20260101", PatientName="Doe^Jane", PatientSex="F")
    assert subject(w) == subject(w, OTHER)
    assert w.patient()["name"][0]["family"] == "Roe"
    assert w.patient()["gender"] == "female"


async def test_what_studies_disagree_on_is_a_finding(w):
    await w.arrive("a", PatientName="Doe^Jane")
    await w.arrive("b", study="2.25.2", PatientName="Roe^Jane")
    codes = {(finding.keyword, finding.code) for finding in w.projection(OTHER).findings}
    assert ("PatientName", "patient.conflicting_values") in codes


async def test_a_patient_is_rebuilt_when_another_study_leaves(w):
    await w.arrive("a", StudyDate="20260101", PatientName="Doe^Jane")
    await w.arrive("b", study="2.25.2", StudyDate="20260202", PatientName="Roe^Jane", PatientSex="F")
    await w.go("b")
    assert w.patient()["name"][0]["family"] == "Doe"
    assert "gender" not in w.patient()


async def test_an_other_patient_id_goes_with_the_study_that_stated_it(w):
    await w.arrive("a")
    await w.arrive("b", study="2.25.2", OtherPatientIDsSequence=other_ids("C9"))
    assert {identifier["value"] for identifier in w.patient()["identifier"]} == {"P1", "C9"}
    await w.go("b")
    assert {identifier["value"] for identifier in w.patient()["identifier"]} == {"P1"}


async def test_the_label_of_removed_identity_goes_with_the_study_that_stated_it(w):
    await w.arrive("a")
    await w.arrive("b", study="2.25.2", PatientIdentityRemoved="YES")
    assert w.patient()["meta"]["security"][0]["code"] == "PSEUDED"
    await w.go("b")
    assert "security" not in w.patient()["meta"]


async def test_what_others_wrote_into_our_patient_survives_a_rebuild(w):
    await w.arrive("a")
    second = {"use": "old", "system": w.patient()["identifier"][0]["system"], "value": "P0"}
    both = [*w.patient()["identifier"], second]
    w.edit("Patient", patient_of("P1"), telecom=[{"value": "1"}], identifier=both)
    await w.arrive("a", PatientSex="F")
    assert w.patient()["telecom"] == [{"value": "1"}]
    assert w.patient()["identifier"] == both
    assert w.patient()["gender"] == "female"


async def test_what_others_write_between_our_read_and_our_write_survives(w):
    await w.arrive("a")
    await w.ingest(w.put("a", PatientSex="F"))
    w.fhir.meanwhile["transact"] = lambda: w.edit("Patient", patient_of("P1"), telecom=[{"value": "1"}])
    await w.project()
    assert w.patient()["telecom"] == [{"value": "1"}]
    assert w.patient()["gender"] == "female"


async def test_a_corrected_patient_id_moves_the_study_and_takes_the_old_patient_away(w):
    await w.arrive("a", PatientID="TYPO")
    await w.arrive("a", PatientID="P1")
    assert subject(w) == patient_of("P1")
    assert w.patient("TYPO") is None
    assert len(rows(w)) == 1


async def test_a_corrected_patient_id_leaves_the_old_patient_to_its_other_studies(w):
    await w.arrive("a", PatientID="P2", PatientSex="F")
    await w.arrive("b", study="2.25.2", PatientID="P2")
    await w.arrive("a", PatientID="P1", PatientSex="F")
    assert subject(w, OTHER) == patient_of("P2")
    assert "gender" not in w.patient("P2")


async def test_the_majority_of_the_instances_decides_whose_study_it_is(w):
    for n in range(3):
        await w.arrive(f"a{n}", sop=f"2.25.10{n}", PatientID="TYPO" if n == 0 else "P1")
    assert subject(w) == patient_of("P1")
    assert w.patient("TYPO") is None


async def test_without_a_patient_id_each_study_has_a_patient_of_its_own(w):
    await w.arrive("a", PatientID=None)
    await w.arrive("b", study="2.25.2", PatientID=None)
    assert subject(w) != subject(w, OTHER)
    assert all("identifier" not in patient for patient in w.server.resources("Patient"))


async def test_a_patient_of_a_study_alone_goes_once_the_id_is_known(w):
    await w.arrive("a", PatientID=None)
    alone = subject(w)
    await w.arrive("a", PatientID="P1")
    assert w.server.peek("Patient", alone) is None
    assert subject(w) == patient_of("P1")


async def test_the_same_id_of_two_issuers_is_two_patients(w):
    await w.arrive("a", IssuerOfPatientID="CITY")
    await w.arrive("b", study="2.25.2", IssuerOfPatientID="COUNTY")
    assert subject(w) != subject(w, OTHER)


async def test_a_patient_that_others_refer_to_stays_when_its_last_study_goes():
    w = MemoryWorld(MemoryFhirServer(checks_references=True, notices_unchanged=False))
    await w.arrive("a")
    condition = {"resourceType": "Condition", "id": "c", "subject": {"reference": f"Patient/{patient_of('P1')}"}}
    w.create(condition)
    await w.go("a")
    assert w.imaging_study() is None
    assert w.patient() is not None
    assert (w.outstanding(), w.dead_letters()) == ([], [])


async def test_an_unchanged_claim_asks_the_server_nothing_about_the_patient(w):
    await w.arrive("a")
    w.fhir.calls.clear()
    await w.arrive("b", sop="2.25.101", StudyDescription="Head")
    assert w.fhir.calls == {"transact": 1}


async def test_findings_about_the_patient_outlast_a_change_that_is_not_about_it(w):
    w.create(ehr_patient("smith", gender="female"))
    await w.arrive("a", PatientSex="M")
    before = {finding for finding in w.projection().findings if finding.code == "patient.differs_from_ehr"}
    await w.arrive("b", sop="2.25.101", PatientSex="M")
    assert before
    assert before <= set(w.projection().findings)


async def test_a_patient_that_dicom_cast_made_is_linked():
    w = MemoryWorld(cast_patient_system="none")
    w.create(cast_patient("cast-p"))
    await w.arrive("a")
    assert subject(w) == "cast-p"
    assert w.patient() is None
