"""What Microsoft's compiler says of the templates, and that the reviewed snapshots are what it evaluates."""

import json

import pytest

from scripts import bicep
from tests.infra import reviewed
from tests.infra.test_contracts import is_takeable

try:
    bicep.compiler()
    MISSING = ""
except bicep.CompilerMissing as missing:
    MISSING = str(missing)

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

HEAD = """\
using '../../../infra/main.bicep'
param location = 'westeurope'
param deployedAt = '2026-01-01T00:00:00Z'
param azureCloud = 'AzureCloud'
"""


def test_the_compiler_its_linter_and_its_layout_find_nothing():
    assert list(bicep.check()) == []


def test_the_reviewed_snapshots_are_what_the_compiler_evaluates():
    flat = {name: reviewed.flatten(one["predictedResources"]) for name, one in bicep.snapshots().items()}
    hint = "run python -m scripts.bicep snapshots, and review what changes in Azure"
    assert sorted(flat) == reviewed.choices(), hint
    for name, resources in flat.items():
        assert resources == reviewed.flat(name), f"{name}: {hint}"


def test_a_reviewed_snapshot_reads_back_as_it_was_evaluated():
    (choice,) = (file for file in bicep.CHOICES.glob("private.bicepparam"))
    said = {resource["id"]: resource for resource in bicep.evaluate(choice.read_text())["predictedResources"]}
    for resource in reviewed.resources("private"):
        expected = said[resource["id"]]
        assert {**_shortened(expected), "id": expected["id"]} == resource


def _shortened(value):
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    return reviewed.digest(value) if isinstance(value, str) and len(value) > 400 else value


