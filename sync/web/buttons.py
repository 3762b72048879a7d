"""
The buttons of operators: the question, texts and effect of each.

`sync.web.confirmation` asks for confirmation and calls them. Each calls the same function as the command line and the
HTTP interface, so its action is idempotent and has one name in the audit trail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sync.dead_letters import actions
from sync.dead_letters.actions import Selection
from sync.dead_letters.held_removals import HELD, confirm_removals, refuse_removals
from sync.delivery.handlers import sweep
from sync.errors import BadReplay, RequestRefused
from sync.events import Sources
from sync.model import StudyRef, SubjectKind
from sync.monitoring.alerts import evaluation
from sync.monitoring.alerts.rules import BY_CODE
from sync.monitoring.counts import read_count, store_count
from sync.operators.audit import OperatorAction, record_action
from sync.operators.pause import pause_projection, resume_projection
from sync.operators.unreadable_walks import control_named
from sync.operators.walks import Deed as WalkDeed
from sync.operators.walks import begin_walk, call_worker
from sync.ports import CallWorkers, Control, Counted, Operate, Services
from sync.replay.jobs import begin_replay, require_known_study
from sync.replay.requests import ReplayRequest as Replay
from sync.verify.full_scan import Plan
from sync.verify.judge import Judge
from sync.verify.studies import check_study
from sync.walks.backfill import Scope, new_backfill
from sync.walks.verification import new_verification
from sync.web.exchange import time_of
from sync.web.rendering import ago
from sync.words import counted

MOST_TICKED = 200
"""Maximum dead letters that one form selects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """An operator's action: who, which action, on which subject, and why."""

    fields: Mapping[str, str]
    who: str
    why: str
    sources: Sources

    @property
    def study(self) -> StudyRef:
        """Study on which the operator acts."""
        return StudyRef(study_instance_uid=self.fields.get("uid", ""), partition=self.fields.get("partition", ""))

    @property
    def until(self) -> datetime | None:
        """
        Return when the page asked for confirmation; None for an action without `Act.as_shown`.

        Raises
        ------
        RequestRefused
            The form states no time.
        """
        return time_of(self.fields, "until")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """
    One kind of button. ``does`` returns the number of changed items; ``previews`` states it beforehand, in words.

    With ``as_shown`` it concerns only what there was when the page asked for confirmation.
    """

    question: str
    explanation: str
    label: str
    done: str
    does: Callable[[Deed, Services], Awaitable[int]]
    previews: Callable[[Deed, Services], Awaitable[str]] | None = None
    grave: bool = False
    asks_why: bool = False
    as_shown: bool = False


def _selections(deed: Deed) -> list[Selection]:
    """Return the selected dead letters: the ticked ones, or those of `_selection`."""
    ticked = deed.fields["subjects"].split()
    if not ticked:
        return [_selection(deed)]
    if len(ticked) > MOST_TICKED:
        raise RequestRefused(f"at most {MOST_TICKED} dead letters at once")
    return [_ticked(subject) for subject in ticked]


def _ticked(text: str) -> Selection:
    kind, _, subject = text.partition(":")
    if kind not in {known.value for known in SubjectKind} or not subject:
        raise RequestRefused("subjects: expected kind:subject")
    return Selection(kind=SubjectKind(kind), subject=subject)


def _selection(deed: Deed) -> Selection:
    """Return the selected dead letters: one, or all of a code; never all of them, because no page has such a button."""
    if kind := deed.fields["kind"]:
        if kind not in {subject.value for subject in SubjectKind}:
            raise RequestRefused("kind: none of ours")
        return Selection(kind=SubjectKind(kind), subject=deed.fields["subject"])
    if not deed.fields["of"]:
        raise RequestRefused("name the dead letters")
    return Selection(code=deed.fields["of"])


async def _retry(deed: Deed, s: Operate) -> int:
    reports = [await actions.retry(selection, deed.sources, s, who=deed.who) for selection in _selections(deed)]
    return sum(report.of(actions.Outcome.ASKED) for report in reports)


async def _preview(deed: Deed, s: Services) -> str:
    """Return the number of selected dead letters, from stored counts: a page may not read thousands to count them."""
    if deed.fields["subjects"]:
        return f"This affects {counted(len(_selections(deed)), 'dead letter')}."
    selection = _selection(deed)
    if selection.kind is not None:
        stored = await s.dead_letters.read(selection.kind, selection.subject)
        return f"This affects {counted(int(stored is not None), 'dead letter')}."
    count_now = await read_count(Counted.DEAD_LETTERS, s)
    count = count_now.counts.get(selection.code or "", 0)
    of = f" of {selection.code}" if count else ""  # only a known code is repeated, not an arbitrary word of the address
    if count_now.at is None:
        return f"This affects {counted(count, 'dead letter')}{of}."
    return f"This affects all{of} at that time; {ago(count_now.at, s.clock.now())} there were {count:,}."


