"""What the templates promise, and that they speak of the same names as the code."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from sync.adapters.azure import names as azure_names
from sync.config import Settings
from sync.events import Sources, parse_message
from tests.infra.templates import FILES, INFRA, ROLES, body, of_type, resources, template, variable

ROOT = INFRA.parent

BUILT_IN_ROLES = {
    "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "storageBlobDataContributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "storageBlobDataReader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "storageQueueDataMessageSender": "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
    "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "fhirDataContributor": "5a1fc7df-4bf1-4951-a576-89034ee01acd",
    "dicomDataReader": "e89c7a3c-2f64-4fa1-a847-3e4c9ba4283a",
    "eventGridDataSender": "d5a91429-5739-47e2-a06b-3470a27159e7",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
}
"""Azure, "Built-in roles": written down a second time, so that a slip in the templates' own list is noticed."""

PLATFORM_SETTINGS = {
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "AZURE_CLIENT_ID",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
    "PYTHON_ENABLE_OPENTELEMETRY",
}
"""What the Functions host and worker, azure-identity and Application Insights read by themselves."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_template_parses_and_pins_dated_api_versions(file):
    parsed = template(str(file.relative_to(INFRA).with_suffix("")))
    versions = {resource["api_version"] for resource in parsed.get("resources", {}).values()}
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d(-preview)?", version) for version in versions if version), versions


def test_every_module_exists_and_gets_the_parameters_it_asks_for():
    for name, module in template("main")["modules"].items():
        wanted = template(module["detail"]["path"].removesuffix(".bicep"))["parameters"]
        given = set(body(module)["params"])
        required = {each for each, parameter in wanted.items() if parameter["default"] is None}
        assert required <= given <= set(wanted), name


def test_tables_and_queues_are_those_of_the_code():
    assert sorted(variable("app/state", "tables")) == sorted(azure_names.TABLES)
    assert sorted(variable("app/state", "queues")) == sorted(azure_names.QUEUES)


def test_roles_are_the_built_in_ones_and_each_is_used():
    assert ROLES == BUILT_IN_ROLES
    used = set(re.findall(r"\broles\.(?!json)(\w+)", "".join(file.read_text() for file in FILES)))
    assert used == set(ROLES)


def test_role_assignments_name_a_principal_and_are_named_after_what_they_give():
    assignments = of_type("Microsoft.Authorization/roleAssignments")
    assert assignments
    for assignment in assignments:
        assert {"roleDefinitionId", "principalId", "principalType"} <= set(assignment["properties"])
        assert assignment["name"]["function"]["type"] == "guid"


def test_events_go_to_our_queue_for_ever_and_what_cannot_be_delivered_is_kept():
    files = ("app/file-events", "app/service-events")
    assert variable("app/state", "deadLetterContainer") == Settings.model_fields["undelivered_events"].default
    for file in files:
        assert variable(file, "objectsQueue") == azure_names.OBJECTS_QUEUE
        assert variable(file, "deadLetterContainer") == variable("app/state", "deadLetterContainer")
    subscriptions = of_type("Microsoft.EventGrid/systemTopics/eventSubscriptions")
    assert len(subscriptions) == len(files)
    for subscription in subscriptions:
        said = subscription["properties"]
        assert said["eventDeliverySchema"] == "CloudEventSchemaV1_0"
        delivery = said["deliveryWithResourceIdentity"]["destination"]
        assert delivery["endpointType"] == "StorageQueue"
        assert delivery["properties"]["queueName"] == "objectsQueue"
        forever = {"operator": {"type": "minus", "operands": {"integer_value": 1}}}
        assert delivery["properties"]["queueMessageTimeToLiveInSeconds"] == forever
        undelivered = said["deadLetterWithResourceIdentity"]["deadLetterDestination"]
        assert undelivered["properties"]["blobContainerName"] == "deadLetterContainer"


def test_the_event_types_are_those_that_the_code_understands():
    types = [
        kind
        for subscription in of_type("Microsoft.EventGrid/systemTopics/eventSubscriptions")
        for kind in subscription["properties"]["filter"]["includedEventTypes"]
    ]
    sources = Sources(account="memory", containers=frozenset({"dicom"}))
    assert types
    for kind in types:
        said = {"eventType": kind, "subject": "/blobServices/default/containers/dicom/blobs/a", "data": {}, "topic": ""}
        (refusal,) = parse_message(json.dumps([said]), sources) or [None]
        assert getattr(refusal, "code", "") != "event.unsupported", kind
    unknown = json.dumps([{"eventType": "Microsoft.Storage.Nonsense", "subject": "", "data": {}}])
    assert [each.code for each in parse_message(unknown, sources)] == ["event.unsupported"]


def test_no_shared_key_and_no_local_authentication_anywhere():
    for account in of_type("Microsoft.Storage/storageAccounts"):
        assert account["properties"]["allowSharedKeyAccess"] is False
        assert account["properties"]["allowBlobPublicAccess"] is False
        assert account["properties"]["minimumTlsVersion"] == "TLS1_2"
    assert all(each["properties"]["DisableLocalAuth"] is True for each in of_type("Microsoft.Insights/components"))
    assert all(each["properties"]["disableLocalAuth"] is True for each in of_type("Microsoft.EventGrid/topics"))
    text = "".join(file.read_text() for file in FILES)
    assert not re.search(r"listKeys|AccountKey|connectionString\b|@secure", text)


def test_storage_logs_hold_no_names_of_blobs_or_patients():
    for settings in of_type("Microsoft.Insights/diagnosticSettings"):
        kept = {each["category"] for each in settings["properties"].get("logs", [])}
        assert not kept & {"StorageRead", "StorageWrite", "StorageDelete", "AuditLogs"}, settings


def test_every_application_setting_is_one_that_somebody_reads():
    union = template("app/functions")["resources"]["appSettings"]["config"]["properties"]["function"]["parameters"]
    platform = set(union["arg_1"])
    assert platform == PLATFORM_SETTINGS
    main = (INFRA / "main.bicep").read_text()
    given = set(re.findall(r"^\s+(DICOM_SYNC_\w+):", main, re.MULTILINE))
    assert "DICOM_SYNC_FHIR_URL" in given
    assert given <= set(Settings.variables())


def test_only_the_sync_itself_exports_from_the_worker():
    """The worker would instrument the libraries if it were let, and export URLs with names of blobs."""
    given = template("app/functions")["resources"]["appSettings"]["config"]["properties"]["function"]["parameters"]
    assert given["arg_1"]["PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"] == "false"
    assert given["arg_1"]["PYTHON_ENABLE_OPENTELEMETRY"] == "false"
    assert "telemetryMode" not in json.loads((ROOT / "host.json").read_text())


def test_the_rules_and_the_workbook_of_the_table_are_deployed():
    assert template("main")["modules"]["alerts"]["detail"]["path"] == "alerts.bicep"
    (workbook,) = of_type("Microsoft.Insights/workbooks")
    assert workbook["properties"]["serializedData"]["function"]["parameters"]["file_path"] == "../workbook.json"


def test_the_runtime_is_the_python_that_the_project_is_made_for():
    runtime = template("app/functions")["resources"]["app"]["config"]["properties"]["functionAppConfig"]["runtime"]
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert runtime == {"name": "python", "version": "3.13"}
    assert any(f">= '{runtime['version']}'" in each for each in dependencies)


def test_nothing_is_made_that_nobody_declared_tags_for():
    untagged = {"Authorization", "Insights/diagnosticSettings", "systemTopics/eventSubscriptions", "sites/config"}
    for file, symbol, resource in resources():
        kind = resource["type"]
        nested = kind.count("/") > 1 and "services@" not in kind
        if nested or any(part in kind for part in untagged):
            continue
        assert "tags" in body(resource), (file, symbol)


def test_the_workflow_compiles_what_is_only_parsed_here():
    workflow = (Path(ROOT) / ".github" / "workflows" / "ci.yml").read_text()
    assert "az bicep build --file infra/main.bicep" in workflow
    assert "make test" in workflow
