"""
Searches page by page if there is no ``$export``.

Pages of one type are read one after the other, several types at once. The state is saved after each page, so a
repeat continues after the last complete page. Source: FHIR R4 search.html, paging and ``_lastUpdated``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from insights.errors import CollectError
from insights.fetch.progress import OnProgress, Progress, TypeState
from insights.fetch.service import FhirService, failed, refused
from sync.adapters.http.fhir.answers import following, matches, object_of
from sync.adapters.http.fhir.outcomes import is_own
from sync.errors import SyncError
from sync.model.circles import Passed, followed
from sync.model.elements import part, text

PAGE = 500
IDS = 1000
AT_ONCE = 4

_EXPIRED = frozenset({httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND, httpx.codes.GONE})
"""Answers of a service that no longer knows the link to a page; HAPI keeps a search for an hour and answers 410."""


class _PagesExpired(CollectError):
    """The service no longer has the pages of a search whose first pages were read."""


async def page_all(service: FhirService, progress: Progress, folder: Path, told: OnProgress) -> None:
    """
    Read all pages of all types.

    Raises
    ------
    CollectError
        ``collect.search_parameter``: the service does not know ``_lastUpdated``; ``collect.refused``.
    Unavailable
        ``collect.unavailable``; a repeat continues.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(kind: str) -> None:
        async with slots:
            await _page_type(service, progress, kind, folder, told)

    try:
        async with asyncio.TaskGroup() as group:
            for kind in progress.types:
                group.create_task(one(kind))
    except ExceptionGroup as problems:  # the others were cancelled; their last complete page is saved
        raise problems.exceptions[0] from None


async def _page_type(service: FhirService, progress: Progress, kind: str, folder: Path, told: OnProgress) -> None:
    if progress.of(kind).done:
        return
    try:
        await _read_pages(service, progress, kind, folder, told)
    except _PagesExpired:
        progress.pages[kind] = TypeState()
        progress.save(folder)
        await _read_pages(service, progress, kind, folder, told)


async def _read_pages(service: FhirService, progress: Progress, kind: str, folder: Path, told: OnProgress) -> None:
    """Read the pages of a type after the last complete one, and give the file its name."""
    state = progress.of(kind)
    since = f"&_lastUpdated=ge{quote(progress.since)}" if progress.since else ""
    total = await _total(service, f"/{kind}?_summary=count{since}")
    first = f"/{kind}?_count={PAGE}{since}"
    part = folder / f"{kind}.ndjson.part"
    with part.open("ab") as out:
        out.truncate(state.size)  # cut off a page that a kill interrupted
        out.seek(state.size)
        link: str | None = state.following or first
        passed = Passed()
        while link is not None:
            resources, link = await _page(
                service, link, kind, by="_lastUpdated" if since else "", follows=link != first
            )
            passed = _passed_on(passed, link, kind)
            if progress.since is not None:
                check_since(resources, progress.since, kind)
            out.writelines(json.dumps(resource, separators=(",", ":")).encode() + b"\n" for resource in resources)
            out.flush()
            state.following, state.size = link, out.tell()
            state.resources += len(resources)
            progress.save(folder)
            told(kind, state.resources, total)
    part.replace(folder / f"{kind}.ndjson")
    state.done = True
    progress.save(folder)


async def list_ids(service: FhirService, kind: str) -> frozenset[str]:
    """Return the ids of all resources of a type that exist now."""
    ids: set[str] = set()
    async for resources in pages(service, f"/{kind}?_elements=id&_count={IDS}", kind):
        ids |= {str(resource["id"]) for resource in resources}
    return frozenset(ids)


async def pages(service: FhirService, first: str, kind: str, *, by: str = "") -> AsyncIterator[list[dict[str, Any]]]:
    """
    Iterate over the pages of a search; yield the resources of each page.

    Parameters
    ----------
    by
        The parameter of the search: status 400 means that the service does not know it.

    Raises
    ------
    CollectError
        ``collect.search_parameter``, ``collect.refused``.
    Unavailable
        ``collect.unavailable``.
    """
    link: str | None = first
    passed = Passed()
    while link is not None:
        resources, link = await _page(service, link, kind, by=by)
        passed = _passed_on(passed, link, kind)
        yield resources


async def search(service: FhirService, kind: str, query: str) -> list[dict[str, Any]]:
    """
    Return the results of all pages of a search. A service may ignore parameters: callers must check the results.

    Raises
    ------
    CollectError, Unavailable
        As for `pages`.
    """
    parameter = query.partition("=")[0]
    link = f"/{kind}?{query}&_count={PAGE}"
    return [resource async for page in pages(service, link, kind, by=parameter) for resource in page]


def _passed_on(passed: Passed, link: str | None, kind: str) -> Passed:
    """Return the links passed so far with the next; refuse pages that lead in a circle."""
    try:
        return followed(passed, link)
    except SyncError as problem:
        raise failed(f"a search for {kind}", problem) from None


async def _page(
    service: FhirService, link: str, kind: str, *, by: str, follows: bool = False
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the resources of one page of a search, and the link to the next; `follows` unless it is the first."""
    answer = await service.get(link, Prefer="handling=strict", Cache_Control="no-cache")
    if follows and answer.status_code in _EXPIRED and is_own(answer):
        raise _PagesExpired(
            f"the service no longer has the pages of a search for {kind}",
            code="collect.refused",
            hint="Repeat the command.",
        )
    if answer.status_code == httpx.codes.BAD_REQUEST and by and is_own(answer):
        raise unknown_parameter(kind, by)
    if answer.is_error:
        raise refused(f"a search for {kind}", answer)
    try:
        resources = [dict(resource) for resource in matches(answer, kind)]
        next_link = following(answer, service.base, kind)
    except SyncError as problem:
        raise failed(f"a search for {kind}", problem) from None
    if not all(text(resource, "id") for resource in resources):
        # Left out, it would count as deleted when a refresh compares the ids.
        raise CollectError(f"a search for {kind} has a match without an id", code="collect.refused")
    return resources, next_link


async def _total(service: FhirService, path: str) -> int | None:
    answer = await service.get(path)
    if answer.is_error:
        return None
    try:
        total = object_of(answer).get("total")
    except SyncError:
        return None
    return total if isinstance(total, int) else None


def check_since(resources: list[dict[str, Any]], since: str, kind: str) -> None:
    """
    Check that the service applied ``_lastUpdated``: a service that ignores it returns all resources.

    Raises
    ------
    CollectError
        ``collect.search_parameter``.
    """
    limit = _instant(since)
    for resource in resources:
        updated = _instant(text(part(resource, "meta"), "lastUpdated"))
        if updated is None or (limit is not None and updated < limit):
            raise unknown_parameter(kind, "_lastUpdated")


def _instant(written: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(written)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None


def unknown_parameter(kind: str, parameter: str) -> CollectError:
    """Return the error for a service that refuses or ignores a search parameter."""
    changes = parameter == "_lastUpdated"
    return CollectError(
        f"the service does not search {kind} by {parameter}",
        code="collect.search_parameter",
        hint="Collect everything, without --since." if changes else "Enable this search parameter in the service.",
    )
