"""
Writes tests/infra/azure_shapes.json: what Azure takes for each resource that the templates make.

    .venv/bin/python -m scripts.azure_shapes        (needs the network: it installs packages into a folder it removes)

Azure's own client libraries are generated from the same descriptions of its REST API as the types of Bicep: their
models know the names, kinds and values that a request may hold. They weigh more than a hundred megabytes, so only what
our templates can reach is kept: an object that they fill in is written out with all its names, another is just
"object". The library that has a resource in just the pinned API version is taken; where there is none, the nearest
that there is, and the file says so.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tempfile
from enum import Enum
from pathlib import Path
from typing import Any

from tests.infra.deployments import bodies

TARGET = Path(__file__).parents[1] / "tests" / "infra" / "azure_shapes.json"
COMMON = ["azure-common==1.1.28", "azure-mgmt-core==1.6.0", "isodate==0.7.2", "msrest==0.7.1"]

SOURCES = {
    "azure-mgmt-applicationinsights==4.1.0": {
        "applicationinsights.v2020_02_02": {"Microsoft.Insights/components": "ApplicationInsightsComponent"},
        "applicationinsights.v2023_06_01": {"Microsoft.Insights/workbooks": "Workbook"},
    },
    "azure-mgmt-authorization==4.0.0": {
        "authorization.v2022_04_01": {"Microsoft.Authorization/roleAssignments": "RoleAssignmentCreateParameters"},
    },
    "azure-mgmt-eventgrid==10.2.0": {
        "eventgrid": {
            "Microsoft.EventGrid/systemTopics": "SystemTopic",
            "Microsoft.EventGrid/systemTopics/eventSubscriptions": "EventSubscription",
            "Microsoft.EventGrid/topics": "Topic",
        },
    },
    "azure-mgmt-healthcareapis==2.1.0": {
        "healthcareapis": {
            "Microsoft.HealthcareApis/workspaces": "Workspace",
            "Microsoft.HealthcareApis/workspaces/dicomservices": "DicomService",
            "Microsoft.HealthcareApis/workspaces/fhirservices": "FhirService",
        },
    },
    "azure-mgmt-loganalytics==13.1.1": {"loganalytics": {"Microsoft.OperationalInsights/workspaces": "Workspace"}},
    "azure-mgmt-monitor==7.0.0": {
        "monitor": {
            "Microsoft.Insights/actionGroups": "ActionGroupResource",
            "Microsoft.Insights/metricAlerts": "MetricAlertResource",
            "Microsoft.Insights/scheduledQueryRules": "ScheduledQueryRuleResource",
        },
    },
    "azure-mgmt-monitor==6.0.2": {
        "monitor.v2021_05_01_preview": {"Microsoft.Insights/diagnosticSettings": "DiagnosticSettingsResource"},
    },
    "azure-mgmt-msi==7.0.0": {
        "msi.v2023_01_31": {"Microsoft.ManagedIdentity/userAssignedIdentities": "Identity"},
    },
    "azure-mgmt-network==26.0.0": {
        "network": {
            "Microsoft.Network/privateEndpoints": "PrivateEndpoint",
            "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "PrivateDnsZoneGroup",
            "Microsoft.Network/virtualNetworks": "VirtualNetwork",
        },
    },
    "azure-mgmt-privatedns==1.1.0": {
        "privatedns": {
            "Microsoft.Network/privateDnsZones": "PrivateZone",
            "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "VirtualNetworkLink",
        },
    },
    "azure-mgmt-resource==23.3.0": {
        "resource.resources.v2024_07_01": {"Microsoft.Resources/resourceGroups": "ResourceGroup"},
    },
    "azure-mgmt-storage==21.2.1": {
        "storage.v2023_05_01": {
            "Microsoft.Storage/storageAccounts": "StorageAccountCreateParameters",
            "Microsoft.Storage/storageAccounts/blobServices": "BlobServiceProperties",
            "Microsoft.Storage/storageAccounts/blobServices/containers": "BlobContainer",
            "Microsoft.Storage/storageAccounts/queueServices": "QueueServiceProperties",
            "Microsoft.Storage/storageAccounts/queueServices/queues": "StorageQueue",
            "Microsoft.Storage/storageAccounts/tableServices": "TableServiceProperties",
            "Microsoft.Storage/storageAccounts/tableServices/tables": "Table",
        },
    },
    "azure-mgmt-web==8.0.0": {
        "web.v2024_04_01": {
            "Microsoft.Web/serverfarms": "AppServicePlan",
            "Microsoft.Web/sites": "Site",
            "Microsoft.Web/sites/basicPublishingCredentialsPolicies": "CsmPublishingCredentialsPoliciesEntity",
            "Microsoft.Web/sites/config/appsettings": "StringDictionary",
            "Microsoft.Web/sites/config/authsettingsV2": "SiteAuthSettingsV2",
        },
    },
}

NEAREST = {
    "Microsoft.OperationalInsights/workspaces": "2025-07-01",
    "Microsoft.Resources/resourceGroups": "2024-07-01",
}
"""API versions that are not the pinned ones, because no library has those."""

_SIMPLE = {"str": "string", "bool": "bool", "int": "int", "long": "int", "float": "number", "object": "any"}
_OPAQUE = {
    "duration": "duration",
    "iso-8601": "string",
    "rfc-1123": "string",
    "unix-time": "int",
    "bytearray": "string",
}


def main() -> None:
    """Install, read, write; each package in a process of its own, for their names are the same."""
    said = bodies()
    shapes: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (package, modules) in enumerate(SOURCES.items()):
            place = Path(folder, str(number))
            subprocess.run(
                [sys.executable, "-m", "pip", "install", "-q", "--target", str(place), "--no-deps", package, *COMMON],
                check=True,
            )
            wanted = {kind: sayings for kind, sayings in said.items() if kind.partition("@")[0] in _types(modules)}
            asked = json.dumps({"package": package, "modules": modules, "said": wanted})
            command = [sys.executable, "-m", "scripts.azure_shapes", str(place)]
            answer = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
            if answer.returncode:
                raise SystemExit(answer.stderr)
            shapes |= json.loads(answer.stdout)
    missing = sorted(set(said) - set(shapes))
    if missing:
        raise SystemExit(f"no package for {missing}: add it to SOURCES")
    note = "Made by scripts/azure_shapes.py of Azure's client libraries. Do not edit: run it again."
    document = {"": note, **dict(sorted(shapes.items()))}
    lines = [f"{json.dumps(kind)}: {json.dumps(shape)}" for kind, shape in document.items()]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def _types(modules: dict[str, dict[str, str]]) -> set[str]:
    return {kind for models in modules.values() for kind in models}


def answer(place: str) -> None:
    """Read one package, in a process that has no other: what is asked comes in by standard input."""
    sys.path[:0] = [place]
    asked = json.load(sys.stdin)
    shapes = {}
    for module, models in asked["modules"].items():
        found = importlib.import_module(f"azure.mgmt.{module}.models")
        for typed, sayings in asked["said"].items():
            kind = typed.partition("@")[0]
            if kind not in models:
                continue
            source = f"{asked['package']} {module} {models[kind]}"
            if kind in NEAREST:
                source += f" {NEAREST[kind]}, the nearest version that there is"
            shape = _expanded(found, getattr(found, models[kind]), sayings)
            shapes[typed] = {"from": source, **shape}
    json.dump(shapes, sys.stdout)


def _expanded(models: Any, model: Any, sayings: list[Any]) -> dict[str, Any]:
    """Write an object out, with every name that it may have; deeper only where something is said."""
    kinds = vars(model).get("_subtype_map", {})
    if kinds:
        ((attribute, names),) = kinds.items()
        key = _plain(model._attribute_map[attribute]["key"])  # noqa: SLF001 — generated models have no other way
        said = {saying[key] for saying in sayings if saying.get(key) in names}
        chosen = {
            value: _expanded(models, getattr(models, name), [each for each in sayings if each.get(key) == value])
            for value, name in names.items()
            if value in said
        }
        return {"by": key, "values": sorted(names), "kinds": chosen}
    return {"object": _members(models, model, sayings)}


def _plain(key: str) -> str:
    return key.replace("\\.", ".")


def _members(models: Any, model: Any, sayings: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute, described in model._attribute_map.items():  # noqa: SLF001
        rules = model._validation.get(attribute, {})  # noqa: SLF001
        flags = "-" if rules.get("readonly") else "!" if rules.get("required") else ""
        *path, key = [_plain(part) for part in re.split(r"(?<!\\)\.", described["key"])]
        here, inner = found, sayings
        for step in path:
            here = here.setdefault(step, {"object": {}})["object"]
            inner = [each[step] for each in inner if isinstance(each.get(step), dict)]
        values = [each[key] for each in inner if key in each]
        here[key] = _typed(models, described["type"], values, flags, _values(models, model, attribute))
    return found


def _values(models: Any, model: Any, attribute: str) -> list[Any]:
    """Return the known values of a property, of which only the documentation of the model speaks."""
    where = re.search(
        rf":(?:var|kw)?(?:type|paramtype) {attribute}:(.*?)(?:\n\s*:|\n\s*\"\"\"|\Z)", _text(model), re.DOTALL
    )
    for name in re.findall(r"~[\w.]+\.(\w+)", where[1] if where else ""):
        listed = getattr(models, name, None)
        if isinstance(listed, type) and issubclass(listed, Enum):
            return [each.value for each in listed]
    return []


def _text(model: Any) -> str:
    return "\n".join([model.__doc__ or "", model.__init__.__doc__ or ""])


def _typed(models: Any, kind: str, values: list[Any], flags: str, known: list[Any]) -> Any:
    if kind.startswith("["):
        inner = [each for value in values if isinstance(value, list) for each in value]
        return {"array": _typed(models, kind[1:-1], inner, "", known), **_flagged(flags)}
    if kind.startswith("{"):
        inner = [each for value in values if isinstance(value, dict) for each in value.values()]
        return {"map": _typed(models, kind[1:-1], inner, "", known), **_flagged(flags)}
    if (known and kind in ("str", "int")) or isinstance(getattr(models, kind, None), type(Enum)):
        return {"values": known, **_flagged(flags)} if known else f"string{flags}"
    if kind in _SIMPLE or kind in _OPAQUE:
        return _SIMPLE.get(kind, _OPAQUE.get(kind, "any")) + flags
    objects = [each for each in values if isinstance(each, dict)]
    if objects and flags != "-":
        return {**_expanded(models, getattr(models, kind), objects), **_flagged(flags)}
    return f"object{flags}"


def _flagged(flags: str) -> dict[str, str]:
    return {"flags": flags} if flags else {}


if __name__ == "__main__":
    answer(sys.argv[1]) if sys.argv[1:] else main()