async def _discard(deed: Deed, s: Services) -> int:
    selections = _selections(deed)
    reports = [await actions.discard(selection, s, who=deed.who, why=deed.why) for selection in selections]
    if selections[0].code:  # many may be gone, and the operator reads the counts next
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
        raise RequestRefused("the study has pending work", hint="Try again in a minute.")
    judge = Judge(s, found_in=s.clock.now().isoformat())
    await judge.load(deed.study.key)
    await judge.conclude(deed.study.key, judge.with_kept(drifts), judge.with_kept(drifts))
    return len(drifts)


async def _replay(deed: Deed, s: Services) -> int:
    replay = Replay(source="blob", study=deed.study, reread=True)
    try:
        await require_known_study(replay, s)
    except BadReplay as problem:
        raise RequestRefused(problem.detail, code=problem.code, hint=problem.hint) from None
    return await _called(await begin_replay(replay, s, who=deed.who), s)


async def _backfill(deed: Deed, s: Services) -> int:
    scopes = [Scope(container=name) for name in sorted(deed.sources.containers)]
    return await _called(sum([await begin_walk(new_backfill(scope), s, who=deed.who) for scope in scopes]), s)


async def _compare(deed: Deed, s: Services) -> int:
    return await _called(await begin_walk(new_verification(Plan(), s.settings), s, who=deed.who), s)


async def _called(number: int, s: CallWorkers) -> int:
    """Call a worker for the requested walks; return how many were begun."""
    await call_worker(s)
    return number


def _changing(change: WalkDeed) -> Callable[[Deed, Services], Awaitable[int]]:
    async def act_on(deed: Deed, s: Services) -> int:
        done = await control_named(deed.fields["of"], change, s, who=deed.who)
        if done.changed and change is WalkDeed.RESUME:
            await call_worker(s)
        return int(done.changed)

    return act_on


async def _confirm_removals(deed: Deed, s: Services) -> int:
    return await confirm_removals(deed.sources, s, who=deed.who, why=deed.why, until=deed.until)


async def _refuse_removals(deed: Deed, s: Services) -> int:
    dropped = await refuse_removals(s, who=deed.who, why=deed.why, until=deed.until)
    await store_count(Counted.DEAD_LETTERS, s, from_start=True)
    return dropped


async def _preview_removals(deed: Deed, s: Services) -> str:  # noqa: ARG001 -- as each preview is asked
    count_now = await read_count(Counted.DEAD_LETTERS, s)
    then = f"{ago(count_now.at, s.clock.now())} there were" if count_now.at is not None else "there are"
    return f"This affects those held now ({then} {count_now.counts.get(HELD.code or '', 0):,}), and none held later."


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
        explanation="Every new or changed object in the containers is inspected. All functions share the work.",
        label="Start a backfill",
        done="Backfills started: {n:,}. A running one continues; the page Jobs shows the progress.",
        does=_backfill,
    ),
    "compare-all": Act(
        question="Compare everything?",
        explanation="Source, ledger and FHIR are compared, and nothing is repaired. All functions share the work.",
        label="Compare everything",
        done="Comparisons started: {n:,}. A running one continues; the page Jobs shows the progress.",
        does=_compare,
    ),
    "pause-walk": Act(
        question="Pause this walk?",
        explanation="Its workers stop within seconds. Finished work is kept.",
        label="Pause",
        done="Walks paused: {n:,}.",
        does=_changing(WalkDeed.PAUSE),
    ),
    "resume-walk": Act(
        question="Resume this walk?",
        explanation="It continues where it stopped.",
        label="Resume",
        done="Walks resumed: {n:,}.",
        does=_changing(WalkDeed.RESUME),
    ),
    "cancel-walk": Act(
        question="Cancel this walk?",
        explanation="Finished work is kept, the rest is not done. Started again, it begins at the beginning.",
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
        explanation="Objects are still ingested, and no change is lost. FHIR is not written until an operator resumes.",
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
        previews=_preview_removals,
        as_shown=True,
        grave=True,
        asks_why=True,
    ),
    "refuse-removals": Act(
        question="Refuse the removals that are held?",
        explanation="The removals are discarded, and FHIR keeps the resources.",
        label="Refuse removals",
        done="Removals refused: {n:,}.",
        does=_refuse_removals,
        previews=_preview_removals,
        as_shown=True,
        asks_why=True,
    ),
    "acknowledge": Act(
        question="Acknowledge this alert?",
        explanation="Others see that you are handling it. The alert is cleared only when its cause is gone.",
        label="Acknowledge",
        done="Alerts acknowledged: {n:,}.",
        does=_acknowledge,
    ),
}
