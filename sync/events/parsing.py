"""Reads queue messages of any kind as changes."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync.errors import BadEvent, PermanentError
from sync.events.addresses import Sources
from sync.events.feeds import is_of_feed, sequence_of
from sync.events.fields import events_of, fields_of
from sync.events.messages import reinspect_message
from sync.events.storage import storage_changes
from sync.model import Change, digest


def message_text(content: bytes) -> str:
    """
    Return the text of a queue message: base64, as Event Grid and we send it, or plain.

    JSON of an event or a study is never valid base64, so the two cannot be confused. Undecodable bytes become
    replacement characters, which the parsers refuse; nothing is raised.
    """
    with contextlib.suppress(ValueError):  # plain text
        content = base64.b64decode(content, validate=True)
    return content.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMessage:
    """The content of a message of queue ``objects``: changes, errors, and sequences of the DICOM service's feed."""

    changes: Sequence[Change | PermanentError] = ()
    feed_sequences: Sequence[int | None] = ()
    """Sequences in events of a DICOM service, None for an event without one: the feed has entries to read."""


def parse_object_message(text: str, allowed: Sources) -> ObjectMessage:
    """
    Read the events of one queue message: an array or a single object, in either schema.

    Parameters
    ----------
    text
        The message, already decoded from base64.
    allowed
        The configured account and containers.

    Returns
    -------
    ObjectMessage
        The changes, in the order of the message, and an error for each event that is malformed, foreign or of an
        unsupported type. A message without any event gives one `BadEvent`; a message of the sync itself
        (`object_message`) gives its change. Events that change no object (the empty file of ``CreateFile`` or
        ``SftpCreate``, an empty directory, a handshake) give nothing; events of a DICOM service give only a sequence.
        ``BlobRenamed`` gives a creation and a deletion, each only for a configured container. ``BlobTierChanged`` gives
        a creation, because a blob that was archived can be read then. Error texts contain no names.
    """
    try:
        events = events_of(text)
    except BadEvent as problem:
        return ObjectMessage(changes=[problem])
    return ObjectMessage(
        changes=[change for event in events for change in parse_event(event, allowed)],
        feed_sequences=[sequence_of(event) for event in events if is_of_feed(event)],
    )


def parse_message(text: str, allowed: Sources) -> list[Change | PermanentError]:
    """Read the changes and errors of a message, as `parse_object_message` does."""
    return list(parse_object_message(text, allowed).changes)


def parse_event(event: Any, allowed: Sources) -> list[Change | PermanentError]:
    """Read one event, or a record of a change feed, which has the same form; like `parse_message`."""
    try:
        return list(_changes(fields_of(event, "event"), allowed))
    except PermanentError as problem:
        return [problem]


def _changes(event: Mapping[str, Any], allowed: Sources) -> Iterable[Change]:
    if "look_again" in event:
        return [reinspect_message(event, allowed)]
    return [] if is_of_feed(event) else storage_changes(event, allowed)


def message_digest(text: str) -> str:
    """Return the digest by which a dead letter names a message, without any of its content: 40 hex digits."""
    return digest("message", text)
