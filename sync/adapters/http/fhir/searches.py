"""
Runs many searches at once: as batches, or one by one on a server that does not accept searches in a Bundle.

A search that mostly finds nothing or one resource asks the server to keep no list of its matches. HAPI then answers it
for half the cost, but without further pages; so an answer that may lack some is asked for again.

Source: FHIR R4 http.html 3.1.0.11 (batch); Google Cloud Healthcare API, ``executeBundle``: "all interactions within a
bundle, except search"; HAPI FHIR, JPA Server Configuration Options, "Disable Paging at the Request Level".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sync.adapters.http.fhir.answers import (
    entries_of,
    object_of,
    raise_for,
    refused_searchset,
    searchset_in,
    searchset_of,
)
from sync.adapters.http.fhir.remote import FhirRemote
from sync.errors import FhirConflict, FhirRejected
from sync.model.batches import batched
from sync.model.elements import parts

MEDIA = "application/fhir+json"
PARALLEL = {"x-bundle-processing-logic": "parallel"}
"""Azure runs the entries of a Bundle in sequence unless this header asks otherwise; other servers ignore it."""

SENDING = {"Content-Type": f"{MEDIA}; charset=utf-8", **PARALLEL}
FRESH = {"Cache-Control": "no-cache"}
"""HAPI answers a repeated search from a cache unless this header asks otherwise."""

FRESH_ONLY_PAGE = {"Cache-Control": "no-cache, no-store"}
"""The same, and HAPI keeps no list of the matches for further pages."""

FEW = 10
"""Fewer matches than these are all, although no link leads to more: no server has so short pages."""

Searchset = Mapping[str, Any]


class Searches:
    """
    Searches of one server.

    Parameters
    ----------
    entries
        Maximum entries of a batch.
    """

    def __init__(self, remote: FhirRemote, entries: int) -> None:
        self._remote = remote
        self._entries = entries
        self._in_bundles = True

    async def answer(self, searches: Sequence[str]) -> list[Searchset | None]:
        """
        Make the searches, relative to the base URL. Only reads.

        Returns
        -------
        list
            The searchset of each; an empty mapping if the server refuses the search, such as for an unknown parameter;
            None if we may not search there: its result is unknown.

        Raises
        ------
        FhirRejected
            The server refuses every search: then the results are unknown, not empty.
        Throttled, FhirUnavailable
            The server did not answer.
        """
        if not searches:
            return []
        if self._in_bundles:
            searchsets = await self._in_batches(searches)
            if not _are_refused(searchsets):
                return searchsets
        searchsets = [await self._alone(search) for search in searches]
        if _are_refused(searchsets):
            raise FhirRejected("the server refuses every search for references")
        self._in_bundles = False
        return searchsets

    async def _in_batches(self, searches: Sequence[str]) -> list[Searchset | None]:
        searchsets: list[Searchset | None] = []
        for some in batched(searches, self._entries):
            requests = [{"request": {"method": "GET", "url": url}} for url in some]
            headers = SENDING | FRESH_ONLY_PAGE
            response = await self._remote.ask("POST", "", content=bundle_of("batch", requests), headers=headers)
            try:
                raise_for(response.status_code, response)
            except (FhirConflict, FhirRejected):
                return []  # no search was answered
            entries = entries_of(response, "batch-response", expected=len(requests))
            for search, entry in zip(some, entries, strict=True):
                searchsets.append(await self._whole(search, searchset_in(entry)))
        return searchsets

    async def _whole(self, search: str, searchset: Searchset | None) -> Searchset | None:
        """Return the searchset, or that of the same search with a link to further pages."""
        if not searchset or not may_lack_matches(searchset):
            return searchset
        again = await self._alone(search)
        return searchset if again == {} else again  # refused alone: what was found still counts

    async def _alone(self, search: str) -> Searchset | None:
        response = await self._remote.ask("GET", f"/{search}", headers=FRESH)
        try:
            raise_for(response.status_code, response)
        except (FhirConflict, FhirRejected):
            return refused_searchset(response.status_code)
        return searchset_of(object_of(response))


def may_lack_matches(searchset: Searchset) -> bool:
    """Return whether an only page may be a part of the matches: it is not short, and no link leads to more."""
    links = {link.get("relation") for link in parts(searchset, "link")}
    return len(parts(searchset, "entry")) >= FEW and "next" not in links


def _are_refused(searchsets: Sequence[Searchset | None]) -> bool:
    """Return whether the server itself neither answered nor denied any of the searches."""
    return all(searchset is not None and not searchset for searchset in searchsets)


def bundle_of(kind: str, entries: list[dict[str, Any]]) -> bytes:
    """Return the body of a Bundle of requests."""
    body = {"resourceType": "Bundle", "type": kind, "entry": entries}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
