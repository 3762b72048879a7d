"""
A FHIR R4 service over HTTP: `sync.ports.FhirServer`.

Searches by identifier use POST, so that no patient id is in a URL and thereby in access logs. Every request is
idempotent, because we choose the ids.

Source: FHIR R4 http.html (transaction, conditional requests, search by POST), Azure Health Data Services FHIR REST.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import httpx

from sync.adapters.circuit_breaker import CircuitBreaker
from sync.adapters.http.access import Access
from sync.adapters.http.fhir.answers import (
    carries,
    entries_of,
    escape_token,
    following,
    is_cancelled,
    is_gone,
    last_body,
    matches,
    next_link,
    object_of,
    one_resource,
    raise_for,
    resource_in,
    resources_in,
    searchset_of,
    version_of,
)
from sync.adapters.http.fhir.capabilities import Capabilities, capabilities_in
from sync.adapters.http.fhir.references import (
    NOT_REFERENCED,
    addresses_in,
    note_referrers,
    searches_for,
    self_link,
    targets_of,
    unreferenced_searches,
)
from sync.adapters.http.fhir.remote import FhirRemote
from sync.adapters.http.fhir.searches import (
    FRESH,
    FRESH_ONLY_PAGE,
    MEDIA,
    SENDING,
    Searches,
    bundle_of,
    may_lack_matches,
)
from sync.adapters.http.fhir.study_search import check_study_link, form_of
from sync.adapters.http.retrying import Sleep
from sync.adapters.http.tokens import TokenSource
from sync.errors import FhirRejected, FhirUnavailable, ForeignLink
from sync.model import UNSEEN_REFERRER, FhirPage, FhirWrite, Resource, StudySearch
from sync.model.batches import batched
from sync.model.circles import Passed, followed
from sync.model.elements import part
from sync.telemetry.telemetry import Telemetry

MAX_ENTRIES = 500
"""Maximum entries of a bundle that Azure accepts."""

PAGE = 200
"""Number of resources on one page of a listing."""

_SEARCH_PAGE = 50
"""Number of matches on one page of a search by identifier; usually there are one or none."""

_LAST_VERSIONS = 5
"""Number of versions to read, the latest first, to find one with a body: deletions have none."""

_REFERRER_PAGES = 20
"""Maximum further pages of a resource's referrers that are read."""


