"""What each choice would deploy: names, roles, places and what is said of each resource, read from the snapshots."""

import json
import re
from collections import Counter

import pytest

from tests.infra.reviewed import BASE, choices, everywhere, flat, of_type, resources
from tests.infra.templates import INFRA, ROLES, parameters

OURS = "/resourceGroups/rg-imaging/"

NAMES = {
    "Microsoft.Authorization/locks": r"[\w.-]{1,90}",
    "Microsoft.Authorization/roleAssignments": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "Microsoft.Authorization/roleDefinitions": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "Microsoft.Consumption/budgets": r"[\w-]{1,63}",
    "Microsoft.EventGrid/systemTopics": r"[A-Za-z0-9-]{3,128}",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": r"[A-Za-z0-9-]{3,64}",
    "Microsoft.EventGrid/topics": r"[A-Za-z0-9-]{3,50}",
    "Microsoft.HealthcareApis/workspaces": r"[a-z0-9]{3,24}",
    "Microsoft.HealthcareApis/workspaces/dicomservices": r"[a-z0-9-]{3,24}",
    "Microsoft.HealthcareApis/workspaces/fhirservices": r"[a-z0-9-]{3,24}",
    "Microsoft.Insights/actionGroups": r"[^:<>+/&%\\?|]{1,260}",
    "Microsoft.Insights/activityLogAlerts": r"[^*#&+:<>?@%{}\\/|]{1,260}",
    "Microsoft.Insights/components": r"[^%&\\?/]{1,260}",
    "Microsoft.Insights/diagnosticSettings": r"[^*<>%:&\\?+/]{1,260}",
    "Microsoft.Insights/metricAlerts": r"[^*#&+:<>?@%{}\\/|]{1,260}",
    "Microsoft.Insights/scheduledQueryRules": r"[^*<>%{}&:\\?/#|]{1,260}",
    "Microsoft.Insights/workbooks": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "Microsoft.ManagedIdentity/userAssignedIdentities": r"[A-Za-z0-9][\w-]{2,127}",
    "Microsoft.Network/networkSecurityGroups": r"[A-Za-z0-9][\w.-]{0,78}\w",
    "Microsoft.Network/privateDnsZones": r"[A-Za-z0-9.-]{1,63}",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": r"[A-Za-z0-9][\w.-]{0,79}",
    "Microsoft.Network/privateEndpoints": r"[A-Za-z0-9][\w.-]{0,62}\w",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": r"[\w.-]{1,80}",
    "Microsoft.Network/virtualNetworks": r"[A-Za-z0-9][\w.-]{0,62}\w",
    "Microsoft.Network/virtualNetworks/subnets": r"[A-Za-z0-9][\w.-]{0,78}\w",
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


@pytest.mark.parametrize("choice", choices())
def test_every_name_is_one_that_azure_takes(choice):
    for resource in resources(choice):
        assert is_takeable(resource), resource["id"]


def is_takeable(resource):
    """Whether Azure takes a resource's name; one that Azure alone can know is an expression, and right by its kind."""
    name = resource["name"]
    unknown = name.startswith(("[", "sha256:"))
    return unknown or re.fullmatch(NAMES[resource["type"]], name.rpartition("/")[2]) is not None


@pytest.mark.parametrize("choice", choices())
def test_nothing_is_made_twice(choice):
    ids = Counter(key.lower() for key in flat(choice))
    assert [key for key, count in ids.items() if count > 1] == []


def test_there_are_enough_choices_and_each_says_something():
    assert len(choices()) >= 30
    assert len({json.dumps(flat(name), sort_keys=True) for name in choices()}) == len(choices())


def test_every_parameter_is_chosen_somewhere():
    text = "".join(file.read_text() for file in (INFRA.parent / "tests" / "infra" / "choices").glob("*.bicepparam"))
    given = set(re.findall(r"^param (\w+)", text, re.MULTILINE))
    unchosen = set(parameters()) - given
    assert unchosen == {"fhirServiceName", "healthDomain"}, "write a choice for a new parameter"


UNTAGGED = (
    "Microsoft.Authorization/",
    "Microsoft.Consumption/",
    "Microsoft.Insights/diagnosticSettings",
    "/eventSubscriptions",
    "/privateDnsZoneGroups",
    "/virtualNetworks/subnets",
    "/basicPublishingCredentialsPolicies",
    "/sites/config",
    "/blobServices",
    "/queueServices",
    "/tableServices",
)


@pytest.mark.parametrize("choice", choices())
def test_what_can_have_tags_has_them_and_is_somewhere(choice):
    for resource in resources(choice):
        if not any(part in resource["type"] for part in UNTAGGED):
            assert resource["tags"]["azd-env-name"] == "imaging", resource["id"]
            assert resource["location"], resource["id"]


def test_what_belongs_to_others_is_only_given_access_and_events():
    foreign = {
        resource["type"]
        for name in choices()
        for resource in resources(name)
        if "/resourceGroups/imaging/" in resource["id"]
    }
    assert foreign == {
        "Microsoft.Authorization/roleDefinitions",
        "Microsoft.EventGrid/systemTopics",
        "Microsoft.EventGrid/systemTopics/eventSubscriptions",
        "Microsoft.Insights/metricAlerts",
        "Microsoft.Authorization/roleAssignments",
    }


# --- Roles ---------------------------------------------------------------------------------------------------------

ROLES_ON = {
    "each container of DICOM files, and `$blobchangefeed`": "/containers/",
    "state account": "Microsoft.Storage/storageAccounts/",
    "FHIR service": "/fhirservices/",
    "DICOM service, if used": "/dicomservices/",
    "the project's own topic": "Microsoft.EventGrid/topics/",
    "Application Insights": "Microsoft.Insights/components/",
}
"""What the page of the deployment calls the places of roles, and how their ids go."""


def of_the_app(choice):
    """Give scope and role of the function app's own role assignments."""
    for resource in of_type("Microsoft.Authorization/roleAssignments", choice):
        said = resource["properties"]
        if "id-dicom-fhir-sync" in said["principalId"]:
            scope = re.match(r"\[extensionResourceId\('([^']+)'", resource["id"])
            assert scope, resource["id"]
            yield scope[1], said["roleDefinitionId"].rpartition("/")[2].rstrip("')]")


def test_the_page_lists_the_roles_of_the_function_app():
    page = (INFRA.parent / "docs" / "deploy.md").read_text()
    listed = {
        (role.lower(), place)
        for role, place in re.findall(r"^\| (\w[^|]*?) \| (.*?) \| [^|]+ \|$", page, re.MULTILINE)
        if place in ROLES_ON
    }
    names = {guid: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).lower() for key, guid in ROLES.items()}
    given = {
        (names.get(role, "dicom-fhir sync"), next(place for place, part in ROLES_ON.items() if part in scope))
        for choice in choices()
        for scope, role in of_the_app(choice)
        if choice != "fhir-built-in-role"
    }
    assert {(role.replace("eventgrid", "event grid"), place) for role, place in listed} == given


