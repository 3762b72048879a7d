"""What the sync itself writes to FHIR is read by the views: its own output, mapped from real headers."""

import json

import pydicom.data
import pytest
from typer.testing import CliRunner

from insights.collect import Store
from sync.cli import app
from tests.insights.collected import catalogue, collect, write


@pytest.fixture(scope="module")
def mapped():
    """All resources that two files of the pydicom wheel become."""
    files = [pydicom.data.get_testdata_file(name) for name in ("CT_small.dcm", "MR_small.dcm")]
    environment = {"DICOM_SYNC_DICOMWEB_URL": "https://pacs.example/dicom-web", "DICOM_SYNC_TIMEZONE": "Europe/Berlin"}
    done = CliRunner().invoke(app, ["map", *files], env=environment)
    bundles = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    resources = [entry["resource"] for bundle in bundles for entry in bundle["entry"] if "resource" in entry]
    assert {resource["resourceType"] for resource in resources} >= {"ImagingStudy", "Patient"}
    return resources


@pytest.fixture(scope="module")
def reading(mapped, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mapped")
    collect(
        folder / "d",
        write(
            folder / "in", *{f"{resource['resourceType']}/{resource['id']}": resource for resource in mapped}.values()
        ),
    )
    with Store(folder / "d").reading(catalogue()) as open_tables:
        yield open_tables.connection


def test_studies_have_patient_uid_time_and_modality(mapped, reading):
    expected = {
        (
            resource["id"],
            resource["subject"]["reference"].removeprefix("Patient/"),
            next(one["value"] for one in resource["identifier"] if one.get("system") == "urn:dicom:uid"),
            resource["started"],
            "|".join(one["code"] for one in resource["modality"]),
        )
        for resource in mapped
        if resource["resourceType"] == "ImagingStudy"
    }
    selected = reading.execute("SELECT id, patient_id, study_uid, started, modalities FROM imaging_study").fetchall()
    assert set(selected) == expected
    assert len(selected) == 2


def test_series_join_their_study_and_address(mapped, reading):
    selected = reading.execute(
        "SELECT s.series_uid, s.modality, e.address FROM imaging_series AS s "
        "JOIN imaging_study AS t ON t.id = s.study_id JOIN endpoint AS e ON e.id = t.endpoint_id"
    ).fetchall()
    expected = [
        (series["uid"], series["modality"]["code"], "https://pacs.example/dicom-web")
        for resource in mapped
        if resource["resourceType"] == "ImagingStudy"
        for series in resource["series"]
    ]
    assert sorted(selected) == sorted(expected)


def test_patients_have_birth_date_and_sex_and_no_name(mapped, reading):
    selected = set(reading.execute("SELECT id, birth_date, gender FROM patient").fetchall())
    patients = [resource for resource in mapped if resource["resourceType"] == "Patient"]
    assert selected == {(patient["id"], patient.get("birthDate"), patient.get("gender")) for patient in patients}
