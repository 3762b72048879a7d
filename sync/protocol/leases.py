"""
Lets one process at a time hold a job: a cursor's row is also its lease.

The holder moves the position by conditional writes, so a process that was presumed dead notices at its next step that
it lost the lease, and stops. Two holders may still overlap for one step; each step must therefore be idempotent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

from sync.errors import StoreConflict, StoreUnavailable, SyncError
from sync.model import Cursor, Json, Stored
from sync.ports import Clock, Cursors, Jobs

T = TypeVar("T")


class Lease:
    """
    A held cursor. Get one from `take`; not shared between tasks.

    ``after_expiry``: the holder before did not release it, so its process died, or storage did not answer it in time.
    """

    def __init__(
        self, held: Stored[Cursor], cursors: Cursors, clock: Clock, seconds: float, *, after_expiry: bool = False
    ) -> None:
        self.after_expiry = after_expiry
        self._held = held
        self._cursors = cursors
        self._clock = clock
        self._seconds = seconds
        self._released = False

    @property
    def name(self) -> str:
        """Name of the row."""
        return self._held.value.name

    @property
    def position(self) -> Json:
        """Position of the walk; empty at its beginning."""
        return self._held.value.position

    @property
    def is_released(self) -> bool:
        """Whether this holder has released the lease."""
        return self._released

    def check(self) -> None:
        """
        Check by the clock that the lease has not expired; makes no request.

        Raises
        ------
        StoreConflict
            It has expired, so another process may hold it: stop.
        """
        until = self._held.value.held_until
        if until is None or self._clock.now() >= until:
            raise StoreConflict("the lease ran out")

    async def advance(self, position: Json, *, new: Sequence[Cursor] = ()) -> None:
        """
        Move the position, which also renews the lease. Call it only once everything before ``position`` is done.

        Parameters
        ----------
        new
            Rows to insert in the same write, all or none.

        Raises
        ------
        StoreConflict
            Another process holds the lease now, or one of the new rows already exists: stop.
        """
        now = self._clock.now()
        until = now + timedelta(seconds=self._seconds)
        await self._write(replace(self._held.value, position=position, held_until=until, advanced_at=now), new)

    async def finish(self, position: Json, *, new: Sequence[Cursor] = ()) -> None:
        """
        Move the position for the last time and release the lease, in one write. Nothing may be written under it later.

        Parameters
        ----------
        new
            As for `advance`.

        Raises
        ------
        StoreConflict
            As `advance`.
        """
        now = self._clock.now()
        last = replace(self._held.value, position=position, advanced_at=now, holder="", held_until=None)
        await self._write(last, new)
        self._released = True

    async def renew(self) -> None:
        """
        Extend the lease while the position cannot advance yet.

        Raises
        ------
        StoreConflict
            Another process holds the lease now: stop.
        """
        until = self._clock.now() + timedelta(seconds=self._seconds)
        await self._write(replace(self._held.value, held_until=until))

    async def note(self, position: Json) -> None:
        """
        Store a note in the position that does not count as progress, such as the reason why it does not move.

        Raises
        ------
        StoreConflict
            Another process holds the lease now: stop.
        """
        await self._write(replace(self._held.value, position=position))

    async def release(self) -> None:
        """Release the lease so that the next process can begin at once. Does nothing after `finish`."""
        if self._released:
            return
        try:
            await self._write(replace(self._held.value, holder="", held_until=None))
        except StoreConflict:
            return  # another process holds it already

    async def _write(self, cursor: Cursor, new: Sequence[Cursor] = ()) -> None:
        # Under the ETag of the last write: a holder whose lease expired and was taken over fails here, and stops.
        if new:
            self._held = Stored(cursor, await self._cursors.replace_beside(cursor, self._held.etag, new))
        else:
            self._held = Stored(cursor, await self._cursors.write(cursor, self._held.etag))


async def take(
    name: str, cursors: Cursors, clock: Clock, *, seconds: float, only_if: Callable[[Cursor], bool] | None = None
) -> Lease | None:
    """
    Take the lease of a cursor for that many seconds; each `Lease.advance` renews it.

    Parameters
    ----------
    only_if
        Condition on the row; with one, a missing row is not created. A row that does not meet it costs a read and no
        write.

    Returns
    -------
    Lease or None
        None when another process holds it, or the row does not meet the condition.

    Raises
    ------
    StoreUnavailable
        Storage did not answer: the position is unknown, so no walk starts.
    """
    lease = await _take(name, cursors, clock, seconds=seconds, only_if=only_if)
    asked = _asked.get()
    if asked is not None:
        asked.add(lease is not None)
    return lease


async def _take(
    name: str, cursors: Cursors, clock: Clock, *, seconds: float, only_if: Callable[[Cursor], bool] | None
) -> Lease | None:
    now = clock.now()
    stored = await cursors.read(name)
    if only_if is not None and (stored is None or not only_if(stored.value)):
        return None
    if stored is not None and stored.value.holder and stored.value.held_until and stored.value.held_until > now:
        return None
    before = stored.value if stored is not None else Cursor(name=name)
    mine = replace(before, holder=uuid4().hex, held_until=now + timedelta(seconds=seconds))
    # Compare and swap: of two processes that saw the lease expire, the second to write loses.
    try:
        etag = await cursors.write(mine, stored.etag if stored is not None else None)
    except StoreConflict:
        return None
    return Lease(Stored(mine, etag), cursors, clock, seconds, after_expiry=bool(before.holder))


_asked: ContextVar[set[bool] | None] = ContextVar("asked", default=None)
"""For the work in this context: whether any requested lease was granted, and whether any was not."""


@contextmanager
def asked_for_leases() -> Iterator[set[bool]]:
    """
    Record the leases that the block requests: the set holds True if one was granted, False if one was not.

    A block that was granted no lease left the work to another process, so it says nothing about the work's success.
    """
    asked = set[bool]()
    token = _asked.set(asked)
    try:
        yield asked
    finally:
        _asked.reset(token)


@asynccontextmanager
async def held(name: str, s: Jobs, *, seconds: float) -> AsyncIterator[Lease | None]:
    """
    Hold the lease of a cursor for the length of the block.

    The block receives None when another process holds it. A lease that is lost on the way ends the block without an
    error, because its new holder continues. A failure releases the lease, so that the next run need not wait for it to
    expire; after a crash it has to.

    Raises
    ------
    StoreUnavailable
        Storage did not answer: the position is unknown, so nothing is done.
    """
    lease = await take(name, s.cursors, s.clock, seconds=seconds)
    if lease is None:
        yield None
        return
    try:
        yield lease
    except StoreConflict:
        return  # not released: the row belongs to the other holder
    except Exception:
        with suppress(SyncError):
            await lease.release()
        raise
    await lease.release()


async def renewed(work: Coroutine[Any, Any, T], lease: Lease, *, every: float) -> T:
    """
    Run work and renew its lease meanwhile, so that the lease can be shorter than the work.

    The work calls `Lease.check` before each step that must not overlap with another holder, and does not write the
    lease. A failed renewal does not end the work: the check does, once the lease has expired.

    Parameters
    ----------
    every
        Seconds between renewals: a fraction of the lease.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=every))[0]:
            with suppress(StoreConflict, StoreUnavailable):
                await lease.renew()
    finally:
        if task.cancel():
            await asyncio.wait({task})
    return task.result()
