"""
Queue messages as values: Event Grid's blob events become changes, messages of queue ``studies`` become studies.

Text comes in; `Change`, `StudyRef` or a `PermanentError` comes out, and nothing else ever does: a message that could
raise would be delivered until it is poison. Pure: no request is made, and the URL inside an event is never read from.
It is compared with the account that the event claims, so that neither of the two can lead a read astray.

An event is a hint, so most of it is not looked at. What counts is which object to look at, and its ETag, which saves
the look when it is known already.

Sources: Azure Event Grid, "Azure Blob Storage as an Event Grid source", in both its schemas; CloudEvents 1.0. That the
subject holds the blob name as it is, while URLs hold it percent-encoded, is what real events show; no page says so.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from sync.errors import BadEvent, ForeignSource, PermanentError
from sync.model import Action, Change, ObjectRef, StudyRef, digest
from sync.spans import is_traceparent

_SUBJECT = re.compile(r"/blobServices/default/containers/(?P<container>[^/]+)/blobs/(?P<name>.+)", re.DOTALL)
_ACCOUNT_ID = re.compile(r"/subscriptions/.+/providers/microsoft\.storage/storageaccounts/(?P<account>[^/]+)/?")
_STORAGE_HOST = re.compile(r"(?P<account>[^.]+)\.(?:z\d+\.)?(?:blob|dfs)\..+")
_EVENT_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_LONGEST_NAME = 1024
_MOST_WAITS = 1_000_000
_TYPE_PREFIX = "microsoft.storage."

_IGNORED_TYPES = frozenset(
    {
        "asyncoperationinitiated",
        "blobinventorypolicycompleted",
        "blobtierchanged",
        "directorycreated",
        "lifecyclepolicycompleted",
        "microsoft.eventgrid.subscriptionvalidationevent",
        "microsoft.eventgrid.subscriptiondeletedevent",
    }
)
"""Events after which every object is what it was before."""

_FEED_PREFIX = "microsoft.healthcareapis.dicomimage"
"""Events of a DICOM service: they only wake the reader of its change feed, which has their order and the metadata."""

_UNSUPPORTED_HINT = (
    "The sync acts on blobs created, deleted and renamed. If a directory was renamed or deleted, run a backfill of its "
    "container; otherwise leave this type out of the event subscription."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What may be read: the account of the DICOM files, the containers in it that are synced, and DICOM services."""

    account: str
    containers: frozenset[str]
    services: frozenset[str] = frozenset()
    """Accounts of DICOM services; only a message of ours may name their instances."""


def message_text(content: bytes) -> str:
    """
    Return the text of a queue message: base64, as Event Grid and we send it, or plain.

    JSON of an event or a study is never valid base64, so the two cannot be confused. Bytes that are no text become
    replacement characters, which the parsers refuse; nothing is raised.
    """
    with contextlib.suppress(ValueError):  # plain text
        content = base64.b64decode(content, validate=True)
    return content.decode("utf-8", "replace")


def parse_message(text: str, allowed: Sources) -> list[Change | PermanentError]:
    """
    Read the events of one queue message: an array, or one bare object, in either schema.

    Parameters
    ----------
    text
        The message, already decoded from base64.
    allowed
        Account and containers that are configured.

    Returns
    -------
    list
        The changes, in the order of the message, and an error for each event that is malformed, foreign or of an
        unsupported type; a message that holds no events at all gives one `BadEvent`, one of ours (`object_message`) its
        change. Events after which every object is what it was before (``BlobTierChanged``, the empty file of
        ``CreateFile``, a handshake) give nothing, nor do those of a DICOM service, which `feed_sequences` reads.
        ``BlobRenamed`` gives a creation and a deletion, each where it concerns a configured container.
        Error texts hold no name.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return [BadEvent("the message is not JSON")]
    events = document if isinstance(document, list) else [document]
    return [change for event in events for change in parse_event(event, allowed)]


def parse_event(event: Any, allowed: Sources) -> list[Change | PermanentError]:
    """Read one event, or a record of a change feed, which has the same form; as `parse_message` does."""
    try:
        return list(_changes(_lower_keys(event, "event"), allowed))
    except PermanentError as problem:
        return [problem]


def object_message(ref: ObjectRef, *, waited: int = 0, failing_since: datetime | None = None) -> str:
    """
    Text of a message of ours in queue ``objects``: look at this object again, trusting nothing.

    Parameters
    ----------
    waited, failing_since
        How often an outage put it off already, and since when (aware UTC).
    """
    named = {"account": ref.account, "container": ref.container, "name": ref.name}
    since = {"failing_since": failing_since.isoformat()} if failing_since else {}
    return json.dumps({"look_again": named, "waited": waited, **since})


def feed_sequences(text: str) -> list[int | None]:
    """
    Return the feed sequences that the events of a DICOM service in a message name, None for one that names none.

    Malformed or not, such an event only says that the feed has something to read. Whatever else is in the message is
    the business of `parse_message`.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return []
    events = document if isinstance(document, list) else [document]
    return [_sequence(event) for event in events if _is_of_feed(event)]


