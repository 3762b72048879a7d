"""
Cuts a listing into slices: each begins at a token of the listing, and ends where the next one begins.

    names, page after page  ->  a slice as soon as it holds enough  ->  its token, and names that the next begins with

A worker reads its slice again, from its token until the first of those names. So names added in between are part of it,
and nothing depends on the store's order of names or on their form. If all those names are gone, the slice extends to
the end of a later one, which costs reads and loses nothing. Names are only compared, so a slice holds only their
digests. A worker in the process that has just cut the slice receives the pages already read (`sync.walks.handed`)
instead. Slices grow with the listing: however large a store is, there are only some hundreds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import dataclass, field, replace

from sync.errors import StaleToken
from sync.model import Json, ListedObject, Page, digest
from sync.model.circles import Passed, listed_on
from sync.ports import ObjectListing
from sync.protocol.row_values import RowValue
from sync.walks.handed import MOST, Handed

SMALLEST = 250
"""Minimum objects of a slice, and names on a page while slices are that small."""

LARGEST_PAGE = 1000
"""Names on a page; five times as many would take five times the memory of everything else."""

SHARE = 128
"""A slice holds this share of the listing so far: the last workers of a walk then end at about the same time."""

ENDS = 8
"""Names of the next slice at which a slice may end: it extends further only if all of them were deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """
    Position of cutting; ``scope`` and ``size`` of the slice that ends there, if one does. Both as stored in rows.

    ``unit`` is the unit of sizes from here on, empty for no change; only set without a slice. ``grows`` and ``needs``:
    see `Slice`. ``more``: the next slice needs no reading, so both are written together.
    """

    position: Json
    scope: Json | None = None
    size: int = 0
    last: bool = False
    grows: bool = False
    needs: int = 0
    unit: str = ""
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingPlan:
    """
    Position of cutting in a listing: the slice that is being filled.

    ``start`` is the token at which the slice begins and ``token`` that of the next page, None for the beginning of the
    listing. ``size`` counts the slice's objects so far, ``listed`` those of all pages. ``passed`` holds the tokens so
    far.
    """

    start: str | None = None
    token: str | None = None
    size: int = 0
    listed: int = 0
    passed: Passed = field(default_factory=Passed)

    def enough(self, smallest: int) -> int:
        """Return the number of objects at which the slice ends."""
        return max(SMALLEST, smallest, self.listed // SHARE)

    def page(self, smallest: int) -> int:
        """Return the number of names on the next page."""
        return min(self.enough(smallest), LARGEST_PAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingPart:
    """Range of a slice of a listing: from a token on, until the first of the names whose digests are ``ends``."""

    token: str | None
    ends: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPosition:
    """Position of a slice's holder: a token, None for the beginning of the slice; or the slice is ``over``."""

    token: str | None = None
    over: bool = False


LISTING_PLAN: RowValue[ListingPlan] = RowValue(ListingPlan)
LISTING_PART: RowValue[ListingPart] = RowValue(ListingPart)
PART_POSITION: RowValue[PartPosition] = RowValue(PartPosition)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingCut:
    """Position of cutting in a listing, and the slice that ends there with its number of objects, if one does."""

    plan: ListingPlan
    part: ListingPart | None = None
    size: int = 0
    last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingSlice:
    """
    A slice of a listing, and its holder's position.

    ``later`` are the parts behind it: their ends also end this slice if its own are gone.
    """

    part: ListingPart
    at: PartPosition = PartPosition()
    later: Sequence[ListingPart] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """
    The listing of a walk: a container, or its names with a prefix; ``run`` as in `WalkRow`.

    ``handed`` holds pages that cutting has read for a slice. They belong to this run, because an older listing may lack
    names added before the walk began, and to this cut, because another cut at the same token may end elsewhere.
    """

    container: str
    prefix: str = ""
    pages: ObjectListing
    handed: Handed = field(default_factory=Handed)
    run: str = ""

    def key(self, part: ListingPart) -> Hashable:
        """Return the key of a slice's pages."""
        return self.run, self.container, part.token, *part.ends


async def cut_listing(source: Listing, plan: ListingPlan, *, smallest: int = 0) -> AsyncIterator[ListingCut]:
    """
    Cut a listing from the plan's position on; the last cut is marked. Only reads. An empty listing is one empty slice.

    Parameters
    ----------
    smallest
        Minimum objects of a slice, if larger than `SMALLEST` because they cost little work.

    Raises
    ------
    SourceGone
        There is no such container.
    SourceUnavailable
        The store did not answer.
    """
    read: list[Page] | None = None if plan.size else []
    while True:
        try:
            size = plan.page(smallest)
            page = await source.pages.page(source.container, prefix=source.prefix, token=plan.token, size=size)
        except StaleToken:
            # From the beginning: objects that are listed twice are known the second time.
            plan, read = replace(plan, start=None, token=None, size=0, passed=Passed()), []
            continue
        # Noted together with the token, not before: a cut at this page leaves the plan there, and the page is read
        # again.
        passed = listed_on(plan.passed, page.token)
        if plan.size >= plan.enough(smallest) and page.objects:
            # Only a page with names ends a slice: an empty page has no name to recognise the end by.
            size, part = plan.size, ListingPart(token=plan.start, ends=_ends(page))
            _hand(source, part, read)
            plan, read = replace(plan, start=plan.token, size=0), []
            yield ListingCut(plan=plan, part=part, size=size)
        if read is not None:
            read.append(page)
        plan = replace(
            plan,
            token=page.token,
            passed=passed,
            size=plan.size + len(page.objects),
            listed=plan.listed + len(page.objects),
        )
        if plan.size > MOST:
            read = None
        if page.token is None:
            part = ListingPart(token=plan.start, ends=())
            _hand(source, part, read)
            yield ListingCut(plan=ListingPlan(), part=part, size=plan.size, last=True)
            return
        yield ListingCut(plan=plan)


def _hand(source: Listing, part: ListingPart, read: Sequence[Page] | None) -> None:
    """Hand over all pages of a slice; None if another process read some of them, or there are too many."""
    if read is not None:
        source.handed.give(source.key(part), read)


async def slice_pages(source: Listing, piece: ListingSlice, *, size: int) -> AsyncIterator[tuple[Page, PartPosition]]:
    """
    List a slice from its holder's position: pages, and the position after each page. Only reads.

    If the store no longer accepts the token, the listing starts again and includes names before the slice.

    Parameters
    ----------
    size
        Maximum names on a page, if the slice is listed here. With one more than the slice has, its end is on its first
        page.
    """
    part, at = piece.part, piece.at
    if at.over:
        return
    # Only from the beginning of the slice: later its pages may have other bounds.
    handed = source.handed.take(source.key(part)) if at.token is None else None
    if handed:
        for page in handed[:-1]:
            yield page, PartPosition(token=page.token)
        yield handed[-1], PartPosition(over=True)
        return
    ends = frozenset(end for one in (part, *piece.later) for end in one.ends)
    token, passed = part.token if at.token is None else at.token, Passed()
    while True:
        try:
            page = await source.pages.page(source.container, prefix=source.prefix, token=token, size=size)
        except StaleToken:
            token, passed = None, Passed()
            continue
        before = _before(page.objects, ends)
        if before is not None or page.token is None:
            # Noted as over, not by a token: None would mean the beginning of the slice.
            yield Page(objects=page.objects if before is None else before), PartPosition(over=True)
            return
        passed = listed_on(passed, page.token)
        yield page, PartPosition(token=page.token)
        token = page.token


def _ends(page: Page) -> tuple[str, ...]:
    """Choose names across the whole page: those of one folder are often deleted together."""
    step = max(len(page.objects) // ENDS, 1)
    return tuple(_digest(listed) for listed in page.objects[::step][:ENDS])


def _before(objects: Sequence[ListedObject], ends: frozenset[str]) -> Sequence[ListedObject] | None:
    """Return the objects before the first of the ends; None if no end is on the page."""
    for number, listed in enumerate(objects):
        if ends and _digest(listed) in ends:
            return objects[:number]
    return None


def _digest(listed: ListedObject) -> str:
    # Long enough that no two names of any store share a digest: a wrong end would lose the names behind it.
    return digest(listed.object.name, length=24)
