"""
Event Grid's events of blob storage: created, deleted, renamed.

An event is a hint, so most of it is not looked at. What counts is which object to look at, and its ETag, which saves
the look when it is known already.

Source: Azure Event Grid, "Azure Blob Storage as an Event Grid source", in both its schemas; CloudEvents 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sync.errors import BadEvent, ForeignSource
from sync.events.addresses import Sources, check_account, subject_object, url_object
from sync.events.fields import fields_of, kind_of, text_of
from sync.model import Action, Change, ObjectRef

_EVENT_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_TYPE_PREFIX = "microsoft.storage."

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
"""Events after which every object is what it was before."""

_UNSUPPORTED_HINT = (
    "The sync acts on blobs created, deleted and renamed. If a directory was renamed or deleted, run a backfill of its "
    "container; otherwise leave this type out of the event subscription."
)


def storage_changes(event: Mapping[str, Any], allowed: Sources) -> Iterator[Change]:
    """
    Yield the changes that one event, its keys in lower case, speaks of.

    Raises
    ------
    BadEvent
        It is malformed, or of a type that is not supported.
    ForeignSource
        It is of an account or container that is not configured.
    """
    kind = kind_of(event).removeprefix(_TYPE_PREFIX)
    if kind in _IGNORED_TYPES:
        return
    if kind not in ("blobcreated", "blobdeleted", "blobrenamed", "blobtierchanged"):
        raise BadEvent("an event of an unsupported type", code="event.unsupported", hint=_UNSUPPORTED_HINT)
    data = fields_of(event.get("data"), "data")
    check_account(event, data, allowed)
    if kind == "blobrenamed":
        yield from _renamed(event, data, allowed)
    elif kind == "blobdeleted":
        yield _change(subject_object(event, data.get("url"), allowed), Action.DELETED, event)
    elif kind == "blobtierchanged":
        # Rehydrated, it can be read at last; anything else is a repeat, which its ETag shows.
        yield _change(subject_object(event, data.get("url"), allowed), Action.CREATED, event, _etag(data))
    elif data.get("api") != "CreateFile":
        yield _change(subject_object(event, data.get("url"), allowed), Action.CREATED, event, _etag(data))


def _change(ref: ObjectRef, action: Action, event: Mapping[str, Any], etag: str | None = None) -> Change:
    event_id = event.get("id")
    safe = isinstance(event_id, str) and _EVENT_ID.fullmatch(event_id)
    return Change(object=ref, action=action, etag=etag, event_id=str(event_id) if safe else "")


def _renamed(event: Mapping[str, Any], data: Mapping[str, Any], allowed: Sources) -> Iterator[Change]:
    """Yield the creation of the new name and the deletion of the old one, as far as their containers are ours."""
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


def _etag(data: Mapping[str, Any]) -> str | None:
    """Return the ETag without weak mark and quotes; ``eTag`` is in events, ``etag`` in the change feed."""
    value = data.get("etag")
    return value.strip().removeprefix("W/").strip('"') or None if isinstance(value, str) else None
