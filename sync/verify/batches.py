"""
Correct objects, found by their folders: a thousand rows or names per request, where each by itself costs two requests.

Any other object, for whatever reason it is not found here, is checked by itself: its row is read, and the source is
asked for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sync.errors import ForeignSource, SourceGone, SourceUnavailable, StaleToken
from sync.model import ListedObject, Locator, ObjectKey, StudyRef
from sync.ports import Ingest, ObjectListing
from sync.protocol.known_rows import ONE_REQUEST, ROWS_AN_OBJECT, locators_of

REMEMBERED = 50_000
"""Objects of a listing that are remembered as right, some 15 MB; the others are looked up with their studies."""

FRESH = 300.0
"""Seconds for which a listing tells that an object is right: what changed later is left to its event, as it is in
`sync.verify.source.GRACE`."""

Folder = tuple[str, str, str]
"""Account, container and the part of the names up to the last slash."""


@dataclass
class RightObjects:
    """
    Objects that the listing of a container proved right a short time ago, with their studies, for the checks of those.

    Only what is right is kept, so that no drift is ever told of an old listing.
    """

    studies: dict[ObjectKey, StudyRef] = field(default_factory=dict)
    since: datetime | None = None

    async def among(self, listed: Sequence[ListedObject], s: Ingest) -> frozenset[ObjectKey]:
        """
        Return the listed objects that were inspected to the end with the ETag that the listing names. Only reads.

        The rows are read after the listing; an older row would prove as much, for ETags never return.
        """
        now = s.clock.now()
        rows = await locators_of((one.object.key for one in listed), s)
        right = [row for one in listed if (row := rows.get(one.object.key)) and row.settled and row.etag == one.etag]
        self.since = self.since or now
        room = max(REMEMBERED - len(self.studies), 0)
        self.studies |= {row.object.key: row.study for row in right[:room] if row.study is not None}
        return frozenset(row.object.key for row in right)

    def of_study(self, study: StudyRef, keys: Collection[ObjectKey], now: datetime) -> frozenset[ObjectKey]:
        """Return those of a study's objects that are right as part of it; none once the listing is old."""
        if self.since is None or (now - self.since).total_seconds() > FRESH:
            return frozenset()
        return frozenset(key for key in keys if self.studies.get(key) == study)


async def right_of_study(
    study: StudyRef, keys: Collection[ObjectKey], s: Ingest, listing: ObjectListing
) -> frozenset[ObjectKey]:
    """
    Return the objects of a study that their rows say are part of it, and that the source holds unchanged. Only reads.

    Parameters
    ----------
    keys
        The objects of the study's ledger rows.
    """
    locators = await locators_of(keys, s)
    # The rows before the listing, as each object by itself: what changes in between shows by its ETag.
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
    """Return the ETags of a folder's objects, as far as a few pages name them; none where it is large."""
    _, container, prefix = folder
    etags, token = dict[ObjectKey, str](), None
    for _ in range(1 + ROWS_AN_OBJECT * objects // ONE_REQUEST):
        try:
            page = await listing.page(container, prefix=prefix, token=token, size=ONE_REQUEST)
        except (SourceGone, SourceUnavailable, ForeignSource, StaleToken):
            return etags  # the rest is asked for one by one
        etags.update((one.object.key, one.etag) for one in page.objects)
        if (token := page.token) is None:
            return etags
    return etags
