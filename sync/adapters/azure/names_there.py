"""
The names of the tables or queues that an account holds, in one request.

The stores call it before they create their tables or queues: if all exist, a command saves one request for each. A name
that is not listed is created, which is harmless if it exists. So it does not matter whether another process creates it
meanwhile, or whether it is on a later page of the listing.
"""

from __future__ import annotations

from typing import Any

from azure.core.exceptions import HttpResponseError

from sync.adapters.azure.errors import state_errors

_FORBIDDEN = 403


async def names_there(listing: Any) -> frozenset[str]:
    """
    Return the names on the first page of a listing, up to 1,000 tables or 5,000 queues.

    None if a signature does not permit listing: then each is created, which the signature may permit.

    Parameters
    ----------
    listing
        The library's listing: pages of items with a name.

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
