"""
The message classes that the worker library asks its caller for.

The real host speaks gRPC to the worker, with classes made by protobuf. The library only constructs them, reads their
attributes and asks `WhichOneof`, so plain classes do, and neither gRPC nor protobuf is needed. The module is handed
over as a whole. A class that is missing here makes the library fail with its name: so fails an app that uses cookies,
retry policies or SDK types, none of which this host supports.

Source: the names and fields are those of the Functions worker protocol (FunctionRpc).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

RpcException = SimpleNamespace
RpcFunctionMetadata = SimpleNamespace
WorkerMetadata = SimpleNamespace
WorkerInitResponse = SimpleNamespace
FunctionMetadataResponse = SimpleNamespace
FunctionLoadResponse = SimpleNamespace
InvocationResponse = SimpleNamespace


class TypedData:
    """One value, held under the name of its kind: ``string``, ``json``, ``bytes``, ``int``, ``double`` or ``http``."""

    def __init__(self, **value: Any) -> None:
        ((self.kind, self.value),) = value.items()

    def __getattr__(self, name: str) -> Any:
        """Return the value when asked by its kind."""
        if name == self.__dict__.get("kind"):  # pickle asks before there is one
            return self.value
        raise AttributeError(name)

    def WhichOneof(self, group: str) -> str:  # noqa: N802 - the library calls it so
        """Return the kind; there is one group, ``data``."""
        return self.kind


@dataclass(frozen=True)
class ParameterBinding:
    """A value for one parameter of a function."""

    name: str
    data: TypedData

    def WhichOneof(self, group: str) -> str:  # noqa: N802 - the library calls it so
        """Return ``data``: nothing travels in shared memory."""
        return "data"


@dataclass(frozen=True, kw_only=True)
class RpcHttp:
    """A request, or a response; header names in lower case."""

    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    body: TypedData | None = None
    status_code: str = ""
    cookies: None = None
    enable_content_negotiation: bool = False


@dataclass(frozen=True, kw_only=True)
class BindingInfo:
    """One binding of a function, and the protocol's numbers for directions and data types."""

    type: str
    data_type: int
    direction: int

    out = 1
    inout = 2
    undefined = 0
    string = 1
    binary = 2
    stream = 3


setattr(BindingInfo, "in", 0)  # a keyword, so it cannot be written in the class


@dataclass(frozen=True, kw_only=True)
class StatusResult:
    """The status and the exception of an answer."""

    status: int
    exception: Any = None

    Failure = 0
    Success = 1
