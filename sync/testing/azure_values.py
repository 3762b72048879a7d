"""
Values that Azure's FHIR service refuses, or returns in another spelling.

Source: microsoft/fhir-server on the Firely SDK 5.x, whose instants are .NET's ``DateTimeOffset`` and whose search index
has ``decimal(36,18)``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sync.errors import FhirRejected
from sync.mapping.timestamps import without_trailing_zeros
from sync.model import FhirWrite

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_INSTANTS = frozenset({("DocumentReference", "date"), ("DiagnosticReport", "issued"), ("Observation", "issued")})
_TOO_LARGE = 10**18


def as_azure_keeps(writes: Sequence[FhirWrite]) -> Sequence[FhirWrite]:
    """
    Return the writes with their values as a later read returns them.

    Raises
    ------
    FhirRejected
        400: a value that the service does not accept, or one address twice, ignoring case.
    """
    addresses = {write.reference.lower() for write in writes}
    if len(addresses) < len(writes):
        raise FhirRejected("400: an address twice, ignoring case")
    return [replace(write, resource=write.resource and _kept(write.resource)) for write in writes]


def _kept(resource: dict[str, Any]) -> dict[str, Any]:
    _refuse(resource)
    instants = [name for name in resource if (resource["resourceType"], name) in _INSTANTS]
    return {**resource, **{name: without_trailing_zeros(resource[name]) for name in instants}}


def _refuse(node: Any) -> None:
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict | list):
            _refuse(value)
        elif isinstance(value, str) and _TIME.fullmatch(value) and not _is_moment(value):
            raise FhirRejected("400: a moment that .NET does not have")
        elif isinstance(value, int | float) and abs(value) >= _TOO_LARGE:
            raise FhirRejected("400: a number that the index does not hold")


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return True
