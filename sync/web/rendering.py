"""
Pages as HTML: Jinja2 escapes every value, and the headers let a browser run only our own two files.

A page's links keep the function key of the page's own address, because browsers have no other place to hold it; it is
never sent to another site.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from sync import __version__
from sync.operators.access import Caller
from sync.ports import Clock
from sync.web import charts
from sync.web.exchange import Request
from sync.words import counted

REFRESH = 10
"""Seconds between two refreshes of a page that is viewed."""

_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_FILES = {"dashboard.css": "text/css", "dashboard.js": "text/javascript"}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPage:
    """A page as sent to a browser."""

    body: str = field(repr=False)
    status: int = 200
    mimetype: str = "text/html"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request for a page, its caller and its time."""

    request: Request
    base: str
    """Path of the dashboard as the browser sees it, without a slash at the end."""
    caller: Caller
    clock: Clock

    def link(self, path: str = "", **query: Any) -> str:
        """Return the address of a dashboard page, with the key if the visitor sent one; empty values are left out."""
        filled = {name: value for name, value in query.items() if value not in ("", None)}
        if code := self.request.query.get("code"):
            filled["code"] = code
        address = f"{self.base}/{path}" if path else self.base
        return f"{address}?{urlencode(filled)}" if filled else address


def render(visit: Visit, template: str, *, title: str, status: int = 200, **values: Any) -> RenderedPage:
    """Render a template."""
    shared = {
        "link": visit.link,
        "now": visit.clock.now(),
        "code": visit.request.query.get("code", ""),
        "caller": visit.caller,
        "version": __version__,
        "refresh": 0,
        "here": None,
        "asked": "",
        "said": "",
    }
    body = _environment().get_template(template).render({**shared, "title": title, **values})
    return RenderedPage(body=body, status=status, headers={**_SECURITY, "Cache-Control": "no-store"})


def redirect(address: str) -> RenderedPage:
    """Send the browser on, by GET."""
    return RenderedPage(body="", status=303, headers={**_SECURITY, "Location": address, "Cache-Control": "no-store"})


def file(name: str) -> RenderedPage:
    """Answer one of our two files; 404 for any other name."""
    if name not in _FILES:
        return RenderedPage(body="", status=404, mimetype="text/plain", headers=_SECURITY)
    text = files("sync.web").joinpath("static", name).read_text(encoding="utf-8")
    return RenderedPage(body=text, mimetype=_FILES[name], headers={**_SECURITY, "Cache-Control": "max-age=300"})


@cache
def _environment() -> Environment:
    """Return the environment of this process, which caches compiled templates."""
    environment = Environment(
        loader=PackageLoader("sync.web"),
        auto_reload=False,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "counted": counted,
        "drawn": charts.drawn,
        "legend": charts.legend,
        "ago": _ago,
        "short": short,
        "clock": lambda timestamp: timestamp.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "plus": lambda number: f"+{number:,.0f}" if number else "0",
    }
    return environment


def short(subject: str, length: int = 12) -> str:
    """
    Return the part of a subject that distinguishes it from others.

    The key of an object begins with the key of its folder, which all objects of the folder share; its own part follows
    the point.
    """
    own = subject.rpartition(".")[2] if re.fullmatch(r"[0-9a-f]+(-\d+)?\.[0-9a-f]+", subject) else subject
    return own if len(own) <= length else f"{own[:length]}…"


@pass_context
def _ago(context: Context, timestamp: str | datetime | None) -> str:
    return ago(timestamp, context["now"])


def ago(timestamp: str | datetime | None, now: datetime) -> str:
    """Return in words how long ago a time was."""
    if not timestamp:
        return ""
    then = datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else timestamp
    return f"{span((now - then).total_seconds())} ago"


def span(seconds: float) -> str:
    """Return a duration in its largest sensible unit."""
    whole = max(round(seconds), 0)
    if whole < 2 * _MINUTE:
        return f"{whole} s"
    if whole < 2 * _HOUR:
        return f"{whole // _MINUTE} min"
    return f"{whole // _HOUR} h" if whole < 2 * _DAY else counted(whole // _DAY, "day")
