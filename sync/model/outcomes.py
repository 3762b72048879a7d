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
    """A feed's entry that is older than the stored state."""
    DEAD_LETTERED = "object.dead_lettered"
    """It could not be ingested, and trying again would change nothing."""

    @classmethod
    def of(cls, inspection: Inspection) -> Ingested:
        """Return what an object becomes that was inspected so."""
        if inspection.problem is not None:
            return cls.REJECTED
        return cls.SYNCED if inspection.record is not None else cls.GONE

    @property
    def word(self) -> str:
        """The outcome as attributes of metrics and spans have it."""
        return self.value.removeprefix("object.")

    @property
    def counted(self) -> str:
        """The outcome as jobs count it: known already: ``unchanged``; with a dead letter: ``rejected``."""
        return _COUNTED.get(self, self.word)


_COUNTED = {Ingested.REPEAT: "unchanged", Ingested.OVERTAKEN: "unchanged", Ingested.DEAD_LETTERED: "rejected"}


class Delivered(enum.Enum):
    """How the delivery of a queue message ended; the value is the word of metrics."""

    DONE = "done"
    FAILED = "failed"
    """It raised: the host delivers the message again, and counts."""
    TOO_LONG = "too_long"
    """It outlived its budget and was cut off; delivered again, and counted."""
    PUT_BACK = "put_back"
    """An outage of ours or a wrong setting: the same message was sent for later, and nothing counts."""


class Projected(enum.Enum):
    """The outcome of projecting one study; the value is the event in the log."""

    WRITTEN = "study.written"
    UNCHANGED = "study.unchanged"
    DEAD_LETTERED = "study.dead_lettered"
    NOT_DUE = "study.not_due"

    @property
    def word(self) -> str:
        """The outcome as attributes of metrics and spans, and counts of jobs, have it."""
        return self.value.removeprefix("study.")
