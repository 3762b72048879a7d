"""Keeps the text of unexpected exceptions out of logs and answers, because it may quote a file or a resource."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sync.errors import SyncError, UnexpectedFailure


@asynccontextmanager
async def only_sync_errors() -> AsyncIterator[None]:
    """
    Let our own errors pass; replace any other by its type and place, because its text may hold a patient's name.

    Raises
    ------
    UnexpectedFailure
        In place of an exception that is not one of ours.
    """
    try:
        yield
    except SyncError:
        raise
    except Exception as defect:  # noqa: BLE001 -- its text must not reach a log, whatever it is
        place = traceback.extract_tb(defect.__traceback__)[-1]
        where = f"{type(defect).__name__} at {place.filename.rpartition('/')[2]}:{place.lineno} in {place.name}"
        raise UnexpectedFailure(where) from None
