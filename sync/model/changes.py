"""Changes of objects, as events, feeds and listings report them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from sync.model.identity import ObjectRef
from sync.model.instances import Inspection


class Action(enum.Enum):
    """The change that a message reports of an object. A hint, never the truth."""

    CREATED = "created"
    DELETED = "deleted"
    FOLDER_REMOVED = "folder_removed"
    """Every object below a folder was deleted, or moved to another folder; the message names only the folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    A request to inspect one object, in one form for every source. ``etag`` has no quotes; None without any.

    An entry of an ordered feed has a ``sequence``; an entry with metadata also has the ``inspection`` made of them.
    That inspection is as old as the page of the feed; of two inspections, the one with the higher sequence is newer.

    ``again`` marks a request of the sync itself: a retry, or an inspection that an outage postponed. An earlier
    inspection may have died half-way. ``postponements`` counts how often it was postponed, since ``failing_since``.

    ``likely_new`` says that the object probably has no row yet, so it is claimed without a read. If it has one, the
    claim conflicts and the row is read: a wrong guess costs a request or two and never changes the result.

    ``no_dead_letter`` says that the object had no dead letter when the change was read, so that none of an attempt that
    died half-way is left to be cleared. It holds for one attempt, which may itself leave one.

    ``happened`` is the time that the event states. It serves only to estimate how quickly objects arrive.

    When a folder was removed, ``object`` is that folder, without a slash at its end, and ``moved_to`` the folder that
    its objects were moved to, if any.
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
    no_dead_letter: bool = field(default=False, compare=False)
    postponements: int = 0
    failing_since: datetime | None = None
    moved_to: ObjectRef | None = None
