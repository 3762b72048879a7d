"""
Ranged reads: an object of a store (or a local file) in, its `Inspection` out; only the header's bytes are fetched.

Parsing restarts with every range instead of keeping state: one range is enough for nearly all objects.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakKeyDictionary

from sync.config import Detail, HeaderLimits
from sync.dicom.header.record import parse_header, takes_long
from sync.errors import Contention, HeaderLimit, SourceChanged, SourceGone, SourceUnavailable, UnreadableObject
from sync.model import Inspection, InstanceRecord, ObjectRef
from sync.ports import ObjectSource

GROWTH = 4
"""Factor by which each read extends the bytes at hand, so that repeated parsing costs at most a third more."""

LARGE_AT_ONCE = 4
"""
Maximum number of large headers that a process reads at the same time; others wait.

Each may take twice `sync.config.HeaderLimits.max_bytes` plus ``max_inflated_bytes``, and a process works on up to 128
objects: together they would exhaust its memory.
"""

INLINE_BYTES = 512 * 1024
"""Up to this size, parsing takes milliseconds at most, and a thread would cost more than it saves."""

_ATTEMPTS = 5
_SLOTS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
_ENDLESS = 2**62
"""Assumed size of a stream of unknown length."""


async def inspect_header(
    source: ObjectSource, ref: ObjectRef, limits: HeaderLimits, detail: Detail = "none"
) -> Inspection:
    """
    Inspect the current state of an object. Only reads; idempotent.

    Later ranges carry If-Match of the first one's ETag; an object that changes in between is inspected again.

    Returns
    -------
    Inspection
        With a record, with a problem, or with neither (and no ETag) when the object is gone.

    Raises
    ------
    TransientError
        The store did not answer (its adapter's errors pass through), or the object changed too many times in a row.
    """
    for _ in range(_ATTEMPTS):
        try:
            return await _inspect_once(source, ref, limits, detail)
        except SourceGone:
            return Inspection(etag=None)
        except SourceChanged:
            continue
    raise Contention(f"an object changed during {_ATTEMPTS} reads in a row")


async def _inspect_once(source: ObjectSource, ref: ObjectRef, limits: HeaderLimits, detail: Detail) -> Inspection:
    chunk = await source.read(ref, start=0, length=min(limits.first_read_bytes, limits.max_bytes))
    etag, size, order, data = chunk.etag, chunk.size, _order(chunk.last_modified), chunk.data
    async with AsyncExitStack() as holding:
        is_held = _is_large(data)
        if is_held:
            await holding.enter_async_context(_slots())
        while True:
            step = await _step_aside(data, size, limits, detail)
            if not isinstance(step, int):
                return _inspect(step, etag, order)
            if step > INLINE_BYTES and not is_held:
                await holding.enter_async_context(_slots())  # before the bytes are there
                is_held = True
            chunk = await source.read(ref, start=len(data), length=step - len(data), etag=etag)
            if not chunk.data:
                raise SourceUnavailable(f"no bytes at {len(data)} of {size}")
            data += chunk.data


async def read_stream(
    chunks: AsyncIterator[bytes], limits: HeaderLimits, detail: Detail = "none"
) -> InstanceRecord | UnreadableObject:
    """
    Read a header from the stream of an object's bytes, and stop as soon as the header is complete.

    Returns
    -------
    InstanceRecord or UnreadableObject
        The record, or the reason why there is none.
    """
    data, enough, is_held = bytearray(), limits.first_read_bytes, False
    async with AsyncExitStack() as holding:
        async for chunk in chunks:
            data += chunk
            if len(data) < enough:
                continue
            if not is_held and _is_large(bytes(data)):
                await holding.enter_async_context(_slots())
                is_held = True
            step = await _step_aside(bytes(data), _ENDLESS, limits, detail)
            if not isinstance(step, int):
                return step
            enough = step
        step = await _step_aside(bytes(data), len(data), limits, detail)
    return UnreadableObject("no header") if isinstance(step, int) else step


def read_file(path: Path, limits: HeaderLimits, detail: Detail = "none") -> Inspection:
    """
    Inspect a local file, reading only its header.

    Returns the same as `inspect_header`; the ETag is made of size and time. A missing file is gone; any other OSError
    passes through.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return Inspection(etag=None)
    with file:
        status = os.fstat(file.fileno())
        etag, size = f"{status.st_size:x}-{status.st_mtime_ns:x}", status.st_size
        order = _order(datetime.fromtimestamp(status.st_mtime, UTC))
        data = file.read(min(limits.first_read_bytes, limits.max_bytes))
        while isinstance(step := _step(data, size, limits, detail), int):
            more = file.read(step - len(data))
            size = size if more else len(data)
            data += more
    return _inspect(step, etag, order)


async def _step_aside(
    data: bytes, size: int, limits: HeaderLimits, detail: Detail
) -> InstanceRecord | UnreadableObject | int:
    """Parse, in a thread if it may take long."""
    if _is_large(data):
        return await asyncio.to_thread(_step, data, size, limits, detail)
    return _step(data, size, limits, detail)


def _is_large(data: bytes) -> bool:
    """Return whether the bytes at hand may take long or much memory to parse: they are many, or deflated."""
    return len(data) > INLINE_BYTES or takes_long(data)


def _slots() -> asyncio.Semaphore:
    """Return the running event loop's slots for large headers."""
    return _SLOTS.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(LARGE_AT_ONCE))


def _step(data: bytes, size: int, limits: HeaderLimits, detail: Detail) -> InstanceRecord | UnreadableObject | int:
    """Parse the bytes at hand: return the outcome, or the byte up to which to read on."""
    try:
        parsed = parse_header(data, size=size, limits=limits, detail=detail)
        if isinstance(parsed, InstanceRecord):
            return parsed
        if parsed.size > limits.max_bytes:
            raise HeaderLimit("the header does not end within DICOM_SYNC_HEADER_MAX_BYTES")
    except UnreadableObject as problem:
        # Kept as a value: without its frames, which would keep the bytes alive.
        problem.__context__ = None
        return problem.with_traceback(None)
    # More bytes follow the missing ones: reading a little further saves a third read.
    return min(max(parsed.size + limits.first_read_bytes, GROWTH * len(data)), size, limits.max_bytes)


def _inspect(parsed: InstanceRecord | UnreadableObject, etag: str, order: str) -> Inspection:
    if isinstance(parsed, UnreadableObject):
        return Inspection(etag=etag, order=order, problem=parsed)
    return Inspection(etag=etag, order=order, record=parsed)


def _order(changed: datetime) -> str:
    return changed.astimezone(UTC).isoformat(timespec="microseconds")
