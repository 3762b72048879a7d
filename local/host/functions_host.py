"""
The host itself: one indexed app, its listeners and timers, and one HTTP server on 127.0.0.1.

`FunctionsHost.start` refuses what it cannot serve before anything runs; `stop` finishes what is in flight, within
bounds.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.request import getproxies

from aiohttp import web
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.queue.aio import QueueServiceClient

from local.host.http import KEY_HEADER, LARGEST_BODY, READ_AT_MOST, HttpFunctions, refuse_too_long
from local.host.queues import QueueListener, StorageRefusedError
from local.host.settings import HostSettings, read_host_settings
from local.host.timers import Timer
from local.host.worker import Function, Invoker, Worker
from local.host.worker_process import RESTART, WorkerProcess

logger = logging.getLogger(__name__)

STORAGE = "AzureWebJobsStorage"

DEFAULT_LEASE = 20.0
"""Seconds of a message's lease; the real host has ten minutes. Shorter, so that a killed host's messages come back."""

LONGEST_STOP = 10.0
"""Seconds that messages, timers and requests in flight are given to finish."""

_LOOK = 0.05
"""Seconds between two looks whether anything is in flight, during a stop."""

_LAST_SECONDS = 0.5
"""Seconds for what ends at the same moment as the stop."""

_QUEUE_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")


class UnsupportedBindingError(Exception):
    """The app has a binding that this host does not serve, or a wrong one; names function and binding."""


class FunctionsHost:
    """A running app; made by `start`."""

    def __init__(
        self, worker: Invoker, settings: HostSettings, service: QueueServiceClient, lease: float, key: str = ""
    ) -> None:
        kinds = ("queuetrigger", "timertrigger", "httptrigger")
        by_kind: dict[str, list[Function]] = {kind: [] for kind in kinds} | _by_trigger(worker.functions)
        self._worker = worker
        self._service = service
        self._listeners = [
            QueueListener(function, worker, service, settings.queues, lease=lease)
            for function in by_kind["queuetrigger"]
        ]
        self._timers = {function.name: Timer(function, worker) for function in by_kind["timertrigger"]}
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[refuse_too_long])
        app.router.add_get("/admin/functions", self._list)
        app.router.add_post("/admin/functions/{name}", self._fire)
        app.router.add_get("/admin/host/ping", self._ping)
        app.router.add_post("/admin/host/drain", self._drain)
        app.router.add_get("/admin/host/drain/status", self._drain_status)
        app.router.add_get("/", self._ping)
        self._http = HttpFunctions(by_kind["httptrigger"], worker, settings.route_prefix, key)
        app.router.add_route("*", "/{path:.*}", self._http.answer)
        self._key = key
        self._draining = False
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=LONGEST_STOP - 1,
            max_line_size=READ_AT_MOST,
            max_field_size=READ_AT_MOST,
            max_headers=READ_AT_MOST,
        )
        self._running: set[asyncio.Task[None]] = set()
        self.port = 0
        self.broken = worker.broken
        """Set when a listener or timer ended by itself, or no worker is left: the process is of no more use."""
        self.killed = worker.killed
        """Set when a run took longer than functionTimeout: the process ends at once, with all that is in flight."""

    @classmethod
    async def start(
        cls,
        app_directory: Path,
        environment: Mapping[str, str],
        *,
        port: int = 0,
        lease: float = DEFAULT_LEASE,
        key: str = "",
        apart: bool = False,
        restart: float = RESTART,
    ) -> FunctionsHost:
        """
        Index the app and serve it.

        Parameters
        ----------
        environment
            ``AzureWebJobsStorage``: connection string of the queues' account.
        port
            0 takes a free one; the attribute ``port`` tells which.
        lease
            Seconds of a message's lease, at least 2.
        key
            Key of the host, which functions that are not anonymous and the drain ask for; empty: nothing asks.
        apart
            Whether the app runs in a process of its own, which may die without the host.
        restart
            Seconds between the exit of that process and the start of the next one.

        Raises
        ------
        HostSettingsError, IndexingError, UnsupportedBindingError, ScheduleError, RouteError
            The app cannot be served; nothing has been started.
        """
        settings = read_host_settings(app_directory)
        limit = settings.function_timeout
        worker: Invoker = (
            await WorkerProcess.start(app_directory, limit=limit, restart=restart)
            if apart
            else await Worker.start(app_directory, limit=limit)
        )
        for function in worker.functions.values():
            _check(function)
        if not environment.get(STORAGE):
            raise UnsupportedBindingError(f"{STORAGE}: expected the connection string of the queues' account")
        # Without a proxy it need not look for one, nor for a .netrc, at each request: half of what a small one costs.
        transport = AioHttpTransport(use_env_settings=bool(getproxies()))
        service = QueueServiceClient.from_connection_string(environment[STORAGE], retry_total=2, transport=transport)
        host = cls(worker, settings, service, lease, key)
        await host._serve(port)
        return host

    async def stop(self) -> None:
        """
        Close once nothing is in flight; after `LONGEST_STOP` seconds leave the rest.

        Until then it keeps taking messages and requests and firing timers, as Azure's host does unless drained.
        """
        now = asyncio.get_running_loop().time
        end = now() + LONGEST_STOP
        while self._is_busy() and now() < end:  # noqa: ASYNC110 -- of many parts, each may begin again
            await asyncio.sleep(_LOOK)
        for part in self._parts():
            part.stop()
        closing = asyncio.create_task(self._runner.cleanup())
        _, late = await asyncio.wait({*self._running, closing}, timeout=max(end - now(), _LAST_SECONDS))
        if late:
            logger.warning("stopped with work in flight; its messages come back after their lease")
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._service.close()

    def _is_busy(self) -> bool:
        return self._http.in_flight > 0 or any(part.is_busy for part in self._parts())

    async def _serve(self, port: int) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]
        for part in self._parts():
            self._keep(asyncio.create_task(part.run()))

    def _parts(self) -> list[QueueListener | Timer]:
        return [*self._listeners, *self._timers.values()]

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            refused = isinstance(problem, StorageRefusedError)
            text = "the host ends: %s" if refused else "a listener or timer ended, a defect of this host: %s"
            logger.critical(text, problem, exc_info=None if refused else problem)
            self.broken.set()

    async def _list(self, _: web.Request) -> web.Response:
        functions = self._worker.functions.values()
        return web.json_response(
            [{"name": function.name, "config": {"bindings": function.bindings}} for function in functions]
        )

    async def _fire(self, request: web.Request) -> web.Response:
        """Fire a timer now, as the portal's "Run" does; 202 at once, 404 when there is no such timer."""
        timer = self._timers.get(request.match_info["name"])
        if timer is None:
            return web.Response(status=404, text="no timer function of this name")
        self._keep(asyncio.create_task(timer.fire()))
        return web.Response(status=202)

    async def _ping(self, _: web.Request) -> web.Response:
        """Answer 200 whatever the state of the app, as the real host does."""
        return web.Response()

    async def _drain(self, request: web.Request) -> web.Response:
        """Take no more messages and fire no timer; requests are answered still. Idempotent."""
        if not self._may_administer(request):
            return web.Response(status=401)
        self._draining = True
        for part in self._parts():
            part.stop()
        return web.Response(status=202)

    async def _drain_status(self, request: web.Request) -> web.Response:
        if not self._may_administer(request):
            return web.Response(status=401)
        state = "Disabled" if not self._draining else "InProgress" if self._running else "Completed"
        return web.json_response({"state": state, "outstandingInvocations": len(self._running)})

    def _may_administer(self, request: web.Request) -> bool:
        return not self._key or request.headers.get(KEY_HEADER) == self._key


def _by_trigger(functions: Mapping[str, Function]) -> dict[str, list[Function]]:
    by_trigger: dict[str, list[Function]] = {}
    for function in functions.values():
        by_trigger.setdefault(str(function.trigger["type"]).lower(), []).append(function)
    return by_trigger


def _check(function: Function) -> None:
    """Raise `UnsupportedBindingError` unless every binding is one that this host serves."""
    for binding in function.bindings:
        kind, name = str(binding["type"]).lower(), f"{function.name}: binding {binding['name']!r}"
        if kind not in ("queuetrigger", "timertrigger", "httptrigger", "http"):
            raise UnsupportedBindingError(f"{name} of type {binding['type']!r} is not served by this host")
        if kind == "queuetrigger" and binding.get("connection", STORAGE) != STORAGE:
            raise UnsupportedBindingError(f"{name}: expected connection {STORAGE}")
        if kind == "queuetrigger" and not _QUEUE_NAME.fullmatch(str(binding["queueName"])):
            raise UnsupportedBindingError(f"{name}: not a legal queue name")
