"""Similar patients: who is compared, known curves, what is hidden, and every refusal."""

import json
import re
import shlex
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from insights.cohort.protection import safe
from insights.errors import CohortError
from insights.similar.follow_up import Course, Followed, Span, follow_up
from insights.similar.outcomes import NONE_OF_THEM, POOLED, outcomes
from insights.similar.report import curves_svg
from insights.similar.rule import Follow, read_rule
from insights.similar.run import Asked, run
from insights.statistics import Survival
from sync.cli import app
from tests.insights.collected import collect, write

RULE = Path(__file__).parents[2] / "docs" / "examples" / "lung.yaml"
SCT = "http://snomed.info/sct"
DIAGNOSED = date(2023, 1, 10)
MP = [(6, 1), (6, 1), (6, 1), (6, 0), (7, 1), (9, 0), (10, 1), (10, 0), (11, 0), (13, 1), (16, 1), (17, 0), (19, 0),
      (20, 0), (22, 1), (23, 1), (25, 0), (32, 0), (32, 0), (34, 0), (35, 0)]  # fmt: skip
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def coded(kind, identity, of, code, **more):
    return {
        "resourceType": kind,
        "id": f"{kind.lower()}-{of}-{identity}",
        "subject": {"reference": f"Patient/{of}"},
        "code": {"coding": [{"system": SCT, "code": code}]},
        **more,
    }


def person(name, *, born="1960-05-05", sex="female", size=30.0, days=400, dead=False, treated=None, onset=DIAGNOSED):
    """One patient with a diagnosis, a lesion, a last record ``days`` after the landmark, maybe a treatment."""
    last = (onset + timedelta(days=90 + days)).isoformat()
    patient = {"resourceType": "Patient", "id": name, "gender": sex, "birthDate": born}
    patient["meta"] = {"lastUpdated": "2026-06-30T12:00:00Z"}
    if dead:
        patient["deceasedDateTime"] = last
    yield {**patient, "name": [{"family": "SENTINELNAME"}]}
    yield coded("Condition", "d", name, "254637007", onsetDateTime=onset.isoformat())
    if size is not None:
        yield coded("Observation", "s", name, "33728005", status="final", effectiveDateTime=onset.isoformat(),
                    valueQuantity={"value": size, "unit": "mm", "code": "mm",
                                   "system": "http://unitsofmeasure.org"})  # fmt: skip
    if not dead:
        yield coded("Procedure", "l", name, "183616001", status="completed", performedDateTime=last)
    if treated is not None:
        at = (onset + timedelta(days=20)).isoformat()
        yield coded("Procedure", "t", name, treated, status="completed", performedDateTime=at)


def world():
    """The trial of Freireich with weeks as 30 days: known curves; half had a resection, half chemotherapy."""
    yield from person("me")
    for number, (weeks, event) in enumerate(MP):
        yield from person(f"mp{number}", days=30 * weeks, dead=bool(event), treated="173171007")
    for number, weeks in enumerate(PLACEBO):
        yield from person(f"pl{number}", days=30 * weeks, dead=True, treated="367336001")
    yield from person("man", sex="male")
    yield from person("old", born="1950-01-01")
    yield from person("year-only", born="1955")
    yield from person("small", size=20.9)
    yield from person("unmeasured", size=None)


RULE_OF_TRIAL = RULE.read_text("utf-8").replace("every: 6 months", "every: 30 days").replace("2 years", "1050 days")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("similar")
    collect(folder / "data", write(folder / "in", *world()))
    (folder / "rule.yaml").write_text(RULE_OF_TRIAL, "utf-8")
    return folder


def told(data, patient="me", minimum=1, rule="rule.yaml", **more):
    return run(Asked(patient, data / rule, data / "data", minimum), **more)


def changed(data, old, new):
    assert old in RULE_OF_TRIAL
    (data / "other.yaml").write_text(RULE_OF_TRIAL.replace(old, new), "utf-8")
    return "other.yaml"


def test_calipers_lose_whom_they_should_and_count_whom_they_cannot_decide(data):
    funnel = [(step.counted.people, step.counted.undecided) for step in told(data).funnel]
    assert funnel == [(47, 0), (47, 0), (47, 0), (47, 0), (46, 0), (44, 1), (42, 1), (42, 0), (42, 0), (42, 0)]


def test_the_known_trial_gives_the_known_curves(data):
    report = told(data).outcomes
    assert [(group.name, group.people, group.events) for group in report.groups] == [
        ("chemotherapy", 21, 21),
        ("resection", 21, 9),
    ]
    points = {group.name: {point.days / 30: point for point in group.points if point} for group in report.groups}
    assert [points["resection"][week].survival for week in (6, 7, 10, 13)] == [86, 81, 75, 69]
    assert points["chemotherapy"][5].survival == 57
    assert points["resection"][7].at_risk == 17
    assert (report.test.chi_squared, report.test.degrees) == (pytest.approx(16.79, abs=0.01), 1)


@pytest.mark.parametrize("minimum", [2, 5, 11])
def test_no_small_cell_is_told_nor_follows_from_others(data, minimum):
    report = told(data, minimum=minimum)
    for group in report.outcomes.groups:
        before = group.people
        for point in (point for point in group.points if point is not None):
            assert point.at_risk >= minimum
            assert safe(before - point.at_risk, minimum)
            before = point.at_risk
        assert group.events is None or (safe(group.events, minimum) and safe(group.people - group.events, minimum))
    people = [step.counted.people for step in report.funnel if step.counted.people is not None]
    assert all(safe(one - other, minimum) for one, other in pairwise(people))


