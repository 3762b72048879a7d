"""What is deployed to Azure Monitor is what the table of rules says."""

import json
import re

import pytest

from sync.monitoring.alerts import azure_monitor
from sync.monitoring.alerts.rules import RULES
from sync.telemetry.instruments import BY_NAME
from tests.infra.reviewed import of_type
from tests.infra.templates import INFRA


@pytest.mark.parametrize(
    ("file", "text"), [("alerts.bicep", azure_monitor.bicep()), ("workbook.json", azure_monitor.workbook())]
)
def test_the_committed_file_is_in_step(file, text):
    form = file.rpartition(".")[2].replace("json", "workbook")
    hint = f"run: python -m sync alerts export --format {form} > infra/{file}"
    assert (INFRA / file).read_text("utf-8") == text, hint


def test_every_rule_of_the_table_is_deployed_and_one_that_azure_alone_can_see():
    names = {entry["name"].removeprefix("dicom-fhir-sync-imaging-") for entry in of_type(RULE)}
    assert names == {rule.code.partition(".")[2].replace("_", "-") for rule in (*RULES, azure_monitor.UNMEASURED)}
    for alert_rule in of_type(RULE):
        assert "imaging" in alert_rule["properties"]["displayName"]
        assert alert_rule["properties"]["skipQueryValidation"] is True
        assert alert_rule["properties"]["evaluationFrequency"] == (
            "PT1M" if alert_rule["properties"]["severity"] == 1 else "PT5M"
        )


def test_thresholds_can_be_chosen():
    def thresholds(choice):
        return {
            entry["name"]: entry["properties"]["criteria"]["allOf"][0]["threshold"] for entry in of_type(RULE, choice)
        }

    changed = dict(thresholds("alerts").items() - thresholds("base").items())
    assert changed == {"dicom-fhir-sync-imaging-lag": 600, "dicom-fhir-sync-imaging-dead-letters": 50}


RULE = "Microsoft.Insights/scheduledQueryRules"


def test_every_query_names_an_instrument_and_attributes_that_it_has():
    text = (INFRA / "alerts.bicep").read_text() + (INFRA / "workbook.json").read_text().replace('\\"', '"')
    names = re.findall(r'name == "([^"]+)"', text)
    assert len(names) == len(azure_monitor.AZURE_RULES) + len(azure_monitor.CHARTS)
    assert set(names) <= set(BY_NAME)
    keys = {attribute.key for instrument in BY_NAME.values() for attribute in instrument.attributes}
    assert set(re.findall(r'customDimensions\["([^"]+)"\]', text)) <= keys


def test_the_workbook_is_json_with_a_chart_for_each_figure():
    items = json.loads(azure_monitor.workbook())["items"]
    assert len(items) == 1 + len(azure_monitor.CHARTS)
