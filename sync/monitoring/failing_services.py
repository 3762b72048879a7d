"""The services that fail now, from measured failures: the cause that `sync.monitoring.verdict` names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sync.config import address_of
from sync.errors import FhirUnavailable
from sync.monitoring.alerts.evaluation import Alert
from sync.monitoring.alerts.rules import BY_CODE
from sync.monitoring.hints import hint_of
from sync.monitoring.history import Chart, Line
from sync.monitoring.status_model import ServiceProblem
from sync.ports import Core
from sync.telemetry.instruments import CODE, FAILURES, FHIR_DURATION, FHIR_UNANSWERED

_SERVICES: Mapping[str, str] = {"fhir": "The FHIR service", "source": "The source", "events": "The event topic"}
"""First part of a failure's code -> the service that fails."""


_HANGS = "It accepts requests but answers none: check whether it hangs, its load, and the services that it needs."


def service_problems(
    chart: Chart, alerts: Mapping[str, Alert], s: Core, *, overdue: bool = False
) -> list[ServiceProblem]:
    """
    Return the services that fail now: they failed in the last `RECENT` minutes, and FHIR gave no good answer since.

    Parameters
    ----------
    chart
        By the minute, with `FAILURES`, `FHIR_DURATION` and `FHIR_UNANSWERED`.
    overdue
        A study waits longer than it should. Then unanswered requests are reported before they time out; otherwise a
        service that is slow to answer one of them delays no study.
    """
    answered = _minutes(chart, [line for line in chart.of(FHIR_DURATION.name) if _is_good(line)])
    problems = list[ServiceProblem]()
    for line in chart.of(FAILURES.name):
        code = dict(line.attributes).get(CODE.key, "")
        area = code.partition(".")[0]
        failed = _minutes(chart, [line])
        if area not in _SERVICES or not failed or (area == "fhir" and max(answered, default=failed[0]) > failed[-1]):
            continue
        since = [failed[0], *(a.raised_at for a in alerts.values() if a.raised_at and _is_about(code, a))]
        problems.append(
            ServiceProblem(
                service=_SERVICES[area],
                address=address_of(code, s.settings),
                code=code,
                since=min(since),
                hint=hint_of(code),
            )
        )
    if (hanging := _hanging(chart, answered, s)) is not None:
        known = [problem for problem in problems if problem.code == hanging.code]
        if known or overdue:
            first = min(problem.since for problem in (hanging, *known))
            problems = [*(problem for problem in problems if problem not in known), replace(hanging, since=first)]
    return sorted(problems, key=lambda problem: (problem.since, problem.code))


def _hanging(chart: Chart, answered: Sequence[datetime], s: Core) -> ServiceProblem | None:
    """Return the FHIR service as a problem if requests have no answer, and none succeeded since."""
    waited = _minutes(chart, chart.of(FHIR_UNANSWERED.name))
    if not waited or max(answered, default=waited[0]) > max(waited):
        return None
    code = FhirUnavailable.code
    where = address_of(code, s.settings)
    return ServiceProblem(service=_SERVICES["fhir"], address=where, code=code, since=min(waited), hint=_HANGS)


def _is_good(line: Line) -> bool:
    return "2xx" in dict(line.attributes).values()


def _minutes(chart: Chart, lines: Iterable[Line]) -> list[datetime]:
    """Return the minutes in which something was measured."""
    return [at for line in lines for at, point in zip(chart.times(), line.points, strict=True) if point is not None]


def _is_about(code: str, alert: Alert) -> bool:
    rule = BY_CODE[alert.code]
    return rule.instrument is FAILURES and rule.concerns({CODE.key: code})
