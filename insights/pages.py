"""Shared by pages: a template, an answer with its headers, a failure as a page, an AuditEvent before any data."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from html import escape
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from insights.errors import Unavailable
from insights.fetch.service import FhirService
from sync.words import counted

_AUDIT_TYPE = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110110", "display": "Patient Record"}

_STYLE = (
    ":root{color-scheme:light dark}"
    "html{font:16px/1.5 system-ui,sans-serif;background:#f6f7f9;color:#16202c}"
    "@media(prefers-color-scheme:dark){html{background:#10161d;color:#e8edf3}}body{margin:0}"
    "main{max-width:76rem;margin:auto;padding:1rem}h1{font-size:1.5rem}"
)
"""Style of failure pages, in the colours of the other pages."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a browser."""

    body: str = field(repr=False)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def headers(policy: str) -> dict[str, str]:
    """Return the headers of a page: its policy, no frames, no cache, no referrer."""
    return {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


@cache
def template(package: str) -> Template:
    """Return ``page.html`` of a package, compiled once; it escapes values and fails on missing ones."""
    environment = Environment(
        loader=PackageLoader(package, "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    environment.filters["counted"] = counted
    return environment.get_template("page.html")


def problem(status: int, heading: str, text: str) -> Answer:
    """Return a failure as a page."""
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(heading)}</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head>'
        f"<body><main><h1>{escape(heading)}</h1><p>{escape(text)}</p></main></body></html>"
    )
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    sources = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:"
    return Answer(body, status, headers(f"{sources}; base-uri 'none'; form-action 'none'"))


async def record_access(
    service: FhirService,
    name: str,
    references: Iterable[str],
    *,
    page: str,
    outcome: Literal["0", "4"] = "0",
    action: Literal["R", "U"] = "R",
) -> None:
    """
    Record who views or marks which resources, before they are shown or written.

    Parameters
    ----------
    references
        Resources, such as ``Patient/ID``.
    outcome
        ``0`` if the page is shown, ``4`` if it is refused.

    Raises
    ------
    Unavailable
        The AuditEvent could not be written, so nothing may be shown.
    """
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": str(uuid.uuid4()),
        "type": _AUDIT_TYPE,
        "action": action,
        "recorded": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "outcome": outcome,
        "agent": [{"name": name, "requestor": True}],
        "source": {"observer": {"display": f"DICOM-FHIR Sync {page}"}},
        "entity": [{"what": {"reference": reference}} for reference in references],
    }
    if not event["entity"]:
        del event["entity"]
    answer = await service.put(f"/AuditEvent/{event['id']}", event)
    if answer.is_error:
        raise Unavailable("the AuditEvent is refused", code="collect.unavailable")