def test_the_app_reads_only_the_containers_that_are_listed():
    for choice, wanted in {
        "base": {"dicom", "$blobchangefeed"},
        "source-no-change-feed": {"dicom"},
        "source-existing-two-containers": {"dicom", "archive", "$blobchangefeed"},
    }.items():
        scopes = [scope for scope, role in of_the_app(choice) if role == ROLES["storageBlobDataReader"]]
        assert all("/blobServices/default/containers/" in scope for scope in scopes)
        assert {scope.rpartition("/")[2] for scope in scopes} == wanted, choice


def test_the_apps_own_role_reads_writes_and_deletes_fhir_and_nothing_else():
    (role,) = of_type("Microsoft.Authorization/roleDefinitions")
    (permission,) = role["properties"]["permissions"]
    root = "Microsoft.HealthcareApis/workspaces/fhirservices/resources/"
    assert permission["dataActions"] == [f"{root}{action}" for action in ("read", "write", "delete")]
    assert permission["actions"] == []
    assert of_type("Microsoft.Authorization/roleDefinitions", "fhir-built-in-role") == []


def test_the_apps_own_role_has_another_name_in_another_group():
    """A tenant has one custom role of a name, and the role in the group of a former workspace stays."""
    names = {
        choice: {role["properties"]["roleName"] for role in of_type("Microsoft.Authorization/roleDefinitions", choice)}
        for choice in ("base", "fhir-existing", "fhir-existing-with-dicom")
    }
    assert len(names["base"] | names["fhir-existing"]) == 2
    assert names["fhir-existing"] == names["fhir-existing-with-dicom"]


