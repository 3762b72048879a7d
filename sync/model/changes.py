"""What events, feeds and listings say has happened."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from sync.model.identity import ObjectRef
from sync.model.instances import Look


class Action(enum.Enum):
    """What happened to an object, as far as the message knows. A hint, never the truth."""

    CREATED = "created"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    One normalised happening: look at this object. ``etag`` (without quotes) is None when the event has none.

    An entry of an ordered feed has a ``sequence``; one that carries metadata brings the ``look`` with it. Such a look
    is as old as the page it came in: of two, that of the higher sequence is the younger one.

    ``again`` is true when we ask ourselves, for a retry or because the first look met an outage: an earlier look may
    have died half-way. ``waited`` is how often it was put off, ``failing_since`` when that began.
    """

    object: ObjectRef
    action: Action
    etag: str | None = None
    event_id: str = ""
    sequence: int | None = None
    look: Look | None = None
    again: bool = False
    waited: int = 0
    failing_since: datetime | None = None
