import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_charset_files, get_testdata_file
from typer.testing import CliRunner

from sync.cli import app
from sync.mapping.names import human_names
from sync.mapping.values import Findings
from tests.headers import whole_corpus

DATA = Path(os.environ.get("DICOM_SYNC_TEST_DATA", Path(__file__).parents[3].parent / "shared" / "data" / "dicom"))

TWO_STUDIES = ("CT_small.dcm", "MR_small.dcm")


def sample(name):
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path)


def mapped(*arguments, **environment):
    result = CliRunner().invoke(app, ["map", *map(str, arguments)], env=environment or None)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result, [json.loads(line) for line in result.stdout.splitlines()]


def resource(bundle, kind):
    (of_kind,) = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]
    return of_kind


def notes(result):
    return [json.loads(line) for line in result.stderr.splitlines()]


@pytest.fixture
def folder(tmp_path):
    for name in TWO_STUDIES:
        shutil.copy(sample(name), tmp_path / name)
    return tmp_path


def test_a_file_becomes_one_bundle_on_standard_output():
    result, bundles = mapped(sample("CT_small.dcm"))
    assert result.exit_code == 0
    assert [e["resource"]["resourceType"] for e in bundles[0]["entry"]] == ["Patient", "ImagingStudy"]
    assert resource(bundles[0], "ImagingStudy")["modality"][0]["code"] == "CT"
    assert "1 study, 1 instance, 1 file, 0 rejected" in result.stderr


def test_folders_are_searched_and_bundles_sorted_by_study(folder):
    (folder / "deep" / "er").mkdir(parents=True)
    shutil.move(folder / "CT_small.dcm", folder / "deep" / "er" / "x")
    result, bundles = mapped(folder)
    uids = [resource(b, "ImagingStudy")["identifier"][0]["value"] for b in bundles]
    assert result.exit_code == 0
    assert len(uids) == 2
    assert uids == sorted(uids)


def test_the_order_of_arguments_and_repeats_change_nothing(folder):
    one, two = (folder / name for name in TWO_STUDIES)
    assert mapped(one, two, one)[0].stdout == mapped(two, one)[0].stdout == mapped(folder, folder)[0].stdout


def test_rejected_files_are_named_with_code_and_the_rest_is_mapped(folder):
    (folder / "notes.txt").write_text("no image")
    result, bundles = mapped(folder)
    assert result.exit_code == 1
    assert len(bundles) == 2
    assert f"rejected  {folder / 'notes.txt'}  header.not_dicom" in result.stderr


def test_standard_error_is_json_on_request(folder):
    (folder / "notes.txt").write_text("no image")
    odd = pydicom.dcmread(folder / "CT_small.dcm")
    odd.PatientSex = "X"
    odd.save_as(folder / "CT_small.dcm")
    result, _ = mapped("--json", folder)
    assert Counter(note["event"] for note in notes(result)) == {"rejected": 1, "finding": 1, "summary": 1}
    finding = next(note for note in notes(result) if note["event"] == "finding")
    assert finding == {
        "event": "finding",
        "study": odd.StudyInstanceUID,
        "keyword": "PatientSex",
        "code": "sex.unknown",
        "action": "unknown written",
    }


def test_settings_of_the_mapping_are_honoured():
    result, bundles = mapped(
        sample("CT_small.dcm"),
        DICOM_SYNC_TIMEZONE="America/New_York",
        DICOM_SYNC_DICOMWEB_URL="https://pacs.example/dicomweb/",
        DICOM_SYNC_PATIENT_SYSTEM="urn:oid:1.2.3",
    )
    assert result.exit_code == 0
    assert resource(bundles[0], "ImagingStudy")["started"].endswith("-05:00")
    assert resource(bundles[0], "Endpoint")["address"] == "https://pacs.example/dicomweb"
    assert resource(bundles[0], "Patient")["identifier"][0]["system"] == "urn:oid:1.2.3"


def test_a_wrong_setting_is_named_and_nothing_is_mapped():
    result, bundles = mapped(sample("CT_small.dcm"), DICOM_SYNC_TIMEZONE="Mars/Olympus")
    assert result.exit_code == 2
    assert "DICOM_SYNC_TIMEZONE" in result.stderr
    assert bundles == []


def test_a_path_that_does_not_exist_is_a_usage_error():
    assert mapped("/no/such/path")[0].exit_code == 2


