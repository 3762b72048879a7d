"""
Inspects the current state of an object: a file in blob storage, or an instance of a DICOM service.

A caller needs only the `ObjectRef`: its account names the source. Ingest, retries of dead letters and checks all use
this module, so a new source is one entry of `Services.instances`.

A DICOM service returns an instance's metadata, but for some instances they are incomplete, or the request fails. Then
the instance's own header is read; `DICOM_SYNC_DICOM_HEADER` decides whether it is read in other cases.

The reader of headers is imported at the first inspection: pydicom takes a tenth of a second to load, and a command that
finds no change inspects nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import Any

from sync.dicom.detail import within
from sync.dicom.instance_names import uids_of
from sync.errors import SourceGone, SourceUnavailable, UnreadableObject
from sync.model import Inspection, InstanceMetadata, InstanceRecord, LedgerRow, ObjectRef, StudyRef
from sync.ports import Core, Inspect, InstanceSource, RetrievableSource
from sync.telemetry.instruments import HEADERS_RETRIEVED

UNAVAILABLE = frozenset({"source.unavailable", "source.garbage"})
"""Error codes after which a different request may still succeed: 5xx, no answer, or no JSON."""

_REFUSED = "source.refused"
_CHARACTER_SETS = "00080005"
_RETRIEVED = "retrieved"
"""ETag of an inspection of the instance itself, which services return without an ETag."""


async def inspect_object(ref: ObjectRef, s: Inspect, *, offered: Inspection | None = None) -> Inspection:
    """
    Inspect one object. Only reads; idempotent.

    Parameters
    ----------
    offered
        Inspection from a feed entry's metadata, in all detail; used unless the instance's own header is wanted.

    Returns
    -------
    Inspection
        With a record, with a problem, or with neither (and no ETag) when the object is gone.

    Raises
    ------
    ForeignSource
        The account or container is not configured.
    TransientError
        The source did not answer.
    """
    source = s.instances.get(ref.account)
    if source is None:
        from sync.dicom.header import inspect_header

        return offered or await inspect_header(s.objects, ref, s.settings.header, s.settings.detail)
    inspection = await _inspect_instance(source, ref, s, offered)
    if inspection.record is None:
        return inspection
    return replace(inspection, record=within(inspection.record, s.settings.detail))


def ledger_row_of(ref: ObjectRef, record: InstanceRecord, order: str, s: Inspect) -> LedgerRow:
    """Return the ledger row of an object; for a blob, it holds as much of its location as the settings publish."""
    source = None
    if s.settings.blob_url and ref.account not in s.instances:
        source = ref if s.settings.blob_names else replace(ref, name="")
    return LedgerRow(object_key=ref.key, record=record, order=order, source=source)


async def _inspect_instance(
    source: InstanceSource, ref: ObjectRef, s: Inspect, offered: Inspection | None
) -> Inspection:
    if not isinstance(source, RetrievableSource):
        return offered or await _by_metadata(source, ref)
    if offered is None and s.settings.dicom_header != "always":
        try:
            offered = await _by_metadata(source, ref)
        except SourceUnavailable as failure:
            if failure.code not in UNAVAILABLE:
                raise
            return await _in_spite_of(failure, source, ref, s)
    return await _completed(offered, source, ref, s)


async def _by_metadata(source: InstanceSource, ref: ObjectRef) -> Inspection:
    try:
        return inspection_from(await source.metadata(ref), ref)
    except SourceGone:
        return Inspection(etag=None)


async def _completed(offered: Inspection | None, source: RetrievableSource, ref: ObjectRef, s: Inspect) -> Inspection:
    """Read the header if metadata do not suffice; if it cannot be read, dropped attributes become findings."""
    policy = s.settings.dicom_header
    if offered is not None:
        if offered.etag is None or policy == "never":
            return _with_findings(offered)
        if policy == "when-needed" and not offered.lacking:
            return offered
    try:
        header = await _by_header(source, ref, s, reason=policy if policy == "always" else "dropped")
    except SourceUnavailable as failure:
        if failure.code != _REFUSED:
            raise
        header = None
    if header is None or header.record is None:
        # A missing header proves nothing: the service's current metadata decide.
        metadata = await _by_metadata(source, ref)
        return (
            header
            if header is not None and header.problem is not None and metadata.record is None
            else _with_findings(metadata)
        )
    return replace(header, etag=offered.etag, order=offered.order) if offered is not None else header


async def _in_spite_of(failure: SourceUnavailable, source: RetrievableSource, ref: ObjectRef, s: Inspect) -> Inspection:
    """Read the header of an instance whose metadata the service cannot give."""
    try:
        inspection = await _by_header(source, ref, s, reason="unreadable")
    except SourceUnavailable as again:
        if again.code == _REFUSED:
            raise failure from None
        if again.code not in UNAVAILABLE:
            raise
        hint = "The DICOM service returns neither metadata nor file of this instance; store it again, then retry."
        raise SourceUnavailable(failure.detail, code="source.unreadable", hint=hint) from None
    if inspection.etag is None:
        raise failure  # a missing file does not prove that the instance is gone
    return inspection


async def _by_header(source: RetrievableSource, ref: ObjectRef, s: Core, *, reason: str) -> Inspection:
    from sync.dicom.header import read_stream

    try:
        async with source.content(ref) as chunks:
            header = await read_stream(chunks, s.settings.header, s.settings.detail)
    except SourceGone:
        return Inspection(etag=None)
    s.telemetry.measure(HEADERS_RETRIEVED, reason=reason)
    if isinstance(header, UnreadableObject):
        return Inspection(etag=_RETRIEVED, problem=header)
    return Inspection(etag=_RETRIEVED, record=_named(header, ref))


def _named(record: InstanceRecord, ref: ObjectRef) -> InstanceRecord:
    """Replace the record's UIDs and partition by the ones under which the service holds the instance."""
    uids = uids_of(ref)
    study = uids.get("StudyInstanceUID", record.study.study_instance_uid)
    return replace(
        record,
        study=StudyRef(study_instance_uid=study, partition=ref.container),
        series_instance_uid=uids.get("SeriesInstanceUID", record.series_instance_uid),
        sop_instance_uid=uids.get("SOPInstanceUID", record.sop_instance_uid),
    )


def _with_findings(inspection: Inspection) -> Inspection:
    record = inspection.record
    if record is None or not inspection.lacking:
        return inspection
    from sync.dicom.dropped import without

    return replace(inspection, record=without(record, inspection.lacking))


def inspection_from(metadata: InstanceMetadata, ref: ObjectRef) -> Inspection:
    """Convert a DICOM service's metadata to an inspection. Pure; never raises, whatever the metadata are."""
    from sync.dicom.dropped import lacking
    from sync.dicom.header import read_json

    order = metadata.changed.astimezone(UTC).isoformat(timespec="microseconds") if metadata.changed else ""
    try:
        record = read_json(metadata.dataset, partition=ref.container, identity=uids_of(ref), detail="full")
    except UnreadableObject as problem:
        problem.__context__ = None
        return Inspection(etag=metadata.etag, order=order, problem=problem.with_traceback(None))
    tags = metadata.dataset if isinstance(metadata.dataset, Mapping) else None
    missing = lacking(record.attributes, _character_sets(metadata.dataset), tags=tags)
    return Inspection(etag=metadata.etag, order=order, record=record, lacking=missing)


def _character_sets(dataset: Any) -> tuple[str, ...]:
    element = dataset.get(_CHARACTER_SETS) if isinstance(dataset, Mapping) else None
    values = element.get("Value") if isinstance(element, Mapping) else None
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()
