"""What the templates promise, and that they speak of the same names as the code."""

import json
import re
import tomllib

import pytest

from sync.adapters.azure import names as azure_names
from sync.config import CLOUDS, Settings
from sync.events import Sources, parse_message
from sync.model import queues
from tests.infra.reviewed import BASE, choices, digest, everywhere, of_type, resources
from tests.infra.templates import FILES, INFRA, ROLES, parameters

ROOT = INFRA.parent
SUBSCRIPTIONS = "Microsoft.EventGrid/systemTopics/eventSubscriptions"

BUILT_IN_ROLES = {
    "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "storageBlobDataContributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "storageBlobDataReader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "storageQueueDataMessageSender": "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
    "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "fhirDataWriter": "3f88fce4-5892-4214-ae73-ba5294559913",
    "dicomDataReader": "e89c7a3c-2f64-4fa1-a847-3e4c9ba4283a",
    "eventGridDataSender": "d5a91429-5739-47e2-a06b-3470a27159e7",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
}
"""Azure, "Built-in roles": written down a second time, so that a slip in the templates' own list is noticed."""

PLATFORM_SETTINGS = {
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "AZURE_CLIENT_ID",
    "AZURE_AUTHORITY_HOST",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
    "PYTHON_ENABLE_OPENTELEMETRY",
    "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID",
}
"""What the Functions host and worker, azure-identity, App Service and Application Insights read by themselves."""


def app_settings(choice=BASE):
    """Return the application settings of a choice."""
    (config,) = (
        resource
        for resource in of_type("Microsoft.Web/sites/config", choice)
        if resource["id"].endswith("/appsettings")
    )
    return config["properties"]


def test_tables_and_queues_are_those_of_the_code():
    for kind, wanted in (("tableServices/tables", azure_names.TABLES), ("queueServices/queues", queues.QUEUES)):
        made = [entry["name"].rpartition("/")[2] for entry in of_type(f"Microsoft.Storage/storageAccounts/{kind}")]
        assert sorted(made) == sorted(wanted)


def test_roles_are_the_built_in_ones_and_each_is_used():
    assert ROLES == BUILT_IN_ROLES
    used = set(re.findall(r"[rR]oles\.(?!json)(\w+)", "".join(file.read_text() for file in FILES)))
    assert used == set(ROLES)


def test_events_go_to_our_queue_for_ever_and_what_cannot_be_delivered_is_kept():
    containers = {
        entry["name"].rpartition("/")[2]
        for entry in of_type("Microsoft.Storage/storageAccounts/blobServices/containers")
    }
    assert Settings.model_fields["undelivered_events"].default in containers
    for subscription in everywhere(SUBSCRIPTIONS):
        said = subscription["properties"]
        assert said["eventDeliverySchema"] == "CloudEventSchemaV1_0"
        delivery = said["deliveryWithResourceIdentity"]["destination"]
        assert delivery["endpointType"] == "StorageQueue"
        assert delivery["properties"]["queueName"] == queues.OBJECTS_QUEUE
        assert delivery["properties"]["queueMessageTimeToLiveInSeconds"] == -1
        undelivered = said["deadLetterWithResourceIdentity"]["deadLetterDestination"]
        assert undelivered["properties"]["blobContainerName"] == Settings.model_fields["undelivered_events"].default


def test_the_event_types_are_those_that_the_code_understands():
    types = {
        kind
        for subscription in everywhere(SUBSCRIPTIONS)
        for kind in subscription["properties"]["filter"]["includedEventTypes"]
    }
    assert types
    assert [kind for kind in types if refused(kind) == "event.unsupported"] == []
    assert refused("Microsoft.Storage.Nonsense") == "event.unsupported"


def refused(kind):
    """Return the code by which the sync refuses an event of a type that says nothing else; empty: it does not."""
    sources = Sources(account="memory", containers=frozenset({"dicom"}))
    said = {"eventType": kind, "subject": "/blobServices/default/containers/dicom/blobs/a", "data": {}, "topic": ""}
    (refusal,) = parse_message(json.dumps([said]), sources) or [None]
    return getattr(refusal, "code", "")


