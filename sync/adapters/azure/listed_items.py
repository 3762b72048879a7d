"""
Items of the listings that the library pages by itself: it would follow markers that lead in a circle for ever.

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
        Of the library, as its ``list_`` methods return it.

    Raises
    ------
    azure.core.exceptions.DecodeError
        The marker of a page was there before.
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
