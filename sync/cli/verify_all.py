"""``python -m sync verify``: checks whether source, ledger and FHIR agree."""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from sync.cli.connecting import with_services
from sync.cli.reporting import EXIT_REJECTED, EXIT_UNAVAILABLE, EXIT_USAGE, console, quiet_broken_pipe, results
from sync.cli.walks import begin_or_go_on, share_walk, tell_state
from sync.model import Drift, DriftKind, StudyRef
from sync.operators.audit import record_action
from sync.operators.pause import projection_pause
from sync.ports import Compare
from sync.protocol.removals import read_ceiling
from sync.protocol.walk_rows import WalkState
from sync.verify.full_scan import Plan, Round, ScanOutcome
from sync.verify.hints import HINTS, NO_CONTAINER
from sync.verify.judge import identity
from sync.verify.source import missing_containers
from sync.walks.sharing import PARALLEL
from sync.walks.verification import Verification, action_of, new_verification, outcome_of, reason_of
from sync.words import counted, noun_of

if TYPE_CHECKING:
    from sync.bootstrap import Running

_KEY = re.compile(r"(?:ImagingStudy/)?(?:is-)?([0-9a-f]{40})")
_UID = re.compile(r"[0-9.]{1,64}")
_SHOWN = 100
"""Drifts that are listed individually for people; machines receive all."""

_REMOVALS_HELD = (
    "The ceiling on removals is reached, so nothing more is deleted. Decide with python -m sync removals confirm or "
    "refuse; then repeat this command."
)


def verify(
    *,
    study: str | None,
    repair: bool,
    sample: int | None,
    fhir_only: bool,
    max_removals: int,
    rate: float | None,
    who: str,
    as_json: bool,
) -> None:
    """Compare source, ledger and FHIR for each study, and list the differences."""
    chosen = _study(study) if study is not None else None
    if study is not None and (chosen is None or sample is not None):
        console().print("--study expects a Study Instance UID or the id of its ImagingStudy, and no --sample")
        raise typer.Exit(EXIT_USAGE)
    plan = Plan(
        repair=repair,
        objects=not fhir_only,
        sample=sample,
        start=secrets.token_hex(20) if sample else "",
        removals=max_removals,
    )
    with quiet_broken_pipe():
        agree = with_services(
            lambda running: _verify(running, plan, chosen, rate=rate, who=who, as_json=as_json), writes_fhir=True
        )
    if not agree:
        raise typer.Exit(EXIT_REJECTED)


def _study(text: str) -> StudyRef | str | None:
    """Read a UID, or a study key, which is looked up later."""
    if (key := _KEY.fullmatch(text)) is not None:
        return key[1]
    return StudyRef(study_instance_uid=text) if _UID.fullmatch(text) else None


async def _verify(
    running: Running, plan: Plan, chosen: StudyRef | str | None, *, rate: float | None, who: str, as_json: bool
) -> bool:
    """Return whether everything compared agrees, and every container could be compared."""
    if plan.repair and await projection_pause(running.services) is not None:
        console().print("projection is paused, so nothing is repaired; resume it, or verify without --repair")
        raise typer.Exit(EXIT_USAGE)
    missing: Sequence[str] = ()
    with _showing(plan, as_json=as_json, alone=chosen is not None or plan.sample is not None) as shown:
        if chosen is not None:
            outcome = await _one_study(chosen, plan, running, shown, who=who)
        elif plan.sample is not None:
            await _record(plan, "a sample", running, who=who)
            outcome = await Round(plan, running.services, running.listing, audience=shown).over_sample()
        else:
            outcome = await _everything(plan, running, shown, rate=rate, who=who, as_json=as_json)
            missing = await missing_containers(running.listing, running.services) if plan.objects else ()
    held = plan.repair and outcome.left > 0 and (await read_ceiling(running.services)).held_since is not None
    shown.summarise(outcome, missing, removals_held=held)
    return not (outcome.left or missing)


async def _one_study(chosen: StudyRef | str, plan: Plan, running: Running, shown: Shown, *, who: str) -> ScanOutcome:
    await _record(plan, chosen.key if isinstance(chosen, StudyRef) else chosen, running, who=who)
    study = await _known(chosen, running.services)
    outcome = await Round(plan, running.services, running.listing, audience=shown).over_one(study)
    if not outcome.found and await _never_inspected(study, running.services):
        console().print("unknown   no object of this study is known; python -m sync backfill inspects all objects")
        raise typer.Exit(EXIT_REJECTED)
    return outcome


async def _everything(
    plan: Plan, running: Running, shown: Shown, *, rate: float | None, who: str, as_json: bool
) -> ScanOutcome:
    """Take part in the comparison of all studies until it is over, and report the findings of other workers too."""
    s, out = running.services, console()
    asked = new_verification(plan, s.settings, rate=rate)
    await begin_or_go_on(
        asked, s, out, who=who, dealt=lambda counts: f"{counted(counts.get('studies', 0), 'study', 'studies')} compared"
    )
    kinds = {asked.kind: Verification(listing=running.listing, services=s, audience=shown)}
    progress, _ = await share_walk(
        asked.name, kinds, s, shown.console, heading="Comparing", parallel=PARALLEL, as_json=as_json
    )
    if progress.row.state is not WalkState.DONE:
        tell_state(progress, out)
        raise typer.Exit(EXIT_UNAVAILABLE)
    async for drift in s.drifts.all():
        if drift.found_in == progress.row.run and plan.asks_about(drift):
            shown.report(drift, repaired=False)
    return outcome_of(progress.counts)


