"""
The gate: every resource is validated against FHIR R4 4.0.1 before it is written.

Structure, cardinality and datatypes are checked by the models of ``fhir.resources``. The models are those of R4B
(4.3.0), in which the resource types that we make have exactly the elements of 4.0.1; only two datatypes of extensions
are new, and are refused here. This module also checks what the models do not: required codes, empty and missing values,
control characters, integers as text, absolute systems. Our own JSON is sent, never the model's (it would rewrite
dates).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from math import isfinite
from typing import Any

from pydantic import BaseModel, ValidationError

from sync.errors import InvalidResource
from sync.mapping.values import MAX_TEXT_BYTES, clean
from sync.model import Resource

_MODULES = {
    kind: kind.lower()
    for kind in (
        "Bundle",
        "Device",
        "DiagnosticReport",
        "DocumentReference",
        "Endpoint",
        "ImagingStudy",
        "Observation",
        "Patient",
    )
}

_REQUIRED_CODES = {
    ("ImagingStudy", "status"): {"registered", "available", "cancelled", "entered-in-error", "unknown"},
    ("Observation", "status"): {"preliminary", "final", "amended", "corrected", "registered", "unknown"},
    ("DiagnosticReport", "status"): {"partial", "preliminary", "final", "amended", "unknown"},
    ("DocumentReference", "status"): {"current"},
    ("DocumentReference", "docStatus"): {"preliminary", "final", "amended"},
    ("text", "status"): {"generated", "extensions", "additional"},
    ("Endpoint", "status"): {"active", "suspended", "error", "off", "entered-in-error", "test"},
    ("Patient", "gender"): {"male", "female", "other", "unknown"},
    ("identifier", "use"): {"usual", "official", "temp", "secondary", "old"},
    ("name", "use"): {"usual", "official", "temp", "nickname", "anonymous", "old", "maiden"},
    ("deviceName", "type"): {
        "udi-label-name",
        "user-friendly-name",
        "patient-reported-name",
        "manufacturer-name",
        "model-name",
        "other",
    },
    ("Bundle", "type"): {"transaction"},
    ("request", "method"): {"PUT", "DELETE"},
}
"""R4 bindings of strength *required*, by the element and its parent."""

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_URI = re.compile(r"\S+")
_OFFSET = r"(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)"
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?", re.ASCII)
_TIMED = rf"\d{{4}}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?{_OFFSET}"
_INSTANT = re.compile(_TIMED, re.ASCII)
_DATETIME = re.compile(rf"{_DATE.pattern}|{_TIMED}", re.ASCII)
_PATTERNS = {
    "id": _ID,
    "uid": _ID,
    "system": re.compile(r"(https?://|urn:)\S+"),
    "url": _URI,
    "address": _URI,
    "reference": _URI,
    "birthDate": _DATE,
    "started": _DATETIME,
    "effectiveDateTime": _DATETIME,
    "valueDateTime": _DATETIME,
    "issued": _INSTANT,
    "date": _INSTANT,
}
_INTEGERS = frozenset({"number", "numberOfSeries", "numberOfInstances", "valueInteger"})
_DECIMALS = frozenset({"value"})
_ONLY_R4B = frozenset({"valueCodeableReference", "valueRatioRange"})


def validated(resource: Resource) -> Resource:
    """
    Return the resource, unchanged, if FHIR R4 allows it.

    Raises
    ------
    InvalidResource
        Names the path of the first wrong element, never a value.
    """
    kind = str(resource.get("resourceType"))
    if kind not in _MODULES:
        raise InvalidResource("resourceType")
    path = _fault_of_model(kind, resource) or _fault(resource, kind, "")
    if path:
        raise InvalidResource(f"{kind}.{path}")
    return resource


@lru_cache
def _model(kind: str, part: str = "") -> type[BaseModel]:
    """Import the model of a resource, or of a part of it, when first needed: the models take a while."""
    model: type[BaseModel] = getattr(import_module(f"fhir.resources.R4B.{_MODULES[kind]}"), kind + part)
    return model


def _fault_of_model(kind: str, resource: Resource) -> str | None:
    if kind == "ImagingStudy":
        return _fault_of_study(resource)
    return _first_fault(_model(kind), resource)


def _fault_of_study(resource: Resource) -> str | None:
    """
    Check a study's instances one by one, and the rest without them.

    As one model, a study of 30,000 instances would take 60 MB more during the check.
    """
    series = resource.get("series")
    if not isinstance(series, list) or not all(map(_lists_instances, series)):
        return _first_fault(_model("ImagingStudy"), resource)
    without = [{name: value for name, value in one.items() if name != "instance"} for one in series]
    fault = _first_fault(_model("ImagingStudy"), {**resource, "series": without})
    if fault is not None:
        return fault
    instance = _model("ImagingStudy", "SeriesInstance")
    for place, one_series in enumerate(series):
        for number, one in enumerate(one_series.get("instance", ())):
            fault = _first_fault(instance, one)
            if fault is not None:
                return f"series.{place}.instance.{number}.{fault}"
    return None


def _lists_instances(series: Any) -> bool:
    return isinstance(series, Mapping) and isinstance(series.get("instance", []), list)


def _first_fault(model: type[BaseModel], value: Any) -> str | None:
    try:
        model.model_validate(value)
    except ValidationError as problem:
        location = problem.errors(include_input=False, include_url=False, include_context=False)[0]["loc"]
        return ".".join(str(part) for part in location) or "*"
    return None


def _fault(value: Any, holder: str, element: str) -> str | None:
    """Return the path of the first fault at or below a value, relative to its parent; None if there is none."""
    if isinstance(value, str):
        return None if _is_text(value, holder, element) else element
    if isinstance(value, Mapping):
        return _fault_of_object(value, element or holder, element)
    if isinstance(value, list):
        return _fault_of_list(value, holder, element)
    if isinstance(value, float):
        return None if element in _DECIMALS and isfinite(value) else element
    return None if isinstance(value, bool | int) and element not in _PATTERNS else element


def _fault_of_object(value: Mapping[str, Any], name: str, element: str) -> str | None:
    for key, inner in value.items():
        wrong = key in _ONLY_R4B or (key in _INTEGERS and type(inner) is not int)
        below = key if wrong else _fault(inner, name, key)
        if below is not None:
            return f"{element}.{below}" if element else below
    return None if value else element


def _fault_of_list(value: list[Any], holder: str, element: str) -> str | None:
    for index, inner in enumerate(value):
        below = _fault(inner, holder, element)
        if below is not None:
            return below.replace(element, f"{element}.{index}", 1)
    return None if value else element


def _is_text(value: str, holder: str, element: str) -> bool:
    if not value or clean(value) != value:
        return False
    if len(value) * 4 > MAX_TEXT_BYTES and len(value.encode()) > MAX_TEXT_BYTES:
        return False
    pattern = _PATTERNS.get(element)
    if pattern is not None and not pattern.fullmatch(value):
        return False
    allowed = _REQUIRED_CODES.get((holder, element))
    return allowed is None or value in allowed
