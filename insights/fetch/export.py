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

from insights.errors import CollectError
from insights.fetch.progress import Progress
from insights.fetch.service import FHIR_JSON, FHIR_NDJSON, FhirService
from insights.manifest import ListedFile, Manifest, read_manifest
from sync.adapters.retry_after import retry_after

_PAUSE = 5.0
_LONGEST_PAUSE = 120.0


async def export(service: FhirService, progress: Progress, folder: Path) -> Manifest | None:
    """
    Export into a folder and return its manifest; None if the service does not offer ``$export``.

    Raises
    ------
    CollectError
        ``collect.export``: the service aborted the export; ``collect.foreign_link``.
    Unavailable
        ``collect.unavailable``; a repeat continues.
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
    while True:
        answer = await service.get(path)
        if answer.status_code == httpx.codes.ACCEPTED:
            await service.sleep(min(retry_after(answer.headers) or _PAUSE, _LONGEST_PAUSE))
            continue
        if answer.status_code == httpx.codes.OK:
            with suppress(ValueError):
                return read_manifest(answer.content)
        progress.status_url = None  # the next run starts a new export
        progress.save(folder)
        raise CollectError(
            f"the service gave the export up, or sent no manifest ({answer.status_code})",
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
