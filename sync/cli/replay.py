"""``python -m sync replay``: compares the changes of a period, or one study, with the actual state of FHIR."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, EXIT_UNAVAILABLE, console
from sync.cli.walks import (
    Meter,
    begin_or_go_on,
    print_line,
    projecting,
    refuse,
    refuse_projected_dry_run,
    share_walk,
    tell_state,
)
from sync.errors import BadReplay
from sync.ports import Services
from sync.protocol.walk_rows import WalkProgress, WalkState
from sync.replay.jobs import kinds_of, new_replay, require_known_study
from sync.replay.parts import LISTING, route_of
from sync.replay.preview import StudyPreview, counted, preview_replay
from sync.replay.requests import ReplayRequest, parse_request
from sync.walks.walk import Walk
from sync.words import counted as counted_words

if TYPE_CHECKING:
    from sync.bootstrap import Running

_NO_FEED = (
    "no feed   the account keeps no change feed, so its containers were listed; a listing does not show deletions "
    "(python -m sync verify does)"
)


@dataclass(frozen=True, kw_only=True)
class _ReplayOptions:
    fields: dict[str, Any]
    dry_run: bool
    project: bool
    parallel: int
    rate: float | None
    who: str
    as_json: bool


def replay(
    *,
    source: str,
    from_: str | None,
    to: str | None,
    study: str | None,
    partition: str,
    reread: bool,
    dry_run: bool,
    project: bool,
    parallel: int,
    rate: float | None,
    who: str,
    as_json: bool,
) -> None:
    """Compare the changes of a period, or one study, with FHIR."""
    values = {"from": from_, "to": to, "study": study, "partition": partition or None}
    fields = {
        "source": source,
        "reread": reread,
        **{name: value for name, value in values.items() if value is not None},
    }
    options = _ReplayOptions(
        fields=fields, dry_run=dry_run, project=project, parallel=parallel, rate=rate, who=who, as_json=as_json
    )
    refuse_projected_dry_run(dry_run=dry_run, project=project)
    if code := with_services(lambda running: _run(options, running), writes_fhir=project or dry_run):
        raise typer.Exit(code)


async def _run(options: _ReplayOptions, running: Running) -> int:
    s = running.services
    try:
        request = parse_request(options.fields, configured=running.replayed, now=s.clock.now())
    except BadReplay as problem:
        refuse(f"{'' if ':' not in problem.detail else '--'}{problem.detail}")
    if options.dry_run:
        return 0 if await _preview(request, options, running) else EXIT_REJECTED
    return await _replay(request, options, running)


async def _replay(request: ReplayRequest, options: _ReplayOptions, running: Running) -> int:
    """Replay, and return the exit code."""
    out, studies, began = console(), Counter[str](), time.monotonic()
    try:
        await require_known_study(request, running.services)
    except BadReplay:
        print_line(f"replay {request.id}", Counter(), as_json=options.as_json, seconds=0.0)
        _tell_unknown(request, {}, out)
        return EXIT_REJECTED
    async with projecting(running.services, studies, enabled=options.project) as s:
        progress = await _shared(request, options, running, s, out)
    state, counts = progress.row.state, Counter(progress.counts)
    seconds = round(time.monotonic() - began, 1)
    print_line(f"replay {request.id}", counts, as_json=options.as_json, seconds=seconds)
    if options.project:
        print_line("studies", studies, as_json=options.as_json)
    tell_state(progress, out)
    if state in {WalkState.PAUSED, WalkState.CANCELLED}:
        return EXIT_UNAVAILABLE
    unknown = _tell_unknown(request, counts, out)
    is_right = state is WalkState.DONE and not (counts["rejected"] or studies["dead_lettered"] or unknown)
    return 0 if is_right else EXIT_REJECTED


async def _shared(
    request: ReplayRequest, options: _ReplayOptions, running: Running, s: Services, out: Console
) -> WalkProgress:
    asked = new_replay(request, rate=options.rate)
    await begin_or_go_on(
        asked,
        s,
        out,
        who=options.who,
        dealt=lambda counts: f"{counted_words(sum(counts.values()), 'change')} processed",
    )
    progress, _ = await share_walk(
        asked.name,
        kinds_of(running.replayed),
        s,
        out,
        heading="Replaying",
        parallel=options.parallel,
        as_json=options.as_json,
    )
    if route_of(progress.row) == LISTING and not options.as_json:
        out.print(_NO_FEED)
    return progress


def _tell_unknown(request: ReplayRequest, counts: Mapping[str, int], out: Console) -> bool:
    """Report that the requested study is unknown, if it is."""
    inspected = sum(counts.get(name, 0) for name in ("synced", "unchanged", "gone", "rejected"))
    if request.study is None or inspected:
        return False
    out.print("unknown   no object of this study is known; python -m sync backfill inspects all objects")
    return True


async def _preview(request: ReplayRequest, options: _ReplayOptions, running: Running) -> bool:
    out, walk, began = console(), Walk(), time.monotonic()
    previews: list[StudyPreview] = []
    async with Meter("Dry run of the replay", walk, out, as_json=options.as_json).shown():
        async for preview in preview_replay(
            request, walk, running.replayed, running.services, parallel=options.parallel
        ):
            previews.append(preview)
            _show(preview, as_json=options.as_json)
    totals = {"objects": {name: number for name, number in sorted(walk.counts.items()) if number}, **counted(previews)}
    seconds = round(time.monotonic() - began, 1)
    if options.as_json:
        typer.echo(json.dumps({"what": "summary", "dry_run": True, **totals, "seconds": seconds}))
    else:
        typer.echo(f"would do: {_words(totals['studies'], 'studies')} ({_words(walk.counts, 'objects')}, {seconds} s)")
        for resource_type, actions in totals["resources"].items():
            typer.echo(f"  {resource_type}: {_words(actions, '')}")
    return not (walk.counts["rejected"] or totals["studies"].get("refuse")) and not _tell_unknown(
        request, walk.counts, out
    )


def _show(preview: StudyPreview, *, as_json: bool) -> None:
    """Print one study, unless it needs no change."""
    if preview.action == "unchanged":
        return
    uid = preview.study.study_instance_uid
    if as_json:
        line = {"what": "study", "study": uid, "action": preview.action, "writes": dict(preview.writes)}
        typer.echo(json.dumps({**line, **({"refused": preview.refused} if preview.refused else {})}))
        return
    writes = ", ".join(f"{name} {action}" for name, action in sorted(preview.writes.items()))
    typer.echo(f"{preview.action:<9} {uid}  {writes or preview.refused}")


def _words(counts: dict[str, int] | Counter[str], heading: str) -> str:
    listed = ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items()) if number) or "nothing"
    return f"{heading} {listed}".strip()
