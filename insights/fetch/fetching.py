"""Downloads resources, by whichever way the service offers, into a folder that is read like any export."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from insights.collect import Input, read_folder
from insights.errors import CollectError, Unavailable
from insights.fetch.export import export
from insights.fetch.paging import list_ids, page_all
from insights.fetch.progress import OnProgress, Progress, begin
from insights.fetch.service import FhirService
from insights.manifest import ListedFile, Manifest, write_manifest
from sync.adapters.http.fhir.answers import object_of
from sync.errors import SyncError
from sync.model.elements import parts, text


@dataclass(frozen=True, slots=True)
class Fetched:
    """
    The result of a download.

    Attributes
    ----------
    mode
        ``export`` or ``paging``.
    deletions
        How deleted resources were found: ``all``, ``deleted-files`` or ``listing``.
    absent
        Types that the service does not have.
    """

    data: Input
    mode: str
    deletions: str
    absent: tuple[str, ...]


async def fetch(
    service: FhirService,
    folder: Path,
    types: Iterable[str],
    *,
    since: str | None = None,
    known: Mapping[str, frozenset[str]] | None = None,
    paging: bool = False,
    told: OnProgress = lambda _, __, ___: None,
) -> Fetched:
    """
    Download resources into a folder. A repeat after a kill continues.

    Parameters
    ----------
    since
        Only resources changed since then; None for all.
    known
        Former ids by type: a listing finds the deleted ones if the service does not report them.
    paging
        Whether to page without trying ``$export``.

    Raises
    ------
    CollectError, DataError
        The service refuses, or its answer cannot be read.
    Unavailable
        ``collect.unavailable``; repeat.
    """
    offered, time = await offered_by(service)
    wanted = sorted(types)
    present = [kind for kind in wanted if kind in offered]
    progress = begin(folder, service.base, since, present)
    progress.time = progress.time or time
    manifest = None
    if not paging and progress.mode != "paging":
        manifest = await export(service, progress, folder)
    if manifest is None and progress.mode != "paging":
        progress.discard_files(folder)  # of an export that was interrupted, or that the service no longer offers
    progress.mode = "paging" if manifest is None else "export"
    progress.save(folder)
    if manifest is None:
        await page_all(service, progress, folder, told)
        manifest = Manifest(time=progress.time)
    deletions = "all"
    if since is not None:
        deletions = "deleted-files"
        if manifest.deleted is None:
            deletions = "listing"
            manifest = replace(manifest, deleted=await _listed(service, progress, known or {}, folder))
    write_manifest(folder, manifest)
    try:
        data = read_folder(folder)
    except CollectError as problem:
        if problem.code != "collect.no_files":
            raise
        data = Input({}, time=manifest.time or None)
    return Fetched(data, progress.mode, deletions, tuple(sorted(set(wanted) - offered)))


def forget(folder: Path) -> None:
    """Delete a download after it was loaded."""
    shutil.rmtree(folder, ignore_errors=True)


async def offered_by(service: FhirService) -> tuple[set[str], str]:
    """
    Return the resource types of the service, and its time.

    Raises
    ------
    Unavailable
        ``collect.url``: another answered, for now or for good.

    Source: FHIR R4 CapabilityStatement.rest.resource.
    """
    answer = await service.get("/metadata")
    try:
        statement = object_of(answer)
    except SyncError:
        statement = {}
    if answer.is_error or statement.get("resourceType") != "CapabilityStatement":
        raise Unavailable(
            f"{service.base} does not answer as a FHIR service",
            code="collect.url",
            hint="The base URL is the one below /metadata. If it is right, a gateway or proxy answered: repeat the "
            "command.",
        )
    offered = {text(resource, "type") for rest in parts(statement, "rest") for resource in parts(rest, "resource")}
    return offered, time_of(answer)


def time_of(answer: httpx.Response) -> str:
    """Return the time of the service from its answer; our own time if the answer has none."""
    try:
        at = parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError):
        at = datetime.now(UTC)
    return instant_of(at)


def instant_of(at: datetime) -> str:
    """Return a time as a FHIR ``instant`` of whole seconds in UTC."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


async def _listed(
    service: FhirService, progress: Progress, known: Mapping[str, frozenset[str]], folder: Path
) -> tuple[ListedFile, ...]:
    """Find deleted resources by listing the ids of existing ones, and write them as an export does."""
    lines = []
    for kind in progress.types:
        if not known.get(kind):
            continue
        gone = sorted(known[kind] - await list_ids(service, kind))
        if gone:
            entries = [{"request": {"method": "DELETE", "url": f"{kind}/{identity}"}} for identity in gone]
            lines.append(json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
    file = folder / "deleted.0.ndjson"
    if not lines:
        file.unlink(missing_ok=True)  # of an interrupted run: they were created again since
        return ()
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return (ListedFile(type="Bundle", url=file.name),)
