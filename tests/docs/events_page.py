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

What the sync tells others as it happens: AI pipelines that wait for a study, worklists, alerting. Each is a
CloudEvent 1.0, sent to the Event Grid topic that `DICOM_SYNC_EVENTS_TOPIC` names; without it nobody is told.

- **At least once, in no particular order.** A repeat has the same `id`: keep the ids you have seen. What an event
  says was true of FHIR when it was sent; read the resource for what is true now.
- **News only.** A replay that changes nothing tells nothing. `study.failed` is told once for a reason; what ends it
  is a `study.synced` or `study.removed`.
- **No patient data.** Studies and objects go by hashed keys, the same that the log and the dead letters have. Study
  Instance UIDs are there only with `DICOM_SYNC_EVENTS_UIDS`.
- **Never in the way.** A topic that is down holds up no study: events wait in table `outbox`, and are sent within
  half a minute of its return.
- **Versioned.** A field is never renamed or removed, nor its meaning changed: that would be a `v2` beside the `v1`.
  Fields may be added.

| attribute | holds |
|---|---|
| `source` | base URL of the FHIR service; references in `data` are relative to it |
| `type` | one of those below |
| `subject` | what it is about: `studies/KEY`, `objects/KEY`, `alerts/NAME` |
| `id` | the same whenever the event is sent again |
| `time` | when it was noted |
| `dataschema` | a URN that ends in the name of the schema below |

To try it, any HTTPS endpoint or queue can be an event subscription of the topic; filter by `type`. Why it is done so:
[ADR 0018](adr/0018-result-events.md).
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
    for each in RESULTS:
        (SCHEMAS / f"{each.name}.v1.json").write_text(schema_text(each), encoding="utf-8")
