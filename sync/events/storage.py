"""
Event Grid's events of blob storage: changes of blobs and, with a hierarchical namespace, of directories.

An event is a hint, so most of it is not read. Only two parts count: the object to inspect, and its ETag, which saves
the inspection when that ETag is known already.

Source: Azure Event Grid, "Azure Blob Storage as an Event Grid source", in both its schemas; CloudEvents 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sync.errors import BadEvent, ForeignSource
from sync.events.addresses import Sources, check_account, subject_object, url_object
from sync.events.fields import fields_of, kind_of, text_of
from sync.model import Action, Change, ObjectRef
from sync.model.timestamps import aware_time

_EVENT_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_TYPE_PREFIX = "microsoft.storage."

_KINDS = frozenset(
    {"blobcreated", "blobdeleted", "blobrenamed", "blobtierchanged", "directorydeleted", "directoryrenamed"}
)

_IGNORED_TYPES = frozenset(
    {
        "asyncoperationinitiated",
        "blobinventorypolicycompleted",
        "directorycreated",
        "lifecyclepolicycompleted",
        "microsoft.eventgrid.subscriptionvalidationevent",
        "microsoft.eventgrid.subscriptiondeletedevent",
    }
)
"""Events that change no object."""

_UNFINISHED_APIS = ("CreateFile", "SftpCreate")
"""Calls that create an empty file; ``FlushWithClose`` and ``SftpCommit`` follow once it has its content."""

_UNSUPPORTED_HINT = (
    "The sync handles blobs that are created, deleted, renamed or moved between tiers, and directories that are "
    "renamed or deleted. If a directory was moved in from a container that is not synced, run a backfill; otherwise "
    "leave this type out of the event subscription."
)


def storage_changes(event: Mapping[str, Any], allowed: Sources) -> Iterator[Change]:
    """
    Yield the changes that one event reports; its keys are in lower case.

    Raises
    ------
    BadEvent
        The event is malformed, or its type is not supported.
    ForeignSource
        The event's account or container is not configured.
    """
    kind = kind_of(event).removeprefix(_TYPE_PREFIX)
    if kind in _IGNORED_TYPES:
        return
    if kind not in _KINDS:
        raise BadEvent("an event of an unsupported type", code="event.unsupported", hint=_UNSUPPORTED_HINT)
    data = fields_of(event.get("data"), "data")
    check_account(event, data, allowed)
    if kind == "blobrenamed":
        yield from _renamed(event, data, allowed)
    elif kind == "directoryrenamed":
        yield _moved_folder(event, data, allowed)
    elif kind == "directorydeleted":
        if str(data.get("recursive")).lower() == "true":  # otherwise it was empty
            yield _change(subject_object(event, data.get("url"), allowed), Action.FOLDER_REMOVED, event)
    elif kind == "blobdeleted":
        yield _change(subject_object(event, data.get("url"), allowed), Action.DELETED, event)
    elif kind == "blobtierchanged":
        # A rehydrated blob can be read from now on; any other tier change is a repeat, which its ETag shows.
        yield _change(subject_object(event, data.get("url"), allowed), Action.CREATED, event, _etag(data))
    elif data.get("api") not in _UNFINISHED_APIS:
        change = _change(subject_object(event, data.get("url"), allowed), Action.CREATED, event, _etag(data))
        yield replace(change, likely_new=True)


def _change(ref: ObjectRef, action: Action, event: Mapping[str, Any], etag: str | None = None) -> Change:
    event_id = event.get("id")
    safe = isinstance(event_id, str) and _EVENT_ID.fullmatch(event_id)
    happened = aware_time(event.get("eventtime") or event.get("time"))
    return Change(object=ref, action=action, happened=happened, etag=etag, event_id=str(event_id) if safe else "")


def _renamed(event: Mapping[str, Any], data: Mapping[str, Any], allowed: Sources) -> Iterator[Change]:
    """Yield the creation of the new name and the deletion of the old one, each if its container is configured."""
    source = url_object(text_of(data, "sourceurl"), allowed)
    foreign: ForeignSource | None = None
    try:
        yield _change(subject_object(event, data.get("destinationurl"), allowed), Action.CREATED, event)
    except ForeignSource as problem:
        foreign = problem
    if source.container in allowed.containers:
        yield _change(source, Action.DELETED, event)
    elif foreign:
        raise foreign


def _moved_folder(event: Mapping[str, Any], data: Mapping[str, Any], allowed: Sources) -> Change:
    """
    Return the removal of the old folder. The event does not list the objects in it.

    If the old container is not configured, the ledger has no rows of these objects: `BadEvent`, whose hint is a
    backfill.
    """
    source = url_object(text_of(data, "sourceurl"), allowed)
    if source.container not in allowed.containers:
        subject_object(event, data.get("destinationurl"), allowed)  # neither is ours: foreign
        raise BadEvent("a directory was moved in", code="event.unsupported", hint=_UNSUPPORTED_HINT)
    try:
        target = subject_object(event, data.get("destinationurl"), allowed)
    except ForeignSource:
        return _change(source, Action.FOLDER_REMOVED, event)
    return replace(_change(source, Action.FOLDER_REMOVED, event), moved_to=target)


def _etag(data: Mapping[str, Any]) -> str | None:
    """Return the ETag without weak mark and quotes: ``eTag`` in events, ``etag`` in the change feed."""
    value = data.get("etag")
    return value.strip().removeprefix("W/").strip('"') or None if isinstance(value, str) else None
