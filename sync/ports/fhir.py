"""A FHIR R4 service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sync.model import (
    FhirPage,
    FhirWrite,
    Resource,
    StudySearch,
)


class FhirServer(Protocol):
    """
    A FHIR R4 service.

    Only updates can be fenced: servers ignore If-Match on DELETE and If-None-Match on PUT.
    """

    async def read(self, resource_type: str, resource_id: str) -> Resource | None:
        """Return the present resource with ``meta.versionId``; None if it never existed or is deleted."""
        ...

    async def read_all(self, references: Sequence[str]) -> Sequence[Resource | None]:
        """Read many resources, given as ``Type/id``, with few requests; like `read`, in the order of the references."""
        ...

    async def search(self, resource_type: str, system: str | None, value: str) -> Sequence[Resource]:
        """
        Return the resources that carry exactly this identifier, 0..n, never from a cache.

        Parameters
        ----------
        system
            Empty: identifiers without one; None: of any system.
        value
            Compared character by character, whatever the server's own index does.
        """
        ...

    async def page(self, resource_type: str, link: str | None = None, *, subject: str | None = None) -> FhirPage:
        """
        List all resources of a type, page by page, never from a cache. A resource has only its id and identifiers.

        Resources created or deleted during the listing may be missing or still listed: read a resource before judging
        it.

        Parameters
        ----------
        link
            ``following`` of the page before; None for the first one.
        subject
            Only resources about this one, ``Type/id``; for the first page, the links continue with it.

        Raises
        ------
        FhirRejected
            The link has expired: start the listing again.
        ForeignLink
            The service sends us elsewhere.
        """
        ...

    async def find_studies(self, search: StudySearch, link: str | None = None) -> FhirPage:
        """
        Return a page of the ImagingStudies that match a search, newest first, with the elements that a list shows.

        Parameters
        ----------
        link
            ``following`` of a page of the same search. It is refused unless it is a search for ImagingStudies by the
            parameters of `StudySearch`.

        Raises
        ------
        ForeignLink
            The link leads elsewhere.
        """
        ...

    async def referrers(self, references: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """
        Find the resources that refer to each of those given as ``Type/id``, never from a cache.

        References to deleted resources are found too. A reference without a search parameter in R4, such as
        ``DiagnosticReport.imagingStudy``, is not found, and on Azure only while its target is there.

        Returns
        -------
        Mapping
            For each resource, the addresses of the resources that refer to it; `sync.model.UNSEEN_REFERRER` when the
            server says only that there are some.
        """
        ...

    async def last_version(self, resource_type: str, resource_id: str) -> Resource | None:
        """Return the last version of a resource, even a deleted one; None if there is none or no history is kept."""
        ...

    async def transact(self, writes: Sequence[FhirWrite]) -> Sequence[str | None]:
        """
        Apply the writes, all or none where the server can; every entry of the answer is checked.

        Returns
        -------
        Sequence
            New version id of each write, in order; None for a DELETE (deleting a missing resource is fine).

        Raises
        ------
        FhirConflict
            An If-Match failed, or the server reports a conflict. With a server whose transactions are not atomic
            some writes may have been applied.
        FhirRejected
            400, 404, 422: the server does not accept the request.
        Throttled, FhirUnavailable
            After the adapter's own short retries.
        """
        ...
