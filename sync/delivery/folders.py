"""
Handles a folder that was deleted or renamed as a whole: every recorded object below it is inspected again.

    DirectoryDeleted, DirectoryRenamed  ->  rows of table locators below the folder  ->  a message for each old name
                                                                                         and for each new one

One event stands for all files of a directory and names none of them. Our table of locators knows the files, and each
message has its object inspected as it is now, so a wrong or stale event is harmless. `reconcile` lists the container
and finds files that were not known yet.

Source: Azure Event Grid, "Azure Blob Storage as an Event Grid source" (DirectoryDeleted, DirectoryRenamed).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from sync.events import object_message
from sync.model import Change, ObjectRef
from sync.ports import Deliver, Project

AT_ONCE = 32
"""Number of messages that are sent concurrently."""


async def inspect_folder(change: Change, s: Deliver) -> int:
    """
    Send a message for each known object below a folder, and for its name after a move.

    Idempotent: a repeat sends the messages again, and each only has an object inspected.

    Returns
    -------
    int
        How many messages were sent.

    Raises
    ------
    StoreUnavailable
        Storage did not answer; some messages may have been sent.
    """
    sent, batch, folder = 0, list[ObjectRef](), change.object
    async for locator in s.locators.below(folder.account, folder.container, folder.name):
        batch.append(locator.object)
        if change.moved_to is not None:
            below = locator.object.name.removeprefix(folder.name)
            batch.append(replace(change.moved_to, name=change.moved_to.name + below))
        if len(batch) >= AT_ONCE:
            sent += await _send(batch, s)
            batch = []
    sent += await _send(batch, s)
    s.telemetry.event("folder.removed", objects=sent, moved=str(change.moved_to is not None).lower())
    return sent


async def _send(refs: Sequence[ObjectRef], s: Project) -> int:
    await asyncio.gather(*(s.object_queue.send(object_message(ref)) for ref in refs))
    return len(refs)
