"""Writes to a FHIR service, and its answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Resource = dict[str, Any]
"""A FHIR R4 resource as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirPage:
    """One page of a listing; ``following`` is the link of the next one, None after the last."""

    resources: Sequence[Resource] = field(repr=False)
    following: str | None = None
    total: int | None = None
    """Number of resources on all pages together; None when the server does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySearch:
    """
    Which ImagingStudies are wanted; an empty field limits nothing.

    ``since`` and ``until`` are days (YYYY-MM-DD) of ``started``, both included. ``identifier`` is compared whatever its
    system. ``subjects`` are Patients, ``Patient/id``, any of which the study is about. ``endpoint`` is an Endpoint,
    ``Endpoint/id``, where the study is.
    """

    modality: str = ""
    since: str = ""
    until: str = ""
    identifier: str = field(default="", repr=False)
    subjects: tuple[str, ...] = field(default=(), repr=False)
    endpoint: str = ""
    newest: Literal["changed", "started"] = "changed"
    """Sort key, newest first: the last write of the resource, or the start of the study."""
    count: int = 50
    """Maximum number of resources on a page."""


UNSEEN_REFERRER = "?"
"""Stands for the address of a referring resource when the server says only that there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirWrite:
    """One entry of a transaction: PUT when there is a resource, DELETE when there is none."""

    resource_type: str
    resource_id: str
    resource: Resource | None = field(default=None, repr=False)
    if_match: str | None = None

    @property
    def reference(self) -> str:
        """Its resource as ``Type/id`` (R4 ``Reference.reference``): also the URL of the entry."""
        return f"{self.resource_type}/{self.resource_id}"


_REFERENCE = re.compile(r"(?:^|/)([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})(?:/_history/.*)?$")


def references_in(node: Any) -> Iterator[str]:
    """Iterate over the references in a resource, as ``Type/id``, without base URL and version (R4 ``Reference``)."""
    if isinstance(node, dict):
        stated = node.get("reference")
        match = _REFERENCE.search(stated) if isinstance(stated, str) else None
        if match:
            yield match[1]
        for value in node.values():
            yield from references_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from references_in(value)
