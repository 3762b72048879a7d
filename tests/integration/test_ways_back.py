"""The commands `backfill` and `replay` as an operator types them: real storage, a real FHIR server, processes."""

import json
import os
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from azure.storage.blob import BlobServiceClient
from typer.testing import CliRunner

from local.azurite import azurite as private_azurite
from sync.cli import app
from sync.mapping.resource import study_id
from sync.model import StudyRef
from tests.change_feed import HandmadeFeed, record
from tests.e2e.files import made
from tests.e2e.warm_python import python_of_this_run

ROOT = Path(__file__).parents[2]
STUDIES, EACH = 6, 5
FRESH = {"Cache-Control": "no-cache", "Accept": "application/fhir+json"}


class Place:
    """A storage account without any function app, and what is in it."""

    def __init__(self, connection, fhir):
        self.fhir = httpx.Client(base_url=f"{fhir}/", headers=FRESH, timeout=60)
        self.feed = HandmadeFeed(connection)
        self.container = BlobServiceClient.from_connection_string(connection).get_container_client("dicom")
        self.container.create_container()
        self.uids = [f"2.25.{uuid.uuid4().int}" for _ in range(STUDIES)]
        self.environment = {
            "AzureWebJobsStorage": connection,
            "DICOM_SYNC_FHIR_URL": fhir,
            "DICOM_SYNC_QUIET_PERIOD": "0",
            "DICOM_SYNC_MAX_WAIT": "0",
        }
        self.names = {}
        for number, study in enumerate(self.uids):
            for instance in range(EACH):
                content = made(
                    study, f"{study[:50]}.1", f"{study[:50]}.1.{instance}", patient=f"W{study[-12:]}-{number % 4}"
                )
                self.names[f"{number}/{instance} ä.dcm"] = content

    def upload(self):
        for name, content in self.names.items():
            self.container.upload_blob(name, content, overwrite=True)

    def run(self, *arguments, status=0):
        command = [python_of_this_run(), "-m", "sync", *arguments]
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=150, env=environment, cwd=ROOT, check=False
        )
        assert done.returncode == status, done.stderr + done.stdout
        return done

    def results(self, *arguments, status=0):
        return {
            line["what"]: line
            for line in map(json.loads, self.run(*arguments, "--json", status=status).stdout.splitlines())
        }

    def resources(self):
        """Everything of ours in FHIR: reference -> the resource."""
        before = {}
        for study in self.uids:
            answer = self.fhir.get(f"ImagingStudy/{study_id(StudyRef(study_instance_uid=study))}")
            if answer.status_code == 200:
                resource = answer.json()
                before[f"ImagingStudy/{resource['id']}"] = resource
                patient = resource["subject"]["reference"]
                before[patient] = self.fhir.get(patient).json()
        return before

    def write_feed(self):
        self.feed.begin()
        now = datetime.now(UTC).replace(microsecond=0)
        hour = (now - timedelta(hours=1)).replace(minute=0, second=0)
        records = [record(name, hour + timedelta(minutes=7)) for name in self.names]
        self.feed.put(hour, {"00": records[::2], "01": records[1::2], "02": []}, chunks=4)
        self.feed.consumable(now)
        return (hour - timedelta(hours=1)).isoformat()

    def empty_fhir(self, references):
        for reference in sorted(references, key=lambda ref: not ref.startswith("ImagingStudy")):
            assert self.fhir.delete(reference).status_code < 300


@pytest.fixture(scope="module")
def place(fhir_embedded):
    with private_azurite() as server:  # ours alone: what is outstanding there is ours
        yield Place(server.connection_string, fhir_embedded)


def bodies(resources):
    plain = {ref: {k: v for k, v in resource.items() if k != "meta"} for ref, resource in resources.items()}
    return {ref: json.dumps(resource, sort_keys=True) for ref, resource in plain.items()}


def test_fhir_is_filled_emptied_and_filled_again_without_any_function_app(place):
    place.upload()
    place.container.upload_blob("0/notes.txt", b"not DICOM")

    expected = place.results("backfill", "--dry-run")["container dicom"]["counts"]
    assert expected == {"new": STUDIES * EACH + 1}
    filled = place.results("backfill", "--project", status=1)  # the notes have a dead letter now
    assert filled["container dicom"]["counts"] == {"synced": STUDIES * EACH, "rejected": 1}
    assert filled["studies"]["counts"]["written"] >= STUDIES  # more if one grew while it was projected
    before = place.resources()
    assert len([ref for ref in before if ref.startswith("ImagingStudy")]) == STUDIES
    assert place.results("backfill")["container dicom"]["counts"] == {"unchanged": STUDIES * EACH + 1}

    begin = place.write_feed()
    right = place.results("replay", "--from", begin, "--project")
    assert set(right["studies"]["counts"]) == {"unchanged"}
    assert place.resources() == before, "what is right is not written, so that versions and times are the same"

    place.empty_fhir(before)
    assert place.resources() == {}
    told = place.results("replay", "--from", begin, "--dry-run")["summary"]
    assert told["studies"] == {"create": STUDIES}
    assert told["resources"]["ImagingStudy"] == {"create": STUDIES}
    assert place.resources() == {}
    again = place.results("replay", "--from", begin, "--project")
    assert again["studies"]["counts"]["written"] >= STUDIES
    assert bodies(place.resources()) == bodies(before), "byte by byte"

    gone = place.uids[0]
    place.container.delete_blob("0/0 ä.dcm")
    one = place.results("replay", "--study", gone, "--project")
    assert one["studies"]["counts"]["written"] >= 1
    (study,) = [r for r in place.resources().values() if gone in json.dumps(r.get("identifier"))]
    assert study["numberOfInstances"] == EACH - 1

    place.feed.end()
    listed = place.run("replay", "--from", begin, "--project")
    assert "keeps no change feed" in listed.stderr
    assert "unchanged" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("replay",), "--from"),
        (("replay", "--from", "2999-01-01"), "in the future"),
        (("replay", "--from", "2026-01-02", "--to", "2026-01-01"), "not before"),
        (("replay", "--from", "2026-01-01T00:00"), "no zone"),
        (("replay", "--from", "2026-01-01", "--source", "pacs"), "expected one of"),
        (("replay", "--from", "2026-01-01", "--source", "orthanc"), "DICOM_SYNC_ORTHANC_URL"),
        (("replay", "--from", "2026-01-01", "--dry-run", "--project"), "--project"),
        (("backfill", "--container", "private"), "DICOM_SYNC_CONTAINERS"),
        (("backfill", "--since", "yesterday"), "--since"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_begins(place, arguments, complaint):
    refused = CliRunner().invoke(app, list(arguments), env=place.environment)
    assert (refused.exit_code, complaint in refused.stderr, refused.stdout) == (2, True, "")
