"""
A DICOM service with a change feed, as Azure's documentation describes it, for one machine: no part of Azure runs here.

    GET    /v2/changefeed?startTime&endTime&offset&limit&includeMetadata    rows of a window; limit 1..200 (100)
    GET    /v1/changefeed?offset&limit&includeMetadata                      sequences after offset; limit 1..100 (10)
    GET    /v{1,2}/changefeed/latest                                        the last row, or nothing
    GET    /v2/[partitions/P/]studies/S/series/E/instances/I/metadata       WADO-RS, DICOM JSON
    GET    /v2/[partitions/P/]studies/S/series/E/instances/I                WADO-RS, the file itself
    GET    /v2/[partitions/P/]studies/S/instances?limit&offset              QIDO-RS, 204 when there is none
    POST   /v2/[partitions/P/]studies                                       STOW-RS: a DICOM file, or multipart
    DELETE /v2/[partitions/P/]studies/S[/series/E[/instances/I]]
    POST   /control/update    {"study": S, "partition": "", "changes": {tag: element}}    as $bulkUpdate does
    POST   /control/fail      {"status": 429, "seconds": 60, "retry_after": 60, "body": "…"}   all answers are that
    POST   /control/skip      {"sequences": 3}      a gap in the sequences
    POST   /control/lose      {"instance": I}       its metadata and its file can no longer be had

It takes, drops and fails to give what the service does: see `local.dicom_metadata`. What rows of the feed say of the
past is `sync.testing.dicom`'s: this module is what stands before it. With a token set, requests without it get 401.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.parser
import email.policy
import json
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from local.dicom_metadata import Refused, Stored, encode, stored
from local.processes import running
from sync.dicom.instance_names import plain_partition
from sync.errors import SourceUnavailable
from sync.testing.dicom import FeedRow, InstanceId, MemoryDicomService, id_of

_MOST = {1: 100, 2: 200}
_USUAL = {1: 10, 2: 100}
_LARGEST_BODY = 256 * 1024 * 1024
_JSON = "application/dicom+json"
_CHUNK = 16 * 1024
_OF_SEARCH = ("00080018", "00080060", "00081090", "0020000E", "00400244")
"""Attributes that a search of version 2 returns unless more are requested."""


class StandIn:
    """The server; ``service`` is its store, for code in the same process."""

    def __init__(self, service: MemoryDicomService | None = None, *, token: str = "") -> None:
        self.service = service or MemoryDicomService()
        self._token = token
        self._failing: dict[str, Any] = {}
        self._until = 0.0

    def application(self) -> web.Application:
        """Return the application that serves it."""
        app = web.Application(middlewares=[self._before], client_max_size=_LARGEST_BODY)
        app.router.add_get("/v{version:[12]}/changefeed", self._feed)
        app.router.add_get("/v{version:[12]}/changefeed/latest", self._latest)
        for place in ("/v{version:[12]}", "/v{version:[12]}/partitions/{partition}"):
            study = place + "/studies/{study}"
            app.router.add_post(place + "/studies", self._store)
            app.router.add_get(study + "/instances", self._search)
            app.router.add_get(study + "/series/{series}/instances/{sop}/metadata", self._metadata)
            app.router.add_get(study + "/series/{series}/instances/{sop}", self._content)
            for target in ("", "/series/{series}", "/series/{series}/instances/{sop}"):
                app.router.add_delete(study + target, self._delete)
        for name in ("update", "fail", "skip", "lose"):
            app.router.add_post(f"/control/{name}", getattr(self, f"_{name}"))
        return app

    @web.middleware
    async def _before(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not request.path.startswith("/control/"):
            if self._token and request.headers.get("Authorization") != f"Bearer {self._token}":
                return web.Response(status=401)
            if time.monotonic() < self._until:
                return self._failure()
        try:
            answer: web.StreamResponse = await handler(request)
        except SourceUnavailable:
            return web.Response(status=503)
        return answer

    def _failure(self) -> web.Response:
        wait = self._failing.get("retry_after")
        headers = {"Retry-After": str(wait)} if wait is not None else {}
        return web.Response(status=self._failing["status"], text=self._failing.get("body", ""), headers=headers)

    # The change feed.

    async def _feed(self, request: web.Request) -> web.Response:
        version = int(request.match_info["version"])
        try:
            offset = _whole(request, "offset", 0, 0, 2**63)
            limit = _whole(request, "limit", _USUAL[version], 1, _MOST[version])
            rows = self.service.span(offset, limit) if version == 1 else self._window(request)[offset : offset + limit]
        except ValueError as problem:
            return web.Response(status=400, text=str(problem))
        wanted = _wants_metadata(request)
        if wanted:
            self.service.check_page(rows)
        page = encode(self.service.entry(row, metadata=wanted) for row in rows)
        return web.Response(body=page, content_type="application/json")

    def _window(self, request: web.Request) -> list[FeedRow]:
        start, end = (_timestamp(request, name) for name in ("startTime", "endTime"))
        if start is not None and end is not None and end <= start:
            raise ValueError("endTime must be after startTime")
        return self.service.window(start, end)

    async def _latest(self, request: web.Request) -> web.Response:
        rows = self.service.window(None, None)
        if not rows:
            return web.json_response(None)
        latest = rows[-1] if request.match_info["version"] == "2" else max(rows, key=lambda row: row.sequence)
        wanted = _wants_metadata(request)
        if wanted:
            self.service.check_page([latest])
        entry = encode([self.service.entry(latest, metadata=wanted)])
        return web.Response(body=entry[1:-1], content_type="application/json")

    # DICOMweb.

    async def _metadata(self, request: web.Request) -> web.Response:
        wanted = _instance(request)
        stored = self.service.instances.get(wanted)
        if stored is None:
            return web.Response(status=404)
        self.service.check_readable([wanted])
        return web.Response(body=encode([stored[1]]), content_type=_JSON, headers={"ETag": f'"{stored[0]}"'})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        wanted = _instance(request)
        if wanted not in self.service.instances:
            return web.Response(status=404)
        if wanted in self.service.lost:
            return web.Response(status=503)
        content = self.service.contents.get(wanted)
        if content is None or not request.headers.get("Accept", "").startswith("application/dicom"):
            return web.Response(status=406)
        answer = web.StreamResponse(headers={"Content-Type": "application/dicom"})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        for start in range(0, len(content), _CHUNK):
            await answer.write(content[start : start + _CHUNK])
        await answer.write_eof()
        return answer

    async def _search(self, request: web.Request) -> web.Response:
        study, partition = request.match_info["study"], _partition(request)
        try:
            offset, limit = _whole(request, "offset", 0, 0, 2**31), _whole(request, "limit", 100, 1, 200)
        except ValueError as problem:
            return web.Response(status=400, text=str(problem))
        sop = request.query.get("SOPInstanceUID", "")
        hits = [
            (instance, dataset)
            for instance, (_, dataset) in self.service.instances.items()
            if (instance.partition, instance.study) == (partition, study) and sop in ("", instance.sop)
        ][offset : offset + limit]
        self.service.check_readable(instance for instance, _ in hits)
        selected = [{tag: dataset[tag] for tag in _OF_SEARCH if tag in dataset} for _, dataset in hits]
        return web.Response(body=encode(selected), content_type=_JSON) if selected else web.Response(status=204)

    async def _store(self, request: web.Request) -> web.Response:
        files = _files_of(request.content_type, request.headers.get("Content-Type", ""), await request.read())
        results = [await self._keep(content, _partition(request)) for content in files]
        worst = 202 if any(result == 200 for result in results) or 202 in results else 409  # noqa: PLR2004
        return web.Response(status=200 if results and set(results) == {200} else worst)

    async def _keep(self, content: bytes, partition: str) -> int:
        """Store a file; the status that it alone would get."""
        try:
            kept = await asyncio.to_thread(stored, content)
        except Refused:
            return 409
        return kept.status if keep(self.service, kept, content, partition) else 409

    async def _delete(self, request: web.Request) -> web.Response:
        place = request.match_info
        gone = self.service.delete(_partition(request), place["study"], place.get("series", ""), place.get("sop", ""))
        return web.Response(status=204 if gone else 404)

    # Control.

    async def _update(self, request: web.Request) -> web.Response:
        asked = await request.json()
        count = self.service.update(asked.get("partition", ""), asked["study"], asked["changes"])
        return web.json_response({"updated": count})

    async def _fail(self, request: web.Request) -> web.Response:
        self._failing = await request.json()
        self._until = time.monotonic() + float(self._failing.get("seconds", 60))
        return web.json_response({})

    async def _skip(self, request: web.Request) -> web.Response:
        self.service.skip(int((await request.json()).get("sequences", 1)))
        return web.json_response({})

    async def _lose(self, request: web.Request) -> web.Response:
        sop = (await request.json())["instance"]
        lost = {instance for instance in self.service.instances if instance.sop == sop}
        self.service.lost |= lost
        self.service.unreadable |= lost
        return web.json_response({"lost": len(lost)})


def keep(service: MemoryDicomService, kept: Stored, content: bytes, partition: str = "") -> bool:
    """Add a file to the service, as the service keeps it; False if the instance exists already."""
    instance = id_of(kept.metadata, partition)
    if not service.store(kept.metadata, partition, content=content, readable=kept.readable):
        return False
    if not kept.in_feed:
        service.unfed.add(instance)
    return True


def metadata_of(content: bytes) -> dict[str, Any]:
    """Return the metadata of a DICOM file; `Refused`, a ValueError, when the service does not take it."""
    return stored(content).metadata


def _files_of(kind: str, header: str, body: bytes) -> list[bytes]:
    """Return the files in the body of a STOW-RS request: one by itself, or the parts of multipart/related."""
    if not kind.startswith("multipart/"):
        return [body]
    parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + header.encode("latin-1") + b"\r\n\r\n" + body
    )
    contents = [part.get_payload(decode=True) for part in parsed.iter_parts()]
    return [content for content in contents if isinstance(content, bytes)]


def _instance(request: web.Request) -> InstanceId:
    place = request.match_info
    return InstanceId(_partition(request), place["study"], place["series"], place["sop"])


def _partition(request: web.Request) -> str:
    return plain_partition(request.match_info.get("partition", ""))


def _wants_metadata(request: web.Request) -> bool:
    return request.query.get("includeMetadata", "true").lower() == "true"


def _whole(request: web.Request, name: str, usual: int, least: int, most: int) -> int:
    text = request.query.get(name, str(usual))
    if not text.lstrip("-").isdecimal() or not least <= int(text) <= most:
        raise ValueError(f"{name} must be a number from {least} to {most}")
    return int(text)


def _timestamp(request: web.Request, name: str) -> datetime | None:
    text = request.query.get(name)
    if text is None:
        return None
    timestamp = datetime.fromisoformat(text)
    if timestamp.tzinfo is None:
        raise ValueError(f"{name} must have an offset")
    return timestamp


def _filled(folder: Path | None) -> StandIn:
    stand_in = StandIn()
    for path in sorted(folder.rglob("*")) if folder else ():
        if path.is_file():
            content = path.read_bytes()
            with contextlib.suppress(Refused):
                keep(stand_in.service, stored(content), content)
    return stand_in


async def _serve(stand_in: StandIn, port: int) -> None:
    runner = web.AppRunner(stand_in.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    host, bound = runner.addresses[0][:2]
    print(json.dumps({"url": f"http://{host}:{bound}", "instances": len(stand_in.service.instances)}), flush=True)
    await asyncio.Event().wait()


def serve(folder: Path | None, port: int) -> None:
    """Serve the files of a folder until interrupted; one line of JSON tells the address."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(_filled(folder), port))


@contextlib.contextmanager
def dicom_service(folder: Path | None = None) -> Iterator[str]:
    """
    Run the server in a process of its own for the length of a ``with`` block; its base URL.

    Raises
    ------
    StartError
        It did not start.
    """
    arguments = [str(folder)] if folder else []
    command = [sys.executable, "-m", "local.leash", "-m", "local.dicom_service", *arguments]
    with running(command, name="the DICOM service", ready=_base_url) as child:
        yield child.announced


def _base_url(line: str) -> str | None:
    return str(json.loads(line)["url"]) if line.startswith('{"url"') else None


if __name__ == "__main__":
    serve(Path(sys.argv[1]) if len(sys.argv) > 1 else None, 0)
