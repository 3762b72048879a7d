"""
Keeps pages of a listing that one task of a process has read for another that would soon read them again.

    cutting lists a slice  ->  its pages, by the slice's key  ->  the worker of the slice, if it is in this process

Pages that are not kept are listed again: nothing depends on this cache.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from sync.model import Page
from sync.ports import ObjectListing

MOST = 16_000
"""Maximum objects kept at once, some 10 MB."""

FRESH = 30.0
"""Seconds for which pages are kept."""


@dataclass(slots=True)
class Handed:
    """Pages by key; each is given once and taken once."""

    kept: dict[Hashable, tuple[float, Sequence[Page]]] = field(default_factory=dict)

    def give(self, of: Hashable, pages: Sequence[Page]) -> None:
        """Keep pages, unless there are too many already: earlier pages are needed first."""
        self.kept = {key: value for key, value in self.kept.items() if key != of and _is_fresh(value[0])}
        if sum(_size(other) for _, other in self.kept.values()) + _size(pages) <= MOST:
            self.kept[of] = (time.monotonic(), pages)

    def take(self, of: Hashable) -> Sequence[Page] | None:
        """Return pages and forget them; None if there are none, or they are too old."""
        given, pages = self.kept.pop(of, (0.0, None))
        return pages if pages is not None and _is_fresh(given) else None


class ListedOnce(ObjectListing):
    """A listing that two tasks read from its beginning: each page is requested once, as long as there is room."""

    def __init__(self, listing: ObjectListing) -> None:
        self._listing = listing
        self._handed = Handed()
        self._turn = asyncio.Lock()

    async def page(self, container: str, *, prefix: str = "", token: str | None = None, size: int = 1000) -> Page:
        """List a container; see `sync.ports.ObjectListing.page`."""
        of = container, prefix, token, size
        async with self._turn:  # the second task waits for the page that the first one requested
            if read := self._handed.take(of):
                return read[0]
            page = await self._listing.page(container, prefix=prefix, token=token, size=size)
            self._handed.give(of, [page])
            return page


def _is_fresh(given: float) -> bool:
    return time.monotonic() - given <= FRESH


def _size(pages: Sequence[Page]) -> int:
    return sum(len(page.objects) + 1 for page in pages)
