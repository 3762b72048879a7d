"""
Index an app and invoke its functions through the worker library, in this process.

An app directory comes in; functions with their bindings come out, then values go in and out of each. One app a
process: the library keeps its registry in module state.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import azure_functions_runtime as library

from local.host import messages
from local.host.messages import ParameterBinding, StatusResult, TypedData


class IndexingError(Exception):
    """The app cannot be indexed; the text is the library's."""


class FunctionError(Exception):
    """A function raised. The text is ``TypeName: message``, as Azure logs it."""

    def __init__(self, message: str, stack_trace: str) -> None:
        super().__init__(message)
        self.stack_trace = stack_trace


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function of the app; bindings as in a function.json, the trigger among them."""

    name: str
    function_id: str
    bindings: tuple[Mapping[str, Any], ...]

    @property
    def trigger(self) -> Mapping[str, Any]:
        """Its only trigger; the library has checked that there is one."""
        return next(binding for binding in self.bindings if str(binding["type"]).lower().endswith("trigger"))


class WorkerKilledError(Exception):
    """A run took longer than functionTimeout: the worker ends at once, and what else is in flight with it."""


class Invoker(Protocol):
    """An indexed app whose functions can be invoked, in this process or in another."""

    functions: Mapping[str, Function]
    killed: asyncio.Event
    """Set when this process has to end at once, with all that is in flight."""
    broken: asyncio.Event
    """Set when functions can no longer be invoked, so that the host ends."""

    async def invoke(
        self, function: Function, data: TypedData, metadata: Mapping[str, TypedData] | None = None
    ) -> TypedData | None:
        """Run the function once with the value for its trigger; return what it returned."""
        ...


class Worker:
    """The indexed app in this process; made by `start`."""

    def __init__(self, functions: Mapping[str, Function], *, limit: float = math.inf) -> None:
        self.functions = functions
        self.killed = asyncio.Event()
        """Set when a run took longer than the limit: the process has to end, with all that is in flight."""
        self.broken = asyncio.Event()
        """Never set: this worker ends with its host."""
        self._limit = limit

    @classmethod
    async def start(cls, app_directory: Path, *, limit: float = math.inf) -> Worker:
        """
        Import ``function_app.py`` and index it.

        Parameters
        ----------
        limit
            Seconds that a run may take: functionTimeout of host.json.

        Raises
        ------
        IndexingError
            The directory holds no app, its import failed, or a function's bindings are wrong.
        """
        logging.getLogger("azure_functions_runtime").setLevel(logging.WARNING)
        sys.path.insert(0, str(app_directory))
        library.start_threadpool_executor()
        request = SimpleNamespace(capabilities={}, function_app_directory=str(app_directory))
        answer = await library.worker_init_request(
            SimpleNamespace(
                request=SimpleNamespace(worker_init_request=request),
                properties={"host": "127.0.0.1", "protos": messages},
            )
        )
        if answer.result.status != StatusResult.Success:
            raise IndexingError(f"{answer.result.exception.message}\n{answer.result.exception.stack_trace}")
        metadata = (await library.functions_metadata_request(None)).function_metadata_results
        if not metadata:
            raise IndexingError(f"no function in {app_directory / 'function_app.py'}")
        return cls({function.name: _function(function) for function in metadata}, limit=limit)

    async def invoke(
        self, function: Function, data: TypedData, metadata: Mapping[str, TypedData] | None = None
    ) -> TypedData | None:
        """
        Run the function once with the value for its trigger; return what it returned.

        Raises
        ------
        FunctionError
            It raised.
        WorkerKilledError
            It ran longer than the limit; ``killed`` is set.
        """
        request = SimpleNamespace(
            invocation_id=str(uuid.uuid4()),
            function_id=function.function_id,
            input_data=[ParameterBinding(str(function.trigger["name"]), data)],
            trigger_metadata=metadata or {},
            trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
        )
        envelope = SimpleNamespace(request=SimpleNamespace(invocation_request=request))
        running = asyncio.ensure_future(library.invocation_request(envelope))
        try:
            done, _ = await asyncio.wait({running}, timeout=None if math.isinf(self._limit) else self._limit)
        except asyncio.CancelledError:
            running.cancel()
            raise
        if not done:
            self.killed.set()
            raise WorkerKilledError(f"{function.name} ran longer than functionTimeout, {self._limit:g} s")
        answer = running.result()
        if answer.result.status != StatusResult.Success:
            raise FunctionError(answer.result.exception.message, answer.result.exception.stack_trace)
        returned: TypedData | None = answer.return_value
        return returned


def _function(metadata: SimpleNamespace) -> Function:
    bindings = tuple(json.loads(binding) for binding in metadata.raw_bindings)
    return Function(name=metadata.name, function_id=metadata.function_id, bindings=bindings)
