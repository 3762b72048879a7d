"""
A worker in a process of its own, as Azure's host has it: values go over a pipe, and the process may die alone.

    the worker exits         ->  all that it had in flight fails at once; after a pause another is started
    it exits a third time    ->  no other is started; the host ends
    a run outlasts its time  ->  it fails, and the worker is killed; what else that had in flight fails at its own time

Meanwhile new runs wait for the next worker. `local.host.worker_program` is what runs there.

Source: Azure Functions host 4.1037, RpcFunctionInvocationDispatcher, and observations of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import sys
import threading
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from local.host.messages import TypedData
from local.host.worker import Function, FunctionError, IndexingError

logger = logging.getLogger(__name__)

RESTART = 10.0
"""Seconds between the exit of a worker and the start of the next one."""

MOST_EXITS = 3
"""Exits of workers after which the host ends."""

FORGIVEN_AFTER = 1800.0
"""Seconds without an exit after which earlier ones no longer count."""

_EXITED = "the worker exited"


class Exits:
    """The exits of workers that count, by the rule of Azure's host."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def note(self, now: float) -> bool:
        """Note an exit at this time, in seconds; tell whether it is one too many."""
        if self._times and now - self._times[-1] > FORGIVEN_AFTER:
            self._times.clear()
        self._times.append(now)
        return len(self._times) >= MOST_EXITS


@dataclass(eq=False)
class _Child:
    """One worker that is or was running, and the runs that it was given."""

    process: Process
    connection: Connection
    answers: dict[int, asyncio.Future[TypedData | None]] = field(default_factory=dict)
    ended: bool = False
    outlasted: bool = False
    """Whether it was killed for a run that outlasted its time; then the rest is not failed with it."""

    def answered(self, number: int, *, value: TypedData | None, failure: FunctionError | None) -> None:
        answer = self.answers.pop(number, None)
        if answer is None or answer.done():
            return
        if failure is None:
            answer.set_result(value)
        else:
            answer.set_exception(failure)

    def fail_all(self) -> None:
        for number in list(self.answers):
            self.answered(number, value=None, failure=FunctionError(_EXITED, ""))


class WorkerProcess:
    """The indexed app in a process of its own, which is replaced when it exits; made by `start`."""

    def __init__(self, app_directory: Path, *, limit: float, restart: float) -> None:
        self.functions: Mapping[str, Function] = {}
        self.killed = asyncio.Event()
        """Never set: the death of this worker is not that of its host."""
        self.broken = asyncio.Event()
        """Set when no worker is left, and none will be started."""
        self._app_directory, self._limit, self._restart = app_directory, limit, restart
        self._exits = Exits()
        self._numbers = itertools.count(1)
        self._child: asyncio.Future[_Child] = asyncio.get_running_loop().create_future()
        self._keeping: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, app_directory: Path, *, limit: float = math.inf, restart: float = RESTART) -> WorkerProcess:
        """
        Start a worker and have the app indexed there.

        Parameters
        ----------
        limit
            Seconds that a run may take: functionTimeout of host.json.
        restart
            Seconds between the exit of a worker and the start of the next one.

        Raises
        ------
        IndexingError
            The app cannot be indexed.
        """
        worker = cls(app_directory, limit=limit, restart=restart)
        child = await worker._start()
        worker._child.set_result(child)
        worker._keeping = asyncio.create_task(worker._keep(child))
        return worker

    async def invoke(
        self, function: Function, data: TypedData, metadata: Mapping[str, TypedData] | None = None
    ) -> TypedData | None:
        """
        Run the function once with the value for its trigger, in the next worker if there is none now.

        Raises
        ------
        FunctionError
            It raised, its worker exited, or it ran longer than the limit.
        """
        child = await asyncio.shield(self._child)
        while child.ended:  # since this run was woken: the future is another by now
            child = await asyncio.shield(self._child)
        number = next(self._numbers)
        answer: asyncio.Future[TypedData | None] = asyncio.get_running_loop().create_future()
        child.answers[number] = answer
        with contextlib.suppress(OSError):  # it has just exited: `_keep` fails the run
            child.connection.send((number, function.name, data, metadata))
        try:
            async with asyncio.timeout(None if math.isinf(self._limit) else self._limit):
                return await answer
        except TimeoutError:
            self._kill(child)
            text = f"{function.name} ran longer than functionTimeout, {self._limit:g} s"
            raise FunctionError(text, "") from None
        finally:
            child.answers.pop(number, None)

    def _kill(self, child: _Child) -> None:
        """Kill a worker for a run that outlasted its time; idempotent."""
        if child.process.returncode is None:
            logger.error("a run outlasted functionTimeout: its worker is killed")
            child.outlasted = True
            self._retire(child)  # before it is gone: a run given to it meanwhile would fail at its own time only
            child.process.kill()

    def _retire(self, child: _Child) -> None:
        """Let new runs wait for the worker that follows; idempotent."""
        if not child.ended:
            self._child, child.ended = asyncio.get_running_loop().create_future(), True

    async def _start(self) -> _Child:
        """
        Start a worker, and wait until it has indexed the app.

        Raises
        ------
        IndexingError
            It could not, or exited meanwhile.
        """
        ours, its = Pipe()
        command = [sys.executable, "-m", "local.host.worker_program", str(self._app_directory), str(its.fileno())]
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, pass_fds=[its.fileno()])
        its.close()
        try:
            first = await asyncio.to_thread(ours.recv)
        except (EOFError, OSError):
            raise IndexingError(_EXITED) from None
        if isinstance(first, str):
            raise IndexingError(first)
        self.functions = self.functions or first
        child = _Child(process, ours)
        loop = asyncio.get_running_loop()
        threading.Thread(target=_read, args=(child, loop), daemon=True, name="answers of the worker").start()
        return child

    async def _keep(self, child: _Child) -> None:
        """Replace workers that exit, until too many have."""
        while True:
            await child.process.wait()
            self._retire(child)
            if not child.outlasted:
                logger.error("the worker exited (%s); all that it had in flight failed", child.process.returncode)
                child.fail_all()
                if self._exits.note(asyncio.get_running_loop().time()):
                    break
            following = await self._next()
            if following is None:
                break
            child = following
            self._child.set_result(child)
        logger.critical("the host ends: its worker exited %d times", MOST_EXITS)
        self.broken.set()

    async def _next(self) -> _Child | None:
        """Start another worker after the pause; None when too many have exited."""
        while True:
            await asyncio.sleep(self._restart)
            try:
                return await self._start()
            except IndexingError as problem:
                logger.error("the worker did not start: %s", problem)  # noqa: TRY400 - the trace is the app's
                if self._exits.note(asyncio.get_running_loop().time()):
                    return None


def _read(child: _Child, loop: asyncio.AbstractEventLoop) -> None:
    """Pass the worker's answers to the loop, from a thread of its own, until the worker is gone."""
    with contextlib.suppress(EOFError, OSError, RuntimeError):  # gone, or our loop is closed
        while True:
            loop.call_soon_threadsafe(_take, child, child.connection.recv())


def _take(child: _Child, said: Any) -> None:
    number, value, failure = said
    child.answered(number, value=value, failure=FunctionError(*failure) if failure else None)
