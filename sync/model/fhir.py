"""What goes to a FHIR service, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Resource = dict[str, Any]
"""A FHIR R4 resource as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirPage:
    """One page of a listing; ``following`` is the link of the next one, None after the last."""

    resources: Sequence[Resource] = field(repr=False)
    following: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirWrite:
    """One entry of a transaction: PUT when there is a resource, DELETE when there is none."""

    resource_type: str
    resource_id: str
    resource: Resource | None = field(default=None, repr=False)
    if_match: str | None = None
