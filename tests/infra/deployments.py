"""Deployments on paper: our templates with every choice that they offer, one with another."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

from tests.infra.bicep.evaluate import Module, Resource, deploy
from tests.infra.templates import INFRA

OTHERS = "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/imaging/providers"
NEEDED: dict[str, Any] = {"environmentName": "imaging-production-of-the-whole-hospital", "location": "westeurope"}

CHOICES: tuple[tuple[dict[str, Any], ...], ...] = (
    (
        {"dicomContainers": ["dicom", "x" * 63]},
        {"dicomStorageAccountId": f"{OTHERS}/Microsoft.Storage/storageAccounts/images", "changeFeedDays": 0},
        {
            "dicomStorageAccountId": f"{OTHERS}/Microsoft.Storage/storageAccounts/images",
            "existingStorageTopicName": "of-images",
            "dicomContainers": ["$root"],
            "dicomSuffix": ".dcm",
        },
    ),
    (
        {"fhirKind": "new"},
        {"fhirKind": "new", "dicomServiceName": "dicom"},
        {"fhirKind": "existing", "healthWorkspaceId": f"{OTHERS}/Microsoft.HealthcareApis/workspaces/health"},
        {
            "fhirKind": "existing",
            "healthWorkspaceId": f"{OTHERS}/Microsoft.HealthcareApis/workspaces/health",
            "dicomServiceName": "dicom",
            "existingWorkspaceTopicName": "of-health",
        },
        {"fhirKind": "other", "fhirUrl": "https://fhir.hospital.example/r4", "dicomServiceName": "ignored"},
    ),
    ({"network": "public"}, {"network": "private"}),
    ({}, {"resultEvents": False, "operatorPrincipalId": "44444444-4444-4444-4444-444444444444"}),
    (
        {},
        {
            "storageRedundancy": "Standard_LRS",
            "entraClientId": "55555555-5555-5555-5555-555555555555",
            "alertEmails": ["it@hospital.example"],
        },
    ),
)
"""Every way to set each group of parameters; groups are independent of each other."""


@cache
def deployments() -> list[list[Resource | Module]]:
    """Return what each combination of choices deploys."""
    return [
        deploy(INFRA / "main.bicep", {**NEEDED, **{key: value for each in chosen for key, value in each.items()}})
        for chosen in itertools.product(*CHOICES)
    ]


@cache
def resources() -> list[Resource]:
    """Return every resource of every deployment that is made and not merely looked up."""
    return [
        each
        for found in deployments()
        for each in found
        if isinstance(each, Resource) and each.made and not each.existing
    ]


@cache
def bodies() -> dict[str, list[dict[str, Any]]]:
    """Return what is said of the resources of each type and API version, all at once; a config goes by its name too."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for each in resources():
        kind = f"{each.type}/{each.name}" if each.type.endswith("/config") else each.type
        found.setdefault(f"{kind}@{each.version}", {})[repr(each.body)] = dict(each.body)
    return {kind: list(said.values()) for kind, said in sorted(found.items())}
