"""Writes docs/events.md and docs/schemas from `sync.model.result_events`: ``python -m tests.docs.events_page``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sync.model.result_events import RESULTS, Result

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "events.md"
SCHEMAS = DOCS / "schemas"

_TEXT = """\
# Result events

The sync publishes events as it works, for AI pipelines, worklists and alerting. Each is a CloudEvent 1.0, sent to the
Event Grid topic in `DICOM_SYNC_EVENTS_TOPIC`. If unset, no events are published.

- **At least once, unordered.** A repeated event has the same `id`; subscribers deduplicate by it. An event describes
FHIR
  at the time of sending; read the resource for the current state.
- **Changes only.** A replay that changes nothing publishes nothing. `study.failed` is published once per reason and
ends with
  `study.synced` or `study.removed`.
- **No patient data.** Studies and objects have hashed keys, the same as in the log and the dead letters. Study
Instance UIDs
  are included only with `DICOM_SYNC_EVENTS_UIDS`.
- **Decoupled.** A topic outage delays no study: events wait in table `outbox` and are sent within 30 seconds of its
  recovery.
- **Versioned.** Fields may be added, but are never renamed, removed or redefined; such a change would be a `v2` beside
`v1`.

| attribute | content |
|---|---|
| `source` | base URL of the FHIR service; references in `data` are relative to it |
| `type` | one of those below |
| `subject` | `studies/KEY`, `objects/KEY`, `alerts/NAME`, `readers/KEY` or `models/KEY` |
| `id` | unique per event; the same in repeats |
| `time` | time of the event |
| `dataschema` | a URN that ends in the name of the schema below |

Any HTTPS endpoint or queue can subscribe to the topic; filter by `type`. [ADR 0018](adr/0018-result-events.md) has the
reasons.
"""


def page() -> str:
    """Return the page."""
    return _TEXT + "".join(_section(result) for result in RESULTS)


def _section(result: type[Result]) -> str:
    schema = schema_of(result)
    required = set(schema.get("required", ()))
    rows = [
        f"| `{name}` | {_type(field)} | {'yes' if name in required else ''} | {field.get('description', '')} |"
        for name, field in schema["properties"].items()
    ]
    link = f"`{result.type()}`, [schema](schemas/{result.name}.v1.json)"
    head = f"\n## {result.name}\n\n{link}. {schema['description']}\n\n"
    return head + "\n".join(["| field | type | always | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    kinds = [one["type"] for one in field.get("anyOf", [field]) if one["type"] != "null"]
    return " or ".join(kinds)


def schema_of(result: type[Result]) -> dict[str, Any]:
    """Return the JSON Schema of an event's data."""
    schema = result.model_json_schema()
    del schema["additionalProperties"]  # fields may be added to a version
    schema["description"] = " ".join(schema["description"].split())
    for field in schema["properties"].values():
        field.pop("title", None)
        if "description" in field:
            field["description"] = " ".join(field["description"].split())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:dicom-fhir-sync:events:{result.name}.v1",
        **schema,
    }


def schema_text(result: type[Result]) -> str:
    """Return the file of the schema."""
    return json.dumps(schema_of(result), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMAS.mkdir(exist_ok=True)
    for result_event in RESULTS:
        (SCHEMAS / f"{result_event.name}.v1.json").write_text(schema_text(result_event), encoding="utf-8")
