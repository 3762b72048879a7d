"""
Checks that a resource matches the search that returned it.

A FHIR service may ignore an unknown search parameter; its answer then includes records of other patients.
``Prefer: handling=strict`` forbids this, but not every service obeys. Source: FHIR R4 search.html#errors.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sync.model.elements import part, parts, text

_REFERENCE = re.compile(r"(?:^|/)([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})(?:/_history/[^/]+)?$")


def is_asked_for(resource: Mapping[str, Any], parameter: str, values: Collection[str]) -> bool:
    """
    Return whether a resource matches a search by a parameter. Pure.

    Parameters
    ----------
    parameter
        ``_id``, ``patient``, or ``link`` of a Patient.
    values
        Ids for ``_id``; else relative references, such as ``Patient/1``.
    """
    if parameter == "_id":
        return text(resource, "id") in values
    return any(reference in values for reference in _named(resource, parameter))


def _named(resource: Mapping[str, Any], parameter: str) -> Iterator[str]:
    if parameter == "link":
        references = [part(link, "other") for link in parts(resource, "link")]
    else:
        names = ("subject", "patient") if parameter == "patient" else ("subject",)
        references = [part(resource, name) for name in names]
    for reference in references:
        match = _REFERENCE.search(text(reference, "reference"))
        if match:
            yield match[1]
