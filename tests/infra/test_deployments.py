"""What would be deployed, with every combination of choices: Azure would take it, and in that order."""

import json
import re

import pytest

from tests.infra import shapes
from tests.infra.bicep.evaluate import Module, Resource
from tests.infra.bicep.modules import waits_for
from tests.infra.bicep.reader import read
from tests.infra.deployments import NEEDED, bodies, deployments, resources
from tests.infra.templates import INFRA, ROLES

MAIN = INFRA / "main.bicep"

NAMES = {
    "Microsoft.Authorization/roleAssignments": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "Microsoft.EventGrid/systemTopics": r"[A-Za-z0-9-]{3,128}",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": r"[A-Za-z0-9-]{3,64}",
    "Microsoft.EventGrid/topics": r"[A-Za-z0-9-]{3,50}",
    "Microsoft.HealthcareApis/workspaces": r"[a-z0-9]{3,24}",
    "Microsoft.HealthcareApis/workspaces/dicomservices": r"[a-z0-9-]{3,24}",
    "Microsoft.HealthcareApis/workspaces/fhirservices": r"[a-z0-9-]{3,24}",
    "Microsoft.Insights/actionGroups": r"[^:<>+/&%\\?|]{1,260}",
    "Microsoft.Insights/components": r"[^%&\\?/]{1,260}",
    "Microsoft.Insights/diagnosticSettings": r"[^*<>%:&\\?+/]{1,260}",
    "Microsoft.Insights/metricAlerts": r"[^*#&+:<>?@%{}\\/|]{1,260}",
    "Microsoft.Insights/scheduledQueryRules": r"[^*<>%{}&:\\?/#|]{1,260}",
    "Microsoft.Insights/workbooks": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "Microsoft.ManagedIdentity/userAssignedIdentities": r"[A-Za-z0-9][\w-]{2,127}",
    "Microsoft.Network/privateDnsZones": r"[A-Za-z0-9.-]{1,63}",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": r"[A-Za-z0-9][\w.-]{0,79}",
    "Microsoft.Network/privateEndpoints": r"[A-Za-z0-9][\w.-]{0,62}\w",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": r"[\w.-]{1,80}",
    "Microsoft.Network/virtualNetworks": r"[A-Za-z0-9][\w.-]{0,62}\w",
    "Microsoft.OperationalInsights/workspaces": r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]",
    "Microsoft.Resources/resourceGroups": r"[\w.()-]{0,89}[\w()-]",
    "Microsoft.Storage/storageAccounts": r"[a-z0-9]{3,24}",
    "Microsoft.Storage/storageAccounts/blobServices": r"default",
    "Microsoft.Storage/storageAccounts/blobServices/containers": r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*",
    "Microsoft.Storage/storageAccounts/queueServices": r"default",
    "Microsoft.Storage/storageAccounts/queueServices/queues": r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*",
    "Microsoft.Storage/storageAccounts/tableServices": r"default",
    "Microsoft.Storage/storageAccounts/tableServices/tables": r"[A-Za-z][A-Za-z0-9]{2,62}",
    "Microsoft.Web/serverfarms": r"[A-Za-z0-9-]{1,60}",
    "Microsoft.Web/sites": r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,58}[A-Za-z0-9])",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": r"ftp|scm",
    "Microsoft.Web/sites/config": r"appsettings|authsettingsV2",
}
"""Azure Resource Manager, "Naming rules and restrictions for Azure resources"."""


@pytest.mark.parametrize("kind", bodies())
def test_azure_would_take_it(kind):
    faults = {fault for body in bodies()[kind] for fault in shapes.faults(kind, body)}
    assert faults == set()


def test_what_is_only_looked_up_is_of_a_type_that_there_is():
    looked_up = {
        f"{each.type}@{each.version}" for found in deployments() for each in found if isinstance(each, Resource)
    }
    assert {kind for kind in looked_up if "/config@" not in kind} <= set(shapes.shapes())


def test_every_name_is_one_that_azure_takes():
    wrong = {(each.type, each.name) for each in resources() if not re.fullmatch(NAMES[each.type], each.name)}
    assert wrong == set()


def test_nothing_is_made_twice_and_no_two_modules_share_a_name():
    for found in deployments():
        made = [each.id for each in found if isinstance(each, Resource) and each.made and not each.existing]
        assert len(made) == len(set(made))
        modules = [(each.place, each.name) for each in found if isinstance(each, Module) and each.made]
        assert len(modules) == len(set(modules))


def test_what_a_module_looks_up_or_points_at_is_made_before():
    waits = {**waits_for(read(MAIN)), "": set()}
    for found in deployments():
        here = [each for each in found if isinstance(each, Resource) and each.made]
        made = {each.id: each.within for each in here if not each.existing}
        for each in here:
            makers = {made[one] for one in named([each.id] if each.existing else each.body) if one in made}
            late = makers - waits[each.within] - {each.within, ""}
            assert not late, f"{each.within} does not wait for {late}: {each}"


def test_who_uses_a_role_or_an_address_waits_for_it():
    """What nothing names and only Azure would notice: a role that is missing yet, a name that resolves to nothing."""
    waits = waits_for(read(MAIN))
    assert "storageTopicAccess" in waits["fileEvents"]
    assert "workspaceTopicAccess" in waits["serviceEvents"]
    assert {"state", "stateEndpoints", "sourceEndpoints", "sourceAccess", "healthAccess"} <= waits["functions"]