def test_small_groups_are_pooled_until_the_pool_is_none():
    def people(number, *took):
        return [Followed(Survival(10, event=False), took, "female", 60, 30.0, 2023)] * number

    report = outcomes(
        [*people(20, True, False), *people(13, False, True), *people(3, True, True)], ("a", "b"), Follow(), 11
    )
    assert [(group.name, group.people) for group in report.groups] == [("a", 20), (POOLED, 16)]
    report = outcomes([*people(20, True, False), *people(13, False, False)], ("a", "b"), Follow(), 11)
    assert [(group.name, group.people) for group in report.groups] == [("a", 20), (NONE_OF_THEM, 13)]
    assert outcomes(people(12, True), ("a",), Follow(), 13).groups[0].people is None


def test_too_few_people_give_a_funnel_and_no_curve(data):
    result = CliRunner().invoke(
        app, ["similar", "me", "--rule", str(data / "rule.yaml"), "--data", str(data / "data")],
        env={"DICOM_SYNC_MINIMUM_CELL": "100"},
    )  # fmt: skip
    assert result.exit_code == 1
    assert "similar.too_few" in result.stderr
    assert "| other people in the data |" in result.stdout
    assert "Log-rank" not in result.stdout


@pytest.mark.parametrize(
    ("patient", "change", "code"),
    [
        ("nowhere", None, "similar.no_patient"),
        ("unmeasured", None, "similar.not_comparable"),
        ("me", ("procedure: resection", "procedure: resections"), "cohort.unknown_codes"),
        ("me", ('"http://snomed.info/sct|173171007"', '"http://loinc.org|1"'), "cohort.unknown_system"),
        ("me", ("age: {within: 5}", "age: {whithin: 5}"), "cohort.invalid"),
        ("me", ("landmark: 90 days", "landmark: soon"), "cohort.invalid"),
        ("me", ("as_of: 2026-06-30", "as_of: 2027-06-30"), "cohort.stale_data"),
    ],
)
def test_every_refusal_has_its_code_and_writes_nothing(data, patient, change, code):
    rule = changed(data, *change) if change else "rule.yaml"
    with pytest.raises(CohortError) as refused:
        told(data, patient, rule=rule, out=data / "refused")
    assert refused.value.code == code
    assert "SENTINEL" not in str(refused.value)
    assert not (data / "refused").exists()
    if change:
        assert "other.yaml:" in refused.value.message


def test_results_are_whole_the_same_twice_and_tell_no_person(data):
    told(data, minimum=11, out=data / "one")
    told(data, minimum=11, out=data / "two")
    files = {file.name for file in (data / "one").iterdir()}
    assert files == {"summary.md", "result.json", "curves.csv", "curves.svg", "manifest.json"}
    for name in files:
        text = (data / "one" / name).read_text("utf-8")
        assert text == (data / "two" / name).read_text("utf-8")
        assert "SENTINEL" not in text
        assert "mp1" not in text
    noted = [json.loads(line) for line in (data / "data" / "audit.ndjson").read_text("utf-8").splitlines()]
    assert {line["patient"] for line in noted} >= {"me"}


def test_the_drawing_is_of_the_curves(data):
    drawn = curves_svg(told(data).outcomes, 1050)
    assert drawn.count('stroke-width="2"') == 2
    assert "resection (21)" in drawn


COURSE = {"diagnosis": Span(DIAGNOSED, DIAGNOSED), "event": Span(None, None), "death": Span(None, None), "dead": False,
          "contact": date(2024, 1, 10), "sex": None, "age": None, "size": None, "treatments": (True,)}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({"treatments": (None,)}, "undecided"),
        ({"dead": True}, "undecided"),
        ({"event": Span(date(2023, 1, 1), date(2023, 12, 31))}, "undecided"),
        ({"event": Span(date(2023, 2, 1), date(2023, 2, 1))}, "before"),
        ({"contact": date(2023, 2, 1)}, "unseen"),
        ({}, Survival(275.0, event=False)),
        ({"event": Span(date(2023, 5, 1), date(2023, 5, 1))}, Survival(21.0, event=True)),
        ({"event": Span(date(2023, 5, 1), date(2023, 5, 31))}, Survival(36.0, event=True)),
        ({"contact": date(2031, 1, 1)}, Survival(1177.0, event=False)),
    ],
)
def test_times_begin_at_the_landmark_and_end_at_the_data(more, outcome):
    followed = follow_up(Course(**{**COURSE, **more}), Follow(), date(2026, 6, 30))
    assert (followed.survival if isinstance(followed, Followed) else followed) == outcome


def test_the_example_is_a_rule():
    rule, _ = read_rule(RULE)
    assert rule.follow.points == 4


def test_the_commands_of_the_page_end_well_and_say_what_it_says(data):
    page = RULE.parents[1].joinpath("similar.md").read_text("utf-8")
    typed = re.findall(r"^python -m sync (similar .*)$", page, re.MULTILINE)
    assert len(typed) == 2
    for line in typed:
        words = shlex.split(line.replace("PATIENT", "me").replace("docs/", f"{RULE.parents[1]}/"))
        words = [str(data / word) if word in {"data", "result"} else word for word in words]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        for said in ("## Are the groups alike?", "Log-rank test", "## Limits", "This is not causal"):
            assert said in result.stdout


def test_the_rule_of_the_page_is_that_of_the_example():
    page = RULE.parents[1].joinpath("similar.md").read_text("utf-8")
    block = re.search(r"```yaml\n(.*?)```", page, re.DOTALL).group(1)
    assert block in re.sub(r" +#.*", "", RULE.read_text("utf-8"))
