"""
A FHIR R4 service in memory: `sync.ports.FhirServer` for tests, the simulation and the demo.

Writes go in, resources with version ids come out. It is as lax as the laxest real server, because code that is correct
here is correct on all of them: it checks versions of updates only (If-Match on PUT is checked, on DELETE ignored; PUT
without If-Match always succeeds; DELETE of a missing resource is fine). Coroutines never suspend, so that a simulation
can drive them without an event loop. Switches turn on the behaviour of single servers, see `MemoryFhirServer`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from sync.errors import FhirConflict, FhirRejected, ForeignLink
from sync.model import FhirPage, FhirWrite, Resource, StudySearch, references_in
from sync.testing.azure_values import as_azure_keeps

_Key = tuple[str, str]
"""Resource type and id."""


@dataclass(frozen=True, slots=True)
class _Version:
    """One version; ``body`` is canonical JSON without server-set meta, None for a deletion."""

    number: int
    body: str | None
    identifiers: frozenset[tuple[str, str]] = frozenset()
    before: str | None = None
    """For a deletion, the body before it."""


class MemoryFhirServer:
    """
    FHIR R4 service in memory; its resources exist only as long as the object.

    Parameters
    ----------
    atomic
        False: writes apply one by one, and those beside a failing one stay (the embedded server does so).
    notices_unchanged
        False: an unchanged PUT makes a new version (the embedded server); True: it does not (HAPI, Azure).
    checks_references
        True: a reference to a missing resource is refused and a referenced resource cannot be deleted (HAPI);
        False: neither (Azure, the embedded server).
    azure
        True: it keeps and refuses values as Azure's does: instants lose trailing zeros, and second 60, moments outside
        the years of UTC, numbers from 10^18 on and one address twice but for case are refused.
    page
        Resources that a page of a listing holds.
    """

    def __init__(
        self,
        *,
        atomic: bool = True,
        notices_unchanged: bool = True,
        checks_references: bool = False,
        azure: bool = False,
        page: int = 200,
    ) -> None:
        self._page = page
        self._azure = azure
        self._atomic = atomic
        self._notices_unchanged = notices_unchanged
        self._checks_references = checks_references
        self._versions: dict[_Key, _Version] = {}

    async def read(self, resource_type: str, resource_id: str) -> Resource | None:
        """Return the resource with ``meta.versionId``; None when it never was or is deleted."""
        return self.peek(resource_type, resource_id)

    async def read_all(self, references: Sequence[str]) -> Sequence[Resource | None]:
        """Return each resource as `read` does."""
        return [self.peek(*reference.split("/")) for reference in references]

    async def search(self, resource_type: str, system: str | None, value: str) -> Sequence[Resource]:
        """Return the resources that carry the identifier; an empty system stands for identifiers without one."""
        return [
            _resource(key[1], version)
            for key, version in self._versions.items()
            if key[0] == resource_type and any(system in (None, s) and value == v for s, v in version.identifiers)
        ]

    async def page(self, resource_type: str, link: str | None = None, *, subject: str | None = None) -> FhirPage:
        """List resources of a type by id, with no more than a listing asks for; see `sync.ports.FhirServer.page`."""
        after, _, about = (link or f"?|{subject or ''}")[1:].partition("|")
        resources = [
            resource
            for resource in self.resources(resource_type)
            if resource["id"] > after and _is_about(resource, about)
        ]
        shown, more = resources[: self._page], len(resources) > self._page
        return FhirPage(
            resources=[_asked(resource) for resource in shown],
            following=f"?{shown[-1]['id']}|{about}" if more else None,
        )

    async def find_studies(self, search: StudySearch, link: str | None = None) -> FhirPage:
        """Find ImagingStudies; see `sync.ports.FhirServer.find_studies`."""
        matching = [resource for resource in self.resources("ImagingStudy") if is_wanted(resource, search)]
        matching.sort(key=lambda resource: resource.get("started", ""), reverse=True)
        if not (link or "?0").removeprefix("?").isdecimal():
            raise ForeignLink("the link is no page of a search for studies")
        start = int((link or "?0").removeprefix("?"))
        end = start + min(search.count, self._page)
        return FhirPage(
            resources=matching[start:end], following=f"?{end}" if end < len(matching) else None, total=len(matching)
        )

    async def last_version(self, resource_type: str, resource_id: str) -> Resource | None:
        """Return the last content of the resource; see `sync.ports.FhirServer.last_version`."""
        version = self._versions.get((resource_type, resource_id))
        body = version and (version.body or version.before)
        return _resource(resource_id, replace(version, body=body)) if version is not None and body else None

    async def referrers(self, references: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """Find the referrers of each resource, present or deleted; see `sync.ports.FhirServer.referrers`."""
        referring: dict[str, set[str]] = {reference: set() for reference in references}
        for key, version in self._versions.items():
            for target in _targets(version.body):
                referring.get(target, set()).add("/".join(key))
        return {reference: frozenset(addresses - {reference}) for reference, addresses in referring.items()}

    async def transact(self, writes: Sequence[FhirWrite]) -> Sequence[str | None]:
        """Apply the writes; see `sync.ports.FhirServer.transact`."""
        _refuse_malformed(writes)
        if self._azure:
            writes = as_azure_keeps(writes)
        before = dict(self._versions)
        try:
            return self._apply(writes)
        except (FhirConflict, FhirRejected):
            if self._atomic:
                self._versions = before
            raise

    def peek(self, resource_type: str, resource_id: str) -> Resource | None:
        """Return the same as `read`, for callers that are not coroutines."""
        version = self._versions.get((resource_type, resource_id))
        return None if version is None or version.body is None else _resource(resource_id, version)

    def history(self, resource_type: str, resource_id: str) -> int:
        """Return how many versions the resource has had, deletions included; they are numbered from 1."""
        version = self._versions.get((resource_type, resource_id))
        return version.number if version else 0

    def resources(self, resource_type: str | None = None) -> Iterator[Resource]:
        """Iterate over the present resources, of one type or of all, sorted by type and id."""
        for key, version in sorted(self._versions.items(), key=lambda item: item[0]):
            if version.body is not None and resource_type in (None, key[0]):
                yield _resource(key[1], version)

    def _apply(self, writes: Sequence[FhirWrite]) -> list[str | None]:
        failures: list[FhirConflict | FhirRejected] = []
        versions: list[str | None] = []
        for write in sorted(writes, key=lambda write: write.resource is not None):  # servers apply DELETE first
            try:
                self._fence(write)
            except FhirConflict as failure:
                failures.append(failure)
            else:
                self._store(write)
        if not failures and self._checks_references:
            self._check_references()
        if failures:
            raise failures[0]
        for write in writes:
            current = self._versions.get((write.resource_type, write.resource_id))
            versions.append(str(current.number) if current and write.resource is not None else None)
        return versions

    def _fence(self, write: FhirWrite) -> None:
        if write.resource is None or write.if_match is None:
            return
        current = self._versions.get((write.resource_type, write.resource_id))
        if current is None or current.body is None or str(current.number) != write.if_match:
            raise FhirConflict(f"{write.resource_type}: If-Match names another version")

    def _store(self, write: FhirWrite) -> None:
        key = (write.resource_type, write.resource_id)
        current = self._versions.get(key)
        if write.resource is None:
            if current is not None and current.body is not None:
                self._versions[key] = _Version(current.number + 1, None, before=current.body)
            return
        body = _canonical(write.resource)
        if current is not None and current.body == body and self._notices_unchanged:
            return
        number = current.number + 1 if current else 1
        self._versions[key] = _Version(number, body, _identifiers(write.resource))

    def _check_references(self) -> None:
        existing = {"/".join(key) for key, version in self._versions.items() if version.body is not None}
        for (resource_type, _), version in sorted(self._versions.items(), key=lambda item: item[0]):
            if not _targets(version.body) <= existing:
                raise FhirRejected(f"{resource_type}: reference to a missing resource")


def _refuse_malformed(writes: Sequence[FhirWrite]) -> None:
    """Raise for writes that every server answers with 400: a resource twice, or a body that contradicts its URL."""
    keys: set[_Key] = set()
    for write in writes:
        key = (write.resource_type, write.resource_id)
        if key in keys:
            raise FhirRejected(f"{write.resource_type}: twice in one transaction")
        keys.add(key)
        body = write.resource
        if body is not None and (body.get("resourceType"), body.get("id")) != key:
            raise FhirRejected(f"{write.resource_type}: resourceType or id differs from the entry's URL")


def _canonical(resource: Resource) -> str:
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    body = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    return json.dumps({**body, "meta": meta}, sort_keys=True)


@lru_cache(maxsize=8192)
def _targets(body: str | None) -> frozenset[str]:
    """Return the references in a body. Cached: each body is searched once, however often all of them are queried."""
    return frozenset(references_in(json.loads(body))) if body is not None else frozenset()


def _resource(resource_id: str, version: _Version) -> Resource:
    resource: Resource = json.loads(version.body or "{}")
    resource["id"] = resource_id
    resource["meta"]["versionId"] = str(version.number)
    return resource


def _asked(resource: Resource) -> Resource:
    """Return the elements that a listing requests, and those that servers add."""
    return {name: resource[name] for name in ("resourceType", "id", "meta", "identifier") if name in resource}


def _is_about(resource: Resource, subject: str) -> bool:
    return not subject or resource.get("subject", {}).get("reference") == subject


def _identifiers(resource: Resource) -> frozenset[tuple[str, str]]:
    return frozenset(
        (identifier.get("system", ""), identifier.get("value", "")) for identifier in resource.get("identifier", ())
    )


def is_wanted(resource: Resource, search: StudySearch) -> bool:
    """Return whether an ImagingStudy matches a search."""
    started = resource.get("started", "")[:10]
    values = {identifier.get("value") for identifier in resource.get("identifier", ())}
    return (
        (not search.modality or search.modality in {coding.get("code") for coding in resource.get("modality", ())})
        and (not search.since or started >= search.since)
        and (not search.until or "" < started <= search.until)
        and (not search.identifier or search.identifier in values)
        and (
            not search.endpoint
            or search.endpoint in {endpoint.get("reference") for endpoint in resource.get("endpoint", ())}
        )
        and (not search.subjects or resource.get("subject", {}).get("reference") in search.subjects)
    )
