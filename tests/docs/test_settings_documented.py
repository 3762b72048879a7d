"""The page of the settings says what the code says, and so do the README and the example file."""

import json
import re
from pathlib import Path

import pytest

from local.host.settings import read_host_settings
from sync.config import AlertSettings, DicomAccess, FhirAccess, HeaderLimits, Settings
from tests.docs.settings_page import PAGE, page

ROOT = Path(__file__).parents[2]
SECTIONS = (Settings, HeaderLimits, AlertSettings, FhirAccess, DicomAccess)
NAMES = {name for section in SECTIONS for name in section.variables()} - {
    "DICOM_SYNC_HEADER",
    "DICOM_SYNC_ALERT",
    "DICOM_SYNC_FHIR_ACCESS",
    "DICOM_SYNC_DICOM_ACCESS",
}
EXAMPLE = ROOT / "local.settings.json.example"


def test_the_page_is_up_to_date():
    assert PAGE.read_text("utf-8") == page(), "run: .venv/bin/python -m tests.docs.settings_page"


def test_every_setting_is_on_the_page_once():
    shown = re.findall(r"^\| `(\w+)` \|", page(), re.MULTILINE)
    assert sorted(shown) == sorted(NAMES)


def test_every_setting_says_what_it_means():
    infos = {name: info for section in SECTIONS for name, info in section.variables().items()}
    assert [name for name, info in infos.items() if not info.description] == []


def test_the_readme_names_no_setting_that_does_not_exist():
    named = set(re.findall(r"\b(?:DICOM_SYNC|AzureWebJobsStorage)\w*", (ROOT / "README.md").read_text("utf-8")))
    assert named <= NAMES


def test_the_example_for_functions_tools_holds_sound_settings(monkeypatch: pytest.MonkeyPatch):
    document = json.loads(EXAMPLE.read_text("utf-8"))
    assert document["IsEncrypted"] is False
    for name, value in document["Values"].items():
        monkeypatch.setenv(name, value)
    assert set(document["Values"]) - {"FUNCTIONS_WORKER_RUNTIME"} <= NAMES
    assert Settings.load().fhir_url == document["Values"]["DICOM_SYNC_FHIR_URL"]


def test_every_queue_setting_of_host_json_is_the_one_that_was_decided():
    decision = (ROOT / "docs" / "adr" / "0011-queue-settings.md").read_text("utf-8")
    decided = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", decision, re.MULTILINE)
    queues = json.loads((ROOT / "host.json").read_text())["extensions"]["queues"]
    assert {name: str(value) for name, value in queues.items()} == dict(decided)
    purpose = ("batchSize", "newBatchThreshold", "maxDequeueCount", "visibilityTimeout", "messageEncoding")
    assert set(purpose) <= queues.keys()


def test_the_local_host_obeys_the_same_queue_settings():
    settings = read_host_settings(ROOT).queues
    queues = json.loads((ROOT / "host.json").read_text())["extensions"]["queues"]
    assert (settings.batch_size, settings.new_batch_threshold) == (queues["batchSize"], queues["newBatchThreshold"])
    assert settings.max_dequeue_count == queues["maxDequeueCount"]
    assert settings.visibility_timeout == 30
    assert not settings.base64
