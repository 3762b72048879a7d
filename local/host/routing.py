"""
Which HTTP function answers a request, by the rules of Azure's Functions host.

A raw path as the client typed it goes in, a function and its route parameters come out. Paths match in any case and
with a slash at their end; ``%2F`` stays as it is, other escapes are decoded; a literal segment wins over a parameter.
A method that no route takes is *not found*, never *method not allowed*. Observed on host 4.1037.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from local.host.worker import Function

_SEGMENT = re.compile(r"[^{}/]+|\{\w+\}")
_OPTIONAL = re.compile(r"(?P<before>.*)/\{(?P<name>\w+)\?\}")
_SLASH = re.compile(r"(%2[Ff])")


class RouteError(Exception):
    """A route holds something that this host does not support."""


class BadPathError(Exception):
    """The path holds a NUL, which the real host refuses with 400."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One path of one function; ``methods`` is empty where it takes any."""

    function: Function
    segments: tuple[str, ...]
    methods: frozenset[str]

    def parameters(self, path: list[str]) -> dict[str, str] | None:
        """Return the values of a route's parameters in a path; None if the path does not match."""
        if len(path) != len(self.segments):
            return None
        parameters: dict[str, str] = {}
        for segment, text in zip(self.segments, path, strict=True):
            if segment.startswith("{"):
                parameters[segment[1:-1]] = text
            elif segment.lower() != text.lower():
                return None
        return parameters


class Routes:
    """
    The routes of an app.

    Raises
    ------
    RouteError
        A route has a constraint, a catch-all, or an optional parameter before its end.
    """

    def __init__(self, functions: Iterable[Function], prefix: str) -> None:
        routes = [route for function in functions for route in routes_of(function, prefix)]
        self._routes = sorted(routes, key=lambda route: sum(part.startswith("{") for part in route.segments))

    def find(self, method: str, raw_path: str) -> tuple[Function, dict[str, str]] | None:
        """
        Return the function and its route parameters, None for 404.

        Raises
        ------
        BadPathError
            See there.
        """
        path = [_decoded(segment) for segment in raw_path.removeprefix("/").removesuffix("/").split("/")]
        if any("\0" in segment for segment in path):
            raise BadPathError
        for route in self._routes:
            parameters = route.parameters(path)
            if parameters is not None and (not route.methods or method in route.methods):
                return route.function, parameters
        return None


def routes_of(function: Function, prefix: str) -> list[Route]:
    """
    Return the routes of a function: one, or two when its last parameter is optional.

    Raises
    ------
    RouteError
        See `Routes`.
    """
    path = "/".join(part for part in (prefix, str(function.trigger.get("route") or function.name).strip("/")) if part)
    optional = _OPTIONAL.fullmatch(path)
    paths = [optional["before"], f"{optional['before']}/{{{optional['name']}}}"] if optional else [path]
    if not all(_SEGMENT.fullmatch(segment) for form in paths for segment in form.split("/")):
        raise RouteError(f"{function.name}: route {path!r} holds a segment that is not supported here")
    methods = frozenset(str(method).upper() for method in function.trigger.get("methods") or ())
    return [Route(function=function, segments=tuple(form.split("/")), methods=methods) for form in paths]


def _decoded(segment: str) -> str:
    return "".join(part if _SLASH.fullmatch(part) else unquote(part) for part in _SLASH.split(segment))
