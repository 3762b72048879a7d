"""
What the buttons do: each is asked for once more, is kept with who did it, and is refused without the operator role.

    GET  confirm?action=…     says what will happen, and to how many; asks who and why
    POST act                  does it, and sends the browser back to a page that says so

Both work without script. What a page says afterwards is kept in table ``cursors``; its address names the entry only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sync.dead_letters import actions
from sync.dead_letters.actions import Selection
from sync.dead_letters.held_removals import confirm_removals, refuse_removals
from sync.delivery.handlers import sweep
from sync.errors import BadReplay, RequestRefused
from sync.events import Sources
from sync.model import Cursor, StudyRef, SubjectKind
from sync.model.words import counted
from sync.monitoring.alerts import evaluation
from sync.monitoring.alerts.rules import BY_CODE
from sync.monitoring.counts import read_count, store_count
from sync.operators.access import operator_of, refuse_readers
from sync.operators.audit import OperatorAction, record_action
from sync.operators.pause import pause_projection, resume_projection
from sync.operators.walks import Deed as WalkDeed
from sync.operators.walks import begin_walk, control_walk, named_walk
from sync.ports import Control, Counted, Jobs, Operate, Services
from sync.protocol.optimistic import retry_on_conflict
from sync.replay.jobs import begin_replay, require_known_study
from sync.replay.requests import ReplayRequest as Replay
from sync.verify.judge import Judge
from sync.verify.studies import check_study
from sync.walks.backfill import Scope, new_backfill
from sync.web.exchange import Request, fields_of, text_of
from sync.web.rendering import RenderedPage, Visit, ago, redirect, render

Fields = Mapping[str, str]

RESULTS = "acts"
"""Cursor that keeps what the latest acts did: id -> act, how many it concerned, when."""

MOST_TICKED = 200
"""Dead letters that one form selects at most."""

MOST_RESULTS = 20
RESULT_SHOWN = timedelta(minutes=10)

_TARGET = ("of", "kind", "subject", "subjects", "uid", "partition")
"""Fields that say what is acted on; they travel from the button to the form to the act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Who does what to what, and why."""

    fields: Fields
    who: str
    why: str
    sources: Sources

    @property
    def study(self) -> StudyRef:
        """Study that is acted on."""
        return StudyRef(study_instance_uid=self.fields.get("uid", ""), partition=self.fields.get("partition", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One kind of button. ``does`` returns how many it concerned; ``previews`` says it beforehand, in a sentence."""

    question: str
    explanation: str
    label: str
    done: str
    does: Callable[[Deed, Services], Awaitable[int]]
    previews: Callable[[Deed, Services], Awaitable[str]] | None = None
    grave: bool = False
    asks_why: bool = False


async def confirm(visit: Visit, sources: Sources, s: Services) -> RenderedPage:
    """
    Ask once more, saying what will happen. Nothing is done.

    Raises
    ------
    AccessRefused
        The visitor may only look.
    RequestRefused
        There is no such action.
    """
    refuse_readers(visit.caller, s.settings)
    asked = {**visit.request.query, **fields_of(visit.request)}
    name, act = _act(text_of(asked, "action"))
    fields = {field: text_of(asked, field) for field in _TARGET}
    deed = Deed(fields=fields, who=visit.caller.name, why="", sources=sources)
    many = f" {await act.previews(deed, s)}" if act.previews else ""
    return render(
        visit,
        "confirm.html",
        title=act.label,
        question=act.question,
        explanation=act.explanation + many,
        label=act.label,
        grave=act.grave,
        asks_why=act.asks_why,
        fields={"action": name, **{field: value for field, value in fields.items() if value}},
        **_way_back(fields),
    )


async def act(visit: Visit, sources: Sources, s: Services) -> RenderedPage:
    """
    Do it, and lead back; each action records itself in the audit trail. Idempotent, as each action is.

    Raises
    ------
    AccessRefused
        The sender may only read, or another site sent the form.
    RequestRefused
        There is no such action, or the form does not name the operator or the reason.
    """
    form = fields_of(visit.request)
    caller = operator_of(visit.request.headers, s.settings, says=text_of(form, "who"))
    name, chosen = _act(text_of(form, "action"))
    fields = {field: text_of(form, field) for field in _TARGET}
    why = text_of(form, "why")[:1000]
    if chosen.asks_why and not why:
        raise RequestRefused("say why")
    if not caller.name:
        raise RequestRefused("say who you are")
    deed = Deed(fields=fields, who=caller.name, why=why, sources=sources)
    concerned = await chosen.does(deed, s)
    back = _way_back(fields)
    result = await _keep_result(name, concerned, s)
    return redirect(visit.link(back["back"], **back["back_query"], did=result))


async def _keep_result(name: str, concerned: int, s: Jobs) -> str:
    """Keep what an act did for the page that tells it: an address alone could claim what never happened."""
    result, entry = uuid4().hex[:12], {"act": name, "n": concerned, "at": s.clock.now().isoformat()}

    async def write() -> None:
        stored = await s.cursors.read(RESULTS)
        before = stored.value if stored is not None else Cursor(name=RESULTS)
        latest = dict([*before.position.items(), (result, entry)][-MOST_RESULTS:])
        await s.cursors.write(replace(before, position=latest), stored.etag if stored is not None else None)

    await retry_on_conflict(write, subject="the results of acts")
    return result