def test_one_patient_in_two_studies_is_built_from_both(folder):
    one, two = (pydicom.dcmread(folder / name) for name in TWO_STUDIES)
    two.PatientID, two.PatientName, two.StudyDate = one.PatientID, "Later^Name", "20990101"
    two.save_as(folder / "MR_small.dcm")
    _, bundles = mapped(folder)
    patients = [resource(b, "Patient") for b in bundles]
    assert patients[0] == patients[1]
    assert patients[0]["name"][0]["family"] == "Later"


def test_links_are_followed_and_loops_are_not(folder):
    (folder / "loop").symlink_to(folder)
    (folder / "again.dcm").symlink_to(folder / "CT_small.dcm")
    (folder / "gone.dcm").symlink_to(folder / "nowhere")
    result, bundles = mapped("--json", folder)
    assert len(bundles) == 2
    assert notes(result)[-1]["files"] == 2
    assert [n["code"] for n in notes(result) if n["event"] == "rejected"] == ["file.unreadable"]


def test_a_pipe_in_a_folder_does_not_block(folder):
    os.mkfifo(folder / "pipe")
    result, bundles = mapped("--json", folder)
    assert len(bundles) == 2
    assert [n["code"] for n in notes(result) if n["event"] == "rejected"] == ["file.not_regular"]


def test_names_cannot_steer_the_terminal(folder):
    (folder / "bad\x1b[2Jname").write_text("no image")
    result, _ = mapped(folder)
    assert "\x1b" not in result.stderr
    assert "bad\\x1b[2Jname" in result.stderr


def run(*arguments, **options):
    command = [sys.executable, "-m", "sync", "map", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_a_reader_that_goes_away_ends_the_command_quietly(folder):
    process = run(folder)
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) == 141
    assert "Traceback" not in errors


def test_help_shows_examples_and_exit_codes():
    result = CliRunner().invoke(app, ["map", "--help"], env={"COLUMNS": "160"})
    assert "python -m sync map /data/studies > bundles.ndjson" in result.stdout
    assert "141" in result.stdout


NAMED = {
    path: str(dataset.PatientName)
    for path in map(Path, get_charset_files("*.dcm"))
    if "StudyInstanceUID" in (dataset := pydicom.dcmread(path, stop_before_pixels=True)) and dataset.get("PatientName")
}
"""Files of the pydicom wheel, one a character set, with the name that pydicom reads."""


def test_the_wheel_has_a_name_in_each_of_its_character_sets():
    assert len(NAMED) == 15


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.name)
def test_names_of_every_character_set_arrive_as_pydicom_reads_them(path):
    _, bundles = mapped(path)
    assert resource(bundles[0], "Patient")["name"] == human_names(NAMED[path], "PatientName", Findings())


def test_all_files_of_the_wheel_are_mapped_or_rejected():
    root = sample("CT_small.dcm").parent
    result, bundles = mapped("--json", root)
    summary = notes(result)[-1]
    assert summary["studies"] == len(bundles) > 25
    assert result.exit_code == 1
    codes = {note["code"] for note in notes(result) if note["event"] == "rejected"}
    assert codes <= {"header.not_dicom", "header.missing_identity", "header.dicomdir", "header.truncated"}


@whole_corpus
@pytest.mark.skipif(
    not DATA.is_dir(), reason="the collection of odd files is not on this machine (DICOM_SYNC_TEST_DATA)"
)
def test_all_files_of_the_collection_are_mapped_or_rejected():
    result, bundles = mapped("--json", DATA)
    summary = notes(result)[-1]
    instances = [resource(b, "ImagingStudy")["numberOfInstances"] for b in bundles]
    assert (len(bundles), sum(instances)) == (84, 244)
    assert summary["studies"] == 84
    assert "mapping.invalid" not in result.stderr


@pytest.mark.parametrize(
    ("setting", "value"),
    [("DICOMWEB_URL", "https://pacs example"), ("PATIENT_SYSTEM", "HOSPITAL"), ("ISSUERS", '{"A": "urn:x y"}')],
)
def test_addresses_that_fhir_would_refuse_are_refused_at_start(setting, value):
    result, bundles = mapped(sample("CT_small.dcm"), **{f"DICOM_SYNC_{setting}": value})
    assert result.exit_code == 2
    assert f"DICOM_SYNC_{setting}" in result.stderr
    assert bundles == []
