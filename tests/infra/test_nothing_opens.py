"""
From choice to choice: nothing that was closed is opened, nothing that keeps data goes, unless a parameter says so.

A parameter that is left out is one such pair: the choice without it beside the choice with it. What only opens or keeps
by a parameter of its own is compared between choices that agree in those parameters.
"""

import itertools
import re
from functools import cache

from scripts.bicep import CHOICES
from tests.infra.reviewed import choices, flat

OPENING = {"network", "publicApi", "apiIpRanges", "publicHealth", "allowedIpRanges", "stateAccess"}
"""Parameters that may open something, each named after it."""

KEEPING = {
    "auditLogs",
    "auditRetention",
    "auditWorkspaceId",
    "changeFeedDays",
    "deletedDays",
    "dicomContainers",
    "dicomServiceName",
    "dicomStorageAccountId",
    "fhirKind",
    "healthWorkspaceId",
    "locks",
    "logAnalyticsId",
    "logRetention",
    "names",
}
"""Parameters that say what keeps data, or for how long."""

DATA = ("/storageAccounts/", "/workspaces/")
NO_DATA = ("Microsoft.Insights", "roleAssignments", "eventSubscriptions")
DAYS = ("deleteRetentionPolicy.days", "RetentionPolicy.days", "retentionInDays")


@cache
def given(choice):
    """Return the parameters of a choice, as they are written."""
    text = (CHOICES / f"{choice}.bicepparam").read_text()
    return dict(re.findall(r"^param (\w+) = (.*?)(?=^param |\Z)", text, re.MULTILINE | re.DOTALL))


def pairs(*, agreeing_in):
    """Give every two choices that say the same of some parameters."""
    for before, after in itertools.permutations(choices(), 2):
        if all(given(before).get(name) == given(after).get(name) for name in agreeing_in):
            yield before, after


def openings(before, after):
    """Give what is open in one choice and was closed in another, by resource and path."""
    for key in flat(before).keys() & flat(after).keys():
        old, new = flat(before)[key], flat(after)[key]
        for path, closed in old.items():
            now = new.get(path, "absent")
            shut = path.endswith("publicNetworkAccess") and closed == '"Disabled"'
            denied = path.endswith("efaultAction") and closed == '"Deny"'
            joined = path.endswith("virtualNetworkSubnetId")
            forbidden = path in ("properties.allowSharedKeyAccess", "properties.allowBlobPublicAccess")
            if now != closed and (shut or denied or forbidden or (joined and now in ("absent", "null"))):
                yield key, path, closed, now
        for path, now in new.items():
            if re.search(r"ipRules|ipSecurityRestrictions\[", path) and now not in ("[]", *old.values()):
                yield key, path, old.get(path, "absent"), now


def test_nothing_opens_unless_a_parameter_says_so():
    compared = 0
    for before, after in pairs(agreeing_in=OPENING):
        compared += 1
        assert list(openings(before, after)) == [], (before, after)
    assert compared > 1000


def test_the_comparison_sees_each_kind_of_opening():
    properties = {path.rpartition(".")[2] for _, path, *_ in openings("private-landing-zone", "base")}
    assert {"publicNetworkAccess", "defaultAction", "virtualNetworkSubnetId"} <= properties
    assert any("ipRules" in path for _, path, *_ in openings("private", "private-ranges"))


def test_leaving_one_parameter_out_opens_nothing():
    """What opens has to be said; without it the choice is the closed one, or refused."""
    for name in ("private-public-api", "private-public-health", "private-ranges"):
        assert list(openings(name, "private")) == [], name
    assert list(openings("private", "private-public-api")) != []
    assert list(openings("private", "private-public-health")) != []


def losses(before, after):
    """Give what kept data in one choice and is not in another, or keeps it for a shorter time."""
    for key, old in flat(before).items():
        new = flat(after).get(key)
        if new is None:
            if any(part in f"{key}/" for part in DATA) and not any(part in old["type"] for part in NO_DATA):
                yield key, "gone"
            continue
        for path, value in old.items():
            if path.endswith(DAYS) and int(new.get(path, "0")) < int(value):
                yield key, path
            if path.endswith(".enabled") and value == "true" and "olicy" in path and new.get(path) != "true":
                yield key, path


def test_nothing_that_keeps_data_goes_unless_a_parameter_says_so():
    compared = 0
    for before, after in pairs(agreeing_in=KEEPING):
        compared += 1
        assert list(losses(before, after)) == [], (before, after)
    assert compared > 500


def test_the_comparison_sees_each_kind_of_loss():
    assert any(path == "gone" for _, path in losses("base", "source-existing"))
    assert any("days" in path.lower() for _, path in losses("source-kept-long", "base"))
    assert any(path == "gone" for _, path in losses("audit-logs", "base"))
