"""The buttons of the band: what each cause asks for, the worst first, and only what the visitor may do."""

from dataclasses import replace

import pytest

from sync.monitoring.status import read_status
from sync.monitoring.status_model import ActiveAlert, Health, OpenDrift, PausedProjection
from sync.web.next_steps import MOST, next_steps
from tests.worlds import MemoryWorld


@pytest.fixture
async def calm():
    return await read_status(MemoryWorld().services)


def alert(code, severity="critical"):
    return ActiveAlert(code=code, severity=severity, title="", hint="", value=1, raised_at=None, acknowledged_by=None)


def texts(status, *, may_operate=True):
    return [step.text for step in next_steps(status, may_operate=may_operate)]


def test_where_nothing_is_left_there_is_no_button(calm):
    assert texts(calm) == []


def test_a_pause_is_ended_by_operators_only(calm):
    paused = replace(calm, paused=PausedProjection(since=calm.at, who="ann", why="restore"))
    [step] = next_steps(paused, may_operate=True)
    assert (step.page, step.query) == ("confirm", {"action": "resume"})
    assert texts(paused, may_operate=False) == []


def test_dead_letters_lead_to_their_list_and_a_single_code_to_its_own(calm):
    one = replace(calm, dead_letters=2, dead_letters_by_code={"header.not_dicom": 2, "fhir.rejected": 0})
    [step] = next_steps(one, may_operate=False)
    assert (step.text, step.page, step.query) == ("View 2 dead letters", "letters", {"of": "header.not_dicom"})
    two = replace(calm, dead_letters=2, dead_letters_by_code={"header.not_dicom": 1, "fhir.rejected": 1})
    assert next_steps(two, may_operate=False)[0].query == {}


def test_the_worst_alert_comes_first_and_none_twice(calm):
    status = replace(
        calm,
        alerts=[alert("alert.drift", "warning"), alert("alert.dead_letters", "warning"), alert("alert.lag")],
        dead_letters=1,
        dead_letters_by_code={"fhir.rejected": 1},
        drift=OpenDrift(open=2, by_kind={"missing": 2}, last_round=None),
    )
    assert texts(status) == ["What to do about alert.lag", "See the differences", "View 1 dead letter"]


def test_where_studies_are_behind_they_come_before_dead_letters(calm):
    letters = {"dead_letters": 1, "dead_letters_by_code": {"fhir.rejected": 1}, "dirty_studies": 2}
    behind = replace(calm, health=Health(verdict="behind"), **letters)
    assert texts(behind) == ["View 2 outstanding studies", "View 1 dead letter"]
    assert texts(replace(calm, **letters)) == ["View 1 dead letter"], "they are on their way"


def test_held_removals_lead_to_their_decision(calm):
    [step] = next_steps(replace(calm, alerts=[alert("alert.removals")]), may_operate=False)
    assert step.section == "removals"


def test_the_band_has_few_buttons(calm):
    many = [alert(f"alert.{name}") for name in ("lag", "queue", "feed", "access", "stopped")]
    assert len(texts(replace(calm, alerts=many))) == MOST
