"""
Walks that processes share, over HTTP.

    GET  walks                 every walk: how far it is, who works on it, how long it will take
    POST walks                 begins a backfill: ``container``, ``prefix``, ``since``, ``rate``
    POST walks/{id}/{deed}     ``pause``, ``resume`` or ``cancel``

POST answers at once: functions do the work. Each is idempotent.
"""

from __future__ import annotations

from collections.abc import Collection

from sync.errors import RequestRefused
from sync.operators import walks
from sync.operators.access import operator_of
from sync.operators.unreadable_walks import control_named, unreadable_as_json, unreadable_on
from sync.operators.walks import Deed, begin_walk, call_worker, walks_on
from sync.ports import Jobs, Services
from sync.protocol.walk_rows import read_board
from sync.walks.backfill import Scope, new_backfill
from sync.web.exchange import Answer, Request, fields_of, rate_of, text_of, time_of

DEEDS = tuple(deed.value for deed in Deed)


async def show_walks(s: Jobs) -> Answer:
    """Answer every walk, without any token, name or UID; those that this version does not understand come last."""
    board = await read_board(s)
    shown = [walks.as_json(progress) for progress in walks_on(board, s.clock.now())]
    return Answer(body={"walks": [*shown, *map(unreadable_as_json, unreadable_on(board))]})


async def start_backfill(request: Request, containers: Collection[str], s: Services) -> Answer:
    """
    Begin a backfill of one container, or of all, for an operator. Idempotent: a running backfill continues.

    Raises
    ------
    AccessRefused
        The caller may only read.
    RequestRefused
        A field is not understood.
    """
    fields = fields_of(request)
    caller = operator_of(request.headers, s.settings, says=text_of(fields, "who"))
    container = text_of(fields, "container")
    if container and container not in containers:
        raise RequestRefused("container: is not in DICOM_SYNC_CONTAINERS")
    scopes = [
        Scope(container=name, prefix=text_of(fields, "prefix"), since=time_of(fields, "since"))
        for name in ([container] if container else sorted(containers))
    ]
    begun = [await begin_walk(new_backfill(scope, rate=rate_of(fields)), s, who=caller.name) for scope in scopes]
    await call_worker(s)
    board, now = await read_board(s), s.clock.now()
    shown = [walks.as_json(board.progress(board.walks[scope.cursor], now)) for scope in scopes]
    return Answer(body={"begun": any(begun), "walks": shown}, status=202)


async def change_walk(request: Request, s: Services) -> Answer:
    """
    Pause, resume or cancel a walk, for an operator. Idempotent.

    Raises
    ------
    AccessRefused
        The caller may only read.
    RequestRefused
        There is no such walk or deed.
    """
    deed = request.params.get("deed", "")
    if deed not in DEEDS:
        raise RequestRefused("expected pause, resume or cancel", code="request.not_found")
    fields = fields_of(request)
    caller = operator_of(request.headers, s.settings, says=text_of(fields, "who"))
    done = await control_named(request.params.get("id", ""), Deed(deed), s, who=caller.name)
    if done.changed and Deed(deed) is Deed.RESUME:
        await call_worker(s)
    return Answer(body={"changed": done.changed, "walk": done.as_json()})
