"""A FHIR service in memory behind HTTP: as much of R4's REST interface as the sync uses, answered as servers do."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx

from sync.adapters.http.fhir.references import NOT_REFERENCED
from sync.errors import FhirConflict, FhirRejected
from sync.model import FhirWrite, Resource, references_in
from sync.testing.fhir import MemoryFhirServer
from tests.simulation.gateway.lies import Answer, Asked, Reset, Send

BASE = "https://fhir.example/r4"
_JSON = {"Content-Type": "application/fhir+json; charset=utf-8"}
_PAGE = 2


class FhirService:
    """
    Serves a `MemoryFhirServer`.

    A search answers with as many pages as it takes, and every page names itself, as servers do.
    """

    def __init__(self, server: MemoryFhirServer) -> None:
        self.server = server

    def serve(self, asked: Asked) -> Answer:
        """Answer a request."""
        parts = [part for part in asked.path.removeprefix("/r4").split("/") if part]
        match asked.method, parts:
            case "GET", [kind, resource_id]:
                return self._read(kind, resource_id)
            case "GET", [kind]:
                return self._list(kind, asked)
            case "POST", [kind, "_search"]:
                return self._search(kind, dict(parse_qsl(asked.body.decode())))
            case "POST", []:
                return self._bundle(json.loads(asked.body))
        return _outcome(404, "not-found")

    def _read(self, kind: str, resource_id: str) -> Answer:
        resource = self.server.peek(kind, resource_id)
        return _outcome(404, "not-found") if resource is None else _said(200, resource)

    def _list(self, kind: str, asked: Asked) -> Answer:
        after, subject = asked.query.get("after", ""), asked.query.get("subject", "")
        resources = [resource for resource in self.server.resources(kind) if resource["id"] > after]
        resources = [
            event for event in resources if not subject or event.get("subject", {}).get("reference") == subject
        ]
        links = [_link("self", f"{BASE}/{kind}?after={after}&subject={subject}")]
        if len(resources) > _PAGE:
            links.append(_link("next", f"{BASE}/{kind}?after={resources[_PAGE - 1]['id']}&subject={subject}"))
        return _searchset(resources[:_PAGE], links)

    def _search(self, kind: str, form: dict[str, str]) -> Answer:
        system, bar, value = form["identifier"].rpartition("|")
        resources = _done(self.server.search(kind, system if bar else None, value))
        return _searchset(resources, [_link("self", f"{BASE}/{kind}?{urlencode(form)}")])

    def _bundle(self, bundle: dict[str, Any]) -> Answer:
        if bundle["type"] == "batch":
            entries = [self._part(entry["request"]["url"]) for entry in bundle["entry"]]
            return _said(200, {"resourceType": "Bundle", "type": "batch-response", "entry": entries})
        try:
            versions = _done(self.server.transact([_write(entry) for entry in bundle["entry"]]))
        except FhirConflict:
            return _outcome(412, "conflict")
        except FhirRejected:
            return _outcome(422, "processing")
        entries = [
            {"response": {"status": "200", "etag": f'W/"{version}"'} if version else {"status": "204"}}
            for version in versions
        ]
        return _said(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": entries})

    def _part(self, url: str) -> dict[str, Any]:
        if "?" in url:
            return {"resource": self._referring(*url.split("?")), "response": {"status": "200"}}
        kind, resource_id = url.split("/")
        resource = self.server.peek(kind, resource_id)
        if resource is None:
            return {"response": {"status": "404", "outcome": _issue("not-found")}}
        return {"resource": resource, "response": {"status": "200"}}

    def _referring(self, kind: str, query: str) -> dict[str, Any]:
        """Search by a reference, or by id; a parameter that it does not know is left out of the link to itself."""
        given = {name: values.split(",") for name, values in parse_qsl(query) if name != NOT_REFERENCED}
        _, wanted = next(iter(given.items()))
        by_id = "_id" in given
        resources = [
            resource
            for resource in self.server.resources(kind)
            if (resource["id"] in wanted if by_id else set(references_in(resource)) & set(wanted))
        ]
        link = _link("self", f"{BASE}/{kind}?" + "&".join(f"{name}={','.join(some)}" for name, some in given.items()))
        entries = [{"resource": resource, "search": {"mode": "match"}} for resource in resources]
        return {"resourceType": "Bundle", "type": "searchset", "link": [link], "entry": entries}


class FhirTransport(httpx.AsyncBaseTransport):
    """How httpx reaches the service."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; what httpx itself makes of a bad connection is raised as it would be."""
        asked = Asked(
            request.method, request.url.path, dict(request.url.params), dict(request.headers), await request.aread()
        )
        try:
            answer = await self._send(asked)
        except Reset:
            raise httpx.ReadError("reset", request=request) from None
        if int(answer.headers.get("Content-Length", len(answer.body))) != len(answer.body):
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message", request=request)
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)


def _write(entry: dict[str, Any]) -> FhirWrite:
    kind, resource_id = entry["request"]["url"].split("/")
    fence = entry["request"].get("ifMatch")
    version = fence.removeprefix("W/").strip('"') if fence else None
    return FhirWrite(resource_type=kind, resource_id=resource_id, resource=entry.get("resource"), if_match=version)


def _said(status: int, body: Any) -> Answer:
    return Answer(status, _JSON, json.dumps(body).encode())


def _issue(code: str) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code}]}


def _outcome(status: int, code: str) -> Answer:
    return _said(status, _issue(code))


def _link(relation: str, url: str) -> dict[str, str]:
    return {"relation": relation, "url": url}


def _searchset(resources: Any, links: list[dict[str, str]]) -> Answer:
    entries = [{"resource": resource, "search": {"mode": "match"}} for resource in resources]
    more: Resource = {"entry": entries} if entries else {}
    return _said(200, {"resourceType": "Bundle", "type": "searchset", "link": links, **more})


def _done(steps: Any) -> Any:
    """Return what a coroutine that never waits returns; a loop is running already."""
    assert asyncio.get_running_loop()
    try:
        steps.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")