def test_topics_may_send_to_the_queue_of_objects_alone():
    for choice in choices():
        for resource in of_type("Microsoft.Authorization/roleAssignments", choice):
            role = resource["properties"]["roleDefinitionId"].rpartition("/")[2]
            if role == ROLES["storageQueueDataMessageSender"]:
                assert "/queueServices/default/queues/objects'" in resource["id"]


def test_no_role_is_assigned_where_others_do_it():
    kinds = {resource["type"] for resource in resources("no-roles")}
    assert not kinds & {"Microsoft.Authorization/roleAssignments", "Microsoft.Authorization/roleDefinitions"}


def test_an_operator_gets_roles_only_where_one_is_named():
    asked = "44444444-4444-4444-4444-444444444444"
    counts = {name: json.dumps(resources(name)).count(f'"principalId": "{asked}"') for name in choices()}
    assert {name for name, count in counts.items() if count} == {"operator"}
    assert "AZURE_PRINCIPAL_ID" not in (INFRA / "main.parameters.json").read_text()


# --- Events --------------------------------------------------------------------------------------------------------


def test_a_lake_tells_of_renames_whatever_files_are_called():
    lake = {"Microsoft.Storage.BlobRenamed", "Microsoft.Storage.DirectoryRenamed", "Microsoft.Storage.DirectoryDeleted"}
    for choice in choices():
        types_of = {}
        for subscription in of_type("Microsoft.EventGrid/systemTopics/eventSubscriptions", choice):
            said = subscription["properties"]["filter"]
            if "subjectBeginsWith" in said and said["subjectEndsWith"] == "":
                types_of.setdefault(said["subjectBeginsWith"], set()).update(said["includedEventTypes"])
        assert types_of, choice
        assert all(lake <= types for types in types_of.values()), choice


def test_every_account_tells_of_blobs_that_leave_the_archive():
    for choice in choices():
        types_of = {}
        for subscription in of_type("Microsoft.EventGrid/systemTopics/eventSubscriptions", choice):
            said = subscription["properties"]["filter"]
            types_of.setdefault(said.get("subjectBeginsWith"), []).extend(said["includedEventTypes"])
        for types in (types for begins, types in types_of.items() if begins):
            kinds = {kind.removeprefix("Microsoft.Storage.") for kind in types}
            assert {"BlobCreated", "BlobDeleted", "BlobTierChanged"} < kinds, choice
            assert len(kinds) == len(types), "an event would come twice"


def test_a_topic_at_another_account_has_another_name():
    names = {
        choice: {entry["name"] for entry in of_type("Microsoft.EventGrid/systemTopics", choice)}
        for choice in ("base", "source-existing", "source-existing-same-subscription")
    }
    assert len(set.union(*names.values())) == 3, names


def test_alerts_watch_every_topic_from_its_own_subscription():
    for choice in choices():
        topics = {resource["id"] for resource in of_type("Microsoft.EventGrid/systemTopics", choice)}
        watched = {}
        for resource in of_type("Microsoft.Insights/metricAlerts", choice):
            (scope,) = resource["properties"]["scopes"]
            assert scope.split("/")[2] == resource["id"].split("/")[2], (
                "metric alerts are in the subscription they watch"
            )
            for one in resource["properties"]["criteria"]["allOf"]:
                watched.setdefault(one["metricName"], set()).add(scope)
            assert "imaging" in resource["name"]
            assert resource["properties"]["description"].startswith("imaging: ")
            assert resource["properties"]["autoMitigate"] is True
        assert topics <= watched["DeadLetteredCount"] == watched["DroppedEventCount"], choice
        assert set(watched) == {"DeadLetteredCount", "DroppedEventCount", "Availability"}


