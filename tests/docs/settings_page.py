"""Writes docs/settings.md from the fields of `sync.config`: ``python -m tests.docs.settings_page``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from insights.settings import InsightsSettings
from sync.config import STATE, AlertSettings, DicomAccess, FhirAccess, HeaderLimits, MappingSettings, Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"

_TEXT = """\
# Settings

Environment variables of the function app ("application settings" on Azure), read once at start. Surrounding white
space is removed; a blank value counts as unset. An invalid value is never replaced by a default: `GET api/health`
answers 503 and names the setting, the log says `config.invalid`, and messages wait until it is corrected.

This page is generated from [`sync/config/settings.py`](../sync/config/settings.py) and the files beside it by
`.venv/bin/python -m tests.docs.settings_page`. `host.json` controls how queues are read: [ADR
0011](adr/0011-queue-settings.md).

## Connections

The FHIR service and one of the first two settings are required.

{places}

## Access to the FHIR service

Secrets belong in Key Vault, with a [reference](security.md) as the value of the setting. No log, error or page shows
them, and none is sent over plain http to another machine.

{fhir_access}

## Access to the DICOM service

{dicom_access}

## Sync

{sync}

## Alerts

The [runbook](runbook.md) explains each alert and its remedy.

{alert}

## Mapping

`python -m sync map` reads these too.

{mapping}

## Header limits

A file beyond one of these limits becomes a dead letter `header.limit`. `python -m sync map` reads these too.

{header}

## Questions about collected data

The commands `cohort`, `similar` and `models` read `DICOM_SYNC_MINIMUM_CELL` ({minimum}) from their own environment: the
smallest number of people that a count may show. Smaller counts, and differences that would reveal one, are hidden. The
function app does not read it.
"""

_SERVICES = tuple(f"{STATE}__{service}ServiceUri" for service in ("blob", "queue", "table"))
_PLACES = (
    STATE,
    f"{STATE}__accountName",
    *_SERVICES,
    "DICOM_SYNC_FHIR_URL",
    "DICOM_SYNC_SOURCE",
    "DICOM_SYNC_CONTAINERS",
)


def page() -> str:
    """Return the page."""
    variables = Settings.variables()
    mapping = MappingSettings.variables()
    elsewhere = {
        *_PLACES,
        *mapping,
        "DICOM_SYNC_HEADER",
        "DICOM_SYNC_ALERT",
        "DICOM_SYNC_FHIR_ACCESS",
        "DICOM_SYNC_DICOM_ACCESS",
    }
    return _TEXT.format(
        places=_table((name, variables[name]) for name in _PLACES),
        sync=_table((name, info) for name, info in variables.items() if name not in elsewhere),
        mapping=_table(mapping.items()),
        fhir_access=_table(FhirAccess.variables().items()),
        dicom_access=_table(DicomAccess.variables().items()),
        alert=_table(AlertSettings.variables().items()),
        header=_table(HeaderLimits.variables().items()),
        minimum=InsightsSettings.model_fields["minimum_cell"].default,
    )


def _table(fields: Iterable[tuple[str, FieldInfo]]) -> str:
    rows = [f"| `{name}` | {_default(info)} | {_meaning(info)} |" for name, info in fields]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    default: Any = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, tuple):
        default = ",".join(default)
    if isinstance(default, Mapping):
        default = json.dumps(default)
    return f"`{default}`" if default not in ("", "{}") else ""


def _meaning(info: FieldInfo) -> str:
    return " ".join((info.description or "").split()).replace("``", "`").replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
