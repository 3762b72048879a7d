"""
A DICOM service with a change feed, as Azure's documentation describes it, for one machine: no part of Azure runs here.

    GET    /v2/changefeed?startTime&endTime&offset&limit&includeMetadata    rows of a window; limit 1..200 (100)
    GET    /v1/changefeed?offset&limit&includeMetadata                      sequences after offset; limit 1..100 (10)
    GET    /v{1,2}/changefeed/latest                                        the last row, or nothing
    GET    /v2/[partitions/P/]studies/S/series/E/instances/I/metadata       WADO-RS, DICOM JSON
    GET    /v2/[partitions/P/]studies/S/instances?limit&offset              QIDO-RS, 204 when there is none
    POST   /v2/[partitions/P/]studies                                       STOW-RS: a DICOM file, or multipart
    DELETE /v2/[partitions/P/]studies/S[/series/E[/instances/I]]
    POST   /control/update    {"study": S, "partition": "", "changes": {tag: element}}    as $bulkUpdate does
    POST   /control/fail      {"status": 429, "seconds": 60, "retry_after": 60, "body": "…"}   all answers are that
    POST   /control/skip      {"sequences": 3}      a gap in the sequences

What rows of the feed say of the past is `sync.testing.dicom`'s: this module is what stands before it. With a
token set, requests without it get 401.
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
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from aiohttp import web
from pydicom.errors import InvalidDicomError

from local.processes import running
from sync.dicom.instance_names import plain_partition
from sync.testing.dicom import InstanceId, MemoryDicomService, Row

_MOST = {1: 100, 2: 200}
_USUAL = {1: 10, 2: 100}
_LARGEST_BODY = 256 * 1024 * 1024
_JSON = "application/dicom+json"
_BINARY_BYTES = 1024


class StandIn:
    """The server; ``service`` lies open to whoever runs it in the same process."""

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
            for target in ("", "/series/{series}", "/series/{series}/instances/{sop}"):
                app.router.add_delete(study + target, self._delete)
        for name in ("update", "fail", "skip"):
            app.router.add_post(f"/control/{name}", getattr(self, f"_{name}"))
        return app

    @web.middleware
    async def _before(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not request.path.startswith("/control/"):
            if self._token and request.headers.get("Authorization") != f"Bearer {self._token}":
                return web.Response(status=401)
            if time.monotonic() < self._until:
                return self._failure()
        answer: web.StreamResponse = await handler(request)
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
        return web.json_response([self.service.entry(row, metadata=_wants_metadata(request)) for row in rows])

    def _window(self, request: web.Request) -> list[Row]:
        start, end = (_timestamp(request, name) for name in ("startTime", "endTime"))
        if start is not None and end is not None and end <= start:
            raise ValueError("endTime must be after startTime")
        return self.service.window(start, end)

    async def _latest(self, request: web.Request) -> web.Response:
        rows = self.service.window(None, None)
        if not rows:
            return web.json_response(None)
        latest = rows[-1] if request.match_info["version"] == "2" else max(rows, key=lambda row: row.sequence)
        return web.json_response(self.service.entry(latest, metadata=_wants_metadata(request)))

    # DICOMweb.

    async def _metadata(self, request: web.Request) -> web.Response:
        place = request.match_info
        wanted = InstanceId(_partition(request), place["study"], place["series"], place["sop"])
        found = self.service.instances.get(wanted)
        if found is None:
            return web.Response(status=404)
        return web.Response(text=json.dumps([found[1]]), content_type=_JSON, headers={"ETag": f'"{found[0]}"'})

    async def _search(self, request: web.Request) -> web.Response:
        study, partition = request.match_info["study"], _partition(request)
        try:
            offset, limit = _whole(request, "offset", 0, 0, 2**31), _whole(request, "limit", 100, 1, 200)
        except ValueError as problem:
            return web.Response(status=400, text=str(problem))
        sop = request.query.get("SOPInstanceUID")
        found = [
            {tag: dataset[tag] for tag in ("00080016", "00080018", "0020000D", "0020000E") if tag in dataset}
            for each, (_, dataset) in self.service.instances.items()
            if (each.partition, each.study) == (partition, study) and sop in (None, each.sop)
        ][offset : offset + limit]
        return web.Response(text=json.dumps(found), content_type=_JSON) if found else web.Response(status=204)

    async def _store(self, request: web.Request) -> web.Response:
        files = _files_of(request.content_type, request.headers.get("Content-Type", ""), await request.read())
        stored = []
        for content in files:
            try:
                stored.append(self.service.store(await asyncio.to_thread(metadata_of, content), _partition(request)))
            except (InvalidDicomError, KeyError, IndexError, ValueError):
                stored.append(False)
        return web.Response(status=200 if all(stored) and stored else 202 if any(stored) else 409)

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


def metadata_of(content: bytes) -> dict[str, Any]:
    """
    Return the metadata of a DICOM file as DICOM JSON, written by pydicom; pixels are left out.

    An element that pydicom cannot write is left out too, as services do with what they cannot parse.
    """
    file = pydicom.dcmread(BytesIO(content), stop_before_pixels=True)
    file.decode()
    found: dict[str, Any] = {}
    for element in file:
        with contextlib.suppress(Exception):
            written = element.to_json_dict(lambda _: "bulk", _BINARY_BYTES)
            json.dumps(written, allow_nan=False)
            found[f"{int(element.tag):08X}"] = written
    return found


def _files_of(kind: str, header: str, body: bytes) -> list[bytes]:
    """Return the files in the body of a STOW-RS request: one by itself, or the parts of multipart/related."""
    if not kind.startswith("multipart/"):
        return [body]
    parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + header.encode("latin-1") + b"\r\n\r\n" + body
    )
    contents = [part.get_payload(decode=True) for part in parsed.iter_parts()]
    return [content for content in contents if isinstance(content, bytes)]


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
            with contextlib.suppress(InvalidDicomError, KeyError, IndexError, ValueError):
                stand_in.service.store(metadata_of(path.read_bytes()))
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
