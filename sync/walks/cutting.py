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

from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import dataclass, field, replace

from sync.errors import StaleToken
from sync.model import Json, ListedObject, Page, digest
from sync.model.circles import Passed, listed_on
from sync.ports import ObjectListing
from sync.protocol.row_values import RowValue
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
    Where cutting stands; ``scope`` and ``size`` of the slice that ends there, if one does. Both as rows keep them.

    ``unit`` is what sizes count from here on, empty for what they did; only without a slice. ``grows`` and ``needs``:
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
    Where cutting stands in a listing: the slice that is being filled.

    ``start`` is the token that it begins at and ``token`` that of the next page, None for the beginning of the listing;
    ``size`` counts its objects so far, and ``listed`` those of all pages. ``passed`` are the tokens until here.
    """

    start: str | None = None
    token: str | None = None
    size: int = 0
    listed: int = 0
    passed: Passed = field(default_factory=Passed)

    def enough(self, smallest: int) -> int:
        """Objects at which the slice ends."""
        return max(SMALLEST, smallest, self.listed // SHARE)

    def page(self, smallest: int) -> int:
        """Names of the next page."""
        return min(self.enough(smallest), LARGEST_PAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingPart:
    """What a slice of a listing covers: from a token on, until the first of the names that ``ends`` are digests of."""

    token: str | None
    ends: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPosition:
    """Where the holder of a slice continues: at a token, None for the beginning of the slice; or it is ``over``."""

    token: str | None = None
    over: bool = False


LISTING_PLAN: RowValue[ListingPlan] = RowValue(ListingPlan)
LISTING_PART: RowValue[ListingPart] = RowValue(ListingPart)
PART_POSITION: RowValue[PartPosition] = RowValue(PartPosition)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingCut:
    """Where cutting stands in a listing, and the slice that ends there with its number of objects, if one does."""

    plan: ListingPlan
    part: ListingPart | None = None
    size: int = 0
    last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingSlice:
    """
    A slice of a listing, and where its holder is.

    ``later`` are parts behind it: their ends are ends of this one too, should its own be gone.
    """

    part: ListingPart
    at: PartPosition = PartPosition()
    later: Sequence[ListingPart] = ()


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

    def key(self, part: ListingPart) -> Hashable:
        """Name the pages of a slice."""
        return self.run, self.container, part.token, *part.ends


async def cut_listing(source: Listing, plan: ListingPlan, *, smallest: int = 0) -> AsyncIterator[ListingCut]:
    """
    Cut a listing from where cutting stands; the last cut is marked. Only reads. An empty listing is one empty slice.

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
    read: list[Page] | None = None if plan.size else []
    while True:
        try:
            size = plan.page(smallest)
            page = await source.pages.page(source.container, prefix=source.prefix, token=plan.token, size=size)
        except StaleToken:
            # From the beginning: what is listed twice is known.
            plan, read = replace(plan, start=None, token=None, size=0, passed=Passed()), []
            continue
        # Noted with the token, not before: a cut at this page leaves the plan there, and the page is read again.
        passed = listed_on(plan.passed, page.token)
        if plan.size >= plan.enough(smallest) and page.objects:
            # Only a page with names ends a slice: an empty one has nothing to know the end by.
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
    """Hand on all pages of a slice; None where some of them were read by another run of cutting, or are too many."""
    if read is not None:
        source.handed.give(source.key(part), read)


async def slice_pages(source: Listing, piece: ListingSlice, *, size: int) -> AsyncIterator[tuple[Page, PartPosition]]:
    """
    List a slice from the position of its holder: pages, and where to continue after each. Only reads.

    A token that the store no longer takes begins the listing again, and what is before the slice comes along.

    Parameters
    ----------
    size
        Names of a page at most, where it is listed here. With one more than the slice has, its end is on its first
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
            # Noted as over, not by a token: none would stand for the beginning of the slice.
            yield Page(objects=page.objects if before is None else before), PartPosition(over=True)
            return
        passed = listed_on(passed, page.token)
        yield page, PartPosition(token=page.token)
        token = page.token


def _ends(page: Page) -> tuple[str, ...]:
    """Choose names over the whole page: those of one folder often go together."""
    step = max(len(page.objects) // ENDS, 1)
    return tuple(_digest(listed) for listed in page.objects[::step][:ENDS])


def _before(objects: Sequence[ListedObject], ends: frozenset[str]) -> Sequence[ListedObject] | None:
    """Return what comes before the first of the ends; None where none of them is there."""
    for number, listed in enumerate(objects):
        if ends and _digest(listed) in ends:
            return objects[:number]
    return None


def _digest(listed: ListedObject) -> str:
    # Long enough that no two names of any store have the same: a wrong end would lose what follows it.
    return digest(listed.object.name, length=24)
