"""
The table of policies in docs/landing-zone.md is held to the snapshots: what it says is met is met by every choice.

Where the answer names a parameter, a choice with it meets the policy, and ``base``, without it, does not. What is not
met, or is a matter of the subscription, is taken from its owner by a choice that names it.
"""

import re
from functools import partial

import pytest

from tests.infra.reviewed import BASE, choices, of_type, resources
from tests.infra.templates import INFRA

ACCOUNTS = "Microsoft.Storage/storageAccounts"
PAGE = (INFRA.parent / "docs" / "landing-zone.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| (.+?) \| [^|]+ \| (.+?) \|$", PAGE.partition("## Policies")[2], re.MULTILINE)[1:])


def value(resource, path):
    """Return what a resource says at a path; None if it says nothing."""
    for step in path.split("."):
        resource = resource.get(step) if isinstance(resource, dict) else None
    return resource


def says(kind, path, *wanted):
    """Check that every resource of a kind says one of some values at a path, and that a choice has such resources."""

    def check(choice):
        of_kind = of_type(kind, choice)
        return bool(of_kind) and all(value(resource, path) in wanted for resource in of_kind)

    return check


def has(kind, *parts):
    """Check that a choice has a resource of a kind for each of some parts of ids."""

    def check(choice):
        ids = " ".join(resource["id"] for resource in of_type(kind, choice))
        return all(part in ids for part in parts) if parts else bool(ids)

    return check


def every(*checks):
    return lambda choice: all(check(choice) for check in checks)


def absent_or(check, kind):
    """Check only where a choice has resources of a kind."""
    return lambda choice: not of_type(kind, choice) or check(choice)


def subnets_say(path, choice):
    return all(value(subnet["properties"], path) is not None for subnet in of_type(SUBNETS, choice))


def endpoint_subnet_is_closed(choice):
    return all(
        entry["properties"]["defaultOutboundAccess"] is False
        for entry in of_type(SUBNETS, choice)
        if entry["name"].endswith("/endpoints")
    )


def roles_are_narrow(choice):
    """No role of the function app is on a whole account of DICOM files, and no person has one but the operator."""
    roles = of_type("Microsoft.Authorization/roleAssignments", choice)
    people = {role["properties"]["principalType"] for role in roles} - {"ServicePrincipal"}
    source = [role for role in roles if "stdicom" in role["id"].partition("guid(")[0]]
    return (not people or choice == "operator") and all("/containers/" in resource["id"] for resource in source)


def kept_for_a_while(choice):
    services = of_type(f"{ACCOUNTS}/blobServices", choice)
    paths = ("properties.deleteRetentionPolicy", "properties.containerDeleteRetentionPolicy")
    return bool(services) and all(value(service, path)["enabled"] for service in services for path in paths)


def links_lead_to(*groups):
    return lambda choice: (
        {f"-{group}" for group in groups}
        <= {"-" + entry["name"].rpartition("-")[2] for entry in of_type("Microsoft.Network/privateEndpoints", choice)}
    )


def zones_are_of_others(choice):
    endpoints, zones = (
        of_type(f"Microsoft.Network/{kind}", choice) for kind in ("privateEndpoints", "privateDnsZones")
    )
    return bool(endpoints) and not zones


CUSTOMER_KEY = "properties.encryption.customerManagedKeyEncryption.keyEncryptionKeyUrl"
SERVICES = tuple(f"Microsoft.HealthcareApis/workspaces/{kind}" for kind in ("fhirservices", "dicomservices"))


def audited(choice):
    names = [
        resource["id"]
        for resource in of_type("Microsoft.Insights/diagnosticSettings", choice)
        if "to-audit" in resource["id"]
    ]
    return all(any(part in name for name in names) for part in ("stsync", "stdicom", "fhirservices", "dicomservices"))


SITES, TOPICS = "Microsoft.Web/sites", "Microsoft.EventGrid/topics"
tls = every(
    says(ACCOUNTS, "properties.minimumTlsVersion", "TLS1_2"),
    says(ACCOUNTS, "properties.supportsHttpsTrafficOnly", True),
    says(SITES, "properties.siteConfig.minTlsVersion", "1.2"),
    absent_or(says(TOPICS, "properties.minimumTlsVersionAllowed", "1.2"), TOPICS),
)
functions = every(
    says(SITES, "properties.httpsOnly", True),
    says(SITES, "properties.siteConfig.ftpsState", "Disabled"),
    says(SITES, "identity.type", "UserAssigned"),
)

