"""
A FHIR service's own ``$export``: kick-off, poll, download.

Source: FHIR Bulk Data Access 2.0, asynchronous request pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx

from insights.errors import CollectError, InsightsError, Unavailable
from insights.fetch.progress import Progress
from insights.fetch.service import FHIR_JSON, FHIR_NDJSON, FhirService
from insights.manifest import ListedFile, Manifest, read_manifest
from sync.adapters.http.fhir.answers import object_of
from sync.adapters.http.fhir.outcomes import is_own
from sync.adapters.http.remote import GONE
from sync.adapters.retry_after import retry_after
from sync.errors import SyncError

_PAUSE = 5.0
_LONGEST_PAUSE = 120.0
_FOREIGN_ANSWERS = 6
"""Answers in a row that are not the service's own, about four minutes, before the command ends."""

_FOREIGN = (
    "A gateway, proxy or firewall answered instead of the FHIR service: repeat the command, which continues the "
    "export; if it stays so, use --paging."
)


async def export(service: FhirService, progress: Progress, folder: Path) -> Manifest | None:
    """
    Export into a folder and return its manifest; None if the service does not offer ``$export``.

    Raises
    ------
    CollectError
        ``collect.export``: the service aborted the export; ``collect.foreign_link``.
    Unavailable
        ``collect.unavailable``: the service, or a gateway in its place, did not answer; a repeat continues.
    """
    if progress.status_url is None:
        if not await _kick_off(service, progress):
            return None
        progress.discard_files(folder)  # of an export that was given up; a kill before the save begins another
        progress.save(folder)
    manifest = await _finished(service, progress, folder)

    async def kept(part: str, listed: Sequence[ListedFile] | None) -> tuple[ListedFile, ...] | None:
        token = bool(manifest.requires_token)
        return None if listed is None else await _download(service, listed, part, folder, token=token)

    return Manifest(
        time=manifest.time,
        output=await kept("output", manifest.output),
        deleted=await kept("deleted", manifest.deleted),
        error=await kept("error", manifest.error),
    )


async def _kick_off(service: FhirService, progress: Progress) -> bool:
    query = f"/$export?_type={','.join(progress.types)}&_outputFormat={quote(FHIR_NDJSON, safe='')}"
    if progress.since is not None:
        query += f"&_since={quote(progress.since)}"
    answer = await service.get(query, Prefer="respond-async", Accept=FHIR_JSON)
    if answer.status_code != httpx.codes.ACCEPTED:
        return False
    progress.status_url = answer.headers.get("Content-Location")
    return progress.status_url is not None


async def _finished(service: FhirService, progress: Progress, folder: Path) -> Manifest:
    path = service.below(progress.status_url or "")
    if path is None:
        progress.status_url = None
        progress.save(folder)
        raise CollectError("the export is said to be on another server", code="collect.foreign_link")
    foreign = 0
    while True:
        answer = await service.get(path)
        if answer.status_code == httpx.codes.ACCEPTED:
            foreign = 0
            await service.sleep(min(retry_after(answer.headers) or _PAUSE, _LONGEST_PAUSE))
        elif (manifest := _manifest_of(answer)) is not None:
            return manifest
        elif not _is_given_up(answer) and (foreign := foreign + 1) < _FOREIGN_ANSWERS:
            await service.sleep(min(_PAUSE * 2**foreign, _LONGEST_PAUSE))
        else:
            raise _ended(answer, progress, folder)


def _manifest_of(answer: httpx.Response) -> Manifest | None:
    """Return the manifest in an answer; one without ``output``, which the standard requires, is not the service's."""
    if answer.status_code == httpx.codes.OK:
        with suppress(ValueError):
            manifest = read_manifest(answer.content)
            return manifest if manifest.output is not None else None
    return None


def _is_given_up(answer: httpx.Response) -> bool:
    """Return whether the service itself ends the export: by an outcome, or with a manifest that cannot be read."""
    if is_own(answer):
        return True
    try:
        return answer.status_code == httpx.codes.OK and "output" in object_of(answer)
    except SyncError:
        return False


def _ended(answer: httpx.Response, progress: Progress, folder: Path) -> InsightsError:
    """Return the failure of an export; it is forgotten unless only a gateway or proxy answered in its place."""
    told = answer.status_code
    if not _is_given_up(answer) and told not in GONE:
        return Unavailable(f"the status of the export: no manifest ({told})", code="collect.unavailable", hint=_FOREIGN)
    progress.status_url = None  # the next run starts a new export
    progress.save(folder)
    return CollectError(
        f"the service gave the export up, or sent no manifest ({told})",
        code="collect.export",
        hint="Repeat the command, or use --paging.",
    )


async def _download(
    service: FhirService, listed: Sequence[ListedFile], part: str, folder: Path, *, token: bool
) -> tuple[ListedFile, ...]:
    """Download the files of a part, and name them by type and number."""
    kept = []
    for number, file in enumerate(listed):
        kind = (file.type or "Resource") if part == "output" else part
        if not kind.isalpha():
            raise CollectError("the manifest of the export has a wrong type", code="collect.export")
        name = f"{kind}.{number}.ndjson"
        await service.download(file.url, folder / name, with_token=token)
        kept.append(ListedFile(type=kind, url=name))
    return tuple(kept)
