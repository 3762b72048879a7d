"""Serves the pages to browsers on this machine that have its token."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import typer
from aiohttp import web

from sync.cli.reporting import EXIT_USAGE, console
from sync.operators.access import OPERATOR_HEADER
from sync.web import dashboard as pages
from sync.web import rendering
from sync.web.exchange import LARGEST_BODY, Request

if TYPE_CHECKING:
    from sync.bootstrap import Running

HOST = "127.0.0.1"

_NO_ENTRY = "Open the address that the command printed: it holds the token that lets you in.\n"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Door:
    """
    Admits browsers on this machine that have the token, and no pages of other sites.

    Any site can make a browser send requests to this port, under any name that resolves to this machine. So the name
    must be ours, and the token is in a cookie that only our own pages send.
    """

    token: str
    port: int

    @property
    def address(self) -> str:
        """Address to open; it contains the token."""
        return f"http://{HOST}:{self.port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """Name of the cookie, which contains the port because cookies are not bound to ports."""
        return f"dicom-sync-{self.port}"

    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through, exchange a token for the cookie, or answer 403."""
        if request.host not in {f"{HOST}:{self.port}", f"localhost:{self.port}"}:
            return web.Response(status=403, text=_NO_ENTRY)
        if secrets.compare_digest(request.query.get("token", "").encode(), self.token.encode()):
            welcome = web.Response(status=303, headers={"Location": "/dashboard", "Referrer-Policy": "no-referrer"})
            welcome.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict")
            return welcome
        if not secrets.compare_digest(request.cookies.get(self.cookie, "").encode(), self.token.encode()):
            return web.Response(status=403, text=_NO_ENTRY)
        return await handler(request)


@asynccontextmanager
async def serving(running: Running, *, port: int, who: str) -> AsyncIterator[Door]:
    """
    Serve the pages for the length of the block.

    Parameters
    ----------
    port
        0 chooses a free port.
    who
        Name that is recorded with the actions of the buttons.

    Raises
    ------
    typer.Exit
        With `EXIT_USAGE`: the port is taken; said on standard error.
    """
    door: Door | None = None

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        assert door is not None
        return await door.admit(request, handler)

    app = web.Application(middlewares=[admit], client_max_size=LARGEST_BODY)
    respond = partial(_answer, running, who)
    app.router.add_get("/", respond)
    app.router.add_get("/dashboard/static/{name}", _file)
    for path in ("/dashboard", "/dashboard/{page}"):
        app.router.add_get(path, respond)
        app.router.add_post(path, respond)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as problem:
            console().print(f"port {port}: {problem.strerror or problem}; choose another one with --port")
            raise typer.Exit(EXIT_USAGE) from None
        door = Door(token=secrets.token_urlsafe(24), port=runner.addresses[0][1])
        yield door
    finally:
        await runner.cleanup()


async def _answer(running: Running, who: str, request: web.Request) -> web.Response:
    """Answer as the function app answers a caller with the key: the user may operate, and is named in the audit."""
    s = running.services
    holder = replace(s, settings=s.settings.model_copy(update={"operators": "key"}))
    visit = Request(
        headers={**request.headers, OPERATOR_HEADER: who},
        query=dict(request.query),
        params=dict(request.match_info),
        body=await request.read(),
    )
    path = request.path if request.path != "/" else "/dashboard"
    return _response(await pages.dashboard(visit, path, request.method, running.sources, holder))


async def _file(request: web.Request) -> web.Response:
    return _response(rendering.file(request.match_info["name"]))


def _response(page: rendering.RenderedPage) -> web.Response:
    return web.Response(
        text=page.body, status=page.status, content_type=page.mimetype, charset="utf-8", headers=page.headers
    )
