"""
Orthanc: stored instances come from its ``/changes``, attributes from its DICOMweb plugin, else its own REST API.

Orthanc names instances by its own ids, hashes of the UIDs; a change holds nothing else. A deleted id resolves to
nothing, and no change reports a deletion: the changes of a deleted instance disappear with it. So deletions are
detected by listing what Orthanc holds. See docs/sources.md.

Source: Orthanc Book, "REST API of Orthanc", "Tracking changes"; DICOMweb plugin; observed with Orthanc 1.10.1.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from sync.adapters.http.dicom.service import account_of, ensure_of_instance
from sync.adapters.http.dicom.web import DicomWeb
from sync.dicom.instance_names import ORTHANC_FOLDER
from sync.errors import GarbageAnswer, SourceGone, SourceUnavailable
from sync.model import InstanceMetadata, ObjectRef, StudyRef
from sync.model.timestamps import utc_of
from sync.ports import OrthancServer

_ID = re.compile(r"[0-9A-Za-z]{1,40}(?:-[0-9A-Za-z]{1,40}){0,8}")
_TAG = re.compile(r"[0-9A-Fa-f]{4},[0-9A-Fa-f]{4}")
_PAGE = 1000
_SERIES_KEPT = 4096


class Orthanc(OrthancServer):
    """
    One Orthanc server.

    Parameters
    ----------
    web
        Sends requests to its REST API.
    url
        Its base URL; without the scheme, it is the account of its objects.
    """

    def __init__(self, web: DicomWeb, url: str) -> None:
        self._web = web
        self._account = account_of(url)
        self._uids_of_series: dict[str, tuple[str, str]] = {}

    @property
    def account(self) -> str:
        """Host and path of the server."""
        return self._account

    async def aclose(self) -> None:
        """Close the connections."""
        await self._web.aclose()

    def ref(self, instance: str) -> ObjectRef:
        """Return the reference of an instance by Orthanc's own id; ValueError if the id is invalid."""
        if not _ID.fullmatch(instance):
            raise ValueError("no id of Orthanc")
        return ObjectRef(account=self._account, container="", name=f"{ORTHANC_FOLDER}/{instance}")

    async def changes(self, since: int, limit: int) -> Any:
        """Return the changes after a sequence number, unchecked."""
        try:
            return await self._web.get("/changes", since=since, limit=limit)
        except SourceGone:
            raise _no_orthanc() from None

    async def count(self) -> int | None:
        """Return how many instances Orthanc holds; None if its answer does not say."""
        statistics = await self._if_there("/statistics")
        count = statistics.get("CountInstances") if isinstance(statistics, Mapping) else None
        try:
            return int(count) if count is not None and not isinstance(count, bool) else None
        except (TypeError, ValueError):
            return None

    async def held(self) -> AsyncIterator[ObjectRef]:
        """Iterate over all its instances."""
        since, listed = 0, set[ObjectRef]()
        while True:
            try:
                page = await self._web.get(f"/{ORTHANC_FOLDER}", since=since, limit=_PAGE)
            except SourceGone:
                raise _no_orthanc() from None
            refs = {ref for instance in _list(page) if (ref := self._listed(instance)) is not None} - listed
            if not refs:
                return
            for ref in refs:
                yield ref
            listed |= refs
            since += len(page)

    async def objects_of(self, study: StudyRef) -> AsyncIterator[ObjectRef]:
        """Iterate over the instances of a study, which several patients may share in Orthanc."""
        if study.partition:
            return
        try:
            hits = await self._web.post("/tools/lookup", study.study_instance_uid)
        except SourceGone:
            raise _no_orthanc() from None
        for hit in _list(hits):
            identifier = hit.get("ID") if isinstance(hit, Mapping) and hit.get("Type") == "Study" else None
            if not isinstance(identifier, str) or not _ID.fullmatch(identifier):
                continue
            try:
                inside = await self._web.get(f"/studies/{identifier}/instances")
            except SourceGone:
                continue
            for instance in _list(inside):
                if (ref := self._listed(instance)) is not None:
                    yield ref

    async def metadata(self, ref: ObjectRef) -> InstanceMetadata:
        """Return the metadata of one instance; see `sync.ports.InstanceSource.metadata`."""
        instance = await self._instance(f"/{quote(ref.name)}")
        if not isinstance(instance, Mapping) or instance.get("ID") != ref.name.rpartition("/")[2]:
            raise GarbageAnswer("the answer is not the instance that was asked for")
        dataset = await self._by_dicomweb(instance)
        if dataset is None:
            dataset = _as_dicom_json(await self._web.get(f"/{quote(ref.name)}/tags"))
        ensure_of_instance(dataset, _main_tag(instance, "SOPInstanceUID"))
        return InstanceMetadata(
            dataset=dataset, etag=str(instance.get("FileUuid") or "orthanc"), changed=_changed(instance)
        )

    async def _instance(self, path: str) -> Any:
        """
        Return the answer of Orthanc to a path of an instance.

        Its own 404 for an instance has no body, and any gateway could send that; for a part of an instance, the body
        describes the error.
        """
        try:
            return await self._web.get(path)
        except SourceUnavailable as refusal:
            if refusal.code != "source.gateway":
                raise
            await self._web.get(f"{path}/tags")  # raises SourceGone once Orthanc itself says so
            raise

    async def _if_there(self, path: str, *, accept: str = "application/json") -> Any:
        """Return an answer that is also available in another way; None for any 404, from any server."""
        try:
            return await self._web.get(path, accept=accept)
        except SourceGone:
            return None
        except SourceUnavailable as refusal:
            if refusal.code != "source.gateway":
                raise
            return None

    async def _by_dicomweb(self, instance: Mapping[str, Any]) -> Any:
        """Return DICOM JSON of the plugin; None when there is no plugin, or it does not know the instance."""
        sop = _main_tag(instance, "SOPInstanceUID")
        uids = await self._uids_of(instance.get("ParentSeries"))
        if not sop or uids is None:
            return None
        study, series = (quote(uid, safe="") for uid in uids)
        path = f"/dicom-web/studies/{study}/series/{series}/instances/{quote(sop, safe='')}/metadata"
        datasets = await self._if_there(path, accept="application/dicom+json")
        return datasets[0] if isinstance(datasets, list) and datasets else datasets

    async def _uids_of(self, series: Any) -> tuple[str, str] | None:
        """Return study and series UID by Orthanc's id of a series; they never change, because the id is their hash."""
        if not isinstance(series, str) or not _ID.fullmatch(series):
            return None
        if (cached := self._uids_of_series.get(series)) is not None:
            return cached
        of_series = await self._if_there(f"/series/{series}")
        parent = of_series.get("ParentStudy") if isinstance(of_series, Mapping) else None
        if not isinstance(parent, str) or not _ID.fullmatch(parent):
            return None
        of_study = await self._if_there(f"/studies/{parent}")
        uids = _main_tag(of_study, "StudyInstanceUID"), _main_tag(of_series, "SeriesInstanceUID")
        if not all(uids):
            return None
        if len(self._uids_of_series) >= _SERIES_KEPT:
            self._uids_of_series.clear()
        self._uids_of_series[series] = uids
        return uids

    def _listed(self, entry: Any) -> ObjectRef | None:
        """Return an entry of a list: an id, or an object that holds it."""
        identifier = entry.get("ID") if isinstance(entry, Mapping) else entry
        try:
            return self.ref(identifier) if isinstance(identifier, str) else None
        except ValueError:
            return None