ACCOUNT = (
    "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/a/providers/Microsoft.Storage/storageAccounts/b"
)
ACCOUNTS = "Microsoft.Storage/storageAccounts"
SUBNET = "/subscriptions/x/resourceGroups/a/providers/Microsoft.Network/virtualNetworks/b/subnets/c"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("param environmentName = 'My Env'", "letters, digits"),
        ("param environmentName = 'demo.'", "letters, digits"),
        ("param fhirKind = 'other'", "needs fhirUrl"),
        ("param fhirKind = 'other'\nparam fhirUrl = 'http://fhir.example'", "https://"),
        ("param fhirKind = 'existing'", "needs healthWorkspaceId"),
        (f"param fhirKind = 'existing'\nparam healthWorkspaceId = '{ACCOUNT}'", "needs healthWorkspaceId"),
        ("param healthWorkspaceId = '/subscriptions/x'", "only for fhirKind existing"),
        ("param fhirUrl = 'https://fhir.example'", "only for fhirKind other"),
        ("param fhirServiceName = 'a'", "minimum allowable length is 3"),
        ("param dicomServiceName = 'a'", "at least 3"),
        ("param dicomStorageAccountId = 'images'", "not the resource id of a storage account"),
        ("param existingStorageTopicName = 'a-topic'", "give dicomStorageAccountId"),
        ("param dicomContainers = []", "minimum allowable length is 1"),
        ("param allowedIpRanges = ['203.0.113.0/24']", "network private"),
        (f"param network = 'private'\nparam stateAccess = 'closed'\nparam functionSubnetId = '{SUBNET}'", "or neither"),
        ("param network = 'private'\nparam privateDns = 'existing'", "privateDnsZoneIds lacks blob, queue, table"),
        ("param network = 'private'", "needs stateAccess"),
        ("param network = 'private'\nparam stateAccess = 'closed'\nparam publicApi = true", "needs apiIpRanges"),
        ("param monthlyBudget = 10", "budgetStart"),
        ("param maximumInstances = 0", "minimum allowable value is 1"),
        ("param maximumInstances = 2\nparam alwaysReadyStudies = 3", "more than maximumInstances"),
        ("param settings = { DICOM_SYNC_FHIR_URL: 'https://fhir.example' }", "follows from fhirKind"),
        ("param settings = { DICOM_SYNC_PATIENCE: 5 }", "string"),
        ("param alertThresholds = { lags: 5 }", "lags"),
        ("param customerKey = { vault: 'https://v.example', key: '', identityId: '' }", "customerKey needs"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(given, said):
    text = HEAD + given + "\n"
    text += "" if "environmentName" in given else "param environmentName = 'imaging'\n"
    text += "" if "param network" in given else "param network = 'public'\n"
    with pytest.raises(bicep.Refused) as refusal:
        bicep.evaluate(text)
    assert said in str(refusal.value)


def test_who_accesses_over_a_network_must_be_said():
    with pytest.raises(bicep.Refused) as refusal:
        bicep.evaluate(HEAD + "param environmentName = 'imaging'\n")
    assert "network" in str(refusal.value)


def test_the_longest_name_of_azd_makes_names_that_azure_takes():
    name = "imaging-production-of-the-whole-hospital-and-its-outpatient-clin"
    assert len(name) == 64
    more = "param network = 'private'\nparam stateAccess = 'closed'\nparam dicomServiceName = 'dicom'\n"
    text = f"{HEAD}param environmentName = '{name}'\n{more}"
    predicted = bicep.evaluate(text)["predictedResources"]
    assert [resource["id"] for resource in predicted if not is_takeable(resource)] == []


def test_two_environments_whose_names_differ_in_case_are_one():
    """They would share a resource group, whose names know no case."""
    lower, upper = (
        bicep.evaluate(f"{HEAD}param environmentName = '{name}'\nparam network = 'public'\n")
        for name in ("demo", "Demo")
    )
    names = [
        {resource["name"] for resource in one["predictedResources"] if resource["type"] == ACCOUNTS}
        for one in (lower, upper)
    ]
    assert names[0] == names[1] != set()


def test_a_compiler_that_is_missing_is_told_loudly(monkeypatch):
    monkeypatch.setenv("BICEP", "/nowhere/bicep")
    with pytest.raises(bicep.CompilerMissing, match="NOT compiled"):
        bicep.compiler()


def test_the_linter_is_as_strict_as_can_be_in_tests(tmp_path):
    assert '"level": "warning"' not in bicep.strict(tmp_path).read_text()


def test_a_finding_is_found(tmp_path):
    slip = tmp_path / "slip.bicep"
    slip.write_text("param unused string\nparam spare object = {}\noutput given object = spare\n")
    findings = " ".join(bicep.findings(slip))
    assert "no-unused-params" in findings
    assert "use-user-defined-types" in findings


def waits_for(resources, before=frozenset()):
    """Return what each module waits for, by symbol, directly and through others or its own module."""
    direct = {
        name: [first for first in one.get("dependsOn", []) if first in resources] for name, one in resources.items()
    }
    covered = {}
    for name, one in resources.items():
        seen, todo = set(), list(direct[name])
        while todo:
            here = todo.pop()
            if here not in seen:
                seen |= {here, *inside(resources[here])}
                todo += direct[here]
        covered[name] = seen | before
        covered |= waits_for(modules(one), covered[name])
    return covered


def modules(resource):
    """Return the resources of a module, by symbol; of anything else: none."""
    if resource["type"] != "Microsoft.Resources/deployments":
        return {}
    inner = resource["properties"]["template"]["resources"]
    return inner if isinstance(inner, dict) else {}


def inside(resource):
    """Give the symbols of everything in a module, however deep."""
    for name, one in modules(resource).items():
        yield name
        yield from inside(one)


def test_who_uses_a_role_or_an_address_waits_for_it():
    """What only Azure would notice: a role that is missing yet, a name that resolves to nothing, a resource to be."""
    sync = json.loads(bicep.evaluator().template)["resources"]["sync"]
    assert sync["dependsOn"] == ["group"]
    waits = waits_for(modules(sync))
    for events in ("fileEvents", "serviceEvents"):
        inner = waits_for(modules(modules(sync)[events]), waits[events])
        assert {"topic", "access", "state", "files"} <= inner["fileSubscriptions"]
        assert {"topic", "access", "state", "health"} <= inner["serviceSubscriptions"]
    assert "sourceAccess" in waits["fileEvents"]
    assert "healthAccess" in waits["serviceEvents"]
    before = {"state", "stateEndpoints", "sourceEndpoints", "healthEndpoints", "resultsEndpoints"}
    assert before | {"sourceAccess", "healthAccess", "zones", "vnet"} <= waits["functions"]
    for name in ("state", "source", "health", "results", "api"):
        assert {"vnet", "zones", "stores"} <= waits[f"{name}Endpoints"]
    assert "functions" in waits["signIn"] & waits["apiEndpoints"]
