"""Agreement by month and subgroup: known answers, and nothing from which a small cell could be computed."""

from datetime import date

from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given
from hypothesis import strategies as st

from insights.outcomes.charting import measure_report, monthly_svg
from insights.outcomes.matching import Days, Finding, Matched, Pair, Place, Truth
from insights.outcomes.strata import Patient, divided, keys, told


def matched(number, said, outcome, day=date(2026, 1, 10), side="left"):
    days, place = Days(day, day), Place("lung", side)
    finding = Finding(f"f{number}", f"r{number}", f"p{number}", days, place, said=said)
    if outcome is None:
        return Matched(finding)
    truth = Truth(f"t{number}", "pathology", 0, f"p{number}", days, final=True, place=place, found=outcome)
    return Matched(finding, Pair(truth, 0, 0))


def strata(given, name, minimum, patients=None):
    return told(divided(given, keys(patients or {})[name]), minimum)


def test_months_have_their_agreement_and_findings_without_outcome_count_in_none():
    january = [matched(number, True, number < 15) for number in range(20)]
    february = [matched(20 + number, False, False, date(2026, 2, 3)) for number in range(12)]
    rest = [matched(40, True, None)]
    parts = strata([*january, *february, *rest], "month", 5)
    assert [(entry["name"], entry["findings"], entry["agreement"]["count"]) for entry in parts] == [
        ("2026-01", 20, 15),
        ("2026-02", 12, 12),
    ]
    assert round(parts[0]["agreement"]["interval"]["low"], 3) == 0.531  # Wilson, 15 of 20
    assert [stratum["findings"] for stratum in strata([*january, *february], "month", 6)] == [None, None]


def test_age_is_that_of_the_year_of_the_finding_and_sex_is_the_patients():
    patients = {"p0": Patient("female", 1981), "p1": Patient("male", 1982), "p2": Patient("female", 1961)}
    given = [matched(number, True, True) for number in range(4)]
    assert [entry["name"] for entry in strata(given, "age", 1, patients)] == [
        "45 to 64",
        "65 and over",
        "not known",
        "under 45",
    ]
    assert [(entry["name"], entry["findings"]) for entry in strata(given, "sex", 1, patients)] == [
        ("female", 2),
        ("male", 1),
        ("not known", 1),
    ]


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.booleans()), max_size=80), st.integers(1, 12))
def test_what_is_hidden_is_no_small_cell_less_the_rest(rows, minimum):
    given_rows = [
        matched(number, said, outcome, date(2026, month, 1)) for number, (month, said, outcome) in enumerate(rows)
    ]
    shown = strata(given_rows, "month", minimum)
    parts = divided(given_rows, keys({})["month"])
    assert len(parts) == len(shown)
    hidden = [part for part, stratum in zip(parts, shown, strict=True) if stratum["findings"] is None]
    for cell in (0, 1):
        count = sum(part.people[cell] for part in hidden)
        assert count == 0 or count >= minimum or len(hidden) == len(parts)  # then the figure of all is hidden too
    for part, stratum in zip(parts, shown, strict=True):
        assert stratum["findings"] is None or all(count == 0 or count >= minimum for count in part.people)


def test_the_drawing_has_a_mark_for_each_month_that_is_shown():
    january = [matched(number, True, True) for number in range(12)]
    months = strata([*january, matched(50, True, True, date(2026, 2, 1))], "month", 1)
    hidden = {"name": "2026-03", "findings": None, "agreement": None}
    drawing = monthly_svg([*months, hidden])
    assert drawing.count("<circle") == 2
    assert "2026-03" in drawing


def test_the_measure_report_is_one_and_masks_what_is_hidden():
    share = {"value": 0.75, "count": 15, "total": 20, "interval": {"low": 0.5, "high": 0.9}}
    cells = {"true_positive": 15, "false_positive": None}
    months = [
        {"name": "2026-01", "findings": 20, "agreement": share},
        {"name": "x", "findings": None, "agreement": None},
    ]
    measured = {"all": {"cells": cells, "agreement": None}, "strata": {"month": months, "sex": []}}
    made = measure_report({"rule": "nodules", "model": "M 1", "as_of": "2026-06-30", "findings": measured})
    get_fhir_model_class("MeasureReport").model_validate(made)
    masked = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]
    }
    group = made["group"][0]
    assert [population.get("count", population.get("_count")) for population in group["population"]] == [15, masked]
    assert group["measureScore"] == masked
    assert [len(stratifier["stratum"]) for stratifier in group["stratifier"]] == [2]
