"""
Finds correct objects by their folders: a thousand rows or names per request, instead of two requests for each object.

    a slice of a container's listing  ->  objects that are right  ->  a sum over those of each study, noted with it
    a study, by any worker  ->  the sum over its ledger rows is the same  ->  all its objects are right

Any object that is not found here, for whatever reason, is checked by itself: its row is read, and the source is asked
for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Self

from pydantic import BeforeValidator, PlainSerializer

from sync.errors import ForeignSource, SourceGone, SourceUnavailable, StaleToken
from sync.model import ListedObject, Locator, ObjectKey, StudyRef, digest
from sync.model.timestamps import Timestamp
from sync.ports import Ingest, ObjectListing
from sync.protocol.known_rows import ONE_REQUEST, ROWS_AN_OBJECT, locators_of

REMEMBERED = 100
"""Studies of a slice whose sums are noted, some 4 KB; the objects of others are looked up with their studies."""

FRESH = 300.0
"""Seconds for which a listing proves that an object is right: later changes are left to their events, as in
`sync.verify.source.GRACE`."""

Folder = tuple[str, str, str]
"""Account, container and the part of the name up to the last slash."""


_DIGITS, _KEY_DIGITS = 20, 12
"""Hexadecimal digits of a sum (enough that no two sets of objects share one) and of a study's key. If two keys begin
alike, their sum matches neither study, and the objects of both are checked."""

_SUMS = 1 << 4 * _DIGITS


def _text_of(number: int) -> str:
    return f"{number:x}"


def _number_of(text: object) -> int:
    return int(str(text), 16)


_Hexadecimal = Annotated[int, BeforeValidator(_number_of), PlainSerializer(_text_of, when_used="json")]
"""A number stored as text, which is shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RightObjects:
    """
    The objects that a slice of a listing proved right: sums over objects by study, and when the listing began.

    Only correct objects are kept, so that an old listing never reports a drift. The sums of slices add up, whichever
    processes listed them; an object that is listed twice gives a sum that matches no study.
    """

    since: Timestamp
    sums: Mapping[str, _Hexadecimal] = field(default_factory=dict)

    def with_these(self, right: Iterable[Locator]) -> Self:
        """Return it with more objects, which belong to no other slice."""
        sums = dict(self.sums)
        for row in right:
            if row.study is None:
                continue
            study = row.study.key[:_KEY_DIGITS]
            if study in sums or len(sums) < REMEMBERED:
                sums[study] = _sum([row.object.key], sums.get(study, 0))
        return replace(self, sums=sums)


def _sum(keys: Iterable[ObjectKey], before: int = 0) -> int:
    return (before + sum(int(digest(str(key), length=_DIGITS), 16) for key in keys)) % _SUMS


async def right_among(listed: Sequence[ListedObject], s: Ingest) -> Sequence[Locator]:
    """
    Return the rows of listed objects that were inspected to the end with the ETag that the listing names. Only reads.

    The rows are read after the listing; an older row would prove as much, because ETags never recur.
    """
    rows = await locators_of((one.object.key for one in listed), s)
    return [row for one in listed if (row := rows.get(one.object.key)) and row.settled and row.etag == one.etag]


def all_are_right(
    study: StudyRef, keys: Collection[ObjectKey], listings: Iterable[RightObjects], now: datetime
) -> bool:
    """Return whether fresh listings proved exactly these objects right, as objects of the study. Pure."""
    fresh = [listing for listing in listings if (now - listing.since).total_seconds() <= FRESH]
    proven = sum(listing.sums.get(study.key[:_KEY_DIGITS], 0) for listing in fresh) % _SUMS
    return bool(keys) and proven == _sum(keys)


async def right_of_study(
    study: StudyRef, keys: Collection[ObjectKey], s: Ingest, listing: ObjectListing
) -> frozenset[ObjectKey]:
    """
    Return the objects that belong to a study by their rows and are unchanged in the source. Only reads.

    Parameters
    ----------
    keys
        The objects of the study's ledger rows.
    """
    locators = await locators_of(keys, s)
    # The rows before the listing, as for a single object: a change in between shows by its ETag.
    asked = [
        one
        for key in keys
        if (one := locators.get(key)) is not None
        and one.settled
        and one.study == study
        and one.object.account not in s.instances
    ]
    folders = Counter(_folder(one) for one in asked)
    held = [await _etags(folder, objects, listing) for folder, objects in folders.items()]
    etags = {key: etag for of_folder in held for key, etag in of_folder.items()}
    return frozenset(one.object.key for one in asked if etags.get(one.object.key, "") == one.etag)


def _folder(locator: Locator) -> Folder:
    ref = locator.object
    return ref.account, ref.container, "".join(ref.name.rpartition("/")[:2])


async def _etags(folder: Folder, objects: int, listing: ObjectListing) -> Mapping[ObjectKey, str]:
    """Return the ETags of a folder's objects if a few pages hold them; none for a large folder."""
    _, container, prefix = folder
    etags, token = dict[ObjectKey, str](), None
    for _ in range(1 + ROWS_AN_OBJECT * objects // ONE_REQUEST):
        try:
            page = await listing.page(container, prefix=prefix, token=token, size=ONE_REQUEST)
        except (SourceGone, SourceUnavailable, ForeignSource, StaleToken):
            return etags  # the others are requested one by one
        etags.update((one.object.key, one.etag) for one in page.objects)
        if (token := page.token) is None:
            return etags
    return etags