def test_alerts_of_the_platform_look_at_metrics_that_there_are():
    """Azure Monitor, "Supported metrics", of system topics and storage accounts."""
    looked_at = {
        condition["metricName"]: each.body["properties"]["scopes"][0].split("/")[-2]
        for each in resources()
        if each.type == "Microsoft.Insights/metricAlerts"
        for condition in each.body["properties"]["criteria"]["allOf"]
    }
    assert looked_at == {"DeadLetteredCount": "systemTopics", "Availability": "storageAccounts"}


CATEGORIES = {
    "fhirservices": {"AllMetrics"},
    "topics": {"PublishFailures", "AllMetrics"},
    "blobServices": {"Transaction"},
    "queueServices": {"Transaction"},
    "tableServices": {"Transaction"},
}
"""Azure Monitor, "Supported metrics" and "Supported resource logs": what is kept of each, by kind."""


def test_what_is_kept_of_a_resource_is_something_that_it_has():
    kept = {}
    for each in resources():
        if each.type == "Microsoft.Insights/diagnosticSettings":
            said = each.body["properties"]
            kind = each.id.split("/providers/Microsoft.Insights/")[0].split("/")[-2]
            kept.setdefault(kind, set()).update(one["category"] for one in (*said.get("logs", []), *said["metrics"]))
    assert kept == CATEGORIES


def test_the_plan_is_flex_consumption():
    """Azure Functions, "Flex Consumption plan"; both words are free text to the interface."""
    plans = [each.body["sku"] for each in resources() if each.type == "Microsoft.Web/serverfarms"]
    assert plans
    assert all(sku == {"name": "FC1", "tier": "FlexConsumption"} for sku in plans)


def test_what_can_have_tags_is_somewhere():
    """The models of some services do not ask for the location that the service asks for."""
    nowhere = {each.type for each in resources() if "tags" in each.body and not each.body.get("location")}
    assert nowhere == set()


ROLES_ON = {
    "state account": "Microsoft.Storage/storageAccounts/sync",
    "account of the DICOM files": "Microsoft.Storage/storageAccounts/",
    "FHIR service": "/fhirservices/",
    "DICOM service, if used": "/dicomservices/",
    "the project's own topic": "Microsoft.EventGrid/topics/",
    "Application Insights": "Microsoft.Insights/components/",
}
"""What the page of the deployment calls the places of roles, and how their ids go."""


def test_the_page_lists_the_roles_of_the_function_app():
    page = (INFRA.parent / "docs" / "deploy.md").read_text()
    listed = {
        (role.lower(), place) for role, place in re.findall(r"^\| (\w.*?) \| (.*?) \| [^|]+ \|$", page, re.MULTILINE)
    }
    listed = {(role, place) for role, place in listed if place in ROLES_ON}
    names = {guid: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).lower() for key, guid in ROLES.items()}
    given = set()
    for each in resources():
        if (
            each.type == "Microsoft.Authorization/roleAssignments"
            and "id-dicom-fhir-sync" in each.body["properties"]["principalId"]
        ):
            place = next(name for name, part in ROLES_ON.items() if part in each.id)
            given.add((names[each.body["properties"]["roleDefinitionId"].rpartition("/")[2]], place))
    assert {(role.replace("eventgrid", "event grid"), place) for role, place in listed} == given


def named(value):
    """Give the ids that stand in a value, and those above them."""
    if isinstance(value, str) and value.startswith("/subscriptions/"):
        parts = value.split("/")
        yield from ("/".join(parts[:count]) for count in range(5, len(parts) + 1))
    elif isinstance(value, dict):
        yield from (one for each in (*value, *value.values()) for one in named(each))
    elif isinstance(value, list):
        yield from (one for each in value for one in named(each))


def test_resources_stand_in_the_group_and_the_subscription_that_they_belong_to():
    for each in resources():
        group = re.match(r"/subscriptions/(3{8})?[^/]+/resourceGroups/([^/]+)/", f"{each.id}/")
        assert group, each
        assert group[2] in (f"rg-{NEEDED['environmentName']}", "imaging"), each


def test_what_belongs_to_others_is_only_given_access_and_subscriptions():
    foreign = {each.type for each in resources() if "/resourceGroups/imaging/" in each.id}
    assert foreign == {
        "Microsoft.Authorization/roleAssignments",
        "Microsoft.EventGrid/systemTopics",
        "Microsoft.EventGrid/systemTopics/eventSubscriptions",
    }


def test_azd_sets_only_parameters_that_there_are_to_values_that_they_may_have():
    params = read(MAIN).of("param")
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert set(given) <= set(params)
    assert {name for name, param in params.items() if param.value is None} <= set(given)
    for name, said in given.items():
        variable = re.fullmatch(r"\$\{[A-Z_]+(?:=(.*))?\}", said["value"])
        assert variable, name
        assert variable[0][2:].partition("=")[0].rstrip("}") not in set(read(MAIN).of("output")) - {"AZURE_LOCATION"}, (
            name
        )
        default = params[name].value
        assert default is None or variable[1] == getattr(default, "plain", None), name
