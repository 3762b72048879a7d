"""
Replays over HTTP.

    GET  replay    every replay, the latest first: what was asked, how far it is, what was counted
    POST replay    ``source``, ``from``, ``to``, or ``study``; ``reread``; ``rate``; for a study ``dry_run``

POST takes JSON or a form and answers 202 at once: functions run the replay in slices, across restarts. It may be
repeated: a replay that is under way covers all changes until now, and the answer says so. ``POST walks/{id}/{deed}``
pauses, resumes and cancels it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sync.errors import BadReplay, RequestRefused
from sync.operators.access import operator_of
from sync.operators.walks import as_json, call_worker
from sync.ports import Core, Deliver, Jobs, Services
from sync.replay import jobs
from sync.replay.jobs import ReplayProgress
from sync.replay.preview import preview_replay
from sync.replay.requests import ReplayRequest as Replay
from sync.replay.requests import parse_request
from sync.replay.sources import Source
from sync.walks.walk import Walk
from sync.web.exchange import Answer, Request, fields_of, is_set, rate_of, text_of

_FLAGS = ("reread", "dry_run")


async def list_replays(s: Jobs) -> Answer:
    """Answer every replay, without any token, name or UID."""
    return Answer(body={"replays": [_as_json(replay) for replay in await jobs.replays(s)]})


async def start_replay(request: Request, replayed: Mapping[str, Source], s: Services) -> Answer:
    """Begin a replay, for an operator; for a dry run of one study, return the predicted writes instead."""
    fields = fields_of(request)
    who = text_of(fields, "who")
    caller = operator_of(request.headers, s.settings, says=who)
    stated = {name: value for name, value in fields.items() if name not in {"who", "rate"} and value not in ("", None)}
    dry_run = is_set(fields, "dry_run")
    replay = _parsed({**stated, **{flag: is_set(fields, flag) for flag in _FLAGS}}, replayed, s)
    if dry_run:
        return await _previewed(replay, replayed, s)
    await _require_known(replay, s)
    begun = await jobs.begin_replay(replay, s, who=caller.name, rate=rate_of(fields))
    await call_worker(s)
    [shown] = [listed for listed in await jobs.replays(s) if listed.walk.row.id == replay.id]
    return Answer(body={"begun": begun, "replay": _as_json(shown)}, status=202)


def _as_json(replay: ReplayProgress) -> dict[str, object]:
    """Return a replay as operators see it: its request and progress, without token or UID."""
    request = replay.request
    return {
        **as_json(replay.walk),
        "source": request.source,
        "from": request.start.isoformat() if request.start else None,
        "to": request.end.isoformat() if request.end else None,
        "study": request.study.key if request.study else None,
        "route": replay.route,
        "at": replay.at,
        "advanced_at": replay.advanced_at.isoformat() if replay.advanced_at else None,
    }


async def _require_known(replay: Replay, s: Deliver) -> None:
    try:
        await jobs.require_known_study(replay, s)
    except BadReplay as problem:
        raise RequestRefused(problem.detail, code=problem.code, hint=problem.hint) from None


def _parsed(fields: Mapping[str, Any], replayed: Mapping[str, Source], s: Core) -> Replay:
    try:
        return parse_request(fields, configured=replayed, now=s.clock.now())
    except BadReplay as problem:
        raise RequestRefused(problem.detail, code=problem.code, hint=problem.hint) from None


async def _previewed(replay: Replay, replayed: Mapping[str, Source], s: Services) -> Answer:
    if replay.study is None:
        hint = "Name a study, or use python -m sync replay --dry-run, which has no time limit."
        raise RequestRefused("dry_run: only for one study", hint=hint)
    walk = Walk()
    previews = [preview async for preview in preview_replay(replay, walk, replayed, s, parallel=jobs.PARALLEL)]
    studies = [
        {"study": preview.study.key, "action": preview.action, "writes": dict(preview.writes)} for preview in previews
    ]
    objects = {name: number for name, number in sorted(walk.counts.items()) if number}
    return Answer(body={"dry_run": True, "studies": studies, "objects": objects})