# --- What is kept --------------------------------------------------------------------------------------------------

CATEGORIES = {
    "fhirservices": {"AllMetrics"},
    "topics": {"PublishFailures", "AllMetrics"},
    "blobServices": {"Transaction"},
    "queueServices": {"Transaction"},
    "tableServices": {"Transaction"},
}
"""Azure Monitor, "Supported metrics" and "Supported resource logs": what is kept of each, by kind."""

AUDITED = {
    "fhirservices": {"AuditLogs"},
    "dicomservices": {"AuditLogs"},
    "blobServices": {"StorageRead", "StorageWrite", "StorageDelete"},
    "queueServices": {"StorageRead", "StorageWrite", "StorageDelete"},
    "tableServices": {"StorageRead", "StorageWrite", "StorageDelete"},
}


def kept(name, choice):
    """Return the categories that go to a destination, by kind of resource."""
    categories_of = {}
    for resource in of_type("Microsoft.Insights/diagnosticSettings", choice):
        said = resource["properties"]
        if resource["name"] == name:
            kind = re.split(r"/providers/Microsoft.Insights/|', 'Microsoft.Insights/", resource["id"])[0].split("/")[-2]
            categories = {one["category"] for one in (*said.get("logs", []), *said.get("metrics", []))}
            categories_of.setdefault(kind, set()).update(categories)
    return categories_of


def test_what_is_kept_of_a_resource_is_something_that_it_has():
    assert kept("to-log-analytics", BASE) == CATEGORIES
    for choice in choices():
        logs = kept("to-log-analytics", choice)
        assert all(CATEGORIES[kind] == categories for kind, categories in logs.items()), choice


def test_logs_that_hold_names_of_blobs_or_patients_are_kept_only_when_asked_and_apart():
    for choice in choices():
        logs = kept("to-audit", choice)
        assert bool(logs) == choice.startswith("audit-logs"), choice
    assert kept("to-audit", "audit-logs") == AUDITED
    places = {
        entry["name"]: entry["properties"]["workspaceId"]
        for entry in of_type("Microsoft.Insights/diagnosticSettings", "audit-logs")
    }
    assert places["to-audit"] != places["to-log-analytics"]


def test_deleted_blobs_and_containers_can_be_restored_everywhere():
    for service in everywhere("Microsoft.Storage/storageAccounts/blobServices"):
        for policy in ("deleteRetentionPolicy", "containerDeleteRetentionPolicy"):
            assert service["properties"][policy]["enabled"] is True
            assert service["properties"][policy]["days"] >= 7


# --- Who gets in ---------------------------------------------------------------------------------------------------


def test_no_shared_key_and_no_local_authentication_anywhere():
    for account in everywhere("Microsoft.Storage/storageAccounts"):
        assert account["properties"]["allowSharedKeyAccess"] is False
        assert account["properties"]["allowBlobPublicAccess"] is False
        assert account["properties"]["minimumTlsVersion"] == "TLS1_2"
    assert all(component["properties"]["DisableLocalAuth"] for component in everywhere("Microsoft.Insights/components"))
    for topic in everywhere("Microsoft.EventGrid/topics"):
        assert topic["properties"]["disableLocalAuth"] is True
        assert topic["properties"]["minimumTlsVersionAllowed"] == "1.2"
        assert topic["identity"] == {"type": "SystemAssigned"}
    for site in everywhere("Microsoft.Web/sites"):
        assert site["properties"]["siteConfig"]["ftpsState"] == "Disabled"
        assert site["properties"]["httpsOnly"] is True
    closed = {(entry["name"].rpartition("/")[2], entry["properties"]["allow"]) for entry in everywhere(POLICIES)}
    assert closed == {("ftp", False), ("scm", False)}


POLICIES = "Microsoft.Web/sites/basicPublishingCredentialsPolicies"


def test_every_subnet_has_a_security_group_and_says_how_it_gets_out():
    subnets = everywhere("Microsoft.Network/virtualNetworks/subnets")
    assert {subnet["name"].rpartition("/")[2] for subnet in subnets} == {"functions", "endpoints"}
    for subnet in subnets:
        assert "networkSecurityGroup" in subnet["properties"]
        assert "defaultOutboundAccess" in subnet["properties"]
    for group in everywhere("Microsoft.Network/networkSecurityGroups"):
        last = max(group["properties"]["securityRules"], key=lambda rule: rule["properties"]["priority"])
        assert (last["properties"]["access"], last["properties"]["direction"]) == ("Deny", "Inbound")