def _list(body: Any) -> list[Any]:
    """Return the list in an answer; an answer that is not a list does not mean that the list is empty."""
    if not isinstance(body, list):
        raise GarbageAnswer("the answer is no list")
    return body


def _no_orthanc() -> SourceUnavailable:
    hint = "Check that DICOM_SYNC_ORTHANC_URL is the base URL of an Orthanc server."
    return SourceUnavailable("there is no Orthanc", code="source.refused", hint=hint)


def _main_tag(resource: Any, keyword: str) -> str:
    tags = resource.get("MainDicomTags") if isinstance(resource, Mapping) else None
    value = tags.get(keyword) if isinstance(tags, Mapping) else None
    return value.strip(" \0") if isinstance(value, str) else ""


def _changed(instance: Mapping[str, Any]) -> datetime | None:
    """Return when the instance was stored, if Orthanc says so (it does from 1.11 on)."""
    try:
        return utc_of(instance.get("LastUpdate"))
    except ValueError:
        return None


def _as_dicom_json(tags: Any) -> Any:
    """
    Return ``/instances/{id}/tags`` in the shape of DICOM JSON.

    The tags lack VRs, which are taken from the table of attributes instead.
    """
    if not isinstance(tags, Mapping):
        return tags
    return {key.replace(",", ""): _element(value) for key, value in tags.items() if _TAG.fullmatch(key)}


def _element(element: Any) -> Any:
    if not isinstance(element, Mapping):
        return element
    value = element.get("Value")
    if isinstance(value, list):
        return {"vr": "SQ", "Value": [_as_dicom_json(item) for item in value]}
    if value is None and element.get("Type") in ("TooLong", "Binary"):
        return {"BulkDataURI": "tags"}
    return {"Value": [value] if value else []}
