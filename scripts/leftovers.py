"""
Lists resources that an earlier deployment with other choices left in Azure, and removes those without data.

    eval "$(azd env get-values)"
    python -m scripts.leftovers               what is left over, and what it does while it stays
    python -m scripts.leftovers --remove      removes it; what may hold data, and roles of people, is only named

A deployment adds and changes, and never removes (Azure Resource Manager, incremental mode). A container that is listed
no longer keeps its event subscription, and every event of it becomes a dead letter; roles and a workspace stay. What
the last deployment made is its output DEPLOYED; the rest is read by the Azure CLI, signed in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PREFIX = "dicom-fhir-sync-"
Az = Callable[..., Any]

KEEPS_DATA = {
    "microsoft.storage/storageaccounts": "its files or state stay, and cost",
    "microsoft.healthcareapis/workspaces": "its FHIR and DICOM services stay, hold data, and cost",
    "microsoft.operationalinsights/workspaces": "its logs stay until they expire, and may hold identifiers of patients",
}
SERVICES = ("microsoft.healthcareapis/workspaces/fhirservices", "microsoft.healthcareapis/workspaces/dicomservices")
OWN_ROLE = "DICOM-FHIR Sync"
OPERATOR_ROLES = ("Storage Blob Data Reader", "Storage Queue Data Contributor", "Storage Table Data Contributor")
MAY_HOLD_DATA = "may hold data: remove it by hand when it is no longer needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something that the last deployment did not make."""

    what: str
    effect: str
    """What it does while it stays."""
    remove: Sequence[str] = ()
    """Arguments of the Azure CLI; empty: a person decides, see ``by_hand``."""
    by_hand: str = MAY_HOLD_DATA
    """Why this command does not remove it."""


def leftovers(
    deployed: Mapping[str, Any],
    needed: Sequence[Mapping[str, str]],
    principal: str,
    az: Az,
    environment: str = "",
) -> Iterator[Leftover]:
    """
    Return the leftover resources.

    Parameters
    ----------
    deployed, needed
        The outputs DEPLOYED and NEEDED_ROLES of the last deployment.
    principal
        Object id of the function app's identity.
    az
        Runs the Azure CLI with arguments, and returns the JSON that it prints; None if there is no such resource.
    environment
        Name of the environment, which former system topics have as a tag; empty: they are not looked for.
    """
    for topic in (deployed["storageTopicId"], deployed["workspaceTopicId"]):
        if topic:
            yield from _subscriptions(topic, deployed, az)
    yield from _roles(needed, principal, az)
    yield from _operator_roles(deployed, az)
    yield from _resources(deployed, az)
    yield from _topics(deployed, environment, az)
    yield from _sign_in(deployed, az)
    # At the end: Azure refuses to delete a role that is still assigned.
    yield from _custom_roles(needed, deployed, az)


def _subscriptions(topic: str, deployed: Mapping[str, Any], az: Az) -> Iterator[Leftover]:
    group, name = topic.split("/")[4], topic.rpartition("/")[2]
    where = ("--resource-group", group, "--system-topic-name", name, "--subscription", topic.split("/")[2])
    command = ("eventgrid", "system-topic", "event-subscription")
    for subscription in az(*command, "list", *where) or ():
        delivery = subscription.get("deliveryWithResourceIdentity") or {}
        destination = delivery.get("destination") or {}
        goes_to = destination.get("resourceId") or destination.get("properties", {}).get("resourceId", "")
        ours = subscription["name"].startswith(PREFIX) and goes_to.lower() == deployed["stateAccountId"].lower()
        if ours and subscription["name"] not in deployed["subscriptions"]:
            yield Leftover(
                what=f"event subscription {subscription['name']} of topic {name}",
                effect="its events become dead letters event.foreign_source, and raise an alert",
                remove=(*command, "delete", *where, "--name", subscription["name"], "--yes"),
            )


