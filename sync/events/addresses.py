"""
The object that an event names, and whether it may be read.

The sync never reads from the URL inside an event. It compares the URL with the account that the event claims, so that
neither can redirect a read. Real events show that the subject holds the blob name as it is while URLs hold it
percent-encoded; no page of the documentation says so.

Source: Azure Event Grid, "Azure Blob Storage as an Event Grid source".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from sync.errors import BadEvent, ForeignSource
from sync.events.fields import is_unicode, text_of
from sync.model import ObjectRef

_SUBJECT = re.compile(r"/blobServices/default/containers/(?P<container>[^/]+)/blobs/(?P<name>.+)", re.DOTALL)
_ACCOUNT_ID = re.compile(r"/subscriptions/.+/providers/microsoft\.storage/storageaccounts/(?P<account>[^/]+)/?")
_STORAGE_HOST = re.compile(r"(?P<account>[^.]+)\.(?:z\d+\.)?(?:blob|dfs)\..+")
_LONGEST_NAME = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The configured sources: the account of the DICOM files, its synced containers, and the DICOM services."""

    account: str
    containers: frozenset[str]
    services: frozenset[str] = frozenset()
    """Accounts of DICOM services; only messages that the sync sends itself may name their instances."""


def check_account(event: Mapping[str, Any], data: Mapping[str, Any], allowed: Sources) -> None:
    """Raise `ForeignSource` unless the event's topic, and every URL in it, name the configured account."""
    topic = text_of(event, "source" if "specversion" in event else "topic")
    match = _ACCOUNT_ID.fullmatch(topic.lower())
    if not match or match["account"] != allowed.account.lower():
        raise ForeignSource("the event is of another storage account")
    for key in ("url", "sourceurl", "destinationurl"):
        if data.get(key):
            _path_in_account(text_of(data, key), allowed)


def subject_object(event: Mapping[str, Any], url: Any, allowed: Sources) -> ObjectRef:
    """
    Return the object that the subject names. The subject decides: samples exist whose URL names another container.

    Raises
    ------
    BadEvent
        The subject names no object, or its name was damaged on the way.
    ForeignSource
        Its container is not configured.
    """
    match = _SUBJECT.fullmatch(text_of(event, "subject"))
    if not match:
        raise BadEvent("the subject names no blob")
    if match["container"] not in allowed.containers:
        raise ForeignSource("the event is of another container")
    ref = ObjectRef(account=allowed.account, container=match["container"], name=checked_name(match["name"]))
    # Event Grid has delivered characters beyond U+FFFF as replacement characters. Only the URL shows whether the name
    # really contains them; inspecting a name that does not exist would look like a deletion.
    if "\ufffd" in ref.name and not (isinstance(url, str) and url and url_object(url, allowed) == ref):
        raise BadEvent("the subject's blob name was damaged on its way")
    return ref


def url_object(url: str, allowed: Sources) -> ObjectRef:
    """Return the object that a blob or dfs URL names, in any container."""
    container, _, name = _path_in_account(url, allowed).partition("/")
    decoded = unquote(name, errors="surrogateescape")
    return ObjectRef(account=allowed.account, container=unquote(container), name=checked_name(decoded))


def _path_in_account(url: str, allowed: Sources) -> str:
    """
    Return the path of the URL below the account, still percent-encoded, without a leading slash.

    The account is the first label of a storage host, or the first segment of the path (Azurite).

    Raises
    ------
    ForeignSource
        It is not the configured account.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise BadEvent("the URL of the event is malformed") from None
    path = parts.path.removeprefix("/")
    match = _STORAGE_HOST.fullmatch(host)
    account, name = (match["account"], path) if match else path.partition("/")[::2]
    if account.lower() != allowed.account.lower():
        raise ForeignSource("the URL of the event is of another storage account")
    return name


def checked_name(name: str) -> str:
    """
    Return the blob name if it is a possible one; `BadEvent` otherwise.

    Dot segments are refused: HTTP clients resolve them, and the request would leave the container that was checked.
    """
    if not 0 < len(name) <= _LONGEST_NAME:
        raise BadEvent("the blob name is empty or too long")
    if not is_unicode(name):
        raise BadEvent("the blob name is not Unicode text")
    if any(segment in (".", "..") for segment in re.split(r"[/\\]", name)):
        raise BadEvent("the blob name has a dot segment")
    return name
