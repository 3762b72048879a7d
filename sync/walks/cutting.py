"""
A listing cut into slices: each begins at a token of the listing, and ends where the next one begins.

    names, page after page  ->  a slice as soon as it holds enough  ->  its token, and names that the next begins with

A slice is read again by its worker, from its token until the first of those names: so what was added in
between is part of it, and nothing depends on the order that a store gives names, or on their form. Where all those
names are gone the slice runs on, until the end of a later one, which costs reading and loses nothing. Names are only
compared, so that a slice holds digests of them. Slices grow with what has been listed: however large a store is, they
stay hundreds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sync.errors import StaleToken
from sync.model import ListedObject, Page, digest
from sync.ports import ObjectListing
from sync.protocol.walk_rows import Slice

SMALLEST = 250
"""Objects of a slice at least, and names of a page while slices are so small."""

LARGEST_PAGE = 1000
"""Names of a page; five times as many would be five times the memory of all else."""

SHARE = 128
"""A slice holds this part of what has been listed: the last workers of a walk end at about the same time."""

ENDS = 8
"""Names of the next slice that a slice may end at: all would have to be deleted for it to run on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """
    Where cutting stands; ``scope`` and ``size`` of the slice that ends there, if one does.

    ``unit`` is what sizes count from here on, empty for what they did; only without a slice. ``grows`` and ``needs``:
    see `Slice`.
    """

    position: Mapping[str, Any]
    scope: Mapping[str, Any] | None = None
    size: int = 0
    last: bool = False
    grows: bool = False
    needs: int = 0
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stand:
    """The slice that is being filled: from which token on, which page is next, how many objects so far and in all."""

    start: str | None = None
    token: str | None = None
    size: int = 0
    listed: int = 0

    def enough(self, smallest: int) -> int:
        return max(SMALLEST, smallest, self.listed // SHARE)

    def page(self, smallest: int) -> int:
        return min(self.enough(smallest), LARGEST_PAGE)

    def as_json(self) -> dict[str, Any]:
        return {"start": self.start, "token": self.token, "size": self.size, "listed": self.listed}


async def cut_listing(
    container: str, prefix: str, listing: ObjectListing, position: Mapping[str, Any], *, smallest: int = 0
) -> AsyncIterator[Cut]:
    """
    Cut a listing from a position on; the last cut is marked. Only reads. An empty listing is one empty slice.

    Parameters
    ----------
    smallest
        Objects of a slice at least, where more than `SMALLEST` are no work.

    Raises
    ------
    SourceGone
        There is no such container.
    SourceUnavailable
        The store did not answer.
    """
    stand = _Stand(**position) if position else _Stand()
    while True:
        try:
            page = await listing.page(container, prefix=prefix, token=stand.token, size=stand.page(smallest))
        except StaleToken:
            stand = replace(stand, start=None, token=None, size=0)  # from the beginning: what is listed twice is known
            continue
        if stand.size >= stand.enough(smallest) and page.objects:
            # Only a page with names ends a slice: an empty one has nothing to know the end by.
            size, scope = stand.size, {"token": stand.start, "ends": _ends(page)}
            stand = replace(stand, start=stand.token, size=0)
            yield Cut(position=stand.as_json(), scope=scope, size=size)
        stand = replace(
            stand, token=page.token, size=stand.size + len(page.objects), listed=stand.listed + len(page.objects)
        )
        if page.token is None:
            yield Cut(position={}, scope={"token": stand.start, "ends": []}, size=stand.size, last=True)
            return
        yield Cut(position=stand.as_json())


async def slice_pages(
    container: str, prefix: str, listing: ObjectListing, piece: Slice, after: Sequence[Slice], *, size: int
) -> AsyncIterator[tuple[Page, Mapping[str, Any]]]:
    """
    List a slice from where its holder came to: pages, and where to go on after each. Only reads.

    A token that the store no longer takes begins the listing again, and what is before the slice comes along.

    Parameters
    ----------
    after
        Later slices: their ends are ends of this one too, should its own be gone.
    size
        Names of a page at most. With one more than the slice has, its end is on its first page.
    """
    if piece.at.get("over"):
        return
    ends = frozenset(end for part in (piece, *after) for end in part.scope["ends"])
    token = piece.at.get("token", piece.scope["token"])
    while True:
        try:
            page = await listing.page(container, prefix=prefix, token=token, size=size)
        except StaleToken:
            token = None
            continue
        before = _before(page.objects, ends)
        if before is not None or page.token is None:
            # Noted as over, not by a token: none would stand for the beginning of the listing.
            yield Page(objects=page.objects if before is None else before), {"over": True}
            return
        yield page, {"token": page.token}
        token = page.token


def _ends(page: Page) -> list[str]:
    """Choose names over the whole page: those of one folder often go together."""
    step = max(len(page.objects) // ENDS, 1)
    return [_digest(listed) for listed in page.objects[::step][:ENDS]]


def _before(objects: Sequence[ListedObject], ends: frozenset[str]) -> Sequence[ListedObject] | None:
    """Return what comes before the first of the ends; None where none of them is there."""
    for number, listed in enumerate(objects):
        if ends and _digest(listed) in ends:
            return objects[:number]
    return None


def _digest(listed: ListedObject) -> str:
    # Long enough that no two names of any store have the same: a wrong end would lose what follows it.
    return digest(listed.object.name, length=24)