def _roles(needed: Sequence[Mapping[str, str]], principal: str, az: Az) -> Iterator[Leftover]:
    wanted: dict[str, set[str]] = {}
    for grant in needed:
        if grant["principal"] == "function app":
            wanted.setdefault(grant["scope"].lower(), set()).add(grant["role"])
    for assignment in az("role", "assignment", "list", "--assignee", principal, "--all") or ():
        role, scope = assignment["roleDefinitionName"], assignment["scope"]
        remove = ("role", "assignment", "delete", "--ids", assignment["id"])
        if scope.lower() not in wanted:
            effect = "the function app may still act there"
            yield Leftover(what=f"role {role} on {scope}", effect=effect, remove=remove)
        elif role not in wanted[scope.lower()]:
            needs = ", ".join(sorted(wanted[scope.lower()]))
            yield Leftover(
                what=f"role {role} on {scope}",
                effect=f"the function app may do more there than with {needs}",
                by_hand=f"if it has {needs} too: az {' '.join(remove)}",
            )


def _custom_roles(needed: Sequence[Mapping[str, str]], deployed: Mapping[str, Any], az: Az) -> Iterator[Leftover]:
    """Give the environment's own roles of former workspaces: a tenant holds a limited number of custom roles."""
    wanted = {grant["role"] for grant in needed}
    if not deployed.get("suffix"):
        return
    for definition in _roles_of_tenant(az):
        name = definition["properties"]["roleName"]
        if name.startswith(f"{OWN_ROLE} {deployed['suffix']}") and name not in wanted:
            (scope, *_) = definition["properties"]["assignableScopes"]
            yield Leftover(
                what=f"custom role {name}",
                effect="nothing once it is assigned to no one; a tenant can hold 5,000 custom roles",
                remove=("role", "definition", "delete", "--name", definition["name"], "--scope", scope),
            )


def _roles_of_tenant(az: Az) -> Sequence[Mapping[str, Any]]:
    """
    Return every custom role; ``az role definition list`` leaves out those of other groups.

    Source: Azure, "Create or update Azure custom roles using the REST API", all custom role definitions in a tenant.
    """
    url = "/providers/Microsoft.Authorization/roleDefinitions"
    which = ("api-version=2022-04-01", "$filter=type eq 'CustomRole'")
    answer = az("rest", "--method", "get", "--url", url, "--url-parameters", *which) or {}
    roles: Sequence[Mapping[str, Any]] = answer.get("value", ())
    return roles


def _operator_roles(deployed: Mapping[str, Any], az: Az) -> Iterator[Leftover]:
    """Give the roles of people on the state account but for those of the operator; others may have assigned them."""
    for assignment in az("role", "assignment", "list", "--scope", deployed["stateAccountId"]) or ():
        person = assignment.get("principalType") in ("User", "Group")
        if (
            person
            and assignment["roleDefinitionName"] in OPERATOR_ROLES
            and assignment["principalId"] != deployed["operator"]
        ):
            yield Leftover(
                what=f"role {assignment['roleDefinitionName']} of {assignment['principalId']} on the state account",
                effect="a former operator, or one to whom it was given by hand, reads and changes the state",
                by_hand=f"if it is not wanted: az role assignment delete --ids {assignment['id']}",
            )


def _resources(deployed: Mapping[str, Any], az: Az) -> Iterator[Leftover]:
    group = deployed["stateAccountId"].split("/")[4]
    made = {deployed[key].lower() for key in ("stateAccountId", "sourceId", "workspaceId", "network") if deployed[key]}
    made |= {log.lower() for log in deployed["logs"]}
    for resource in az("resource", "list", "--resource-group", group) or ():
        kind, place = resource["type"].lower(), resource["id"].lower()
        if kind in KEEPS_DATA and place not in made:
            yield Leftover(what=resource["id"], effect=KEEPS_DATA[kind])
        elif kind == "microsoft.network/privateendpoints" and not deployed["network"]:
            remove = ("network", "private-endpoint", "delete", "--ids", resource["id"])
            yield Leftover(what=resource["id"], effect="costs by the hour; nothing uses it", remove=remove)
        elif kind == "microsoft.network/virtualnetworks" and place not in made:
            by_hand = "may have subnets and peerings of yours: remove it by hand, after its endpoints"
            yield Leftover(what=resource["id"], effect="nothing of the sync is in it", by_hand=by_hand)
        elif kind in SERVICES and place not in _ids(deployed, "services") and "services" in deployed:
            yield Leftover(what=resource["id"], effect="the sync neither reads nor writes it; it holds data, and costs")
        elif (
            kind == "microsoft.network/privatednszones" and place not in _ids(deployed, "zones") and "zones" in deployed
        ):
            by_hand = "may have records of yours: remove its virtual network links by hand, then the zone"
            effect = "networks that are linked to it no longer find addresses that it lacks"
            yield Leftover(what=resource["id"], effect=effect, by_hand=by_hand)


