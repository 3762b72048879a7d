"""Changes of objects, as events, feeds and listings report them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from sync.model.identity import ObjectRef
from sync.model.instances import Inspection


class Action(enum.Enum):
    """What happened to an object, as far as the message knows. A hint, never the truth."""

    CREATED = "created"
    DELETED = "deleted"
    FOLDER_REMOVED = "folder_removed"
    """Everything below a folder was deleted, or moved to another one; only that folder is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    One normalised happening: inspect this object. ``etag`` (without quotes) is None when the event has none.

    An entry of an ordered feed has a ``sequence``; one that carries metadata brings the ``inspection`` with it. Such an
    inspection is as old as the page it came in: of two, the one with the higher sequence is the younger.

    ``again`` is true when we ask ourselves, for a retry or because the first look met an outage: an earlier look may
    have died half-way. ``postponements`` is how often it was postponed, ``failing_since`` when that began.

    ``likely_new`` says that the object was probably never seen before, so that it is claimed without a read; if it was,
    the claim conflicts and its row is read. Where it is wrong, it costs a request or two, never the result.

    ``happened`` is when, as the event says: it serves to guess how quickly objects arrive, and decides nothing else.

    ``object`` is the folder, without a slash at its end, where a folder was removed; ``moved_to`` is where its objects
    are now, if they were moved.
    """

    object: ObjectRef
    action: Action
    happened: datetime | None = field(default=None, compare=False)
    etag: str | None = None
    event_id: str = ""
    sequence: int | None = None
    inspection: Inspection | None = None
    again: bool = False
    likely_new: bool = False
    postponements: int = 0
    failing_since: datetime | None = None
    moved_to: ObjectRef | None = None
