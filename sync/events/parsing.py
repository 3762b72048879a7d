"""A queue message, of whatever kind, as changes."""

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

    JSON of an event or a study is never valid base64, so the two cannot be confused. Bytes that are no text become
    replacement characters, which the parsers refuse; nothing is raised.
    """
    with contextlib.suppress(ValueError):  # plain text
        content = base64.b64decode(content, validate=True)
    return content.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMessage:
    """What a message of queue ``objects`` holds: changes, errors, and what it says of the DICOM service's feed."""

    changes: Sequence[Change | PermanentError] = ()
    feed_sequences: Sequence[int | None] = ()
    """Sequences that events of a DICOM service name, None for one that names none: the feed has something to read."""


def parse_object_message(text: str, allowed: Sources) -> ObjectMessage:
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
    ObjectMessage
        The changes, in the order of the message, and an error for each event that is malformed, foreign or of an
        unsupported type; a message that holds no events at all gives one `BadEvent`, one of ours (`object_message`) its
        change. Events after which every object is what it was before (the empty file of ``CreateFile`` or
        ``SftpCreate``, an empty directory, a handshake) give nothing, nor do those of a DICOM service, which only
        name a sequence.
        ``BlobRenamed`` gives a creation and a deletion, each where it concerns a configured container;
        ``BlobTierChanged`` a creation, for what was archived can be read then.
        Error texts hold no name.
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
    """Read one event, or a record of a change feed, which has the same form; as `parse_message` does."""
    try:
        return list(_changes(fields_of(event, "event"), allowed))
    except PermanentError as problem:
        return [problem]


def _changes(event: Mapping[str, Any], allowed: Sources) -> Iterable[Change]:
    if "look_again" in event:
        return [reinspect_message(event, allowed)]
    return [] if is_of_feed(event) else storage_changes(event, allowed)


def message_digest(text: str) -> str:
    """Name a message in a dead letter without holding any of it: 40 hex digits."""
    return digest("message", text)
