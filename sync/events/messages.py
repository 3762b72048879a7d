"""Messages of the sync itself: inspect this object again; project this study."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync.errors import BadEvent, ForeignSource
from sync.events.addresses import Sources, checked_name
from sync.events.fields import document_of, fields_of, is_unicode, text_of
from sync.model import Action, Change, ObjectRef, StudyRef
from sync.telemetry.spans import is_traceparent

_MOST_WAITS = 1_000_000
_LOST = '{"lost": true, '
"""Prefix of a message that replaces one that a killed process held."""

_REDELIVERED = ', "redelivered": true}'
"""Suffix of a study's message that replaces one that was delivered before."""


def hint_message(change: Change) -> str:
    """Return the text of a message that repeats a change as a hint, without trusting its ETag or sequence."""
    if change.action is not Action.FOLDER_REMOVED:
        return object_message(change.object)
    moved = {"moved_to": _named(change.moved_to)} if change.moved_to is not None else {}
    return json.dumps({"look_again": _named(change.object), "folder": True, **moved})


def lost_message(change: Change) -> str:
    """Return the text of a message that replaces one whose process died."""
    return _LOST + hint_message(change).removeprefix("{")


def is_lost_message(text: str) -> bool:
    """Return whether `lost_message` made the text."""
    return text.startswith(_LOST)


def _named(ref: ObjectRef) -> dict[str, str]:
    return {"account": ref.account, "container": ref.container, "name": ref.name}


def object_message(ref: ObjectRef, *, postponements: int = 0, failing_since: datetime | None = None) -> str:
    """
    Return the text of a message of queue ``objects``: inspect this object again, without shortcuts.

    Parameters
    ----------
    waited, failing_since
        How often an outage has postponed it already, and since when (aware UTC).
    """
    since = {"failing_since": failing_since.isoformat()} if failing_since else {}
    return json.dumps({"look_again": _named(ref), "waited": postponements, **since})


def reinspect_message(message: Mapping[str, Any], allowed: Sources) -> Change:
    """
    Read a message of the sync itself. Any writer to the queue may have forged it: it is checked like an event.

    Raises
    ------
    BadEvent
        The sync sends no such message.
    ForeignSource
        It names an account or container that is not configured.
    """
    ref = _allowed(message["look_again"], allowed)
    if message.get("folder") is True:
        moved_to = _allowed(message["moved_to"], allowed) if "moved_to" in message else None
        return Change(object=ref, action=Action.FOLDER_REMOVED, again=True, moved_to=moved_to)
    postponements, since = message.get("waited"), None
    with contextlib.suppress(TypeError, ValueError):
        since = datetime.fromisoformat(message.get("failing_since"))  # type: ignore[arg-type]  # what is none raises
    return Change(
        object=ref,
        action=Action.CREATED,
        again=True,
        postponements=postponements if type(postponements) is int and 0 <= postponements <= _MOST_WAITS else 0,
        failing_since=since if since is not None and since.tzinfo is not None else None,
    )


def _allowed(value: Any, allowed: Sources) -> ObjectRef:
    named = fields_of(value, "look_again")
    account, name, container = text_of(named, "account"), text_of(named, "name"), named.get("container")
    if not isinstance(container, str):  # empty is a data partition's name
        raise BadEvent("the container is not text")
    in_storage = account == allowed.account and container in allowed.containers
    if not in_storage and account not in allowed.services:
        raise ForeignSource("a message asks for an account or container that is not configured")
    return ObjectRef(account=account, container=container, name=checked_name(name))


def study_message(ref: StudyRef, traceparent: str = "") -> str:
    """
    Return the text of the message of queue ``studies`` for the study; equal studies give equal text.

    ``traceparent`` is the one of the sending span, empty when tracing is off.
    """
    traced = {"traceparent": traceparent} if traceparent else {}
    return json.dumps({"study_instance_uid": ref.study_instance_uid, "partition": ref.partition, **traced})


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyMessage:
    """
    A message of queue ``studies``: the study, and the span that sent it, if it was traced.

    ``redelivered``: it replaces a message that was delivered before; see `redelivered_message`.
    """

    study: StudyRef
    links: tuple[str, ...] = ()
    redelivered: bool = False


def parse_study_message(text: str) -> StudyMessage:
    """
    Read a message of queue ``studies``; inverse of `study_message`. A malformed ``traceparent`` is left out.

    Raises
    ------
    BadEvent
        The text is not such a message.
    """
    fields = fields_of(document_of(text, "study message"), "study message")
    uid, partition = text_of(fields, "study_instance_uid"), fields.get("partition", "")
    if not isinstance(partition, str) or not is_unicode(uid + partition):
        raise BadEvent("the study message holds something else than text")
    sender = fields.get("traceparent")
    links = (str(sender),) if is_traceparent(sender) else ()
    study = StudyRef(study_instance_uid=uid, partition=partition)
    return StudyMessage(study=study, links=links, redelivered=fields.get("redelivered") is True)


def redelivered_message(text: str) -> str:
    """
    Return the text of the message that replaces one that was delivered before.

    A study's message is marked as redelivered: the delivery may have died after it wrote to FHIR, so the next one must
    not trust the projection row. All other messages stay unchanged.
    """
    with contextlib.suppress(BadEvent):
        parse_study_message(text)
        return json.dumps({**document_of(text, "study message"), "redelivered": True})
    return text


def is_redelivered_message(text: str) -> bool:
    """Return whether `redelivered_message` made the text for a study, without parsing it."""
    return text.endswith(_REDELIVERED)