def _is_of_feed(event: Any) -> bool:
    fields = {key.lower(): value for key, value in event.items()} if isinstance(event, dict) else {}
    kind = fields.get("type" if "specversion" in fields else "eventtype")
    return isinstance(kind, str) and kind.casefold().startswith(_FEED_PREFIX)


def _sequence(event: Mapping[str, Any]) -> int | None:
    data = next((part for key, part in event.items() if key.lower() == "data"), None)
    parts = {key.lower(): part for key, part in data.items()} if isinstance(data, dict) else {}
    number = parts.get("sequencenumber")
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def parse_study_message(text: str) -> StudyRef:
    """
    Read a message of queue ``studies``; inverse of `study_message`.

    Raises
    ------
    BadEvent
        The text is not such a message.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise BadEvent("the study message is not JSON") from None
    fields = _lower_keys(document, "study message")
    uid, partition = _text(fields, "study_instance_uid"), fields.get("partition", "")
    if not isinstance(partition, str) or not _is_unicode(uid + partition):
        raise BadEvent("the study message holds something else than text")
    return StudyRef(study_instance_uid=uid, partition=partition)


def study_message(ref: StudyRef, traceparent: str = "") -> str:
    """
    Text of the message of queue ``studies`` that names the study; equal studies give equal text.

    ``traceparent`` is that of the span that sends it, empty when nothing is traced.
    """
    traced = {"traceparent": traceparent} if traceparent else {}
    return json.dumps({"study_instance_uid": ref.study_instance_uid, "partition": ref.partition, **traced})


def study_message_links(text: str) -> tuple[str, ...]:
    """Return the ``traceparent`` that a message of queue ``studies`` brings; malformed or absent, none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    brought = document.get("traceparent") if isinstance(document, dict) else None
    return (str(brought),) if is_traceparent(brought) else ()


def message_digest(text: str) -> str:
    """Name a message in a dead letter without holding any of it: 40 hex digits."""
    return digest("message", text)


def _changes(event: Mapping[str, Any], allowed: Sources) -> Iterator[Change]:
    """Yield the changes that one event, its keys in lower case, speaks of."""
    if "look_again" in event:
        yield _look_again(event, allowed)
        return
    kind = _text(event, "type" if "specversion" in event else "eventtype").casefold().removeprefix(_TYPE_PREFIX)
    if kind in _IGNORED_TYPES or kind.startswith(_FEED_PREFIX):
        return
    if kind not in ("blobcreated", "blobdeleted", "blobrenamed"):
        raise BadEvent("an event of an unsupported type", code="event.unsupported", hint=_UNSUPPORTED_HINT)
    data = _lower_keys(event.get("data"), "data")
    _check_account(event, data, allowed)
    if kind == "blobrenamed":
        yield from _renamed(event, data, allowed)
    elif kind == "blobdeleted":
        yield _change(_subject_object(event, data.get("url"), allowed), Action.DELETED, event)
    elif data.get("api") != "CreateFile":
        yield _change(_subject_object(event, data.get("url"), allowed), Action.CREATED, event, _etag(data))


def _change(ref: ObjectRef, action: Action, event: Mapping[str, Any], etag: str | None = None) -> Change:
    event_id = event.get("id")
    safe = isinstance(event_id, str) and _EVENT_ID.fullmatch(event_id)
    return Change(object=ref, action=action, etag=etag, event_id=str(event_id) if safe else "")


def _renamed(event: Mapping[str, Any], data: Mapping[str, Any], allowed: Sources) -> Iterator[Change]:
    """Yield the creation of the new name and the deletion of the old one, as far as their containers are ours."""
    source = _url_object(_text(data, "sourceurl"), allowed)
    foreign: ForeignSource | None = None
    try:
        yield _change(_subject_object(event, data.get("destinationurl"), allowed), Action.CREATED, event)
    except ForeignSource as problem:
        foreign = problem
    if source.container in allowed.containers:
        yield _change(source, Action.DELETED, event)
    elif foreign:
        raise foreign


