"""
Converts a search for ImagingStudies to the form of a request, and checks the links of its pages.

A link is sent to the browser and comes back. It is then followed with the identity of the sync, so it must lead only to
pages of such a search. Pure.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from sync.adapters.http.fhir.answers import escape_token
from sync.errors import ForeignLink
from sync.model import StudySearch

_SORTS = {"changed": "-_lastUpdated", "started": "-started"}
_ELEMENTS = "id,meta,identifier,status,modality,started,subject,numberOfSeries,numberOfInstances"
_OURS = frozenset(
    {"modality", "started", "identifier", "subject", "endpoint", "_sort", "_count", "_elements", "_total"}
)
_PAGING = frozenset({"ct", "_offset", "_page", "_getpages", "_getpagesoffset", "_pretty", "_bundletype", "_format"})
"""Parameters that continue a listing: Azure's ``ct``, HAPI's ``_getpages`` of a stored search, others' offset."""


def form_of(search: StudySearch) -> dict[str, list[str]]:
    """Return the fields of a search by POST, so that no identifier is in an address."""
    fields = {
        "modality": [search.modality],
        "started": [*(f"ge{day}" for day in (search.since,) if day), *(f"le{day}" for day in (search.until,) if day)],
        "identifier": [escape_token(search.identifier)],
        "subject": [",".join(search.subjects)],
        "endpoint": [search.endpoint],
        "_sort": [_SORTS[search.newest]],
        "_count": [str(search.count)],
        "_elements": [_ELEMENTS],
        "_total": ["accurate"],
    }
    return {name: values for name, values in fields.items() if any(values)}


def check_study_link(link: str) -> None:
    """Raise `ForeignLink` unless the link is the next page of a search for ImagingStudies."""
    path, _, query = link.partition("?")
    names = {name.partition(":")[0] for name in parse_qs(query, keep_blank_values=True)}
    kept = path in ("", "/") and "_getpages" in names
    listed = path.removesuffix("/_search") == "/ImagingStudy" or kept
    if not listed or not names <= _OURS | _PAGING:
        raise ForeignLink("the link is no page of a search for studies")
