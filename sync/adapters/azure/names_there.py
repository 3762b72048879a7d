"""
The names of the tables or queues that an account holds, in one request.

The stores ask before they create theirs: a command that finds all there saves a request for each. A name that is not
told is created, which is harmless if it is there, so neither what another process creates meanwhile nor what is on a
later page of the listing matters.
"""

from __future__ import annotations

from typing import Any

from azure.core.exceptions import HttpResponseError

from sync.adapters.azure.errors import state_errors

_FORBIDDEN = 403


async def names_there(listing: Any) -> frozenset[str]:
    """
    Return the names on the first page of a listing, up to 1,000 tables or 5,000 queues.

    None are told where a signature allows no listing: then each is created, which it may allow.

    Parameters
    ----------
    listing
        Of the library: pages of items with a name.

    Raises
    ------
    StoreUnavailable
        The account did not answer.
    """
    with state_errors():
        try:
            async for page in listing.by_page():
                return frozenset([str(item.name) async for item in page])
        except HttpResponseError as refusal:
            if refusal.status_code != _FORBIDDEN:
                raise
    return frozenset()
