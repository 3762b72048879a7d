"""Messages as the host delivers them."""

from __future__ import annotations

from sync.delivery.handlers import handle_object_message, handle_study_message
from sync.events import study_message
from tests.worlds import SOURCES, STUDY, events


async def objects(w, *changes, attempt=1):
    await handle_object_message(events(*changes), SOURCES, w.services, attempt=attempt)


async def studies(w, study=STUDY, attempt=1):
    w.clock.advance(100)
    await handle_study_message(study_message(study), w.services, attempt=attempt)


async def later(w, seconds):
    """Deliver what waits in the queue of objects, after a number of seconds."""
    w.clock.advance(seconds)
    for text in w.store.object_queue.take():
        await handle_object_message(text, SOURCES, w.services)


def raising(failure):
    async def raising(*args, **kwargs):
        raise failure

    return raising