async def _record(plan: Plan, subject: str, running: Running, *, who: str) -> None:
    """Record a repair before its first write: it may delete resources."""
    if plan.repair:
        await record_action(action_of(plan), running.services, who=who, subject=subject, why=reason_of(plan))


async def _never_inspected(study: StudyRef, s: Compare) -> bool:
    return await s.projections.read(study) is None and not await s.ledger.read(study)


async def _known(chosen: StudyRef | str, s: Compare) -> StudyRef:
    if isinstance(chosen, StudyRef):
        return chosen
    record = await s.projections.find(chosen)
    if record is None:
        console().print("no study with this id is known; give its Study Instance UID")
        raise typer.Exit(EXIT_USAGE)
    return record.study


@contextmanager
def _showing(plan: Plan, *, as_json: bool, alone: bool) -> Iterator[Shown]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    out = console()
    with Progress(
        *columns, console=out, transient=True, disable=as_json or not (alone and out.is_terminal)
    ) as progress:
        yield Shown(plan, progress, as_json=as_json)


class Shown:
    """The output of the command, during the run and at its end."""

    def __init__(self, plan: Plan, progress: Progress, *, as_json: bool) -> None:
        self._plan = plan
        self._progress = progress
        self._as_json = as_json
        self._tasks: dict[str, TaskID] = {}
        self._listed = 0
        self._said: dict[int, bool] = {}

    @property
    def console(self) -> Console:
        """The console to which it is written."""
        return self._progress.console

    def report(self, drift: Drift, *, repaired: bool) -> None:
        """Print one drift once, and again when it is repaired."""
        key = hash(identity(drift))
        if self._said.get(key) in {True, repaired}:
            return
        self._said[key] = repaired
        state = "repaired" if repaired else "kept" if drift.kept else "found"
        if self._as_json:
            line = {"event": "drift", "kind": drift.kind.value, "resource": drift.resource, "state": state}
            _write(json.dumps({**line, "study": drift.subject, "detail": drift.detail}))
            return
        self._listed += 1
        if self._listed <= _SHOWN:
            detail = f"  ({drift.detail})" if drift.detail else ""
            self._progress.console.print(
                f"{state:<9}{drift.kind.value.removeprefix('drift.'):<17}{drift.resource}{detail}"
            )
        elif self._listed == _SHOWN + 1:
            self._progress.console.print("…        more are counted below; --json lists all")

    def progress(self, phase: str, completed: int, fraction: float | None) -> None:
        """Move the bar of a phase."""
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase if phase == "studies" else f"{phase} in FHIR")
        total = round(completed / fraction) if fraction else None
        self._progress.update(self._tasks[phase], completed=completed, total=total)

    def summarise(self, outcome: ScanOutcome, missing: Sequence[str] = (), *, removals_held: bool = False) -> None:
        """Print the result, whether the ceiling on removals holds deletions, and which containers do not exist."""
        if self._as_json:
            more = {"removals_held": removals_held, "missing_containers": list(missing)}
            _write(json.dumps({**_figures(outcome), **more}))
            return
        if outcome.found:
            results().print(_table(outcome))
        for line in _closing(outcome, self._plan):
            results().print(line)
        if removals_held:
            results().print(_REMOVALS_HELD)
        for container in missing:
            results().print(f"Container {container} does not exist, so nothing in it was compared. {NO_CONTAINER}")


def _figures(outcome: ScanOutcome) -> dict[str, object]:
    return {
        "event": "summary",
        "studies": outcome.studies,
        "busy": outcome.busy,
        "found": {kind.value: count for kind, count in outcome.found.items()},
        "repaired": {kind.value: count for kind, count in outcome.repaired.items() if count},
        "kept": outcome.kept,
        "left": outcome.left,
    }


def _table(outcome: ScanOutcome) -> Table:
    table = Table("Drift", "Found", "Repaired", "What it means, what helps")
    for kind in DriftKind:
        if outcome.found[kind]:
            name = kind.value.removeprefix("drift.")
            table.add_row(name, str(outcome.found[kind]), str(outcome.repaired[kind]), HINTS[kind])
    return table


def _closing(outcome: ScanOutcome, plan: Plan) -> Iterator[str]:
    studies = counted(outcome.studies, "study", "studies")
    outstanding = (
        f"{outcome.busy} skipped, because the sync has pending work on them"
        if outcome.busy
        else "none of them outstanding"
    )
    yield f"{studies} compared, {outstanding}."
    if outcome.kept:
        stay = f"{counted(outcome.kept, 'resource')} {noun_of(outcome.kept, 'has', 'have')}"
        yield f"{stay} to stay: others refer to them, and FHIR would not delete them."
    if outcome.not_removed:
        yield (
            f"Resources without a record here: {outcome.not_removed:,}. None was deleted, because --max-removals "
            f"allows {plan.removals} in all, and the second ImagingStudies that were deleted count too. "
            "Make sure that AzureWebJobsStorage is the account that wrote them; then repeat with more --max-removals."
        )
    yield f"Drift left: {outcome.left}" if outcome.left else "No drift." if not outcome.found else "No drift is left."


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
