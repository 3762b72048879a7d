"""Failures that need a person, and the actions of operators on them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sync.errors import SyncError
from sync.model.timestamps import Timestamp


class SubjectKind(enum.Enum):
    """The kind of subject of a dead letter."""

    OBJECT = "object"
    STUDY = "study"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """
    A failure that needs a person, kept until its cause is gone. One per subject: a repeat updates it.

    ``subject`` is the object key, the study key or the digest of the message: never a name or a value. What a retry
    needs is kept elsewhere and shown to operators only: an object's name in its locator, a study's UID in its
    projection row. A message that cannot be acted on is kept in ``message``, with the ``queue`` that it came from.
    """

    kind: SubjectKind
    subject: str
    code: str
    detail: str
    hint: str
    first_at: datetime
    last_at: datetime
    attempts: int = 1
    message: str | None = field(default=None, repr=False)
    queue: str = ""

    @classmethod
    def of(cls, kind: SubjectKind, subject: str, failure: SyncError, now: datetime, **fields: Any) -> DeadLetter:
        """Make the dead letter of a failure that happened now; ``fields`` hold the data for a retry."""
        code, detail, hint = failure.code, failure.detail, failure.hint
        return cls(kind=kind, subject=subject, code=code, detail=detail, hint=hint, first_at=now, last_at=now, **fields)

    def shown(self) -> dict[str, Any]:
        """Return the dead letter as JSON, without the fields that may hold patient data."""
        return {
            "kind": self.kind.value,
            "subject": self.subject,
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
            "first_at": self.first_at.isoformat(),
            "last_at": self.last_at.isoformat(),
            "attempts": self.attempts,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterEntry:
    """The fields of a dead letter that a list of all of them needs to count, group and sort."""

    kind: SubjectKind
    subject: str
    code: str
    first_at: Timestamp
    last_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterPage:
    """One page of dead letters; ``token`` requests the next page, None after the last one."""

    letters: Sequence[DeadLetter] = ()
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """An action of an operator: who, what, to which subject (a hashed key, or a code), why."""

    at: datetime
    who: str
    action: str
    subject: str
    code: str = ""
    why: str = ""
