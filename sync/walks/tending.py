"""
Calls workers for shared walks: from a timer, and when a walk was just requested.

    a walk is requested  ->  a message  ->  its first slices are cut, a message for each  ->  workers take them
    every 30 seconds     ->  walks are cut further, workers are called for free slices, finished walks are ended

A message has no content: the rows say what is to do (`sync.walks.sharing`). A lost message only costs a wait for the
timer, a repeated one nothing.
"""

from __future__ import annotations

import logging
import random
import time

from sync.errors import Contention, SyncError
from sync.ports import ShareWalks
from sync.protocol.walk_rows import Board, WalkRow, read_board
from sync.walks.sharing import Kinds, Worker, cut_walk, end_walks, free_slices, running_walks

SEATS = 8
"""Messages that are sent at once, each to call one worker."""

BUSY = 5.0
"""Seconds after which a message that reached a busy process is offered again, to any other."""

TURN = 240.0
"""Seconds that a called worker works; Azure Functions would end it after ten minutes."""

TENDING = 40.0
"""Seconds that a timer run cuts and calls; the next run continues."""

CUT_AT_ONCE = 8
"""Slices to cut before workers are called again."""


async def tend_walks(kinds: Kinds, s: ShareWalks, *, seconds: float) -> int:
    """
    Cut walks further, call workers for free slices, end finished walks: for a timer. Idempotent.

    Returns
    -------
    int
        Number of running walks.
    """
    until = time.monotonic() + seconds
    while True:
        if not (await end_walks(s)).walks:
            return 0
        board = await read_board(s)
        running = running_walks(board, kinds)
        uncut = [row for row in running if not row.planned]
        await _call_workers(running, board, s)
        if not uncut or time.monotonic() >= until:
            return len(running)
        for row in uncut:
            try:
                await cut_walk(row, kinds, s, until=until, most=CUT_AT_ONCE)
            except Contention:
                return len(running)  # another process cuts it
            except SyncError as failure:
                s.telemetry.event("walk.interrupted", logging.WARNING, walk=row.id, code=failure.code)
                return len(running)


async def _call_workers(running: list[WalkRow], board: Board, s: ShareWalks) -> None:
    free = len(free_slices(running, board, s))
    # While a message waits, every worker is busy or about to take it: another message would reach no other worker.
    if free and not await s.slice_queue.has_waiting():
        for _ in range(min(free, SEATS)):
            await s.slice_queue.call()


async def _cut_first(kinds: Kinds, s: ShareWalks) -> None:
    """Cut the first slices of walks that have none, and call workers for them; the timer cuts on."""
    new = [row for row in running_walks(await read_board(s), kinds) if not row.made and not row.planned]
    for row in new:
        try:
            await cut_walk(row, kinds, s, until=time.monotonic() + TENDING, most=CUT_AT_ONCE)
        except Contention:
            continue  # another process cuts it
        except SyncError as failure:
            s.telemetry.event("walk.interrupted", logging.WARNING, walk=row.id, code=failure.code)
    if new:
        board = await read_board(s)
        await _call_workers(running_walks(board, kinds), board, s)


async def take_turn(kinds: Kinds, s: ShareWalks, *, redelivered: bool) -> None:
    """
    Work on free slices for a limited time, as a message of the queue ``slices`` requests. Idempotent.

    Cuts the first slices of a walk that was just requested. A process works on one slice at a time, and offers messages
    that it cannot take to others. A redelivered message is dropped: its worker died, the rows say what is left, and the
    timer calls again.
    """
    if redelivered:
        return
    await _cut_first(kinds, s)
    turn = s.caches.walking
    if turn.locked():
        board = await read_board(s)
        if free_slices(running_walks(board, kinds), board, s):
            # Spread: if all were offered at once, the process that polls most would receive them all.
            await s.slice_queue.call(random.uniform(1.0, BUSY))  # noqa: S311 -- spreads load, guards nothing
        return
    async with turn:
        try:
            left = await Worker(kinds=kinds, s=s).work(until=time.monotonic() + TURN)
            await end_walks(s)
        except SyncError as failure:  # the timer calls again
            s.telemetry.event("walk.interrupted", logging.WARNING, code=failure.code)
            return
    if left:
        await s.slice_queue.call()