def test_a_network_leaves_subnets_that_others_have_added_to_it():
    """Those that a network does not name are deleted if it names any: Azure/bicep, issue 4653."""
    for network in everywhere("Microsoft.Network/virtualNetworks"):
        assert "subnets" not in network["properties"]


def test_a_landing_zone_gets_no_network_no_zones_and_no_public_endpoint():
    kinds = Counter(resource["type"] for resource in resources("private-landing-zone"))
    for kind in ("virtualNetworks", "privateDnsZones", "privateEndpoints/privateDnsZoneGroups"):
        assert kinds[f"Microsoft.Network/{kind}"] == 0
    assert kinds["Microsoft.Network/privateEndpoints"] == 7
    public = {
        resource["type"]: resource["properties"]["publicNetworkAccess"]
        for resource in resources("private-landing-zone")
        if "publicNetworkAccess" in resource.get("properties", {})
    }
    assert set(public.values()) == {"Disabled"}
    assert len(public) == 5


def test_zones_of_others_are_used_and_not_made():
    assert of_type("Microsoft.Network/privateDnsZones", "private-own-zones") == []
    named = {
        config["properties"]["privateDnsZoneId"].split("/")[4]
        for group in of_type("Microsoft.Network/privateEndpoints/privateDnsZoneGroups", "private-own-zones")
        for config in group["properties"]["privateDnsZoneConfigs"]
    }
    assert named == {"dns"}


def test_endpoints_at_the_resources_of_others_wait_for_their_approval():
    for entry in of_type("Microsoft.Network/privateEndpoints", "private-existing-by-approval"):
        said = entry["properties"]
        foreign = "images" in entry["name"] or "health" in entry["name"].split("-")
        assert bool(said["manualPrivateLinkServiceConnections"]) == foreign, entry["name"]
        assert bool(said["privateLinkServiceConnections"]) != foreign


# --- The rest ------------------------------------------------------------------------------------------------------


def test_the_plan_is_flex_consumption():
    """Azure Functions, "Flex Consumption plan"; both words are free text to the interface."""
    for plan in everywhere("Microsoft.Web/serverfarms"):
        assert plan["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
    assert of_type("Microsoft.Web/serverfarms", "zone-redundant")[0]["properties"]["zoneRedundant"] is True


def test_locks_stand_on_what_holds_data():
    locked = {
        re.search(r"/(stsync|stdicom|hds)", resource["id"])[1]
        for resource in of_type("Microsoft.Authorization/locks", "locks")
    }
    assert locked == {"stsync", "stdicom", "hds"}
    assert of_type("Microsoft.Authorization/locks") == []


def test_a_key_of_the_hospital_encrypts_all_that_holds_data():
    for account in of_type("Microsoft.Storage/storageAccounts", "own-key"):
        assert account["properties"]["encryption"]["keySource"] == "Microsoft.Keyvault"
        assert account["properties"]["encryption"]["keyvaultproperties"]["keyname"] == "imaging"
    for kind in ("fhirservices", "dicomservices"):
        for service in of_type(f"Microsoft.HealthcareApis/workspaces/{kind}", "private-own-key-with-dicom"):
            said = service["properties"]["encryption"]["customerManagedKeyEncryption"]
            assert said["keyEncryptionKeyUrl"] == "https://keys.vault.azure.net/keys/imaging"
            assert service["identity"]["type"] == "UserAssigned"


def test_queues_and_tables_have_keys_of_their_account():
    """Only when an account is made: Azure Storage, "Customer-managed keys for tables and queues"."""
    (state,) = (entry for entry in of_type("Microsoft.Storage/storageAccounts") if "stsync" in entry["name"])
    services = state["properties"]["encryption"]["services"]
    assert {services[name]["keyType"] for name in ("queue", "table")} == {"Account"}
