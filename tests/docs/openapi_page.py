"""Writes docs/openapi.json and docs/http-api.md from the functions: ``python -m tests.docs.openapi_page``."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sync import __version__
from sync.model import SubjectKind
from sync.monitoring.status_model import Status
from sync.monitoring.study_state import StudyState
from sync.operators.access import OPERATOR_HEADER
from sync.replay.requests import SOURCES
from sync.web.removals import DECISIONS
from sync.web.study_list import STATES, Listing
from sync.web.walks import DEEDS

ROOT = Path(__file__).parents[2]
DOCUMENT, PAGE = ROOT / "docs" / "openapi.json", ROOT / "docs" / "http-api.md"

_TEXT, _FLAG, _NUMBER = {"type": "string"}, {"type": "boolean"}, {"type": "integer"}
_KINDS = {"type": "string", "enum": [kind.value for kind in SubjectKind]}
_OBJECT: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One HTTP function as `function_app.py` declares it."""

    name: str
    path: str
    methods: tuple[str, ...]
    open: bool
    text: str


def routes() -> Iterator[Route]:
    """Iterate over the HTTP functions, in the order of the file."""
    for node in ast.parse((ROOT / "function_app.py").read_text("utf-8")).body:
        if not isinstance(node, ast.AsyncFunctionDef) or not node.decorator_list:
            continue
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.decorator_list[0].keywords}  # type: ignore[attr-defined]
        if "route" in given:
            yield Route(
                name=node.name,
                path=f"/api/{ast.literal_eval(given['route'])}",
                methods=tuple(ast.literal_eval(given["methods"])),
                open="ANONYMOUS" in given.get("auth_level", ""),
                text=ast.get_docstring(node) or "",
            )


