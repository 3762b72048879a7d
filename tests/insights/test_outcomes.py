"""Feedback to readers and models on worlds with known answers, and the pages on both, typed as they stand."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from insights.errors import InsightsError
from insights.outcomes.feedback import feedback
from insights.outcomes.models import Wanted, report
from sync.cli import app
from tests.insights.collected import collect, write
from tests.insights.outcomes_world import (
    BENIGN,
    CANCER,
    EXAMPLE,
    MODEL,
    NO,
    RULE,
    YES,
    coded,
    device,
    example,
    pathology,
    patient,
    read,
    said_by_model,
    study,
    to,
)  # fmt: skip

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lung")
    collect(folder / "data", write(folder / "in", *example()))
    return folder / "data"


def world(folder, *resources):
    collect(folder / "data", write(folder / "in", *resources))
    return folder / "data"


def people(count):
    return [f"p{number:02}" for number in range(1, count + 1)]


def test_the_files_of_the_example_are_those_of_the_world(tmp_path):
    write(tmp_path / "lung", *example())
    assert {file.name: file.read_text() for file in (tmp_path / "lung").iterdir()} == {
        file.name: file.read_text() for file in EXAMPLE.iterdir()
    }


def test_a_reader_learns_what_was_found(data):
    given = feedback(RULE, data, "urn:example:staff|r-17")
    assert (given.reads, given.known, given.uncoded, given.preliminary) == (20, 11, 0, 0)
    outcomes = {entry.finding.patient_id: entry.outcome for entry in given.matched}
    assert (outcomes["p15"], outcomes["p16"], outcomes["p17"]) == ("other side", "waiting", "none")


@pytest.mark.parametrize("reader", ["urn:example:other|r-17", "r-1", "Practitioner/r-17"])
def test_nothing_is_told_to_another_reader(data, reader):
    with pytest.raises(InsightsError, match="names that reader") as failure:
        feedback(RULE, data, reader)
    assert failure.value.code == "feedback.unknown_reader"


def test_reads_of_another_reader_are_not_in_it(tmp_path):
    other = {"identifier": {"system": "urn:example:staff", "value": "r-18"}}
    mine, theirs = (
        [patient("p01"), study("p01"), *read("p01", YES)],
        [patient("p02"), study("p02"), *read("p02", NO, by=other)],
    )
    given = feedback(RULE, world(tmp_path, *mine, *theirs), "r-17")
    assert {pair.finding.patient_id for pair in given.matched} == {"p01"}


def test_the_table_of_a_model_is_that_of_the_world(data, tmp_path):
    report(RULE, data, MODEL, Wanted(out=tmp_path / "out", rows=True))
    facts = json.loads((tmp_path / "out" / "report.json").read_text())
    cells = facts["findings"]["all"]["cells"]
    assert cells == {"true_positive": 6, "false_positive": 1, "false_negative": 1, "true_negative": 3}
    truth = [json.loads(line) for line in (tmp_path / "out" / "truth.ndjson").read_text().splitlines()]
    assert len(truth) == 11
    assert not re.search(r"p\d\d|1\.2\.3\.\d", json.dumps([row | {"model": ""} for row in truth]))


def test_the_same_data_gives_the_same_bytes(data, tmp_path):
    for name in ("one", "two"):
        report(RULE, data, MODEL, Wanted(out=tmp_path / name, rows=True))
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two


def test_a_small_cell_hides_what_could_be_computed_from_it(data, tmp_path):
    text = report(RULE, data, MODEL, Wanted(out=tmp_path / "out"))
    assert not re.search(r"\(\d+ of \d+\)", text)
    facts = json.loads((tmp_path / "out" / "report.json").read_text())["findings"]["all"]
    assert facts["hidden"] is True
    assert set(facts["cells"].values()) == {None}


def test_cells_of_eleven_people_are_shown(tmp_path):
    resources = [device()]
    for number, of in enumerate(people(44)):
        said, outcome = ((YES, CANCER), (YES, BENIGN), (NO, CANCER), (NO, BENIGN))[number % 4]
        resources += [patient(of), study(of), said_by_model(of, said), *pathology(of, outcome)]
    data = world(tmp_path, *resources)
    report(RULE, data, MODEL, Wanted(out=tmp_path / "out"))
    every = json.loads((tmp_path / "out" / "report.json").read_text())["findings"]["all"]
    assert set(every["cells"].values()) == {11}
    assert every["ppv"]["value"] == 0.5


def test_too_few_people_give_no_report(tmp_path):
    resources = [device()]
    for of in people(10):
        resources += [patient(of), study(of), said_by_model(of, YES), *pathology(of, CANCER)]
    data = world(tmp_path, *resources)
    with pytest.raises(InsightsError, match="fewer than 11") as failure:
        report(RULE, data, MODEL, Wanted(out=tmp_path / "out"))
    assert (failure.value.code, (tmp_path / "out").exists()) == ("outcome.too_few", False)


@pytest.mark.parametrize(("model", "code"), [("Nodule Finder 3", "models.unknown"), ("Nodule", "models.unknown")])
def test_a_model_that_is_not_there_is_named_an_error(data, tmp_path, model, code):
    with pytest.raises(InsightsError) as failure:
        report(RULE, data, model, Wanted(out=tmp_path / "out"))
    assert failure.value.code == code


STENTS = """
rule: stents
purpose: quality
approval: QA 1
codes:
  recommended: ["urn:example|stent-diameter"]
  nominal: ["urn:example|nominal-diameter"]
  coronary: ["http://snomed.info/sct|41801008"]
