from sync.config import MappingSettings
from sync.mapping.bundle import build_bundle
from sync.mapping.patient import claim_patient
from sync.model import PatientRow, StudyRef
from tests.mapping_rows import SETTINGS, STUDY, row


def test_a_bundle_is_a_transaction_of_updates_by_id():
    settings = MappingSettings(dicomweb_url="https://pacs.example/dicomweb")
    bundle, findings = build_bundle(STUDY, [row()], settings)
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "transaction")
    made = [entry["resource"] for entry in bundle["entry"]]
    assert [r["resourceType"] for r in made] == ["Patient", "Endpoint", "ImagingStudy"]
    assert [entry["request"] for entry in bundle["entry"]] == [
        {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"} for r in made
    ]
    assert made[2]["subject"]["reference"] == f"Patient/{made[0]['id']}"
    assert findings == ()


def test_findings_of_study_and_patient_come_together():
    _, findings = build_bundle(STUDY, [row(PatientBirthDate=["never"], SeriesNumber=["x"])], SETTINGS)
    assert [f.keyword for f in findings] == ["PatientBirthDate", "SeriesNumber"]


def test_the_patient_is_built_from_all_studies_that_are_known():
    other = StudyRef(study_instance_uid="1.2.840.99999.2")
    claim = claim_patient(other, [row(study=other, StudyDate=["20990101"], PatientName=["Later^Tina"])], SETTINGS)
    later = PatientRow(patient_key=claim.key, study=other, study_date=claim.study_date, attributes=claim.attributes)
    unrelated = PatientRow(patient_key="other", study=other, study_date="2099-01-01", attributes={})
    bundle, findings = build_bundle(STUDY, [row()], SETTINGS, patient_rows=[later, unrelated])
    assert bundle["entry"][0]["resource"]["name"][0]["family"] == "Later"
    assert [f.code for f in findings] == ["patient.conflicting_values"]
