"""What an installation may set: the schema takes what is sound and refuses what could not run, without Helm too."""

import re

import jsonschema
import pytest

from sync.config import CLOUDS, Settings
from sync.config.check import FEED_TIMERS, all_variables
from sync.model.queues import WORK_QUEUES
from tests.infra.chart import CHART, FULL, LEAST, SCHEMA, VALUES, merged

TEXT = "\n".join(path.read_text("utf-8") for path in sorted(CHART.rglob("*")) if path.suffix in {".yaml", ".tpl"})


def refused(given):
    validator = jsonschema.Draft7Validator(SCHEMA)
    return ["/".join(str(step) for step in error.absolute_path) for error in validator.iter_errors(merged(given))]


def test_the_schema_is_a_schema_and_takes_what_is_sound():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert refused(LEAST) == []
    assert refused(FULL) == []


def test_what_has_no_sound_default_has_to_be_set():
    assert {path.split("/")[0] for path in refused({})} == set(LEAST)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"hostId": "a" * 33}, "hostId"),
        ({"hostId": "Upper"}, "hostId"),
        ({"hostId": "a--b"}, "hostId"),
        ({"functions": {"minReplicas": 0}}, "functions/minReplicas"),
        ({"functions": {"resources": {"limits": None}}}, "functions/resources/limits"),
        ({"drain": {"seconds": 5}}, "drain/seconds"),
        ({"cloud": "moon"}, "cloud"),
        ({"settings": {"DICOM_SYNC_MAX_WAIT": 60}}, "settings/DICOM_SYNC_MAX_WAIT"),
        ({"settings": {"DICOM_SYNC_CLOUD": "china"}}, "settings"),
        ({"settings": {"POD_NAMESPACE": "imaging"}}, "settings"),
        ({"settings": {"AzureWebJobsStorage": "x"}}, "settings"),
        ({"image": {"tag": ""}}, "image"),
        ({"image": {"digest": "sha256:1"}}, "image/digest"),
        ({"replicas": 3}, ""),
    ],
)
def test_what_could_not_run_is_refused_by_its_place(given, place):
    assert place in refused(merged(given, LEAST))


def test_every_value_of_the_chart_is_in_the_schema():
    def undescribed(values, schema, path=""):
        for name, value in values.items():
            described = schema.get("properties", {})
            if name not in described:
                yield f"{path}/{name}"
            elif isinstance(value, dict) and "properties" in described[name]:
                yield from undescribed(value, described[name], f"{path}/{name}")

    assert list(undescribed(VALUES, SCHEMA)) == []


def test_the_chart_names_only_settings_that_there_are():
    named = set(re.findall(r"\b(?:DICOM_SYNC_\w+|AzureWebJobsStorage__\w+)", TEXT)) - {"AzureWebJobsStorage__"}
    known = set(all_variables()) | set(Settings.variables())
    assert named - {"AzureWebJobsStorage__credential"} <= known
    assert {"DICOM_SYNC_STATE_ACCOUNT", "AzureWebJobsStorage__accountName"} <= named


def test_the_switches_are_those_of_the_feeds():
    (shown,) = re.findall(r"(AzureWebJobs_\w+_Disabled): \{\{ (.*) \}\}", TEXT)
    assert {shown[0]} == {switch.replace(".", "_") for switch in FEED_TIMERS.values()}
    assert re.findall(r"\.Values\.settings\.(\w+)", shown[1]) == list(FEED_TIMERS)


def test_the_queues_and_clouds_are_those_of_the_code():
    assert set(VALUES["functions"]["messagesPerReplica"]) == {*WORK_QUEUES}
    assert SCHEMA["properties"]["cloud"]["enum"] == list(CLOUDS)
    for name, cloud in CLOUDS.items():
        assert f'"{name}" "{cloud.storage}"' in TEXT


def test_a_pod_has_time_for_the_longest_delivery():
    assert VALUES["drain"]["seconds"] >= Settings.model_fields["delivery_budget_seconds"].default