def _ids(deployed: Mapping[str, Any], key: str) -> set[str]:
    return {value.lower() for value in deployed.get(key, ())}


def _topics(deployed: Mapping[str, Any], environment: str, az: Az) -> Iterator[Leftover]:
    """Give the system topics of former sources; in their groups they are found by the tag of the environment."""
    used = {deployed["storageTopicId"].lower(), deployed["workspaceTopicId"].lower()}
    where = ("--tag", f"azd-env-name={environment}", "--resource-type", "Microsoft.EventGrid/systemTopics")
    for resource in (az("resource", "list", *where) or ()) if environment else ():
        if resource["id"].lower() in used:
            continue
        parts = resource["id"].split("/")
        here = ("--resource-group", parts[4], "--subscription", parts[2])
        command = ("eventgrid", "system-topic")
        others = az(*command, "event-subscription", "list", *here, "--system-topic-name", resource["name"]) or ()
        yield Leftover(
            what=f"system topic {resource['id']}",
            effect=f"of a former source; {len(others)} event subscriptions are on it",
            remove=() if others else (*command, "delete", *here, "--name", resource["name"], "--yes"),
            by_hand="other environments may receive events by it: remove it by hand once it has no subscription",
        )


def _sign_in(deployed: Mapping[str, Any], az: Az) -> Iterator[Leftover]:
    if deployed["signsIn"]:
        return
    group = deployed["stateAccountId"].split("/")[4]
    for app in az("functionapp", "list", "--resource-group", group) or ():
        said = az("webapp", "auth", "show", "--ids", app["id"]) or {}
        if (said.get("properties", said).get("platform") or {}).get("enabled"):
            yield Leftover(
                what=f"sign-in of {app['id']}",
                effect="without its setting every sign-in fails, so the API is shut",
                remove=("webapp", "auth", "update", "--ids", app["id"], "--enabled", "false"),
            )


def azure_cli(*arguments: str) -> Any:
    """Run the Azure CLI; None if it says that there is no such resource."""
    command = ["az", *arguments, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if "ResourceNotFound" in done.stderr or "was not found" in done.stderr:
            return None
        raise SystemExit(done.stderr.strip())
    return json.loads(done.stdout) if done.stdout.strip() else None


def main() -> None:
    """List or remove; exit code 1 while something is left over."""
    try:
        deployed, needed = (json.loads(os.environ[name]) for name in ("DEPLOYED", "NEEDED_ROLES"))
        principal = os.environ["FUNCTION_APP_PRINCIPAL_ID"]
    except (KeyError, json.JSONDecodeError) as missing:
        raise SystemExit(f'{missing}: load the outputs of the deployment first: eval "$(azd env get-values)"') from None
    remains = 0
    for leftover in leftovers(deployed, needed, principal, azure_cli, os.environ.get("AZURE_ENV_NAME", "")):
        print(f"{leftover.what}\n    {leftover.effect}")
        if leftover.remove and "--remove" in sys.argv[1:]:
            azure_cli(*leftover.remove)
            print("    removed")
            continue
        remains += 1
        if not leftover.remove:
            print(f"    {leftover.by_hand}")
    raise SystemExit(1 if remains else 0)


if __name__ == "__main__":
    main()
