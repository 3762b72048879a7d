"""Whether Azure would take what a template says of a resource: names, kinds, values, and what may not be left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.infra.bicep.functions import Runtime

FILE = Path(__file__).parent / "azure_shapes.json"
_KINDS: Mapping[str, Any] = {
    "string": str,
    "int": int,
    "bool": bool,
    "number": (int, float),
    "any": object,
    "object": dict,
    "duration": str,
}
_DURATION = re.compile(r"P(?!$)(\d+D)?(T(?!$)(\d+H)?(\d+M)?(\d+S)?)?")
_AT_EVERY_RESOURCE = ("name",)


@cache
def shapes() -> Mapping[str, Any]:
    """Return the snapshot, by type and API version."""
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return {kind: shape for kind, shape in found.items() if kind}


def faults(kind: str, body: Mapping[str, Any]) -> Iterator[str]:
    """Give what Azure would refuse, by path; ``kind`` with its API version."""
    if (shape := shapes().get(kind)) is None:
        yield f"{kind} is not in the snapshot: run python -m scripts.azure_shapes"
        return
    rest = {key: value for key, value in body.items() if key not in _AT_EVERY_RESOURCE}
    yield from _wrong(shape, rest, "")


def _wrong(shape: Any, value: Any, path: str) -> Iterator[str]:
    if value is None or (isinstance(value, Runtime) and _takes_text(shape)):
        return
    if isinstance(shape, str):
        yield from _plain(shape, value, path)
    elif "values" in shape and "by" not in shape:
        if value not in shape["values"]:
            yield f"{path} is {value!r}, not one of {shape['values']}"
    elif "array" in shape:
        yield from _items(shape["array"], value, path)
    elif "map" in shape:
        yield from _entries(shape["map"], value, path)
    elif "by" in shape:
        yield from _one_of(shape, value, path)
    else:
        yield from _object(shape["object"], value, path)


def _takes_text(shape: Any) -> bool:
    return (isinstance(shape, str) and shape.rstrip("!-") in ("string", "any")) or "values" in shape


def _plain(shape: str, value: Any, path: str) -> Iterator[str]:
    kind = shape.rstrip("!-")
    if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind in ("int", "number")):
        yield f"{path} is {value!r}, not {kind}"
    elif kind == "duration" and not _DURATION.fullmatch(value):
        yield f"{path} is {value!r}, no duration"
    elif kind == "object":
        yield f"{path} is not written out in the snapshot: run python -m scripts.azure_shapes"


def _items(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path} is no array"
        return
    for index, item in enumerate(value):
        yield from _wrong(shape, item, f"{path}[{index}]")


def _entries(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is no object"
        return
    for key, item in value.items():
        if not (shape == "object" and item == {}):
            yield from _wrong(shape, item, f"{path}.{key}")


def _one_of(shape: Any, value: Any, path: str) -> Iterator[str]:
    said = value.get(shape["by"]) if isinstance(value, dict) else None
    if said not in shape["values"]:
        yield f"{path}.{shape['by']} is {said!r}, not one of {shape['values']}"
    elif said not in shape["kinds"]:
        yield f"{path} of kind {said} is not in the snapshot: run python -m scripts.azure_shapes"
    else:
        yield from _wrong(shape["kinds"][said], value, path)


def _object(names: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is {value!r}, no object"
        return
    for key, item in value.items():
        if key not in names:
            yield f"{path}.{key} does not exist"
        elif _flag(names[key]) == "-":
            yield f"{path}.{key} cannot be set"
        else:
            yield from _wrong(names[key], item, f"{path}.{key}")
    for key, shape in names.items():
        if _flag(shape) == "!" and value.get(key) is None:
            yield f"{path}.{key} is missing"


def _flag(shape: Any) -> str:
    flags: str = shape.lstrip("abcdefghijklmnopqrstuvwxyz") if isinstance(shape, str) else shape.get("flags", "")
    return flags
