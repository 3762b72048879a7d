"""
Detects pages that lead in a circle: a listing that repeats its markers would be read for ever.

A page names the next page by a marker or a link. `Passed` detects a marker that was seen before, however many pages
ago, and stores a single marker for it, so it fits into a row (R. P. Brent, "An improved Monte Carlo factorization
algorithm", 1980).
"""

from __future__ import annotations

from dataclasses import dataclass

from sync.errors import FhirUnavailable, SourceUnavailable, StoreUnavailable

_HINT = (
    "The answers repeat earlier pages; a cache or a gateway may be the cause. Exclude the store from caching; "
    "the listing then continues at its position."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """
    The marker that is kept of one listing, and the pages since; after ``limit`` pages a later one replaces it.

    A circle is detected after at most about as many pages as it has, plus three times the pages that lead to it.
    """

    mark: str | None = None
    steps: int = 0
    limit: int = 1

    def has(self, marker: str | None) -> bool:
        """Return whether this marker is known to have been seen before; None stands for the end of a listing."""
        return marker is not None and marker == self.mark

    def then(self, marker: str | None) -> Passed:
        """Note the next marker."""
        if self.steps + 1 < self.limit:
            return Passed(mark=self.mark, steps=self.steps + 1, limit=self.limit)
        return Passed(mark=marker, limit=2 * self.limit)


def listed_on(passed: Passed, token: str | None) -> Passed:
    """
    Note the token of the next page of a source's listing.

    Raises
    ------
    SourceUnavailable
        It was there before.
    """
    if passed.has(token):
        raise SourceUnavailable("the pages of a listing lead in a circle", code="source.garbled", hint=_HINT)
    return passed.then(token)


def followed(passed: Passed, link: str | None) -> Passed:
    """
    Note the link to the next page of a FHIR search.

    Raises
    ------
    FhirUnavailable
        It was there before.
    """
    if passed.has(link):
        raise FhirUnavailable("the pages of a search lead in a circle")
    return passed.then(link)


def queried_on(passed: Passed, token: str | None) -> Passed:
    """
    Note the token of the next page of a table's rows.

    Raises
    ------
    StoreUnavailable
        It was there before.
    """
    if passed.has(token):
        raise StoreUnavailable("the pages of a table lead in a circle", code="store.garbled", hint=_HINT)
    return passed.then(token)
