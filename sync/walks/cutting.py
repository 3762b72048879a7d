"""
A listing cut into slices: each begins at a token of the listing, and ends where the next one begins.

    names, page after page  ->  a slice as soon as it holds enough  ->  its token, and names that the next begins with

A slice is read again by its worker, from its token until the first of those names: so what was added in
between is part of it, and nothing depends on the order that a store gives names, or on their form. Where all those
names are gone the slice runs on, until the end of a later one, which costs reading and loses nothing. Names are only
compared, so that a slice holds digests of them. A worker in the process that has just cut the slice is handed the pages
that were read for it (`sync.walks.handed`) instead. Slices grow with what has been listed: however large a store is,
they stay hundreds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sync.errors import StaleToken
from sync.model import ListedObject, Page, digest
from sync.ports import ObjectListing
from sync.protocol.walk_rows import Slice
from sync.walks.handed import MOST, Handed

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """
    What is listed for a walk: a container, or what in it has a prefix; ``run`` is the walk's, as `WalkRow` has it.

    ``handed`` is for pages that cutting has read for a slice. They are those of this run, for an older listing may lack
    what was added before the walk began; and of no other cut at the same token, which may end elsewhere.
    """

    container: str
    prefix: str = ""
    pages: ObjectListing
    handed: Handed = field(default_factory=Handed)
    run: str = ""

    def key(self, scope: Mapping[str, Any]) -> Hashable:
        """Name the pages of a slice."""
        return self.run, self.container, scope["token"], *scope["ends"]


async def cut_listing(source: Listing, position: Mapping[str, Any], *, smallest: int = 0) -> AsyncIterator[Cut]:
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
    read: list[Page] | None = None if stand.size else []
    while True:
        try:
            size = stand.page(smallest)
            page = await source.pages.page(source.container, prefix=source.prefix, token=stand.token, size=size)
        except StaleToken:
            # From the beginning: what is listed twice is known.
            stand, read = replace(stand, start=None, token=None, size=0), []
            continue
        if stand.size >= stand.enough(smallest) and page.objects:
            # Only a page with names ends a slice: an empty one has nothing to know the end by.
            size, scope = stand.size, {"token": stand.start, "ends": _ends(page)}
            _hand(source, scope, read)
            stand, read = replace(stand, start=stand.token, size=0), []
            yield Cut(position=stand.as_json(), scope=scope, size=size)
        if read is not None:
            read.append(page)
        stand = replace(
            stand, token=page.token, size=stand.size + len(page.objects), listed=stand.listed + len(page.objects)
        )
        if stand.size > MOST:
            read = None
        if page.token is None:
            scope = {"token": stand.start, "ends": []}
            _hand(source, scope, read)
            yield Cut(position={}, scope=scope, size=stand.size, last=True)
            return
        yield Cut(position=stand.as_json())


def _hand(source: Listing, scope: Mapping[str, Any], read: Sequence[Page] | None) -> None:
    """Hand on all pages of a slice; None where some of them were read by another run of cutting, or are too many."""
    if read is not None:
        source.handed.give(source.key(scope), read)


async def slice_pages(
    source: Listing, piece: Slice, after: Sequence[Slice], *, size: int
) -> AsyncIterator[tuple[Page, Mapping[str, Any]]]:
    """
    List a slice from the position of its holder: pages, and where to continue after each. Only reads.

    A token that the store no longer takes begins the listing again, and what is before the slice comes along.

    Parameters
    ----------
    after
        Later slices: their ends are ends of this one too, should its own be gone.
    size
        Names of a page at most, where it is listed here. With one more than the slice has, its end is on its first
        page.
    """
    if piece.at.get("over"):
        return
    # Only from the beginning of the slice: later its pages may have other bounds.
    handed = None if piece.at else source.handed.take(source.key(piece.scope))
    if handed:
        for page in handed[:-1]:
            yield page, {"token": page.token}
        yield handed[-1], {"over": True}
        return
    ends = frozenset(end for part in (piece, *after) for end in part.scope["ends"])
    token = piece.at.get("token", piece.scope["token"])
    while True:
        try:
            page = await source.pages.page(source.container, prefix=source.prefix, token=token, size=size)
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
