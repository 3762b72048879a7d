"""What a redeployment with other choices leaves behind is found, and only what holds no data is removed."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.leftovers import leftovers
from tests.infra.reviewed import of_type

ROOT = Path(__file__).parents[2]
SUBSCRIPTIONS = "Microsoft.EventGrid/systemTopics/eventSubscriptions"
LOGS = "Microsoft.OperationalInsights/workspaces"
FHIR = "Microsoft.HealthcareApis/workspaces/fhirservices"
READER = "Storage Blob Data Reader"
KINDS = (LOGS, FHIR, "Microsoft.Storage/storageAccounts", "Microsoft.HealthcareApis/workspaces")


def outputs(choice):
    """Return the output DEPLOYED as a choice has it."""
    (topic,) = (resource["id"] for resource in of_type("Microsoft.EventGrid/systemTopics", choice))
    ids = {resource["name"]: resource["id"] for kind in KINDS for resource in of_type(kind, choice)}
    return {
        "suffix": "abc",
        "stateAccountId": next(place for name, place in ids.items() if name.startswith("stsync")),
        "sourceId": next(place for name, place in ids.items() if name.startswith("stdicom")),
        "workspaceId": next(place for name, place in ids.items() if name.startswith("hds") and "/" not in name),
        "storageTopicId": topic,
        "workspaceTopicId": "",
        "subscriptions": [entry["name"].rpartition("/")[2] for entry in of_type(SUBSCRIPTIONS, choice)],
        "signsIn": False,
        "network": "",
        "operator": "op",
        "logs": [resource["id"] for resource in of_type(LOGS, choice)],
        "services": [resource["id"] for resource in of_type(FHIR, choice)],
        "zones": [],
    }


def azure_after(choice, *more, people=(), topics=(), assigned=None, defined=()):
    """Return an Azure CLI of a group in which a choice was deployed."""
    listed = [
        {"name": entry["name"].rpartition("/")[2], **entry["properties"]} for entry in of_type(SUBSCRIPTIONS, choice)
    ]
    resources = [
        {key: resource[key] for key in ("id", "name", "type")} for kind in KINDS for resource in of_type(kind, choice)
    ]

    def az(*arguments):
        if "event-subscription" in arguments:
            return listed if "former" not in " ".join(arguments) else []
        if "--tag" in arguments:
            return topics
        if "--scope" in arguments:
            return people
        if arguments[0] == "rest":
            return {"value": defined}
        if arguments[0] == "role":
            return (
                [{"id": "/r/1", "scope": "/old/account", "roleDefinitionName": READER}]
                if assigned is None
                else assigned
            )
        return [*resources, *more] if arguments[0] == "resource" else None

    return az


def test_a_container_that_is_listed_no_longer_leaves_its_subscription():
    listed = list(leftovers(outputs("base"), [], "me", azure_after("source-two-containers")))
    (subscription,) = (leftover for leftover in listed if "event subscription" in leftover.what)
    assert "xxx" in subscription.what
    assert "event.foreign_source" in subscription.effect
    assert subscription.remove[3] == "delete"


def test_nothing_is_left_over_after_the_same_choice():
    roles = [{"role": READER, "scope": "/old/account", "principal": "function app"}]
    assert list(leftovers(outputs("base"), roles, "me", azure_after("base"))) == []


def test_what_holds_data_is_named_and_never_removed():
    old = {"id": "/old/workspace", "name": "old", "type": "Microsoft.HealthcareApis/workspaces"}
    listed = list(leftovers(outputs("base"), [], "me", azure_after("base", old)))
    (workspace,) = (leftover for leftover in listed if leftover.what == "/old/workspace")
    assert workspace.remove == ()


def test_audit_logs_that_are_switched_off_and_a_former_network_are_named_and_stay():
    network = {"id": "/old/network", "name": "vnet", "type": "Microsoft.Network/virtualNetworks"}
    listed = list(leftovers(outputs("base"), [], "me", azure_after("audit-logs", network)))
    named = {leftover.what.rpartition("/")[2]: leftover for leftover in listed if "/" in leftover.what}
    (audit,) = (leftover for name, leftover in named.items() if name.startswith("log-audit"))
    assert "patients" in audit.effect
    assert audit.remove == named["network"].remove == ()
    assert "endpoints" in named["network"].by_hand


def test_a_former_dicom_service_and_former_zones_are_named_and_stay():
    dicom = {"id": "/old/dicom", "name": "hds/dicom", "type": "Microsoft.HealthcareApis/workspaces/dicomservices"}
    zone = {"id": "/old/zone", "name": "privatelink.blob", "type": "Microsoft.Network/privateDnsZones"}
    by_what = {
        leftover.what: leftover for leftover in leftovers(outputs("base"), [], "me", azure_after("base", dicom, zone))
    }
    assert by_what["/old/dicom"].remove == by_what["/old/zone"].remove == ()
    assert "holds data" in by_what["/old/dicom"].effect
    assert "links" in by_what["/old/zone"].by_hand


def test_what_an_older_deployment_does_not_say_is_not_taken_for_left_over():
    older = {key: said for key, said in outputs("base").items() if key not in ("services", "zones")}
    roles = [{"role": READER, "scope": "/old/account", "principal": "function app"}]
    assert list(leftovers(older, roles, "me", azure_after("base"))) == []


def test_the_topic_of_a_former_source_goes_once_it_has_no_subscription():
    used, busy, former = (
        {"id": f"/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/systemTopics/{name}", "name": name}
        for name in ("used", "busy", "former")
    )
    deployed = {**outputs("base"), "storageTopicId": used["id"]}
    az = azure_after("base", topics=[used, busy, former])
    by_name = {leftover.what.rpartition("/")[2]: leftover for leftover in leftovers(deployed, [], "me", az, "imaging")}
    assert "used" not in by_name
    assert by_name["busy"].remove == ()
    assert by_name["former"].remove[:3] == ("eventgrid", "system-topic", "delete")


def test_people_who_may_still_read_the_state_are_named_and_the_operator_is_not():
    def role(principal, kind="User", name="Storage Table Data Contributor"):
        return {"id": f"/r/{principal}", "principalId": principal, "principalType": kind, "roleDefinitionName": name}

    people = [role("op"), role("former"), role("app", "ServicePrincipal"), role("auditor", name="Reader")]
    listed = list(leftovers(outputs("base"), [], "me", azure_after("base", people=people)))
    (former,) = (leftover for leftover in listed if "state account" in leftover.what)
    assert "former" in former.what
    assert former.remove == ()
    assert "/r/former" in former.by_hand


def test_a_role_that_a_narrower_one_has_replaced_is_named_and_stays_until_the_narrower_one_is_there():
    """Where others assign roles, the wider one may be the only one that they gave."""
    needed = [{"role": "DICOM-FHIR Sync abc-new", "scope": "/Workspace/fhir", "principal": "function app"}]
    assigned = [
        {"id": f"/r/{name}", "scope": "/workspace/fhir", "roleDefinitionName": name}
        for name in ("FHIR Data Writer", "DICOM-FHIR Sync abc-new")
    ]
    (former,) = leftovers(outputs("base"), needed, "me", azure_after("base", assigned=assigned))
    assert "FHIR Data Writer" in former.what
    assert former.remove == ()
    assert "if it has DICOM-FHIR Sync abc-new too" in former.by_hand


def test_the_role_of_a_former_workspace_is_removed_and_those_of_other_environments_stay():
    needed = [{"role": "DICOM-FHIR Sync abc-new", "scope": "/new/fhir", "principal": "function app"}]
    defined = [
        {"name": name, "properties": {"roleName": f"DICOM-FHIR Sync {name}", "assignableScopes": [f"/groups/{name}"]}}
        for name in ("abc", "abc-new", "abc-old", "xyz-old")
    ]
    listed = list(leftovers(outputs("base"), needed, "me", azure_after("base", assigned=[], defined=defined)))
    assert [leftover.what for leftover in listed] == [
        "custom role DICOM-FHIR Sync abc",
        "custom role DICOM-FHIR Sync abc-old",
    ]
    assert listed[1].remove == ("role", "definition", "delete", "--name", "abc-old", "--scope", "/groups/abc-old")


@pytest.mark.parametrize(("more", "code"), [([], 1), (["--remove"], 0)])
def test_the_command_lists_and_removes(tmp_path, more, code):
    az = tmp_path / "az"
    answer = '[{"id": "/r/1", "scope": "/old", "roleDefinitionName": "Reader"}]'
    az.write_text(
        f"#!/bin/sh\necho \"$@\" >> {tmp_path}/calls\n[ \"$2 $3\" = 'assignment list' ] && echo '{answer}'\nexit 0\n"
    )
    az.chmod(az.stat().st_mode | stat.S_IEXEC)
    given = {"DEPLOYED": json.dumps(outputs("base")), "NEEDED_ROLES": "[]", "FUNCTION_APP_PRINCIPAL_ID": "me"}
    environment = {**os.environ, **given, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "scripts.leftovers", *more]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == code, done.stderr
    assert "role Reader on /old" in done.stdout
    assert ("role assignment delete --ids /r/1" in (tmp_path / "calls").read_text()) == bool(more)
