"""The file of settings is what a shell reads, and is there while its world is."""

import shutil
import subprocess

from local.settings_file import settings_file
from local.world import Addresses

STORAGE = "AccountName=a;AccountKey=$x'y\"z==;BlobEndpoint=http://127.0.0.1:1/a b"


def addresses(api="http://127.0.0.1:2/api"):
    env = {"AzureWebJobsStorage": STORAGE, "DICOM_SYNC_FHIR_URL": "http://127.0.0.1:3/fhir"}
    return Addresses(storage=STORAGE, container="dicom", fhir=env["DICOM_SYNC_FHIR_URL"], api=api, env=env, pids={})


def test_a_shell_that_reads_the_file_has_every_value_as_it_is(tmp_path):
    path = tmp_path / "folder" / "world.env"
    with settings_file(addresses(), path):
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


def test_a_world_leaves_alone_what_a_later_one_has_written(tmp_path):
    path = tmp_path / "world.env"
    later = settings_file(addresses(api="http://127.0.0.1:9/api"), path)
    with settings_file(addresses(), path):
        later.__enter__()
    assert "127.0.0.1:9" in path.read_text()
    later.__exit__(None, None, None)
    assert not path.exists()