class HttpFhirServer:
    """
    The FHIR service at a base URL.

    Parameters
    ----------
    base_url
        Without a slash at the end.
    telemetry
        Measures each request, retry and 429.
    tokens
        Bearer tokens; None for a server on this machine.
    access
        All credentials that the service requires, in place of ``tokens``.
    transport
        Replaces the network, for tests.
    breaker
        Shared by all callers of the service in this process.
    sleep
        Waits the given seconds before a short retry; tests do not wait.
    page
        Number of resources on a page of a listing.
    entries
        Maximum entries of a bundle.
    """

    def __init__(
        self,
        base_url: str,
        *,
        telemetry: Telemetry,
        tokens: TokenSource | None = None,
        access: Access | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        breaker: CircuitBreaker | None = None,
        sleep: Sleep = asyncio.sleep,
        page: int = PAGE,
        entries: int = MAX_ENTRIES,
    ) -> None:
        self._remote = FhirRemote(
            base_url,
            telemetry=telemetry,
            tokens=tokens,
            access=access,
            headers={"Accept": MEDIA, "Prefer": "return=minimal"},
            transport=transport,
            breaker=breaker or CircuitBreaker(),
            sleep=sleep,
        )
        self._page = page
        self._entries = entries
        self._searches = Searches(self._remote, entries)
        self._knows_not_referenced = True

    async def aclose(self) -> None:
        """Close the connections."""
        await self._remote.aclose()

    async def capabilities(self) -> Capabilities:
        """
        Return the service's CapabilityStatement, from ``/metadata``.

        Raises
        ------
        FhirUnavailable
            The service does not answer, or is not a FHIR R4 service: ``fhir.not_fhir``, ``fhir.version``.
        """
        response = await self._remote.ask("GET", "/metadata", headers=FRESH)
        try:
            statement = object_of(response) if response.is_success else {}
        except FhirUnavailable:
            statement = {}
        return capabilities_in(statement)

    async def read(self, resource_type: str, resource_id: str) -> Resource | None:
        """Return the resource, or None if it never existed or is deleted."""
        response = await self._remote.ask("GET", f"/{resource_type}/{resource_id}", headers=FRESH)
        if is_gone(response):
            return None
        raise_for(response.status_code, response)
        return one_resource(object_of(response), resource_type, resource_id)

    async def read_all(self, references: Sequence[str]) -> Sequence[Resource | None]:
        """Return each resource, or None in its place, by batches of reads."""
        resources: list[Resource | None] = []
        for some in batched(references, self._entries):
            resources += await self._batch(some)
        return resources

    async def search(self, resource_type: str, system: str | None, value: str) -> Sequence[Resource]:
        """
        Return the resources that carry exactly this identifier, never from a cache; see `sync.ports.FhirServer.search`.

        All pages are read: the first ones may hold only false matches.

        Raises
        ------
        FhirUnavailable
            A match has no id, or the pages lead in a circle.
        """
        token = escape_token(value) if system is None else f"{escape_token(system)}|{escape_token(value)}"
        form = {"identifier": [token], "_count": [str(_SEARCH_PAGE)]}
        address = f"/{resource_type}/_search"
        response = await self._remote.ask("POST", address, data=form, headers=FRESH_ONLY_PAGE)
        if response.is_success and may_lack_matches(searchset_of(object_of(response))):
            response = await self._remote.ask("POST", address, data=form, headers=FRESH)
        resources: list[Resource] = []
        passed = Passed()
        while True:
            raise_for(response.status_code, response)
            resources += [resource for resource in matches(response, resource_type) if carries(resource, system, value)]
            link = following(response, self._remote.base, resource_type)
            if link is None:
                break
            passed = followed(passed, link)
            response = await self._follow(link)
        if not all(resource.get("id") for resource in resources):
            raise FhirUnavailable("a match has no id")
        return resources

    async def _follow(self, link: str) -> httpx.Response:
        """Fetch the next page of a search: by POST if its link repeats the identifier, to keep it out of logs."""
        path, _, query = link.partition("?")
        form = parse_qs(query, keep_blank_values=True)
        if not any(name.partition(":")[0] == "identifier" for name in form):
            return await self._remote.ask("GET", link, headers=FRESH)
        address = path if path.endswith("/_search") else f"{path.rstrip('/')}/_search"
        return await self._remote.ask("POST", address, data=form, headers=FRESH)

    async def page(self, resource_type: str, link: str | None = None, *, subject: str | None = None) -> FhirPage:
        """List resources of a type; see `sync.ports.FhirServer.page`. Source: R4 search.html 3.1.1.1.9, paging."""
        about = f"&subject={subject}" if subject else ""
        address = link or f"/{resource_type}?_count={self._page}&_elements=id,identifier{about}"
        if not address.startswith(("/", "?")):
            raise ForeignLink("a link that is not relative to the service")
        response = await self._remote.ask("GET", address, headers=FRESH)
        raise_for(response.status_code, response)
        link_after = following(response, self._remote.base, resource_type)
        if link_after is not None and link_after == link:
            raise FhirUnavailable("a page links to itself as the next one")
        return FhirPage(resources=matches(response, resource_type), following=link_after)

    async def find_studies(self, search: StudySearch, link: str | None = None) -> FhirPage:
        """
        Find ImagingStudies; see `sync.ports.FhirServer.find_studies`.

        Source: R4 ImagingStudy search parameters; search.html 3.1.1.5 (``_sort``), 3.1.1.6 (``_elements``, ``_total``).
        """
        if link is not None:
            check_study_link(link)
            response = await self._follow(link)
        else:
            response = await self._remote.ask("POST", "/ImagingStudy/_search", data=form_of(search), headers=FRESH)
        raise_for(response.status_code, response)
        following_link = following(response, self._remote.base, "ImagingStudy")
        total = object_of(response).get("total")
        return FhirPage(
            resources=matches(response, "ImagingStudy"),
            following=following_link if following_link != link else None,
            total=total if isinstance(total, int) else None,
        )

    async def transact(self, writes: Sequence[FhirWrite]) -> Sequence[str | None]:
        """Apply the writes as transactions of at most ``entries`` entries; see `sync.ports.FhirServer.transact`."""
        versions: list[str | None] = []
        for some in batched(writes, self._entries):
            versions += await self._transaction(some)
        return versions

    async def referrers(self, references: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """Find the resources that refer to each of the given ones; see `sync.ports.FhirServer.referrers`."""
        referring: dict[str, set[str]] = {reference: set() for reference in references}
        searches = searches_for(references)
        for search, bundle in zip(searches, await self._searches.answer(searches), strict=True):
            if bundle is None:  # resources that we may not see may refer to any of them
                for reference in targets_of(search):
                    referring[reference].add(UNSEEN_REFERRER)
                continue
            note_referrers(referring, await self._all_pages(bundle, search.partition("?")[0]))
        silent = [reference for reference in references if not referring[reference]]
        for reference in await self._referenced_unseen(silent):
            referring[reference].add(UNSEEN_REFERRER)
        return {reference: frozenset(addresses) for reference, addresses in referring.items()}

    async def last_version(self, resource_type: str, resource_id: str) -> Resource | None:
        """Read the history of a resource; see `sync.ports.FhirServer.last_version`. Source: R4 http.html, history."""
        address = f"/{resource_type}/{resource_id}/_history?_count={_LAST_VERSIONS}"
        response = await self._remote.ask("GET", address, headers=FRESH)
        try:
            raise_for(response.status_code, response)
        except FhirRejected:
            return None  # the resource never existed, or the server keeps no history
        return last_body(response, resource_type)

    async def _referenced_unseen(self, references: Sequence[str]) -> Sequence[str]:
        """Return the existing resources that Azure does not list as unreferenced; other servers lack the parameter."""
        if not references or not self._knows_not_referenced:
            return []
        answers = await self._searches.answer(unreferenced_searches(references))
        bundles = [bundle for bundle in answers if bundle is not None]
        if len(bundles) < len(answers):
            return references
        if not all(NOT_REFERENCED in self_link(bundle) for bundle in bundles[::2]):
            self._knows_not_referenced = False
            return []
        free, existing = addresses_in(bundles[::2]), addresses_in(bundles[1::2])
        return [reference for reference in references if reference in existing - free]

    async def _all_pages(self, bundle: Mapping[str, Any], resource_type: str) -> list[Resource]:
        """Return the resources of a search that began in a batch, at least those of the first pages."""
        resources = resources_in(bundle)
        for _ in range(_REFERRER_PAGES):
            link = next_link(bundle, self._remote.base, resource_type)
            if link is None:
                break
            response = await self._remote.ask("GET", link, headers=FRESH)
            raise_for(response.status_code, response)
            bundle = searchset_of(object_of(response))
            resources += resources_in(bundle)
        return resources

    async def _batch(self, references: Sequence[str]) -> list[Resource | None]:
        requests = [{"request": {"method": "GET", "url": reference}} for reference in references]
        response = await self._remote.ask("POST", "", content=bundle_of("batch", requests), headers=SENDING | FRESH)
        raise_for(response.status_code, response)
        resources = [resource_in(entry) for entry in entries_of(response, "batch-response", expected=len(requests))]
        return [
            one_resource(resource, *reference.split("/"))
            for resource, reference in zip(resources, references, strict=True)
        ]

    async def _transaction(self, writes: Sequence[FhirWrite]) -> list[str | None]:
        requests = [_entry(write) for write in writes]
        response = await self._remote.ask("POST", "", content=bundle_of("transaction", requests), headers=SENDING)
        raise_for(response.status_code, response, writes)
        entries = entries_of(response, "transaction-response", expected=len(writes))
        answered = list(zip(writes, entries, strict=True))
        for write, entry in answered:
            if not is_cancelled(entry):  # cancelled entries do not state the cause
                version_of(write, part(entry, "response"))
        return [version_of(write, part(entry, "response")) for write, entry in answered]


def _entry(write: FhirWrite) -> dict[str, Any]:
    if write.resource is None:
        return {"request": {"method": "DELETE", "url": write.reference}}
    request = {"method": "PUT", "url": write.reference}
    if write.if_match is not None:
        request["ifMatch"] = f'W/"{write.if_match}"'
    return {"resource": write.resource, "request": request}
