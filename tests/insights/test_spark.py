"""
Spark against DuckDB: the same rows of every table and the same answers, on a generated world.

Spark is half a gigabyte and is not installed with the development tools: without it these tests are skipped.
``pip install '.[spark]'`` and a Java of 17 or 21 let them run.
"""

import importlib.util
import os
import shutil
import sys

import pytest
from typer.testing import CliRunner

from insights.cohort.codes import read_codes
from insights.cohort.definition import read_definition
from insights.cohort.question import compile_question
from insights.collect import Store, read_folder
from local.clinical_files import write_world
from local.clinical_world import AS_OF, BLOCK
from sync.cli import app
from tests.insights.collected import catalogue, collect, tables
from tests.insights.test_clinical_world import COHORT

LACKING = [name for name in ("pyspark", "sqlglot") if importlib.util.find_spec(name) is None]
LACKING += ["java"] * (shutil.which("java") is None)
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"Spark is an extra: {', '.join(LACKING)} not installed")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark")
    write_world(folder / "world", BLOCK)
    collect(folder / "data", folder / "world" / "fhir")
    return folder


@pytest.fixture(scope="module")
def spark():
    from insights.spark.engine import session

    os.environ["PYSPARK_PYTHON"] = sys.executable
    with session() as started:
        yield started


def question():
    definition, located = read_definition(COHORT)
    return compile_question(definition, read_codes(definition, located), AS_OF)


def test_every_table_and_answer_is_that_of_duckdb(spark, world):
    from insights.spark.engine import ask, read_tables
    from insights.spark.writing import write_parquet

    counts = write_parquet(world / "parquet", read_folder(world / "world" / "fhir"), catalogue())
    read_tables(spark, catalogue(), world / "parquet")
    expected = tables(world / "data")
    for name in catalogue().views:
        rows = sorted((tuple(row) for row in spark.table(name).collect()), key=repr)
        assert rows == expected[name], name
        assert counts[name] == len(rows)
    assert sum(counts.values()) > 1000
    asked = question()
    with Store(world / "data").reading() as reading:
        in_duckdb = tuple(reading.connection.execute(sql).fetchall() for sql in (asked.funnel(), asked.answers()))
    assert ask(spark, asked) == in_duckdb
    assert len(in_duckdb[1]) == BLOCK


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
