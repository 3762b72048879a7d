"""
Objects that are right, found by their folders: a thousand rows or names a request, where each by itself costs two.

Only what is right is told here. An object that is not among them, for whatever reason, is checked by itself: its row
is read, and the source is asked for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from sync.errors import ForeignSource, SourceGone, SourceUnavailable, StaleToken, StoreUnavailable
from sync.model import ListedObject, Locator, ObjectKey, StudyRef
from sync.ports import Ingest, ObjectListing
from sync.protocol.known_rows import ONE_REQUEST, ROWS_AN_OBJECT, rows_of

Folder = tuple[str, str, str]
"""Account, container and the part of the names up to the last slash."""


async def right_of_listing(listed: Sequence[ListedObject], s: Ingest) -> frozenset[ObjectKey]:
    """
    Return the listed objects that were inspected to the end with the ETag that the listing names. Only reads.

    The rows are read after the listing; an older row would prove as much, for ETags never return.
    """
    rows = await rows_of(Counter(one.object.key.partition for one in listed), s)
    return frozenset(one.object.key for one in listed if _etag_in(rows, one.object.key) == one.etag)


def _etag_in(rows: Mapping[str, Mapping[str, str | None] | None], key: ObjectKey) -> str | None:
    return (rows.get(key.partition) or {}).get(key.row)


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
    locators = await _locators(keys, s)
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


async def _locators(keys: Collection[ObjectKey], s: Ingest) -> Mapping[ObjectKey, Locator]:
    async def read(partition: str, objects: int) -> Sequence[Locator]:
        with suppress(StoreUnavailable):  # then each row is read by itself, and tried again there
            return await s.locators.rows(partition, max(ONE_REQUEST, ROWS_AN_OBJECT * objects)) or []
        return []

    named = Counter(key.partition for key in keys)
    rows = await asyncio.gather(*(read(partition, objects) for partition, objects in named.items() if objects > 1))
    return {row.object.key: row for of_partition in rows for row in of_partition}


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
