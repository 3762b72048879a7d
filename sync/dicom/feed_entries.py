"""
Entries of a DICOM service's change feed (version 2): JSON in, a `Change` with its inspection out. Pure.

Published samples and the open-source server differ in the case of keys and values, and omit null values; all variants
are accepted. ``state`` and metadata of an entry describe the current instance, so they serve as its inspection. If they
are missing or unknown, the change has no inspection, and the instance is fetched.

Source: Azure "DICOM change feed overview"; microsoft/dicom-server, ``ChangeFeedEntry``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync.dicom.inspect import inspection_from
from sync.dicom.instance_names import instance_ref
from sync.errors import BadEvent
from sync.events.fields import sequence_from
from sync.model import Action, Change, Inspection, InstanceMetadata, ObjectRef
from sync.model.timestamps import utc_of

_HINT = "The entry names no instance. If an instance is missing, replay the time around the entry, or its study."
FEED = "feed "
"""Prefix of the queue that dead letters of entries name; the account of the DICOM service follows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its change or its error, and its time, if it has one."""

    change: Change | BadEvent
    at: datetime | None = None
    text: str = field(default="", repr=False)
    """The entry's own text, if it names no instance."""


def entries_of(page: Iterable[Any], account: str) -> list[Entry]:
    """Read a page; an invalid entry becomes a `BadEvent`, and nothing is raised."""
    return [_entry(raw, account) for raw in page]


def _entry(raw: Any, account: str) -> Entry:
    if not isinstance(raw, Mapping):
        return Entry(BadEvent("an entry of the change feed is no object", hint=_HINT), text=_json(raw))
    fields = {str(key).lower(): value for key, value in raw.items()}
    at = _time(fields.get("timestamp"))
    uids = [_text(fields.get(f"{level}instanceuid")) for level in ("study", "series", "sop")]
    try:
        ref = instance_ref(account, _text(fields.get("partitionname")), *uids)
    except ValueError:
        problem = BadEvent("an entry of the change feed lacks a UID, or has one that is none", hint=_HINT)
        return Entry(problem, at, _json(raw))
    return Entry(_change(fields, ref, at), at)


def _change(fields: Mapping[str, Any], ref: ObjectRef, at: datetime | None) -> Change:
    sequence = sequence_from(fields.get("sequence"))
    deleted = _text(fields.get("state")).lower() == "deleted"
    return Change(
        object=ref,
        action=Action.DELETED if deleted else Action.CREATED,
        sequence=sequence,
        inspection=_inspect(fields, ref, at, sequence) if sequence is not None else None,
    )


def _inspect(fields: Mapping[str, Any], ref: ObjectRef, at: datetime | None, sequence: int) -> Inspection | None:
    state, metadata = _text(fields.get("state")).lower(), fields.get("metadata")
    if state == "deleted":
        return Inspection(etag=None, order=at.isoformat(timespec="microseconds") if at else "")
    if state not in ("current", "replaced") or not metadata:
        return None
    return inspection_from(InstanceMetadata(dataset=metadata, etag=f"sequence-{sequence}", changed=at), ref)


def _time(value: Any) -> datetime | None:
    """Return a timestamp as aware UTC, cut to microseconds; one without an offset is UTC."""
    try:
        return utc_of(_text(value))
    except ValueError:
        return None


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) and "\0" not in value and value.isprintable() else ""


def _json(raw: Any) -> str:
    return json.dumps(raw, sort_keys=True, default=str)
