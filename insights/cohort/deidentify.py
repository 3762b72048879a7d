"""
Pseudonyms, shifted dates and hashed UIDs: equal for the same project and key, unrelated for any other.

Every value is an HMAC-SHA-256 under a key of the project, which is derived from the key of the site. Without the key,
no pseudonym can be computed and no date shifted back. The limit for ages is that of HIPAA's safe harbor
(45 CFR 164.514(b)(2)).
"""

from __future__ import annotations

import calendar
import functools
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from insights.errors import CohortError, unreadable

KEY_BYTES = 32
OLDEST = 89
"""All ages above it form one group."""

_MOST_SHIFT = 182
"""Maximum shift of a patient's dates in days, in either direction; the shift is never 0."""


def read_key(file: Path) -> bytes:
    """
    Read the key of the site; create it, readable by its owner only, if there is none.

    Raises
    ------
    CohortError
        ``cohort.key``.
    """
    try:
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            key = bytes.fromhex(file.read_text("ascii").strip())
        else:
            key = secrets.token_bytes(KEY_BYTES)
            with os.fdopen(handle, "w") as out:
                out.write(key.hex() + "\n")
    except (OSError, ValueError) as problem:
        raise CohortError(f"{file}: {unreadable(problem)}", code="cohort.key") from None
    if len(key) != KEY_BYTES:
        raise CohortError(f"{file}: a key has {KEY_BYTES} bytes, as {2 * KEY_BYTES} hex digits", code="cohort.key")
    return key


@dataclass(frozen=True)
class Pseudonyms:
    """
    The replacements of identifying values in a project.

    Parameters
    ----------
    key
        Of the project: see `of_project`.
    """

    key: bytes

    @classmethod
    def of_project(cls, site_key: bytes, project: str) -> Pseudonyms:
        """Return the pseudonyms of a project."""
        return cls(hmac.digest(site_key, f"project/{project}".encode(), "sha256"))

    def name(self, kind: str, value: str) -> str:
        """Return the pseudonym of an id."""
        return self._digest(f"{kind}/{value}").hex()[:20]

    def uid(self, uid: str) -> str:
        """Return a UID for a UID, in the form of PS3.5 B.2; ``urn:oid:`` stays if it was there."""
        bare = uid.removeprefix("urn:oid:")
        hashed = f"2.25.{int.from_bytes(self._digest(f'uid/{bare}')[:16], 'big')}"
        return f"urn:oid:{hashed}" if bare != uid else hashed

    @functools.lru_cache(maxsize=100_000)  # noqa: B019 -- it lives as long as one run
    def shift(self, patient: str) -> int:
        """Return the days by which all dates of a patient are shifted."""
        number = int.from_bytes(self._digest(f"shift/{patient}")[:8], "big") % (2 * _MOST_SHIFT)
        return number - _MOST_SHIFT if number < _MOST_SHIFT else number - _MOST_SHIFT + 1

    def moved(self, patient: str, written: str) -> str | None:
        """Return a shifted date, as precise as written but at most to the day; None if it is no date."""
        try:
            day = _middle(written)
            moved = day + timedelta(days=self.shift(patient))
        except (ValueError, OverflowError):
            return None
        return moved.isoformat()[: min(len(written), 10)]

    def fingerprint(self) -> str:
        """Return a fingerprint that distinguishes keys without revealing them."""
        return self._digest("fingerprint").hex()[:16]

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self.key, text.encode(), hashlib.sha256().name)


def _middle(written: str) -> date:
    """Return the middle day of those that a date can mean, so that a shift gives the right month or year."""
    if len(written) == 4:  # noqa: PLR2004 -- a year
        return date(int(written), 7, 1)
    if len(written) == 7:  # noqa: PLR2004 -- a month
        year, month = int(written[:4]), int(written[5:])
        return date(year, month, (calendar.monthrange(year, month)[1] + 1) // 2)
    return date.fromisoformat(written[:10])


def age_group(age: int | None) -> str | None:
    """Return an age; all ages above `OLDEST` give one value."""
    if age is None:
        return None
    return f"{OLDEST + 1}+" if age > OLDEST else str(age)
