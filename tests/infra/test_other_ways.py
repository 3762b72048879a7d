"""The container image and the Kubernetes manifest speak of the same files, queues and settings as the code."""

import json
import re

from typer.testing import CliRunner

from sync.adapters.azure import names as azure_names
from sync.cli import app
from sync.config import Settings
from tests.infra.templates import INFRA

ROOT = INFRA.parent
MANIFEST = (ROOT / "deploy" / "kubernetes" / "sync.yaml").read_text()


def test_the_manifest_scales_on_the_queues_that_functions_read():
    assert re.findall(r"queueName: (\S+)", MANIFEST) == [azure_names.OBJECTS_QUEUE, azure_names.STUDIES_QUEUE]


def test_the_manifest_sets_only_what_somebody_reads():
    given = set(re.findall(r"^  (DICOM_SYNC_\w+|AzureWebJobs\w+):", MANIFEST, re.MULTILINE))
    assert given - {"AzureWebJobsStorage__credential"} <= set(Settings.variables())
    assert "DICOM_SYNC_FHIR_URL" in given


def test_the_manifest_runs_only_commands_that_there_are():
    commands = [json.loads(each) for each in re.findall(r"command: (\[.*\])", MANIFEST)]
    assert [words[:3] for words in commands] == [["python", "-m", "sync"]] * len(commands)
    for words in commands:
        assert CliRunner().invoke(app, [*words[3:], "--help"]).exit_code == 0


def test_the_image_holds_all_that_the_functions_import_and_nothing_else():
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for line in copied for name in line.split()} == {
        "requirements.txt",
        "host.json",
        "function_app.py",
        "sync",
    }
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == {"requirements.txt", "host.json", "function_app.py", "sync"}


def test_what_is_published_to_azure_leaves_out_what_only_developers_need():
    left_out = set((ROOT / ".funcignore").read_text().split())
    assert {"tests", "local", "bench", "docs", "infra", "local.settings.json"} <= left_out
    assert not {"sync", "function_app.py", "host.json", "requirements.txt"} & left_out
