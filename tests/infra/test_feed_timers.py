"""The timer of a feed wakes the app where there is such a feed, and nowhere else."""

import json
from pathlib import Path

import pytest

from sync.config.check import FEED_TIMERS
from tests.infra.bicep.evaluate import Resource, deploy
from tests.infra.deployments import NEEDED, deployments
from tests.infra.templates import INFRA

BINDINGS = Path(__file__).parents[1] / "data" / "bindings.json"
DICOM, ORTHANC = FEED_TIMERS.values()


def app_settings(deployed):
    (found,) = (each.body for each in deployed if isinstance(each, Resource) and each.name == "appsettings")
    return found["properties"]


def test_the_switches_are_of_functions_that_there_are():
    timers = {name for name, bound in json.loads(BINDINGS.read_text()).items() if bound[0]["type"] == "timerTrigger"}
    assert {switch.split(".")[1] for switch in FEED_TIMERS.values()} <= timers


def test_every_deployment_reads_the_dicom_service_that_it_knows_and_no_other():
    found = [app_settings(each) for each in deployments()]
    assert {(bool(each["DICOM_SYNC_DICOM_URL"]), each[DICOM]) for each in found} == {(True, "false"), (False, "true")}
    assert {each[ORTHANC] for each in found} == {"true"}


@pytest.mark.parametrize(("variable", "switch"), FEED_TIMERS.items())
def test_a_feed_of_the_further_settings_is_read(variable, switch):
    further = {"fhirKind": "other", "fhirUrl": "https://fhir.hospital.example/r4", "settings": {variable: "https://x"}}
    given = app_settings(deploy(INFRA / "main.bicep", {**NEEDED, **further}))
    assert given[variable] == "https://x"
    assert {name: given[name] for name in FEED_TIMERS.values()} == {
        name: "false" if name == switch else "true" for name in FEED_TIMERS.values()
    }