def _fields(required: tuple[str, ...] = (), **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


_LETTER = _fields(
    ("kind", "subject", "code", "detail", "hint", "first_at", "last_at", "attempts"),
    kind=_KINDS,
    subject=_TEXT,
    code=_TEXT,
    detail=_TEXT,
    hint=_TEXT,
    first_at={"type": "string", "format": "date-time"},
    last_at={"type": "string", "format": "date-time"},
    attempts=_NUMBER,
    secrets=_OBJECT,
)
_FAILURE = _fields(("code", "hint"), code=_TEXT, detail=_TEXT, hint=_TEXT)
_SELECTION = {
    "kind": _KINDS,
    "subject": _TEXT,
    "code": _TEXT,
    "all": _FLAG,
    "dry_run": _FLAG,
    "who": _TEXT,
}
_REPORT = _fields(
    ("dry_run", "selected", "by_code", "outcomes"),
    dry_run=_FLAG,
    selected=_NUMBER,
    by_code={"type": "object", "additionalProperties": _NUMBER},
    outcomes={"type": "object", "additionalProperties": _NUMBER},
)
_FILTERS = {
    "state": {"type": "string", "enum": list(STATES)},
    "modality": _TEXT,
    "source": _TEXT,
    "from": {"type": "string", "format": "date"},
    "to": {"type": "string", "format": "date"},
    "q": {**_TEXT, "description": "Study Instance UID or accession number."},
    "sort": {"type": "string", "enum": ["changed", "started"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": 200},
    "token": {**_TEXT, "description": "Token that the previous page returned."},
}

QUERIES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "studies": _FILTERS,
    "study": {"partition": _TEXT},
    "dead_letters": {"code": _TEXT, "limit": {"type": "integer", "minimum": 1, "maximum": 500}, "token": _TEXT},
    "dead_letter": {
        "secrets": {**_FLAG, "description": "Also object name, study or message; operators only, audited."}
    },
    "dashboard": {},
}
"""Parameters of the query, by function."""

BODIES: Mapping[str, Mapping[str, Any]] = {
    "studies": _fields(**_FILTERS, patient={**_TEXT, "description": "Patient ID; operators only."}),
    "retry_dead_letters": _fields(**_SELECTION),
    "discard_dead_letters": _fields(("why",), **_SELECTION, why=_TEXT),
    "decide_removals": _fields(("why",), who=_TEXT, why=_TEXT, until={"type": "string", "format": "date-time"}),
    "replay": _fields(
        source={"type": "string", "enum": list(SOURCES)},
        **{"from": {"type": "string", "format": "date-time"}, "to": {"type": "string", "format": "date-time"}},
        study=_TEXT,
        partition=_TEXT,
        reread=_FLAG,
        rate={"type": "number", "description": "Studies a second at most, by all workers."},
        dry_run=_FLAG,
        who=_TEXT,
    ),
    "backfill": _fields(
        container=_TEXT,
        prefix=_TEXT,
        since={"type": "string", "format": "date-time"},
        rate={"type": "number", "description": "Studies a second at most, by all workers."},
        who=_TEXT,
    ),
    "change_walk": _fields(who=_TEXT),
    "dashboard": {"type": "object", "description": "Fields of the page's form."},
}
"""Fields of a POST, as JSON or as a form."""

ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "health": _fields(("status",), status={"type": "string", "enum": ["ok", "failing"]}),
    "status": {"$ref": "#/components/schemas/Status"},
    "studies": {"$ref": "#/components/schemas/Listing"},
    "study": {"$ref": "#/components/schemas/StudyState"},
    "dead_letters": {
        "oneOf": [
            _fields(("total", "counted_at", "by_code"), total=_NUMBER, counted_at={}, by_code=_OBJECT),
            _fields(("letters", "token"), letters={"type": "array", "items": _LETTER}, token={}),
        ]
    },
    "dead_letter": _LETTER,
    "retry_dead_letters": _REPORT,
    "discard_dead_letters": _REPORT,
    "removals": _fields(
        ("studies", "limit", "held", "held_since", "until"),
        studies=_NUMBER,
        limit=_NUMBER,
        held=_NUMBER,
        held_since={},
        until=_TEXT,
    ),
    "decide_removals": _fields(confirmed=_NUMBER, refused=_NUMBER),
    "walks": _fields(("walks",), walks={"type": "array", "items": _OBJECT}),
    "backfill": _fields(("begun", "walks"), begun=_FLAG, walks={"type": "array", "items": _OBJECT}),
    "change_walk": _fields(("changed", "walk"), changed=_FLAG, walk=_OBJECT),
    "replay_list": _fields(("replays",), replays={"type": "array", "items": _OBJECT}),
    "replay": _fields(begun=_FLAG, replay=_OBJECT, dry_run=_FLAG, studies={"type": "array"}, objects=_OBJECT),
}
"""JSON of a success, by function; the others answer a page or text."""

_OTHER = {"metrics": "text/plain", "dashboard_file": "text/css"}
_ACTS = ("retry_dead_letters", "discard_dead_letters", "decide_removals", "replay", "backfill", "change_walk")
_SHOWN_ERRORS = {"400": "The request is malformed", "403": "The caller is not allowed to do this", "404": "Not found"}


def _parameters(route: Route) -> list[dict[str, Any]]:
    names = [part.strip("{}?") for part in route.path.split("/") if part.startswith("{")]
    enums = {"kind": _KINDS, "decision": {"type": "string", "enum": list(DECISIONS)}}
    enums["deed"] = {"type": "string", "enum": list(DEEDS)}
    in_path = [{"name": n, "in": "path", "required": True, "schema": enums.get(n, _TEXT)} for n in names]
    in_query = [
        {"name": name, "in": "query", "schema": {k: v for k, v in schema.items() if k != "description"}}
        | ({"description": schema["description"]} if "description" in schema else {})
        for name, schema in QUERIES.get(route.name, {}).items()
    ]
    header = {"name": OPERATOR_HEADER, "in": "header", "schema": _TEXT, "description": "Name of the operator to audit."}
    return [*in_path, *in_query, *([header] if route.name in _ACTS else [])]


def _operation(route: Route, method: str) -> dict[str, Any]:
    success = "202" if route.name in {"replay", "backfill"} else "200"
    if route.name in ANSWERS:
        content = {"application/json": {"schema": ANSWERS[route.name]}}
    else:
        content = {_OTHER.get(route.name, "text/html"): {"schema": _TEXT}}
    failure = {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}
    shown = _SHOWN_ERRORS if route.name in {*BODIES, *QUERIES, "dead_letter"} else {}
    answers: dict[str, Any] = {success: {"description": route.text, "content": content}}
    if route.name == "replay":
        answers["200"] = {"description": "Return the dry run of one study.", "content": content}
    if route.name in ANSWERS:
        answers |= {code: {"description": text, "content": failure} for code, text in shown.items()}
        answers["503"] = {"description": "Storage or FHIR does not answer; ask again.", "content": failure}
    operation: dict[str, Any] = {
        "operationId": route.name if len(route.methods) == 1 else f"{route.name}_{method.lower()}",
        "summary": route.text,
        "parameters": _parameters(route),
        "responses": answers,
    }
    if method == "POST":
        forms = ("application/json", "application/x-www-form-urlencoded")
        body = BODIES.get(route.name, _OBJECT)
        operation["requestBody"] = {"content": {form: {"schema": body} for form in forms}}
        if route.name == "studies":
            operation["parameters"] = []
    if route.open:
        operation["security"] = []
    return operation


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, Any] = {}
    for route in routes():
        path = route.path.replace("?}", "}")
        paths.setdefault(path, {}).update({method.lower(): _operation(route, method) for method in route.methods})
    schemas: dict[str, Any] = {"Failure": _FAILURE}
    for kind in (Status, StudyState, Listing):
        schema = TypeAdapter(kind).json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[kind.__name__] = schema
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "DICOM-FHIR Sync",
            "version": __version__,
            "description": "HTTP functions of the function app. Actions need the operator role.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "https://{app}.azurewebsites.net", "variables": {"app": {"default": "app"}}}],
        "security": [{"key": []}, {"code": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                "code": {"type": "apiKey", "in": "query", "name": "code"},
            },
        },
    }


def text() -> str:
    """Return the document as a file."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


_HEAD = """\
# HTTP API

The function app answers these requests. [`openapi.json`](openapi.json) describes them as OpenAPI 3.1, with parameters,
bodies and answers. Both are generated from the code by `.venv/bin/python -m tests.docs.openapi_page`; a test validates
real answers against them.

Send the function key in the header `x-functions-key`, or as `?code=`; `health` and the dashboard's two files need none.
Actions (`POST`) need the [operator role](sign-in.md), take JSON or a form, and are idempotent. Every failure has the
same body: `code` (a heading of the [runbook](runbook.md)), `detail` and `hint`. Its status is 400 (malformed), 403 (not
allowed), 404 (not found) or 503 (try again).

| request | purpose | parameters |
|---|---|---|
"""


def page() -> str:
    """Return the page."""
    rows = []
    for route in routes():
        fields = sorted({*QUERIES.get(route.name, {}), *BODIES.get(route.name, {}).get("properties", {})})
        shown = ", ".join(f"`{name}`" for name in fields)
        rows.append(f"| `{'`, `'.join(route.methods)}` `{route.path}` | {route.text} | {shown} |")
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(text(), "utf-8")
    PAGE.write_text(page(), "utf-8")
