"""What is deployed to Azure Monitor is what the table of rules says."""

import json
import re

import pytest

from sync.monitoring.alerts import azure_monitor
from sync.monitoring.alerts.rules import RULES
from sync.telemetry.instruments import BY_NAME
from tests.infra.templates import INFRA, template


@pytest.mark.parametrize(
    ("file", "text"), [("alerts.bicep", azure_monitor.bicep()), ("workbook.json", azure_monitor.workbook())]
)
def test_the_committed_file_is_in_step(file, text):
    form = file.rpartition(".")[2].replace("json", "workbook")
    hint = f"run: python -m sync alerts export --format {form} > infra/{file}"
    assert (INFRA / file).read_text("utf-8") == text, hint


def test_every_rule_is_a_resource_that_parses():
    names = {each["config"]["name"] for each in template("alerts")["resources"].values()}
    assert names == {f"dicom-fhir-sync-{rule.code.partition('.')[2].replace('_', '-')}" for rule in RULES}


def test_every_query_names_an_instrument_and_attributes_that_it_has():
    text = (INFRA / "alerts.bicep").read_text() + (INFRA / "workbook.json").read_text().replace('\\"', '"')
    names = re.findall(r'name == "([^"]+)"', text)
    assert len(names) == len(RULES) + len(azure_monitor.CHARTS)
    assert set(names) <= set(BY_NAME)
    keys = {attribute.key for each in BY_NAME.values() for attribute in each.attributes}
    assert set(re.findall(r'customDimensions\["([^"]+)"\]', text)) <= keys


def test_the_workbook_is_json_with_a_chart_for_each_figure():
    items = json.loads(azure_monitor.workbook())["items"]
    assert len(items) == 1 + len(azure_monitor.CHARTS)
