"""
HTTP triggers: requests go in as the worker's messages, responses out.

Which function answers, and how it sees the request, is as on Azure's host: see `local.host.routing`; repeated headers
and query values are joined by commas, names in a query are one whatever their case, and empty query values are dropped.
Without a key given to `HttpFunctions` every function is open, whatever its authLevel.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import MultiMapping

from local.host.messages import RpcHttp, TypedData
from local.host.routing import BadPathError, Routes
from local.host.worker import Function, FunctionError, Invoker

logger = logging.getLogger(__name__)

LARGEST_BODY = 100 * 1024 * 1024
"""Bytes of a request, as on Azure."""

LONGEST_LINE, LONGEST_HEADERS = 8 * 1024, 32 * 1024
"""Bytes of a request's first line, and of all its headers, as Azure's host takes them."""

READ_AT_MOST = 1024 * 1024
"""Bytes that the server below reads of each, so that what is too long gets the answer of Azure's host."""

KEY_HEADER, KEY_QUERY = "x-functions-key", "code"


class HttpFunctions:
    """
    The HTTP functions of an app behind one address.

    Parameters
    ----------
    key
        What functions that are not anonymous ask for; empty: nothing.

    Raises
    ------
    RouteError
        See `Routes`.
    """

    def __init__(self, functions: Iterable[Function], worker: Invoker, prefix: str, key: str = "") -> None:
        self._routes = Routes(functions, prefix)
        self._worker = worker
        self._key = key
        self.in_flight = 0

    async def answer(self, request: web.Request) -> web.Response:
        """
        Run the function that a request is for.

        404 without one, 401 without its key; 500 and empty if it raises or the body is too large.
        """
        self.in_flight += 1
        try:
            return await self._answer(request)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            route = self._routes.find(request.method, request.raw_path.partition("?")[0])
        except BadPathError:
            return web.Response(status=400)
        if route is None:
            return web.Response(status=404)
        function, parameters = route
        if not self._allowed(function, request):
            return web.Response(status=401)
        try:
            returned = await self._worker.invoke(function, TypedData(http=await _request(request, parameters)))
        except web.HTTPRequestEntityTooLarge:
            return web.Response(status=500)
        except FunctionError as failure:
            logger.error("%s failed: %s\n%s", function.name, failure, failure.stack_trace)  # noqa: TRY400 - its trace
            return web.Response(status=500)
        return _response(returned)

    def _allowed(self, function: Function, request: web.Request) -> bool:
        """Return whether the request has the key; a header, even an empty one, hides the query's."""
        if not self._key or str(function.trigger.get("authLevel", "function")).lower() == "anonymous":
            return True
        return request.headers.get(KEY_HEADER, request.query.get(KEY_QUERY)) == self._key


@web.middleware
async def refuse_too_long(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 414 to a first line that is too long, and 431 to headers that are."""
    if len(f"{request.method} {request.raw_path} HTTP/1.1\r\n") > LONGEST_LINE:
        return web.Response(status=414)
    if sum(len(name) + len(value) + len(": \r\n") for name, value in request.raw_headers) > LONGEST_HEADERS:
        return web.Response(status=431)
    return await handler(request)


async def _request(request: web.Request, parameters: dict[str, str]) -> RpcHttp:
    return RpcHttp(
        method=request.method,
        url=str(request.url),
        headers={name.lower(): ",".join(request.headers.getall(name)) for name in request.headers},
        query=_query(request.query),
        params=parameters,
        body=TypedData(bytes=await request.read()),
    )


def _query(values: MultiMapping[str]) -> dict[str, str]:
    """Return names once whatever their case, their values joined by commas, empty ones dropped."""
    spelled: dict[str, str] = {}
    joined: dict[str, list[str]] = {}
    for name, value in values.items():
        if value:
            joined.setdefault(spelled.setdefault(name.lower(), name), []).append(value)
    return {name: ",".join(parts) for name, parts in joined.items()}


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