size: {said: recommended, used: nominal, within_days: 90}
sites:
  coronary: {codes: coronary}
"""


def stent(of, recommended, used, after="2026-02-01", unit="mm"):
    vessel = {"bodySite": [coded("41801008")]}
    own = {"resourceType": "Device", "id": f"stent-{of}", "property": [
        {"type": coded("nominal-diameter", "urn:example"),
         "valueQuantity": [{"value": used, "unit": unit, "code": unit}]}
    ]}  # fmt: skip
    advice = {
        "resourceType": "Observation", "id": f"m-{of}", "status": "final", "subject": to("Patient", of),
        "device": to("Device", "d1"), "effectiveDateTime": "2026-01-10", "bodySite": coded("41801008"),
        "code": coded("stent-diameter", "urn:example"),
        "valueQuantity": {"value": recommended, "unit": "mm", "code": "mm"},
    }  # fmt: skip
    implanted = {
        "resourceType": "Procedure", "id": f"pci-{of}", "status": "completed", "subject": to("Patient", of),
        "performedDateTime": after, "code": coded("36969009"), **vessel,
        "focalDevice": [{"action": coded("257867005"), "manipulated": to("Device", f"stent-{of}")}],
    }  # fmt: skip
    return [patient(of), own, advice, implanted]


def test_a_procedure_at_several_sites_is_at_none_that_is_known(tmp_path):
    rule, resources = tmp_path / "stents.yaml", [device()]
    rule.write_text(STENTS, "utf-8")
    for of in people(12):
        resources += stent(of, 3.0, 3.5)
        resources[-1]["bodySite"] = [coded("13647002"), coded("41801008")]
    report(rule, world(tmp_path, *resources), MODEL, Wanted(out=tmp_path / "out", rows=True))
    rows = [json.loads(line) for line in (tmp_path / "out" / "truth.ndjson").read_text().splitlines()]
    assert [row["flags"] for row in rows] == [["site unknown"]] * 12


def test_a_size_that_no_vessel_has_ends_no_report(tmp_path):
    rule = tmp_path / "stents.yaml"
    rule.write_text(STENTS, "utf-8")
    resources = [
        device(),
        *(resource for of in people(12) for resource in stent(of, 3.0, 3.0)),
        *stent("p90", 5e9, 3.0),
    ]
    report(rule, world(tmp_path, *resources), MODEL, Wanted(out=tmp_path / "out", rows=True))
    assert json.loads((tmp_path / "out" / "report.json").read_text())["sizes"]["pairs"] == 13


def test_stent_sizes_have_bias_and_limits(tmp_path):
    rule = tmp_path / "stents.yaml"
    rule.write_text(STENTS, "utf-8")
    resources = [device()]
    for number, of in enumerate(people(12)):
        resources += stent(of, 3.0, 2.5 if number % 2 else 3.0)
    resources += stent("p90", 3.0, 9.0, after="2026-04-11")  # 91 days
    resources += stent("p91", 3.0, 9.0, unit="cm")
    report(rule, world(tmp_path, *resources), MODEL, Wanted(out=tmp_path / "out", rows=True))
    sizes = json.loads((tmp_path / "out" / "report.json").read_text())["sizes"]
    assert (sizes["pairs"], sizes["recommended"]) == (12, 14)
    assert sizes["bland_altman"]["bias"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("within_days: 180", "within_dayz: 180"), r"nodules.yaml:16:\d+: there is no field 'within_dayz'"),
        (("negative: clear", "negative: clean"), r"nodules.yaml:\d+:\d+: there are no codes 'clean'"),
        (("within_days: 180", "within_days: many"), r"nodules.yaml:16:\d+: "),
    ],
)
def test_a_mistake_in_a_rule_is_named_by_line_and_column(data, tmp_path, change, says):
    rule = tmp_path / "nodules.yaml"
    rule.write_text(RULE.read_text("utf-8").replace(*change), "utf-8")
    with pytest.raises(InsightsError, match=says):
        feedback(rule, data, "r-17")


def blocks(page):
    text = (ROOT / "docs" / page).read_text("utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def typed(line, folder):
    words = shlex.split(line.replace(".local/", f"{folder}/"))
    words = [str(ROOT / word) if word.startswith("docs/") else word for word in words]
    assert words[:3] == ["python", "-m", "sync"]
    return CliRunner().invoke(app, words[3:], catch_exceptions=False)


@pytest.mark.parametrize("page", ["feedback.md", "models.md"])
def test_a_page_is_typed_as_it_stands_and_shows_what_it_says(page, tmp_path):
    lines = [
        line
        for language, block in blocks(page)
        if language == "sh" and ".local/world.env" not in block  # tests/insights/test_clinical_world.py asks a server
        for line in block.splitlines()
    ]
    ended = {line: typed(line, tmp_path) for line in lines}
    assert {line: result.exit_code for line, result in ended.items()} == dict.fromkeys(lines, 0)
    said = "".join(result.output for result in ended.values())
    for language, block in blocks(page):
        if not language:
            assert [line for line in block.splitlines() if line not in said] == []
