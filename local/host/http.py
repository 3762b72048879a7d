"""
HTTP triggers: each becomes routes of one aiohttp application; requests go in as the worker's messages, responses out.

Routes may hold ``{name}`` segments, and one ``{name?}`` at the end; constraints and catch-alls are refused. Keys are
not asked for: whatever its authLevel, a function is open.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from multidict import MultiMapping

from local.host.messages import RpcHttp, TypedData
from local.host.worker import Function, FunctionError, Worker

logger = logging.getLogger(__name__)

LARGEST_BODY = 100 * 1024 * 1024
"""Bytes of a request, as on Azure."""

_SEGMENT = re.compile(r"[^{}/]+|\{\w+\}")
_OPTIONAL = re.compile(r"(?P<before>.*)/\{(?P<name>\w+)\?\}")

Handler = Callable[[web.Request], Awaitable[web.Response]]


class RouteError(Exception):
    """A route holds something that this host does not support."""


def add_functions(routes: web.UrlDispatcher, functions: Iterable[Function], worker: Worker, prefix: str) -> None:
    """
    Add the routes of HTTP functions; those with fewer parameters go first, so that literal segments win.

    Raises
    ------
    RouteError
        See there.
    """
    paths = [(path, each) for each in functions for path in _paths(each, prefix)]
    for path, function in sorted(paths, key=lambda pair: pair[0].count("{")):
        handler = _handler(function, worker)
        for method in function.trigger.get("methods") or ["*"]:
            routes.add_route(str(method).upper(), path, handler)


def _paths(function: Function, prefix: str) -> list[str]:
    """Return the paths of a function: one, or two when its last parameter is optional."""
    route = "/".join(part for part in (prefix, str(function.trigger.get("route") or function.name).strip("/")) if part)
    optional = _OPTIONAL.fullmatch(route)
    routes = [optional["before"], f"{optional['before']}/{{{optional['name']}}}"] if optional else [route]
    if not all(_SEGMENT.fullmatch(segment) for each in routes for segment in each.split("/")):
        raise RouteError(f"{function.name}: route {route!r} holds a segment that is not supported here")
    return [f"/{each}" for each in routes]


def _handler(function: Function, worker: Worker) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        try:
            returned = await worker.invoke(function, TypedData(http=await _request(request)))
        except FunctionError as failure:
            logger.error("%s failed: %s\n%s", function.name, failure, failure.stack_trace)  # noqa: TRY400 - its trace
            return web.Response(status=500)
        return _response(returned)

    return handle


async def _request(request: web.Request) -> RpcHttp:
    return RpcHttp(
        method=request.method,
        url=str(request.url),
        headers=_joined(request.headers, lower=True),
        query=_joined(request.query),
        params=dict(request.match_info),
        body=TypedData(bytes=await request.read()),
    )


def _joined(values: MultiMapping[str], *, lower: bool = False) -> dict[str, str]:
    """Return repeated names once, values joined by commas, as the real host does."""
    return {(name.lower() if lower else name): ",".join(values.getall(name)) for name in values}


def _response(returned: TypedData | None) -> web.Response:
    if returned is None:
        return web.Response(status=204)
    if returned.kind != "http":
        return web.Response(body=_bytes(returned))
    answer: RpcHttp = returned.value
    return web.Response(status=int(answer.status_code or 200), headers=answer.headers, body=_bytes(answer.body))


def _bytes(data: TypedData | None) -> bytes:
    if data is None:
        return b""
    return data.value if isinstance(data.value, bytes) else str(data.value).encode()
