"""
Pages that lead in a circle: a listing whose markers come again would be read for ever.

A page names the next one by a marker, or a link. `Passed` notices one that was there before, in any distance and with
one marker kept, so that rows can keep it too (R. P. Brent, "An improved Monte Carlo factorization algorithm", 1980).
"""

from __future__ import annotations

from dataclasses import dataclass

from sync.errors import FhirUnavailable, SourceUnavailable, StoreUnavailable

_HINT = (
    "What answers repeats earlier pages, as a cache or a gateway before it may. Exclude the store from caching; "
    "the listing then continues where it stands."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """
    The markers of one listing until now: one of them, and when the next is kept in its place.

    A circle is noticed after as many pages as it has, and three times as many as lead there, at most about.
    """

    mark: str | None = None
    steps: int = 0
    limit: int = 1

    def has(self, marker: str | None) -> bool:
        """Whether this marker is known to have been there; None stands for the end of a listing."""
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