def _check_account(event: Mapping[str, Any], data: Mapping[str, Any], allowed: Sources) -> None:
    """Raise `ForeignSource` unless the event's topic, and every URL in it, name the configured account."""
    topic = _text(event, "source" if "specversion" in event else "topic")
    match = _ACCOUNT_ID.fullmatch(topic.lower())
    if not match or match["account"] != allowed.account.lower():
        raise ForeignSource("the event is of another storage account")
    for key in ("url", "sourceurl", "destinationurl"):
        if data.get(key):
            _path_in_account(_text(data, key), allowed)


def _subject_object(event: Mapping[str, Any], url: Any, allowed: Sources) -> ObjectRef:
    """Return the object that the subject names, which is the truth: samples exist whose URL names another container."""
    match = _SUBJECT.fullmatch(_text(event, "subject"))
    if not match:
        raise BadEvent("the subject names no blob")
    if match["container"] not in allowed.containers:
        raise ForeignSource("the event is of another container")
    ref = ObjectRef(account=allowed.account, container=match["container"], name=_checked_name(match["name"]))
    # Event Grid has delivered characters beyond U+FFFF as replacement characters; only the URL can tell that the name
    # is really so, and looking for a name that does not exist would pass for a deletion.
    if "\ufffd" in ref.name and not (isinstance(url, str) and url and _url_object(url, allowed) == ref):
        raise BadEvent("the subject's blob name was damaged on its way")
    return ref


def _url_object(url: str, allowed: Sources) -> ObjectRef:
    """Return the object that a blob or dfs URL names, in whichever container."""
    container, _, name = _path_in_account(url, allowed).partition("/")
    decoded = unquote(name, errors="surrogateescape")
    return ObjectRef(account=allowed.account, container=unquote(container), name=_checked_name(decoded))


def _look_again(message: Mapping[str, Any], allowed: Sources) -> Change:
    """Read a message of ours; whoever may write to the queue may have made it up, so it is checked like an event."""
    named = _lower_keys(message["look_again"], "look_again")
    account, name, container = _text(named, "account"), _text(named, "name"), named.get("container")
    if not isinstance(container, str):  # empty is a data partition's name
        raise BadEvent("the container is not text")
    in_storage = account == allowed.account and container in allowed.containers
    if not in_storage and account not in allowed.services:
        raise ForeignSource("a message asks for an account or container that is not configured")
    waited, since = message.get("waited"), None
    with contextlib.suppress(TypeError, ValueError):
        since = datetime.fromisoformat(message.get("failing_since"))  # type: ignore[arg-type]  # what is none raises
    return Change(
        object=ObjectRef(account=account, container=container, name=_checked_name(name)),
        action=Action.CREATED,
        again=True,
        waited=waited if type(waited) is int and 0 <= waited <= _MOST_WAITS else 0,
        failing_since=since if since is not None and since.tzinfo is not None else None,
    )


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
    account, rest = (match["account"], path) if match else path.partition("/")[::2]
    if account.lower() != allowed.account.lower():
        raise ForeignSource("the URL of the event is of another storage account")
    return rest


def _checked_name(name: str) -> str:
    """
    Return the blob name if it can be one.

    Dot segments are refused: HTTP clients resolve them, and the request would leave the container that was checked.
    """
    if not 0 < len(name) <= _LONGEST_NAME:
        raise BadEvent("the blob name is empty or too long")
    if not _is_unicode(name):
        raise BadEvent("the blob name is not Unicode text")
    if any(segment in (".", "..") for segment in re.split(r"[/\\]", name)):
        raise BadEvent("the blob name has a dot segment")
    return name


def _etag(data: Mapping[str, Any]) -> str | None:
    """Return the ETag without weak mark and quotes; ``eTag`` is in events, ``etag`` in the change feed."""
    value = data.get("etag")
    return value.strip().removeprefix("W/").strip('"') or None if isinstance(value, str) else None


def _lower_keys(value: Any, what: str) -> dict[str, Any]:
    """Return the JSON object with its keys in lower case: published samples disagree on ``specVersion``."""
    if not isinstance(value, dict):
        raise BadEvent(f"the {what} is not a JSON object")
    return {key.lower(): item for key, item in value.items()}


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise BadEvent(f"{key} is missing or not text")
    return value


def _is_unicode(text: str) -> bool:
    """Tell whether the text can be sent: JSON escapes may leave half a surrogate pair, which cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
