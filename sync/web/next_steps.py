"""
The next steps, as buttons of the band: each requests the remedy of one cause, worst cause first. Pure.

A button of an act leads to the usual page that asks for confirmation, and is recorded in the usual way. For steps that
no button can do, such as starting a server, see the alert's entry in the runbook.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sync.monitoring.status_model import Status
from sync.words import counted

MOST = 3
"""Maximum buttons of the band; the sections below have the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """
    One button.

    It leads to a page of the dashboard, or to a section of this page (``section``) that compares the causes. ``acts``:
    for operators only.
    """

    text: str
    page: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    section: str = ""
    acts: bool = False


_DEAD_LETTERS = frozenset({"alert.dead_letters", "alert.poison"})
_KEPT_BACK = frozenset({"behind", "failing"})
_SECTIONS: Mapping[str, tuple[str, str]] = {
    "alert.removals": ("Decide on the removals", "removals"),
    "alert.drift": ("See the differences", "drift"),
}
"""Alerts whose cause has a section of the overview."""


def next_steps(status: Status, *, may_operate: bool) -> list[NextStep]:
    """Return the steps, worst cause first; empty when none is needed."""
    steps = [step for step in _steps(status) if may_operate or not step.acts]
    return list({step.text: step for step in steps}.values())[:MOST]


def _steps(status: Status) -> Iterator[NextStep]:
    if status.paused is not None:
        yield NextStep(text="Resume projection", page="confirm", query={"action": "resume"}, acts=True)
    for alert in sorted(status.alerts, key=lambda alert: (alert.severity != "critical", alert.code)):
        if alert.code in _SECTIONS:
            text, section = _SECTIONS[alert.code]
            yield NextStep(text=text, section=section)
        elif alert.code not in _DEAD_LETTERS:
            yield NextStep(text=f"What to do about {alert.code}", page="runbook", query={"of": alert.code})
    if status.dirty_studies and status.health.verdict in _KEPT_BACK:
        text = f"View {counted(status.dirty_studies, 'outstanding study', 'outstanding studies')}"
        yield NextStep(text=text, page="studies", query={"state": "dirty"})
    if status.dead_letters:
        yield _dead_letters(status)
    if status.drift.open:
        text, section = _SECTIONS["alert.drift"]
        yield NextStep(text=text, section=section)


def _dead_letters(status: Status) -> NextStep:
    """Lead to the code's list if there is only one code; retrying unseen dead letters would repeat most failures."""
    codes = [code for code, number in status.dead_letters_by_code.items() if number]
    return NextStep(
        text=f"View {counted(status.dead_letters, 'dead letter')}",
        page="letters",
        query={"of": codes[0]} if len(codes) == 1 else {},
    )
