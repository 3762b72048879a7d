"""
Spark against DuckDB: the same rows of every table and the same answers, on a generated world.

Spark is half a gigabyte and is not installed with the development tools: without it these tests are skipped.
``make test-all`` installs it; so do ``pip install '.[spark]'`` and a Java of 17 or 21.
"""

import csv
import importlib.util
import json
import os
import shutil
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from insights.cohort.codes import read_codes
from insights.cohort.definition import read_definition
from insights.cohort.engine import in_duckdb
from insights.cohort.protection import MINIMUM
from insights.cohort.question import compile_question
from insights.collect import read_folder
from local.clinical_files import write_world
from local.clinical_world import AS_OF, BLOCK
from sync.cli import app
from tests.insights.collected import catalogue, collect, tables
from tests.insights.test_clinical_world import COHORT
from tests.insights.test_cohort import report, study

LACKING = [name for name in ("pyspark", "sqlglot") if importlib.util.find_spec(name) is None]
LACKING += ["java"] * (shutil.which("java") is None)
ENGINES = {"data": "duckdb", "parquet": "spark"}
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"Spark is an extra: {', '.join(LACKING)} not installed")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark")
    write_world(folder / "world", BLOCK)
    add_imaging(folder / "world" / "fhir")
    for file in (folder / "world" / "fhir").glob("*.ndjson"):
        lines = [versioned(number, line) for number, line in enumerate(file.read_text("utf-8").splitlines())]
        file.write_text("\n".join(lines) + "\n", "utf-8")
    collect(folder / "data", folder / "world" / "fhir")
    return folder


def add_imaging(folder):
    """Give each patient CTs with reports by reference, by number and by the day alone, and another study."""
    patients = [json.loads(line)["id"] for line in (folder / "Patient.ndjson").read_text("utf-8").splitlines()]
    added = {"ImagingStudy": [], "DiagnosticReport": []}
    for number, of in enumerate(patients):
        accession = {"type": {"coding": [{"code": "ACSN"}]}, "value": f"A{number}"}
        day, second = study(of, f"{number}.1", started="2026-03-01"), study(of, f"{number}.2")
        numbered = study(of, f"{number}.3", started="2026-04-01T10:00:00Z")
        numbered["identifier"].append(accession)
        added["ImagingStudy"] += [day, second, numbered, study(of, f"{number}.4", "MR", started="2026-02-15")]
        added["DiagnosticReport"] += [
            report(of, f"{number}.1", "2026-03-01"),
            report(of, f"{number}.2", "2026-05-05", imagingStudy=[{"reference": f"ImagingStudy/{second['id']}"}]),
            report(of, f"{number}.3", "2026-05-06", identifier=[accession]),
        ]
    for kind, resources in added.items():
        with (folder / f"{kind}.ndjson").open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(resource)}\n" for resource in resources)


def versioned(number, line):
    """A resource with a version, as of a FHIR service: the data version is made of them."""
    resource = json.loads(line)
    meta = {**resource.get("meta", {}), "versionId": str(number % 7)}
    return json.dumps({**resource, "meta": meta})


@pytest.fixture(scope="module")
def spark():
    from insights.spark.engine import session

    os.environ["PYSPARK_PYTHON"] = sys.executable
    with session() as started:
        yield started


def test_every_table_answer_and_file_is_that_of_duckdb(spark, world, tmp_path):
    from insights.spark.tables import in_spark
    from insights.spark.writing import write_parquet

    counts = write_parquet(world / "parquet", read_folder(world / "world" / "fhir"), catalogue(), "files")
    expected = tables(world / "data")
    definition, located = read_definition(COHORT)
    asked = compile_question(definition, read_codes(definition, located), AS_OF)
    with in_duckdb(world / "data") as in_file, in_spark(world / "parquet") as in_session:
        for name in catalogue().views:
            rows = sorted((tuple(row) for row in spark.table(name).collect()), key=repr)
            assert rows == expected[name], name
            assert counts[name] == len(rows)
        for sql in (asked.funnel(), asked.answers()):
            assert list(in_session.rows(sql)) == list(in_file.rows(sql))
        assert len(list(in_file.rows(asked.answers()))) == BLOCK
        known, also = in_file.collected, in_session.collected
        assert replace(also, source=known.source) == known
    assert sum(counts.values()) > 1000
    manifests = [written(world / data, tmp_path / data, engine) for data, engine in ENGINES.items()]
    changed = {"engine", "outputs"}
    one, two = ({name: value for name, value in manifest.items() if name not in changed} for manifest in manifests)
    assert one == two
    assert one["rows"]["patients.csv"] > MINIMUM
    assert min(one["rows"][f"{name}.csv"] for name in ("studies", "images", "reports")) > MINIMUM
    by = {row["found_by"] for row in csv.DictReader((tmp_path / "parquet" / "reports.csv").open(encoding="utf-8"))}
    assert by == {"accession", "day", "imagingStudy"}
    files = [{file.name: file.read_bytes() for file in (tmp_path / data).iterdir()} for data in ENGINES]
    assert {name for name in files[0] if files[0][name] != files[1][name]} == {"manifest.json", "question.sql"}


def written(data, out, engine):
    """The manifest of a run with rows; both runs have one key."""
    words = ["cohort", "run", str(COHORT), "--data", str(data), "--out", str(out), "--rows", "--engine", engine]
    ended = CliRunner().invoke(app, [*words, "--key", str(out.parent / "key")], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return json.loads((out / "manifest.json").read_text("utf-8"))


def test_a_question_is_written_in_sparks_sql():
    shown = CliRunner().invoke(app, ["cohort", "check", str(COHORT), "--sql", "--engine", "spark"])
    assert shown.exit_code == 0
    assert "RLIKE" in shown.stdout
    assert "QUALIFY" not in shown.stdout


def test_what_spark_cannot_read_or_must_not_replace_is_an_error(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine", "utf-8")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Patient.ndjson").write_text('{"resourceType": "Patient", "id": "p"}\n', "utf-8")
    words = ["collect", str(tmp_path / "there"), "--ndjson", str(tmp_path / "in"), "--engine", "spark"]
    ended = CliRunner().invoke(app, words)
    assert (ended.exit_code, "spark.folder" in ended.output) == (2, True)
    ended = CliRunner().invoke(app, ["collect", str(tmp_path / "new"), "--engine", "spark"])
    assert (ended.exit_code, "spark.source" in ended.output) == (2, True)
    assert (tmp_path / "there" / "file").read_text("utf-8") == "mine"
