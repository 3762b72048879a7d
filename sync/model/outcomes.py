"""The outcomes of an object or a study: the same in logs, metrics, counts and histories."""

from __future__ import annotations

import enum

from sync.model.instances import Inspection


class Ingested(enum.Enum):
    """The outcome of ingesting one object; the value is the event in the log."""

    SYNCED = "object.synced"
    GONE = "object.gone"
    REJECTED = "object.rejected"
    REPEAT = "object.repeat"
    OVERTAKEN = "object.overtaken"
    """The feed entry is older than the stored state."""
    DEAD_LETTERED = "object.dead_lettered"
    """It could not be ingested, and trying again would change nothing."""

    @classmethod
    def of(cls, inspection: Inspection) -> Ingested:
        """Return the outcome that an inspection leads to."""
        if inspection.problem is not None:
            return cls.REJECTED
        return cls.SYNCED if inspection.record is not None else cls.GONE

    @property
    def word(self) -> str:
        """The outcome as attributes of metrics and spans name it."""
        return self.value.removeprefix("object.")

    @property
    def counted(self) -> str:
        """The outcome as jobs count it: known objects are ``unchanged``, those with a dead letter ``rejected``."""
        return _COUNTED.get(self, self.word)


_COUNTED = {Ingested.REPEAT: "unchanged", Ingested.OVERTAKEN: "unchanged", Ingested.DEAD_LETTERED: "rejected"}


class Delivered(enum.Enum):
    """How the delivery of a queue message ended; the value is the word of metrics."""

    DONE = "done"
    FAILED = "failed"
    """The handler raised; the host delivers the message again and counts the attempt."""
    TOO_LONG = "too_long"
    """It exceeded its time budget and was cancelled: the host delivers the message again and counts the attempt."""
    PUT_BACK = "put_back"
    """Storage was down or a setting is wrong: the message was sent again with a delay; the attempt is not counted."""


class Projected(enum.Enum):
    """The outcome of projecting one study; the value is the event in the log."""

    WRITTEN = "study.written"
    UNCHANGED = "study.unchanged"
    DEAD_LETTERED = "study.dead_lettered"
    NOT_DUE = "study.not_due"

    @property
    def word(self) -> str:
        """The outcome as attributes of metrics and spans, and counts of jobs, name it."""
        return self.value.removeprefix("study.")