def test_the_clouds_of_the_templates_are_those_of_the_settings():
    clouds = json.loads((INFRA / "clouds.json").read_text())
    assert {names["name"] for names in clouds.values()} == set(CLOUDS)
    for names in clouds.values():
        assert f"https://{names['eventGrid']}/.default" == CLOUDS[names["name"]].event_grid
        assert names["storage"] == CLOUDS[names["name"]].storage


def test_another_cloud_has_no_address_of_the_public_one():
    clouds = json.loads((INFRA / "clouds.json").read_text())
    for choice, cloud in (("government", "AzureUSGovernment"), ("private-china", "AzureChinaCloud")):
        text = json.dumps(resources(choice))
        assert [domain for key, domain in clouds["AzureCloud"].items() if key != "name" and domain in text] == []
        assert app_settings(choice)["DICOM_SYNC_STATE_ACCOUNT"].startswith("stsync")
        assert "AzureWebJobsStorage__accountName" not in app_settings(choice)
        assert app_settings(choice)["DICOM_SYNC_CLOUD"] == clouds[cloud]["name"]


def test_no_key_is_asked_for_anywhere():
    assert not re.search(r"listKeys|AccountKey|connectionString\b|@secure", "".join(file.read_text() for file in FILES))


@pytest.mark.parametrize("choice", choices())
def test_every_application_setting_is_one_that_the_app_reads(choice):
    given = {name for name in app_settings(choice) if not name.startswith("AzureWebJobs.")}
    assert given - {name for name in given if name.startswith("DICOM_SYNC_")} <= PLATFORM_SETTINGS
    assert {name for name in given if name.startswith("DICOM_SYNC_")} <= set(Settings.variables())
    assert "DICOM_SYNC_FHIR_URL" in given


def test_only_the_sync_itself_exports_from_the_worker():
    """The worker would instrument the libraries if it were let, and export URLs with names of blobs."""
    assert app_settings()["PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"] == "false"
    assert app_settings()["PYTHON_ENABLE_OPENTELEMETRY"] == "false"
    assert "telemetryMode" not in json.loads((ROOT / "host.json").read_text())


def test_the_workbook_of_the_table_is_deployed():
    (workbook,) = of_type("Microsoft.Insights/workbooks")
    (insights,) = of_type("Microsoft.Insights/components")
    made = json.loads((INFRA / "workbook.json").read_text()) | {"fallbackResourceIds": [insights["id"]]}
    assert workbook["properties"]["serializedData"] == digest(
        json.dumps(made, separators=(",", ":"), ensure_ascii=False)
    )


def test_the_runtime_is_the_python_that_the_project_is_made_for():
    (app,) = of_type("Microsoft.Web/sites")
    runtime = app["properties"]["functionAppConfig"]["runtime"]
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert runtime == {"name": "python", "version": "3.13"}
    assert any(f">= '{runtime['version']}'" in dependency for dependency in dependencies)


def test_azd_can_set_every_parameter():
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert set(given) == set(parameters()) - {"deployedAt"}
    variables = [re.fullmatch(r"\$\{([A-Z_]+)\}", said["value"])[1] for said in given.values()]
    assert len(set(variables)) == len(variables)
    outputs = set(re.findall(r"^output (\w+)", (INFRA / "main.bicep").read_text(), re.MULTILINE))
    assert outputs & set(variables) == {"AZURE_LOCATION"}


def test_what_has_no_default_is_asked_for():
    """azd asks for a parameter whose variable is not set only if it has no default."""
    assert {name for name, default in parameters().items() if not default} == {"environmentName", "location", "network"}


def test_azd_is_one_that_leaves_groups_of_others_alone():
    assert 'azd: ">= 1.25.0"' in (ROOT / "azure.yaml").read_text()


def test_the_workflow_runs_the_tests_with_a_compiler():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "make infra" in workflow
    assert "make ${{ github.event_name == 'pull_request' && 'test' || 'test-all' }}" in workflow
