"""
Look at an object as it is now, wherever it is: bytes of a file in blob storage, or metadata of a DICOM service.

Who has an `ObjectRef` needs nothing else: its account names the source. Ingest, retries of dead letters and checks all
look this way, so that a source is added by one entry of `Services.instances`.
"""

from __future__ import annotations

from datetime import UTC

from sync.dicom.header import inspect_header, read_json
from sync.dicom.instance_names import uids_of
from sync.errors import SourceGone, UnreadableObject
from sync.model import Inspection, InstanceMetadata, ObjectRef
from sync.ports import Inspect


async def inspect_object(ref: ObjectRef, s: Inspect) -> Inspection:
    """
    Look at one object. Only reads; safe to repeat.

    Returns
    -------
    Look
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
        return await inspect_header(s.objects, ref, s.settings.header)
    try:
        metadata = await source.metadata(ref)
    except SourceGone:
        return Inspection(etag=None)
    return inspection_from(metadata, ref)


def inspection_from(metadata: InstanceMetadata, ref: ObjectRef) -> Inspection:
    """Return the look that metadata of a DICOM service gives. Pure; whatever the metadata are, nothing is raised."""
    order = metadata.changed.astimezone(UTC).isoformat(timespec="microseconds") if metadata.changed else ""
    try:
        record = read_json(metadata.dataset, partition=ref.container, identity=uids_of(ref))
    except UnreadableObject as problem:
        problem.__context__ = None
        return Inspection(etag=metadata.etag, order=order, problem=problem.with_traceback(None))
    return Inspection(etag=metadata.etag, order=order, record=record)