async def confirmation_text(request: Request, s: Jobs) -> str:
    """Return what a page says of the act that led to it; empty when none did, or not within `RESULT_SHOWN`."""
    result = request.query.get("did", "")
    stored = await s.cursors.read(RESULTS) if result else None
    entry = stored.value.position.get(result) if stored is not None else None
    if entry is None or s.clock.now() - datetime.fromisoformat(entry["at"]) > RESULT_SHOWN:
        return ""
    return ACTS[entry["act"]].done.format(n=entry["n"]) if entry["act"] in ACTS else ""


def _act(name: str) -> tuple[str, Act]:
    if name not in ACTS:
        raise RequestRefused("there is no such action", code="request.not_found")
    return name, ACTS[name]


def _way_back(fields: Fields) -> dict[str, Any]:
    if fields.get("uid"):
        return {"back": "study", "back_query": {"uid": fields["uid"], "partition": fields["partition"]}}
    if fields.get("kind") or fields.get("subjects"):
        return {"back": "letters", "back_query": {}}
    return {"back": "", "back_query": {}}


def _selections(deed: Deed) -> list[Selection]:
    """Return the letters meant: those that were ticked, or as `_selection` says."""
    ticked = deed.fields["subjects"].split()
    if not ticked:
        return [_selection(deed)]
    if len(ticked) > MOST_TICKED:
        raise RequestRefused(f"at most {MOST_TICKED} dead letters at once")
    return [_ticked(each) for each in ticked]


def _ticked(text: str) -> Selection:
    kind, _, subject = text.partition(":")
    if kind not in {each.value for each in SubjectKind} or not subject:
        raise RequestRefused("subjects: expected kind:subject")
    return Selection(kind=SubjectKind(kind), subject=subject)


def _selection(deed: Deed) -> Selection:
    """Return the letters meant: one, or all of a code; never all there are, for a page has no such button."""
    if kind := deed.fields["kind"]:
        if kind not in {subject.value for subject in SubjectKind}:
            raise RequestRefused("kind: none of ours")
        return Selection(kind=SubjectKind(kind), subject=deed.fields["subject"])
    if not deed.fields["of"]:
        raise RequestRefused("name the dead letters")
    return Selection(code=deed.fields["of"])


async def _retry(deed: Deed, s: Operate) -> int:
    reports = [await actions.retry(each, deed.sources, s, who=deed.who) for each in _selections(deed)]
    return sum(report.of(actions.Outcome.ASKED) for report in reports)


async def _preview(deed: Deed, s: Services) -> str:
    """Say how many letters are meant, by the counts that are kept: a page may not read thousands to say so."""
    if deed.fields["subjects"]:
        return f"It concerns {counted(len(_selections(deed)), 'dead letter')}."
    selection = _selection(deed)
    if selection.kind is not None:
        stored = await s.dead_letters.read(selection.kind, selection.subject)
        return f"It concerns {counted(int(stored is not None), 'dead letter')}."
    count_now = await read_count(Counted.DEAD_LETTERS, s)
    count = count_now.counts.get(selection.code or "", 0)
    of = f" of {selection.code}" if count else ""  # only a code that is counted is repeated, not any word of an address
    if count_now.at is None:
        return f"It concerns {counted(count, 'dead letter')}{of}."
    return f"It concerns all{of} there are then; {ago(count_now.at, s.clock.now())} there were {count:,}."


async def _discard(deed: Deed, s: Services) -> int:
    selections = _selections(deed)
    reports = [await actions.discard(each, s, who=deed.who, why=deed.why) for each in selections]
    if selections[0].code:  # many may be gone, and who sent them away reads the counts next
        await store_count(Counted.DEAD_LETTERS, s, from_start=True)
    return sum(report.of(actions.Outcome.DISCARDED) for report in reports)


async def _pause(deed: Deed, s: Control) -> int:
    await pause_projection(s, who=deed.who, why=deed.why)
    return 1


async def _resume(deed: Deed, s: Operate) -> int:
    await resume_projection(s, who=deed.who)
    return await sweep(s)


async def _verify(deed: Deed, s: Services) -> int:
    await record_action(OperatorAction.VERIFY, s, who=deed.who, subject=deed.study.key)
    drifts = await check_study(deed.study, s)
    if drifts is None:
        raise RequestRefused("the study has pending work", hint="Ask again in a minute.")
    judge = Judge(s, found_in=s.clock.now().isoformat())
    await judge.load(deed.study.key)
    await judge.conclude(deed.study.key, judge.with_kept(drifts), judge.with_kept(drifts))
    return len(drifts)


