"""
What a second deployment, an upgrade, a roll-back and a second environment do, from snapshot to snapshot.

Nothing is renamed or replaced: every name is a function of the choices, and what Azure cannot change stays as it is.
"""

import itertools
import json
import re

import pytest

from scripts import bicep
from tests.infra.released import CHOICES, IMMUTABLE, fixed, left_behind, released, replaced
from tests.infra.reviewed import choices, flat, flatten, of_type
from tests.infra.templates import FILES, INFRA
from tests.infra.test_compiler import HEAD, MISSING
from tests.infra.test_nothing_opens import given

MAKES_ANEW = {
    "accountScopedKeys",
    "healthLocation",
    "infrastructureEncryption",
    "networkAddresses",
    "storageRedundancy",
}
"""Parameters that hold only when something is made; their descriptions say so, and Azure refuses a change."""
PLACES = {"functionSubnetId", "endpointSubnetId", "azureCloud", "names", "customerKey", "dicomStorageAccountId"}
"""Parameters that move what is made to another place or name."""

compiled = pytest.mark.skipif(bool(MISSING), reason=MISSING)


# --- An upgrade and a roll-back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", CHOICES)
def test_an_upgrade_from_the_last_release_replaces_and_leaves_nothing(choice):
    before, after = released()[choice], fixed(choice)
    assert list(replaced(before, after)) == []
    assert list(left_behind(before, after)) == [], "renamed, or made no longer: the first stays, with what it holds"


@pytest.mark.parametrize("choice", CHOICES)
def test_a_roll_back_to_the_last_release_replaces_nothing_and_leaves_no_data(choice):
    before, after = fixed(choice), released()[choice]
    assert list(replaced(before, after)) == []
    # Messages of the queue ``slices`` only call workers: what the queue leaves is no data.
    left = [key for key in left_behind(before, after) if not key.endswith("/queues/slices")]
    stays = {json.loads(before[key]["type"]) for key in left}
    assert not {kind for kind in stays if kind.startswith(("Microsoft.Storage", "Microsoft.HealthcareApis"))}


def test_the_comparison_sees_what_is_renamed_and_what_is_replaced():
    before = released()["base"]
    (state,) = (key for key in before if re.search(r"storageAccounts/stsync\w+$", key))
    renamed = {key.replace("stsync", "stother"): said for key, said in before.items()}
    assert state in set(left_behind(before, renamed))
    moved = {**before, state: {**before[state], "location": '"northeurope"'}}
    assert list(replaced(before, moved)) == [(state, "location")]
    for kind, paths in IMMUTABLE.items():
        seen = {
            path
            for name in choices()
            for resource in flat(name).values()
            if json.loads(resource["type"]) == kind
            for path in resource
        }
        assert set(paths) & seen, f"no snapshot has {kind} at one of {paths}"


# --- Another deployment of one environment ---------------------------------------------------------------------------


def test_no_choice_but_those_that_say_so_needs_something_made_anew():
    compared = 0
    for before, after in itertools.permutations(choices(), 2):
        if all(given(before).get(name) == given(after).get(name) for name in MAKES_ANEW | PLACES):
            compared += 1
            assert list(replaced(fixed(before), fixed(after))) == [], (before, after)
    assert compared > 500


def test_what_needs_something_made_anew_is_seen_and_described():
    page = (INFRA.parent / "docs" / "parameters.md").read_text("utf-8")
    for choice, name in {
        "locally-redundant": "storageRedundancy",
        "encrypted-twice": "infrastructureEncryption",
        "fhir-other-region": "healthLocation",
    }.items():
        assert list(replaced(fixed("base"), fixed(choice))) != [], choice
        assert f"`{name}`" in page


def test_names_depend_on_nothing_but_the_choices():
    text = "".join(file.read_text("utf-8") for file in FILES)
    assert "newGuid(" not in text
    assert re.findall(r"^.*utcNow\(.*$", text, re.MULTILINE) == [
        "param deployedAt string = utcNow('yyyy-MM-ddTHH:mm:ssZ')"
    ]


def test_every_deployment_in_azure_is_named_after_its_environment():
    """Two environments that are deployed at once into one group would meet otherwise: DeploymentActive."""
    modules = [
        match
        for file in FILES
        for match in re.findall(r"^module \w+ .*\{\n  name: (.*)$", file.read_text(), re.MULTILINE)
    ]
    assert len(modules) > 20
    assert [name for name in modules if "suffix}" not in name] == []


@compiled
def test_a_second_deployment_changes_nothing_but_when_alerts_begin():
    text = (bicep.CHOICES / "private-with-dicom.bicepparam").read_text("utf-8")
    first, second = (
        flatten(bicep.evaluate(re.sub(r"deployedAt = '.*'", f"deployedAt = '{when}'", text))["predictedResources"])
        for when in ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
    )
    assert first.keys() == second.keys()
    changed = {
        (first[key]["type"], path) for key in first for path in first[key] if first[key][path] != second[key][path]
    }
    assert {kind for kind, _ in changed} == {'"Microsoft.Insights/scheduledQueryRules"'}
    assert {path.rpartition(".")[2] for _, path in changed} == {"query"}


# --- Two environments ------------------------------------------------------------------------------------------------

ACCOUNT = (
    "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/imaging/providers/"
    "Microsoft.Storage/storageAccounts/images"
)


@compiled
def test_two_environments_read_one_account_and_share_no_more_than_its_topic():
    def deployed(name, more=""):
        source = f"param dicomStorageAccountId = '{ACCOUNT}'\n"
        text = f"{HEAD}param environmentName = '{name}'\nparam network = 'public'\n{source}{more}"
        return flatten(bicep.evaluate(text)["predictedResources"])

    first = deployed("imaging")
    (topic,) = (key for key, said in first.items() if said["type"] == '"Microsoft.EventGrid/systemTopics"')
    second = deployed("research", f"param existingStorageTopicName = '{topic.rpartition('/')[2]}'\n")
    assert not first.keys() & second.keys(), "the second would change, or take away, what the first has made"
    assert topic not in second
    subscriptions = [
        {key for key, said in one.items() if said["type"].endswith('/eventSubscriptions"')} for one in (first, second)
    ]
    assert all(subscriptions)
    assert {key.rpartition("/eventSubscriptions/")[0] for key in set.union(*subscriptions)} == {topic}


@compiled
def test_one_name_in_two_regions_is_two_environments():
    text = f"{HEAD}param environmentName = 'imaging'\nparam network = 'public'\n"
    names = [
        {
            resource["name"]
            for resource in bicep.evaluate(one)["predictedResources"]
            if resource["type"].endswith("storageAccounts")
        }
        for one in (text, text.replace("westeurope", "northeurope"))
    ]
    assert not names[0] & names[1]


def test_nothing_that_an_operator_sets_beside_the_templates_is_reset_but_application_settings():
    """A firewall, tags of a subscription's policy and a lock stay: the templates say nothing of them unless asked."""
    for account in of_type("Microsoft.Storage/storageAccounts"):
        assert account["properties"].get("networkAcls") is None
        assert account["properties"].get("publicNetworkAccess") is None
    page = (INFRA.parent / "docs" / "disaster-recovery.md").read_text("utf-8")
    assert "Settings that were made by hand in the portal are lost" in page
