"""
Queue messages as values: Event Grid's blob events become changes, messages of queue ``studies`` become studies.

Text comes in; a `Change`, a `StudyRef` or a `PermanentError` comes out. Nothing else may be raised: the message would
be delivered until it is poison. Pure: no request is made.
"""

from __future__ import annotations

from sync.events.addresses import Sources
from sync.events.messages import (
    StudyMessage,
    hint_message,
    is_lost_message,
    is_redelivered_message,
    lost_message,
    object_message,
    parse_study_message,
    redelivered_message,
    study_message,
)
from sync.events.parsing import (
    ObjectMessage,
    message_digest,
    message_text,
    parse_event,
    parse_message,
    parse_object_message,
)

__all__ = [
    "ObjectMessage",
    "Sources",
    "StudyMessage",
    "hint_message",
    "is_lost_message",
    "is_redelivered_message",
    "lost_message",
    "message_digest",
    "message_text",
    "object_message",
    "parse_event",
    "parse_message",
    "parse_object_message",
    "parse_study_message",
    "redelivered_message",
    "study_message",
]
