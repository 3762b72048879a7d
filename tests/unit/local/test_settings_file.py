"""The file of settings is what a shell reads, and is there while its world is."""

import shutil
import subprocess
from dataclasses import replace

from local.settings_file import settings_file
from local.world import Addresses

STORAGE = "AccountName=a;AccountKey=$x'y\"z==;BlobEndpoint=http://127.0.0.1:1/a b"


def addresses(api="http://127.0.0.1:2/api"):
    env = {"AzureWebJobsStorage": STORAGE, "DICOM_SYNC_FHIR_URL": "http://127.0.0.1:3/fhir"}
    return Addresses(storage=STORAGE, container="dicom", fhir=env["DICOM_SYNC_FHIR_URL"], api=api, env=env, pids={})


def test_a_shell_that_reads_the_file_has_every_value_as_it_is(tmp_path):
    path = tmp_path / "folder" / "world.env"
    with settings_file(addresses(), path) as taken:
        assert taken == path
        said = subprocess.run(
            [
                shutil.which("sh"),
                "-c",
                f'. {path}; printf "%s\\n" "$AzureWebJobsStorage" "$DICOM_SYNC_FHIR_URL" "$API"',
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.splitlines() == [STORAGE, "http://127.0.0.1:3/fhir", "http://127.0.0.1:2/api"]
    assert list(path.parent.iterdir()) == []


def test_two_worlds_in_one_folder_have_a_file_each(tmp_path):
    path = tmp_path / "world.env"
    with settings_file(addresses(), path):
        with settings_file(addresses(api="http://127.0.0.1:9/api"), path) as second:
            assert second == tmp_path / "world-2.env"
            assert "127.0.0.1:9" in second.read_text()
            assert "127.0.0.1:2" in path.read_text()
        assert not second.exists()
        assert "127.0.0.1:2" in path.read_text()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_world_has_left_is_taken_over(tmp_path):
    path = tmp_path / "world.env"
    path.write_text("export API=old and much longer than what a new world writes\n" * 100)
    with settings_file(addresses(), path) as taken:
        assert taken == path
        assert "old" not in path.read_text()


def test_the_settings_of_the_shell_reach_other_terminals_and_those_of_the_world_win(tmp_path, monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_TIMEZONE", "Europe/Berlin")
    monkeypatch.setenv("DICOM_SYNC_FHIR_URL", "http://elsewhere.example/fhir")
    with settings_file(addresses(), tmp_path / "world.env") as taken:
        lines = taken.read_text().splitlines()
    assert "export DICOM_SYNC_TIMEZONE=Europe/Berlin" in lines
    assert "export DICOM_SYNC_FHIR_URL=http://127.0.0.1:3/fhir" in lines


def test_the_processes_that_an_outage_is_tried_with_are_named(tmp_path):
    here = replace(addresses(), pids={"host": 11, "azurite": 12, "fhir": 13})
    with settings_file(here, tmp_path / "world.env") as taken:
        lines = taken.read_text().splitlines()
    assert {line for line in lines if "_PID" in line} == {"export FHIR_PID=13", "export HOST_PID=11"}


def test_only_its_owner_reads_the_file(tmp_path):
    with settings_file(addresses(), tmp_path / "world.env") as taken:
        assert taken.stat().st_mode & 0o077 == 0