MET = {
    "Subnets should have a network security group": partial(subnets_say, "networkSecurityGroup"),
    "Subnets should be private": endpoint_subnet_is_closed,
    "Storage accounts should prevent shared key": says(ACCOUNTS, "properties.allowSharedKeyAccess", False),
    "Storage accounts should disallow public": says(ACCOUNTS, "properties.allowBlobPublicAccess", False),
    "Secure transfer": tls,
    "Function apps: HTTPS only": functions,
    "Event Grid topics should disable local": absent_or(says(TOPICS, "properties.disableLocalAuth", True), TOPICS),
    "Audit of privileged roles": roles_are_narrow,
    "Soft delete": kept_for_a_while,
}
"""Beginning of a row -> what every choice meets."""

CHOSEN = {
    "Public network access should be": (
        "private-landing-zone",
        every(*(says(kind, "properties.publicNetworkAccess", "Disabled") for kind in (ACCOUNTS, SITES, TOPICS))),
    ),
    "Deny the creation of private DNS": ("private-landing-zone", zones_are_of_others),
    "Storage accounts should restrict": ("private", links_lead_to("blob", "queue", "table")),
    "Storage accounts should use customer": (
        "own-key",
        says(ACCOUNTS, "properties.encryption.keySource", "Microsoft.Keyvault"),
    ),
    "Storage accounts should have infra": (
        "encrypted-twice",
        says(ACCOUNTS, "properties.encryption.requireInfrastructureEncryption", True),
    ),
    "Function apps should disable": (
        "private",
        every(says(SITES, "properties.publicNetworkAccess", "Disabled"), links_lead_to("sites")),
    ),
    "App Service should use auth": ("sign-in", has("Microsoft.Web/sites/config", "authsettingsV2")),
    "Azure Health Data Services workspace": ("private", links_lead_to("healthcareworkspace")),
    "FHIR and DICOM services should": (
        "private-own-key-with-dicom",
        every(*(says(kind, CUSTOMER_KEY, "https://keys.vault.azure.net/keys/imaging") for kind in SERVICES)),
    ),
    "Resource logs": ("audit-logs", audited),
    "Geo-redundant storage": (
        "geo-redundant",
        says(ACCOUNTS, "sku.name", "Standard_GRS", "Standard_GZRS"),
    ),
    "Resource locks": ("locks", has("Microsoft.Authorization/locks", "stsync", "stdicom", "hds")),
}
"""Beginning of a row -> a choice that meets it by the parameter that the row names, and what it meets."""


def makes_none(*kinds):
    """Check that a choice makes no resource of some kinds: it takes those that it is given."""
    return lambda choice: not any(of_type(kind, choice) for kind in kinds)


LOGS, NETWORKS = "Microsoft.OperationalInsights/workspaces", "Microsoft.Network/virtualNetworks"
SUBNETS = f"{NETWORKS}/subnets"

GIVEN = {
    "Log Analytics with": ("watched-elsewhere", "base", makes_none(LOGS)),
    "Firewall subnet": ("private-landing-zone", "private", makes_none(NETWORKS)),
    "Microsoft Defender": ("source-existing-topic", "source-existing", makes_none("Microsoft.EventGrid/systemTopics")),
}
"""
Beginning of a row that is not met -> a choice that takes what meets it, or what it makes, from its owner; one that does
not; and what is compared.
"""


def row(begins):
    (policy_name,) = (policy for policy in ROWS if policy.startswith(begins))
    return policy_name


def test_every_row_is_checked():
    known = {row(begins) for begins in (*MET, *CHOSEN, *GIVEN)}
    assert set(ROWS) == known
    assert len(known) == len(MET) + len(CHOSEN) + len(GIVEN) >= 24


@pytest.mark.parametrize("begins", MET)
def test_what_is_met_is_met_by_every_choice(begins):
    assert "met" in ROWS[row(begins)]
    assert [choice for choice in choices() if not MET[begins](choice)] == []


@pytest.mark.parametrize("begins", CHOSEN)
def test_what_needs_a_parameter_is_met_with_it_and_not_without(begins):
    choice, check = CHOSEN[begins]
    assert "`" in ROWS[row(begins)], "the row names its parameter"
    assert check(choice)
    assert not check(BASE)


@pytest.mark.parametrize("begins", GIVEN)
def test_what_is_not_met_says_so_and_is_taken_where_it_is_given(begins):
    takes, makes, check = GIVEN[begins]
    assert ROWS[row(begins)].startswith(("not met", "not deployed"))
    assert check(takes)
    assert not check(makes)


def test_what_belongs_to_the_subscription_is_never_deployed():
    kinds = {resource["type"] for choice in choices() for resource in resources(choice)}
    assert [kind for kind in kinds if kind.startswith(("Microsoft.Security/", "Microsoft.PolicyInsights/"))] == []
    assert "Microsoft.Authorization/policyAssignments" not in kinds


def test_a_check_fails_where_the_snapshot_says_otherwise():
    assert not says(ACCOUNTS, "properties.allowSharedKeyAccess", True)(BASE)
    assert not says("Microsoft.Nothing/there", "properties.x", True)(BASE)
    assert resources(BASE)
