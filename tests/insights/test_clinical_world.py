"""The generator of clinical worlds: always the same, and the questions find what it counted while writing."""

import asyncio
import csv
import json
import shlex
from collections import Counter

import pydicom
import pytest
from typer.testing import CliRunner

from insights.collect import Store, build, read_folder
from insights.outcomes.addressed import TABLES, addressed
from insights.outcomes.feedback import feedback
from insights.outcomes.models import Wanted, report
from insights.outcomes.rule import prepare
from local.clinical_cases import CONSENTS, STENT_CASES
from local.clinical_files import send_world, write_world
from local.clinical_world import BLOCK, PATIENT_SYSTEM, people, person, truth
from local.demo import QUESTIONS
from sync.cli import app
from tests.insights.collected import catalogue, collect
from tests.insights.outcomes_world import ROOT, RULE

COHORT = ROOT / "docs" / "examples" / "osteosarcoma.yaml"
STENTS = ROOT / "docs" / "examples" / "stents.yaml"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clinical")
    write_world(folder / "world", BLOCK)
    collect(folder / "data", folder / "world" / "fhir")
    return folder


def members(data, out):
    arguments = ["cohort", "run", str(COHORT), "--data", str(data), "--out", str(out), "--identified"]
    ended = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    with (out / "patients.csv").open(encoding="utf-8") as rows:
        return sorted(row["patient_id"] for row in csv.DictReader(rows))


@pytest.mark.parametrize("rule", [RULE, STENTS], ids=["nodules", "stents"])
def test_the_tables_that_a_watch_builds_give_what_all_tables_give(files, tmp_path, rule):
    some = catalogue().only(TABLES)
    assert set(some.views) == TABLES
    build(Store(tmp_path / "data"), read_folder(files / "world" / "fhir"), some, source="files")
    addressed_in = []
    for folder, views in ((files / "data", catalogue()), (tmp_path / "data", some)):
        with Store(folder).reading(views) as reading:
            addressed_in.append(addressed(reading, prepare(rule)))
    assert addressed_in[0] == addressed_in[1]
    assert addressed_in[0]


@pytest.mark.parametrize("number", [0, 10, 17, 40, BLOCK - 1, BLOCK, 5 * BLOCK + 33])
def test_a_patient_is_the_same_whatever_the_number_of_patients(number):
    assert person(number) == list(people(number + 1))[number] == person(number)


def test_the_same_world_has_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_world(tmp_path / name, 40)
    one, two = (
        {
            file.relative_to(tmp_path / name): file.read_bytes()
            for file in (tmp_path / name).rglob("*")
            if file.is_file()
        }
        for name in ("one", "two")
    )
    assert one == two


def test_each_boundary_case_is_in_every_block():
    cases = truth(people(2 * BLOCK))["cases"]
    planted = {case: count for case, count in cases.items() if count == 2}
    assert len(planted) == 16 + len(CONSENTS) + len(STENT_CASES)


def test_ids_are_used_once():
    ids = Counter((one["resourceType"], one["id"]) for who in people(2 * BLOCK) for one in who.resources)
    assert max(ids.values()) == 1


def test_the_cohort_holds_whom_the_world_counted(files):
    ids = members(files / "data", files / "cohort")
    assert ids == truth(people(BLOCK))["osteosarcoma"]["in"]


def test_a_reader_gets_the_outcomes_that_the_world_counted(files):
    given = feedback(RULE, files / "data", "r-17")
    expected = truth(people(BLOCK))["reader"]
    assert (given.reads, given.known) == (expected["reads"], expected["with outcome"])
    words = {True: "yes", False: "no"}
    table = Counter(
        f"said {words[pair.finding.said]}, found {words[pair.answer.truth.found]}"
        for pair in given.matched
        if pair.answer
    )
    assert dict(table) == expected["table"]
    outcome = {entry.finding.patient_id: entry.outcome for entry in given.matched}
    assert [outcome[person(number).id] for number in (13, 14, 15)] == ["other side", "waiting", "none"]


def test_sizes_of_stents_are_those_that_the_world_counted(files):
    report(STENTS, files / "data", "Stent Sizer 1.0", Wanted(files / "stents", minimum=5))
    sizes = json.loads((files / "stents" / "report.json").read_text("utf-8"))["sizes"]
    expected = truth(people(BLOCK))["stents"]
    assert (expected["recommended"], expected["implants"]) == (20, 15)
    assert (sizes["recommended"], sizes["pairs"]) == (20, 15)
    assert round(sizes["bland_altman"]["bias"], 6) == expected["bias"]


def test_doses_are_those_that_the_world_counted(files):
    with Store(files / "data").reading() as reading:
        query = "SELECT count(*), sum(value) FROM dose WHERE status = 'final' AND total = '113813'"
        totals = reading.connection.execute(query).fetchone()
        everything = reading.connection.execute("SELECT count(*) FROM dose").fetchone()
    expected = truth(people(BLOCK))["dose"]
    assert totals == (expected["records"], expected["total"])
    assert everything > totals[:1]  # those entered in error


def test_images_are_of_the_patients_of_the_world(files):
    world = {one.patient_id: one for one in people(BLOCK)}
    headers = [pydicom.dcmread(file) for file in sorted((files / "world" / "dicom").rglob("*.dcm"))]
    assert len(headers) == sum(one.ct is not None for one in world.values()) > 20
    for header in headers:
        one = world[header.PatientID]
        assert header.StudyDate == one.ct.strftime("%Y%m%d")
        assert header.AccessionNumber == one.accession
        assert one.resources[0]["identifier"] == [{"system": PATIENT_SYSTEM, "value": header.PatientID}]
    assert len({header.StudyInstanceUID for header in headers}) == len(headers)


def test_the_cohort_over_a_server_is_that_over_files(fhir_embedded, files, monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_FHIR_URL", fhir_embedded)
    asyncio.run(send_world(fhir_embedded, list(people(BLOCK))))
    arguments = ["collect", str(files / "live"), "--fhir", fhir_embedded]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert members(files / "live", files / "live-cohort") == members(files / "data", files / "again")


def test_what_the_demo_says_can_be_asked_is_answered(fhir_embedded, tmp_path, monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_FHIR_URL", fhir_embedded)
    asyncio.run(send_world(fhir_embedded, list(people(BLOCK))))
    lines = [line for line in QUESTIONS if " watch " not in line]  # tests/insights/test_feedback_watch.py
    assert len(lines) >= 6
    for line in lines:
        words = [
            str(ROOT / word) if word.startswith("docs/") else word.replace(".local", str(tmp_path))
            for word in shlex.split(line)
        ]
        ended = CliRunner().invoke(app, words[3:], catch_exceptions=False)
        assert ended.exit_code == 0, (line, ended.output)
