"""
Objects that are right, found by their folders: a thousand rows or names a request, where each by itself costs two.

Only what is right is told here. An object that is not among them, for whatever reason, is checked by itself: its row
is read, and the source is asked for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from sync.errors import ForeignSource, SourceGone, SourceUnavailable, StaleToken
from sync.model import Locator, ObjectKey, StudyRef
from sync.ports import Ingest, ObjectListing
from sync.protocol.known_rows import ONE_REQUEST, ROWS_AN_OBJECT, locators_of

Folder = tuple[str, str, str]
"""Account, container and the part of the names up to the last slash."""


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