async def _replay(deed: Deed, s: Operate) -> int:
    replay = Replay(source="blob", study=deed.study, reread=True)
    try:
        await require_known_study(replay, s)
    except BadReplay as problem:
        raise RequestRefused(problem.detail, code=problem.code, hint=problem.hint) from None
    return int(await begin_replay(replay, s, who=deed.who))


async def _backfill(deed: Deed, s: Operate) -> int:
    scopes = [Scope(container=name) for name in sorted(deed.sources.containers)]
    return sum([await begin_walk(new_backfill(scope), s, who=deed.who) for scope in scopes])


def _changing(change: WalkDeed) -> Callable[[Deed, Operate], Awaitable[int]]:
    async def act_on(deed: Deed, s: Operate) -> int:
        row = await named_walk(deed.fields["of"], s)
        return int(await control_walk(row.name, change, s, who=deed.who))

    return act_on


async def _confirm_removals(deed: Deed, s: Services) -> int:
    return await confirm_removals(deed.sources, s, who=deed.who, why=deed.why)


async def _refuse_removals(deed: Deed, s: Services) -> int:
    dropped = await refuse_removals(s, who=deed.who, why=deed.why)
    await store_count(Counted.DEAD_LETTERS, s, from_start=True)
    return dropped


async def _acknowledge(deed: Deed, s: Control) -> int:
    if deed.fields["of"] not in BY_CODE:
        raise RequestRefused("of: no alert of ours")
    return int(await evaluation.acknowledge(deed.fields["of"], deed.who, s) is not None)


ACTS: dict[str, Act] = {
    "retry": Act(
        question="Retry dead letters?",
        explanation="Their objects and studies are requeued. Success clears the dead letter.",
        label="Retry",
        done="Dead letters requeued: {n:,}. Those that succeed leave this list within a minute.",
        does=_retry,
        previews=_preview,
    ),
    "discard": Act(
        question="Discard dead letters?",
        explanation="They are deleted; nothing else changes. An item that fails again gets a new dead letter.",
        label="Discard",
        done="Discarded: {n:,}. The audit trail keeps who and why.",
        does=_discard,
        previews=_preview,
        grave=True,
        asks_why=True,
    ),
    "replay-study": Act(
        question="Replay this study?",
        explanation="All its objects are inspected again and compared with FHIR; correct resources are not written.",
        label="Replay",
        done="Replays started: {n:,}. A running replay continues; the timeline shows the result.",
        does=_replay,
    ),
    "backfill": Act(
        question="Start a backfill?",
        explanation="Every object in the containers is inspected unless it is known unchanged; all functions share it.",
        label="Start a backfill",
        done="Backfills started: {n:,}. One that is under way continues; the page of jobs shows the progress.",
        does=_backfill,
    ),
    "pause-walk": Act(
        question="Pause this walk?",
        explanation="Its workers stop within seconds, and what is done stays done.",
        label="Pause",
        done="Walks paused: {n:,}.",
        does=_changing(WalkDeed.PAUSE),
    ),
    "resume-walk": Act(
        question="Resume this walk?",
        explanation="It continues where it was.",
        label="Resume",
        done="Walks resumed: {n:,}.",
        does=_changing(WalkDeed.RESUME),
    ),
    "cancel-walk": Act(
        question="Cancel this walk?",
        explanation="What is done stays done, and the rest is left. Started again, it begins at its beginning.",
        label="Cancel",
        done="Walks cancelled: {n:,}.",
        does=_changing(WalkDeed.CANCEL),
        grave=True,
    ),
    "verify-study": Act(
        question="Verify this study?",
        explanation="Compares source, ledger and FHIR now. Nothing is written to FHIR.",
        label="Verify",
        done="Compared. Differences: {n:,}. The overview counts them until they are resolved.",
        does=_verify,
    ),
    "pause": Act(
        question="Pause projection?",
        explanation="Objects are still ingested, nothing is lost; FHIR is not written until an operator resumes.",
        label="Pause projection",
        done="Projection is paused.",
        does=_pause,
        grave=True,
        asks_why=True,
    ),
    "resume": Act(
        question="Resume projection?",
        explanation="Pending studies are written to FHIR, the oldest first.",
        label="Resume projection",
        done="Projection is resumed. Studies enqueued: {n:,}.",
        does=_resume,
    ),
    "confirm-removals": Act(
        question="Confirm the removals that are held?",
        explanation="Each object is inspected once more, and removed from FHIR if it is still gone.",
        label="Confirm removals",
        done="Removals confirmed: {n:,}. They take place within minutes.",
        does=_confirm_removals,
        grave=True,
        asks_why=True,
    ),
    "refuse-removals": Act(
        question="Refuse the removals that are held?",
        explanation="They are discarded, and FHIR keeps the resources.",
        label="Refuse removals",
        done="Removals refused: {n:,}.",
        does=_refuse_removals,
        asks_why=True,
    ),
    "acknowledge": Act(
        question="Acknowledge this alert?",
        explanation="Others see that you take care of it. It is cleared only when its cause is gone.",
        label="Acknowledge",
        done="Alerts acknowledged: {n:,}.",
        does=_acknowledge,
    ),
}
