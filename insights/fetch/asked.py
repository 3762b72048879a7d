"""
Checks that a resource matches the search that returned it.

A FHIR service may ignore an unknown search parameter; its answer then includes records of other patients.
``Prefer: handling=strict`` forbids this, but not every service obeys. Source: FHIR R4 search.html#errors.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

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
        return resource.get("id") in values
    return any(reference in values for reference in _named(resource, parameter))


def _named(resource: Mapping[str, Any], parameter: str) -> Iterator[str]:
    links = resource.get("link") or ()
    stated = [link.get("other") for link in links] if parameter == "link" else [resource.get("subject")]
    if parameter == "patient":
        stated.append(resource.get("patient"))
    for reference in stated:
        match = _REFERENCE.search(str((reference or {}).get("reference") or ""))
        if match:
            yield match[1]
