"""
A stand-in for an Event Grid topic on this machine: accepts and refuses the same requests as the real service.

    POST {path}?api-version=2018-01-01
    aeg-sas-key: …
    Content-Type: application/cloudevents-batch+json; charset=utf-8

An array of CloudEvents 1.0, one megabyte at most, all or none. Source: Azure Event Grid, "Publish events to custom
topics" and "CloudEvents v1.0 schema"; CloudEvents 1.0.2, "Required attributes".
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

_LARGEST = 1024 * 1024
_API = "2018-01-01"
_REQUIRED = ("id", "source", "type")


@dataclass
class Topic:
    """A running topic: where it is, what opens it, what it got. ``status`` other than 200 is answered to everything."""

    url: str
    key: str
    events: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    requests: int = 0

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one request as the service does."""
        self.requests += 1
        if request.headers.get("aeg-sas-key") != self.key:
            return _refusal(401, "Unauthorized")
        if self.status != 200:  # noqa: PLR2004 -- HTTP's own
            return _refusal(self.status, "AsToldTo")
        body = await request.read()
        if len(body) > _LARGEST:
            return _refusal(413, "PayloadTooLarge")
        problem = _problem(request, body)
        if problem:
            return _refusal(400, problem)
        self.events += json.loads(body)
        return web.Response(status=200)


@asynccontextmanager
async def result_topic(key: str = "a2V5") -> AsyncIterator[Topic]:
    """Run a topic on the loopback address for the length of the block."""
    topic = Topic(url="", key=key)
    app = web.Application(client_max_size=2 * _LARGEST)
    app.router.add_post("/api/events", topic.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        topic.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/events"
        yield topic
    finally:
        await runner.cleanup()


def _problem(request: web.Request, body: bytes) -> str:
    """Return the reason for which the service would refuse a request; empty if it accepts it."""
    if request.query.get("api-version") != _API:
        return "api-version"
    if request.content_type != "application/cloudevents-batch+json":
        return "content type"
    try:
        events = json.loads(body)
    except ValueError:
        return "no JSON"
    if not isinstance(events, list):
        return "no batch"
    return next((wrong for event in events if (wrong := _wrong(event))), "")


def _wrong(event: Any) -> str:
    if not isinstance(event, dict) or event.get("specversion") != "1.0":
        return "specversion"
    if not all(isinstance(event.get(name), str) and event[name] for name in _REQUIRED):
        return "a required attribute"
    if not all(name.isascii() and name.isalnum() and name == name.lower() for name in event if name != "data_base64"):
        return "the name of an attribute"
    try:
        return "" if datetime.fromisoformat(event.get("time", "2026-01-01T00:00:00Z")).tzinfo else "time"
    except ValueError:
        return "time"


def _refusal(status: int, code: str) -> web.Response:
    return web.json_response({"error": {"code": code}}, status=status)
