"""
The DICOM service of Azure Health Data Services: its change feed, metadata by WADO-RS, instances of a study by QIDO-RS.

All requests use version 2 of the API; in version 1 the feed pages by sequence numbers instead of rows.

Source: Azure "DICOM change feed overview", "DICOM Conformance Statement v2", "Manage medical imaging data partitions";
DICOM PS3.18 10.4 (Retrieve Metadata), 10.6 (Search).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

from sync.adapters.http.dicom.web import DicomWeb
from sync.dicom.instance_names import DEFAULT_PARTITION, instance_ref, uids_of
from sync.errors import GarbageAnswer, NothingStored, SourceGone, SourceUnavailable, StudyUnlisted
from sync.model import InstanceMetadata, ObjectRef, StudyRef
from sync.ports import ChangeFeed, RetrievableSource

_JSON = "application/dicom+json"
_STUDY_PAGE = 200
_NARROWER = 4
"""Factor by which a page shrinks around an instance that cannot be listed."""
_MOST_UNLISTED = 5
"""Number of consecutive unlistable instances after which the search itself counts as failed."""
_CONTRADICTION = "The DICOM service contradicts itself, as just after a deletion; the instance is asked for again."
_SERIES_UID, _SOP_UID = "0020000E", "00080018"


class DicomService(ChangeFeed, RetrievableSource):
    """
    One DICOM service.

    Parameters
    ----------
    web
        Sends requests to the root of the service, without the version.
    url
        That root; without the scheme, it is the account of its objects.
    """

    def __init__(self, web: DicomWeb, url: str) -> None:
        self._web = web
        self._account = account_of(url)

    @property
    def account(self) -> str:
        """Host and path of the service."""
        return self._account

    async def aclose(self) -> None:
        """Close the connections."""
        await self._web.aclose()

    async def page(
        self, *, start: str = "", end: str = "", offset: int = 0, limit: int = 200, metadata: bool = True
    ) -> Sequence[Any]:
        """Read entries; see `sync.ports.ChangeFeed.page`."""
        window = {name: text for name, text in (("startTime", start), ("endTime", end)) if text}
        with_metadata = "true" if metadata else "false"
        try:
            entries = await self._web.get(
                "/v2/changefeed", **window, offset=offset, limit=limit, includeMetadata=with_metadata
            )
        except SourceGone:
            hint = "Check that DICOM_SYNC_DICOM_URL is the root of a DICOM service with version 2 of its API."
            raise SourceUnavailable("there is no change feed", code="source.refused", hint=hint) from None
        if not isinstance(entries, list):  # an empty body too: the service answers [] if there are no entries
            raise GarbageAnswer("the change feed answered no list")
        return entries

    async def metadata(self, ref: ObjectRef) -> InstanceMetadata:
        """Return the metadata of one instance; see `sync.ports.InstanceSource.metadata`."""
        try:
            datasets = await self._ask(ref.container, f"/{quote(ref.name)}/metadata")
        except SourceGone:
            await self._prove_gone(ref)
            raise
        dataset = datasets[0] if isinstance(datasets, list) and datasets else datasets
        ensure_of_instance(dataset, uids_of(ref).get("SOPInstanceUID", ""))
        return InstanceMetadata(dataset=dataset, etag="wado")

    async def _prove_gone(self, ref: ObjectRef) -> None:
        """
        Ask the search and the change feed about an instance whose metadata request got 404.

        Raises
        ------
        SourceUnavailable
            The search still lists the instance, or the answer is not the service's own.
        """
        uids = uids_of(ref)
        path = f"/studies/{uids.get('StudyInstanceUID')}/instances"
        try:
            matches = await self._ask(ref.container, path, SOPInstanceUID=uids.get("SOPInstanceUID", ""), limit=1)
        except SourceGone:
            raise self._web.gateway("404 for a search, which never answers so") from None
        if matches:
            raise GarbageAnswer("404 for what the search has", hint=_CONTRADICTION)
        await self._prove_alive()

    async def _prove_alive(self) -> None:
        """Request the latest entry of the change feed: deletions never remove entries, so there is one."""
        try:
            latest = await self._web.get("/v2/changefeed/latest", includeMetadata="false")
        except SourceGone:
            raise self._web.gateway("404 for the change feed") from None
        if latest is None:
            await self.page(limit=1, metadata=False)  # an empty list, unlike the empty body of another server
            raise NothingStored("the change feed has no entry")
        if not isinstance(latest, Mapping) or "sequence" not in {str(key).lower() for key in latest}:
            raise self._web.gateway("the change feed has no latest entry")

    @asynccontextmanager
    async def content(self, ref: ObjectRef) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the bytes of one instance; see `sync.ports.RetrievableSource.content`."""
        path = f"/{quote(ref.name)}"
        async with AsyncExitStack() as stack:
            try:
                chunks = await stack.enter_async_context(self._web.content(_within(ref.container, path)))
            except SourceUnavailable as refusal:
                if refusal.code != "source.refused" or ref.container:
                    raise
                chunks = await stack.enter_async_context(self._web.content(_within(DEFAULT_PARTITION, path)))
            yield chunks

    async def objects_of(self, study: StudyRef) -> AsyncIterator[ObjectRef]:
        """Iterate over the instances of a study; see `sync.ports.InstanceSource.objects_of`."""
        offset, limit, unlisted, in_a_row, listed = 0, _STUDY_PAGE, 0, 0, set[ObjectRef]()
        while True:
            try:
                datasets = await self._search(study, offset, limit)
            except SourceUnavailable as failure:
                # The search reads the metadata of every hit, and fails for a page that contains an unreadable instance.
                if failure.code != SourceUnavailable.code or in_a_row >= _MOST_UNLISTED:
                    raise
                if limit > 1:
                    limit = max(limit // _NARROWER, 1)
                else:
                    unlisted, in_a_row, offset = unlisted + 1, in_a_row + 1, offset + 1
                continue
            if not datasets and not listed and not unlisted:
                await self._prove_alive()
            refs = {ref for dataset in datasets if (ref := _instance_of(self._account, study, dataset)) is not None}
            if not refs - listed:
                break
            for ref in refs - listed:
                yield ref
            listed |= refs
            offset, limit, in_a_row = offset + len(datasets), min(limit * _NARROWER, _STUDY_PAGE), 0
        if unlisted:
            raise StudyUnlisted(unlisted)

    async def _search(self, study: StudyRef, offset: int, limit: int) -> Sequence[Any]:
        """Return a page of instances of a study. PS3.18 10.6.3: no match is an empty list or 204, never 404."""
        path = f"/studies/{quote(study.study_instance_uid, safe='')}/instances"
        try:
            datasets = await self._ask(study.partition, path, limit=limit, offset=offset)
        except SourceGone:
            raise self._web.gateway("404 for a search, which never answers so") from None
        if datasets and not isinstance(datasets, list):
            raise GarbageAnswer("the search answered no list")
        return datasets or ()

    async def _ask(self, partition: str, path: str, **parameters: str | int) -> Any:
        """Ask within a partition; whether the default one must be named depends on the service's configuration."""
        try:
            return await self._web.get(_within(partition, path), accept=_JSON, **parameters)
        except SourceUnavailable as refusal:
            if refusal.code != "source.refused" or partition:
                raise
        return await self._web.get(_within(DEFAULT_PARTITION, path), accept=_JSON, **parameters)


def _within(partition: str, path: str) -> str:
    return f"/v2/partitions/{quote(partition, safe='')}{path}" if partition else f"/v2{path}"


def account_of(url: str) -> str:
    """Return the account of a server's objects from its URL; its slash rules out the name of a blob account."""
    parts = urlsplit(url)
    return f"{parts.netloc.lower()}{parts.path}/"


def ensure_of_instance(dataset: Any, sop: str) -> None:
    """
    Refuse metadata of another instance than the requested one: any JSON would become a record without attributes.

    Raises
    ------
    SourceUnavailable
        ``source.garbage``: no SOP Instance UID, or another one (DICOM PS3.18 10.4.1: each dataset has its own).
    """
    stated = _value(dataset, _SOP_UID).strip("\0 ")
    if not stated or stated != (sop or stated):
        raise GarbageAnswer("the answer is not the metadata that were asked for")


def _instance_of(account: str, study: StudyRef, dataset: Any) -> ObjectRef | None:
    series, sop = _value(dataset, _SERIES_UID), _value(dataset, _SOP_UID)
    try:
        return instance_ref(account, study.partition, study.study_instance_uid, series, sop)
    except ValueError:
        return None


def _value(dataset: Any, tag: str) -> str:
    element = dataset.get(tag, dataset.get(tag.lower())) if isinstance(dataset, Mapping) else None
    values = element.get("Value") if isinstance(element, Mapping) else None
    return str(values[0]).strip() if isinstance(values, list) and values else ""
