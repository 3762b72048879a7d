"""
Items of listings that the library pages through; unlike the library, it does not follow a circle of markers for ever.

Source: Azure "List Blobs" (``NextMarker``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from azure.core.exceptions import DecodeError

from sync.model.circles import Passed


async def items_of(listing: Any) -> AsyncIterator[Any]:
    """
    Iterate over the items of all pages.

    Parameters
    ----------
    listing
        The library's listing, as its ``list_`` methods return it.

    Raises
    ------
    azure.core.exceptions.DecodeError
        The marker of a page occurred before.
    azure.core.exceptions.AzureError
        The service refused or did not answer.
    """
    pages, passed = listing.by_page(), Passed()
    async for page in pages:
        if passed.has(pages.continuation_token):
            raise DecodeError("the pages of a listing lead in a circle")
        passed = passed.then(pages.continuation_token)
        async for item in page:
            yield item
