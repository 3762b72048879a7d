"""
What Azure cannot change once it is made, of every resource of some choices, as the last release deploys it.

    .venv/bin/python -m tests.infra.released      writes tests/infra/released.json anew, when a release is made

A later template that names a resource otherwise, or says another of these values, does not upgrade a deployment: Azure
refuses the change, or makes a second, empty resource beside the first.

Source: Azure, "Resource Manager template reference", by type; "Storage account overview"; "System topics in Azure Event
Grid"; "Troubleshoot Azure RBAC" (a role assignment cannot be updated).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.infra.reviewed import Flat, flat

FILE = Path(__file__).parent / "released.json"
CHOICES = ("base", "private-with-dicom", "source-existing")

Fixed = dict[str, Flat]

EVERYWHERE = ("type", "location", "kind")
IMMUTABLE = {
    "Microsoft.Authorization/roleAssignments": ("properties.principalId", "properties.roleDefinitionId"),
    "Microsoft.Consumption/budgets": ("properties.timePeriod.startDate", "properties.timeGrain"),
    "Microsoft.EventGrid/systemTopics": ("properties.source", "properties.topicType"),
    "Microsoft.HealthcareApis/workspaces/fhirservices": ("properties.authenticationConfiguration.audience",),
    "Microsoft.Network/privateEndpoints": ("properties.subnet.id", "properties.customNetworkInterfaceName"),
    "Microsoft.Network/virtualNetworks": ("properties.addressSpace.addressPrefixes",),
    "Microsoft.Storage/storageAccounts": (
        "sku.name",
        "properties.isHnsEnabled",
        "properties.encryption.requireInfrastructureEncryption",
        "properties.encryption.services.queue.keyType",
        "properties.encryption.services.table.keyType",
    ),
    "Microsoft.Web/serverfarms": ("sku.name", "sku.tier", "properties.reserved"),
}
"""Paths that only a new resource can have another value at, beside those of every type."""


def fixed(choice: str) -> Fixed:
    """Return what cannot be changed of each resource of a reviewed choice, by id."""
    return {key: _fixed(said) for key, said in flat(choice).items()}


def _fixed(said: Flat) -> Flat:
    paths = (*EVERYWHERE, *IMMUTABLE.get(json.loads(said["type"]), ()))
    # What Azure alone knows is an expression, which may be written in another way.
    return {path: said[path] for path in paths if path in said and not said[path].startswith(('"[', '"sha256:'))}


def replaced(before: Mapping[str, Flat], after: Mapping[str, Flat]) -> Iterator[tuple[str, str]]:
    """Give what a deployment after another would have to make anew: id and path."""
    for key in before.keys() & after.keys():
        for path in before[key].keys() | after[key].keys():
            if before[key].get(path) != after[key].get(path):
                yield key, path


def left_behind(before: Mapping[str, Flat], after: Mapping[str, Flat]) -> Iterator[str]:
    """Give the ids of what a deployment after another makes no longer: it stays, or has got another name."""
    yield from before.keys() - after.keys()


def released() -> dict[str, Fixed]:
    """Return what the last release deploys, by choice."""
    fixed_parts: dict[str, Fixed] = json.loads(FILE.read_text("utf-8"))
    return fixed_parts


def main() -> None:
    """Write the file anew."""
    made = {choice: fixed(choice) for choice in CHOICES}
    FILE.write_text(json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
