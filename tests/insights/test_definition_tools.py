"""Check, dummy data, lock files and differences of definitions."""

import json
import shutil
import subprocess
import sys
from itertools import combinations, pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from insights.cohort.codes import Code, read_codes
from insights.cohort.definition import read_definition
from insights.cohort.protection import Raw, protect, safe
from insights.cohort.terminology import expand
from insights.errors import CohortError, Unavailable
from sync.cli import app
from tests.insights.test_cohort import DEFINITION

TESTS = """\
tests:
  - name: old enough
    expect: in
    born: 1980-06-30
    diagnoses: [{code: "http://snomed.info/sct|307576001", date: 2025}]
  - {name: either, expect: %s, born: 1980, diagnoses: [{code: "http://snomed.info/sct|307576001", date: 2026-01-01}]}
"""


def test_without_the_extra_a_command_says_what_to_install(tmp_path, monkeypatch):
    def missing(*_):
        raise ModuleNotFoundError("No module named 'duckdb'", name="duckdb")

    monkeypatch.setattr("insights.cli.collecting._catalogue", missing)
    result = invoke("collect", tmp_path / "d", "--ndjson", tmp_path)
    assert result.exit_code == 2
    assert "insights.not_installed" in result.output


def test_the_sync_starts_without_loading_what_the_extra_installs():
    script = "import sys; from sync.cli import app; print(sorted({'duckdb', 'insights.views'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize(("expect", "exit_code"), [("undecided", 0), ("in", 1)])
def test_the_tests_of_a_definition_run(tmp_path, expect, exit_code):
    (tmp_path / "c.yaml").write_text(DEFINITION + TESTS % expect, "utf-8")
    result = invoke("cohort", "check", tmp_path / "c.yaml")
    assert result.exit_code == exit_code
    assert ("FAILED: expected in, is undecided" in result.output) == bool(exit_code)


def test_a_wrong_definition_exits_with_2(tmp_path):
    (tmp_path / "c.yaml").write_text(DEFINITION.replace("over", "ovr"), "utf-8")
    result = invoke("cohort", "check", tmp_path / "c.yaml")
    assert result.exit_code == 2
    assert "c.yaml:9:11" in result.output


KINDS = """\
cohort: kinds
as_of: 2026-06-30
codes: {any: ["http://snomed.info/sct|1"]}
who:
  - sex: female
  - age: {at_least: 18, under: 65}
  - not: {procedure: {in: any}}
  - any: [{study: {modality: CT, when: last 6 months}}, {encounter: {class: IMP, when: last 1 year}}]
  - observation: {in: any, above: 5, unit: mm, when: since 2026-01-01}
  - medication: {in: any, when: 2026-01-01 to 2026-03-31}
"""


def test_dummy_patients_fall_into_the_branches_that_they_are_made_for(tmp_path):
    (tmp_path / "c.yaml").write_text(KINDS, "utf-8")
    assert invoke("cohort", "dummy", tmp_path / "c.yaml", "--out", tmp_path / "d", "--each", 11).exit_code == 0
    assert invoke("collect", tmp_path / "data", "--ndjson", tmp_path / "d").exit_code == 0
    run = invoke("cohort", "run", tmp_path / "c.yaml", "--data", tmp_path / "data", "--out", tmp_path / "o")
    assert run.exit_code == 0, run.output
    funnel = json.loads((tmp_path / "o" / "manifest.json").read_text("utf-8"))["funnel"]
    assert funnel[-1]["people"] == 11  # only those who are made to be in
    lost = [one["people"] - other["people"] for one, other in pairwise(funnel[2:])]
    assert all(lost)  # each criterion has someone who fails it


def test_what_differs_between_two_runs_is_told(tmp_path):
    (tmp_path / "c.yaml").write_text(DEFINITION, "utf-8")
    invoke("cohort", "dummy", tmp_path / "c.yaml", "--out", tmp_path / "d")
    invoke("collect", tmp_path / "data", "--ndjson", tmp_path / "d")
    invoke("cohort", "run", tmp_path / "c.yaml", "--data", tmp_path / "data", "--out", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "same")
    (tmp_path / "c.yaml").write_text(DEFINITION.replace("last 2 years", "last 20 years"), "utf-8")
    invoke("cohort", "run", tmp_path / "c.yaml", "--data", tmp_path / "data", "--out", tmp_path / "b")
    assert invoke("cohort", "diff", tmp_path / "a", tmp_path / "same").output == "nothing differs\n"
    result = invoke("cohort", "diff", tmp_path / "a", tmp_path / "b")
    assert result.exit_code == 1
    assert "definition differs" in result.output
    assert invoke("cohort", "diff", tmp_path / "a", tmp_path / "d").exit_code == 2
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text("utf-8"))
    for other in ([], {**manifest, "funnel": [{"step": 0}]}, {**manifest, "minimum": "few"}):
        (tmp_path / "same" / "manifest.json").write_text(json.dumps(other), "utf-8")
        refused = invoke("cohort", "diff", tmp_path / "a", tmp_path / "same")
        assert (refused.exit_code, "has no results of a cohort" in refused.output) == (2, True)


ECL = DEFINITION.replace('"http://snomed.info/sct|307576001"', '{ecl: "<<307576001"}')


def terminology(*codes, status=200):
    def answer(request):
        assert request.url.params["url"] == "http://snomed.info/sct?fhir_vs=ecl/<<307576001"
        contains = [{"system": "http://snomed.info/sct", "code": code} for code in codes]
        return httpx.Response(status, json={"expansion": {"total": len(codes), "contains": contains}})

    return httpx.MockTransport(answer)


def test_an_expression_is_expanded_once_into_the_lock_file(tmp_path):
    (tmp_path / "c.yaml").write_text(ECL, "utf-8")
    definition, located = read_definition(tmp_path / "c.yaml")
    assert expand(definition, located, "https://tx", transport=terminology("2", "1")) == {"<<307576001": 2}
    codes = read_codes(definition, located)["osteosarcoma"]
    assert Code("http://snomed.info/sct", "1") in codes
    assert Code("http://snomed.info/sct", "2") in codes


@pytest.mark.parametrize(
    ("transport", "code"),
    [
        (terminology(), "cohort.empty_codes"),
        (terminology(status=400), "cohort.terminology"),
        (terminology(status=503), "cohort.terminology_unavailable"),
    ],
)
def test_no_lock_file_without_an_expansion(tmp_path, transport, code):
    (tmp_path / "c.yaml").write_text(ECL, "utf-8")
    definition, located = read_definition(tmp_path / "c.yaml")
    with pytest.raises((CohortError, Unavailable)) as problem:
        expand(definition, located, "https://tx", transport=transport)
    assert problem.value.code == code
    assert not (tmp_path / "c.lock.json").exists()


@pytest.mark.parametrize(
    ("people", "shown"),
    [
        ([100, 100, 50], [100, 100, 50]),
        ([100, 95, 50], [100, None, 50]),
        ([100, 95, 92], [100, None, None]),
        ([100, 95, 85], [100, None, 85]),
        ([100, 10, 0], [100, None, 0]),
        ([8, 8, 0], [None, None, 0]),
    ],
)
def test_neither_a_count_nor_a_difference_tells_a_small_cell(people, shown):
    counted = protect([Raw(count) for count in people], 11)
    assert [group.people for group in counted] == shown


def test_many_records_of_few_people_are_hidden_too():
    counted = protect([Raw(100, undated=50, people_undated=3, uncoded=50, people_uncoded=30)], 11)[0]
    assert (counted.undated, counted.uncoded) == (None, 50)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(2, 15))
def test_no_two_counts_that_are_shown_tell_a_small_cell(people, minimum):
    people = sorted(people, reverse=True)
    shown = [group.people for group in protect([Raw(count) for count in people], minimum)]
    told = [count for count in shown if count is not None]
    assert all(safe(count, minimum) for count in told)
    assert all(safe(one - other, minimum) for one, other in combinations(told, 2))


def test_views_of_ones_own_do_not_keep_cohorts_from_running(tmp_path):
    own = {"name": "own", "resource": "Patient", "select": [{"column": [{"name": "id", "path": "getResourceKey()"}]}]}
    (tmp_path / "own.json").write_text(json.dumps(own), "utf-8")
    (tmp_path / "c.yaml").write_text(DEFINITION, "utf-8")
    invoke("cohort", "dummy", tmp_path / "c.yaml", "--out", tmp_path / "d")
    collected = invoke("collect", tmp_path / "data", "--ndjson", tmp_path / "d", "--view", tmp_path / "own.json")
    assert collected.exit_code == 0
    run = invoke("cohort", "run", tmp_path / "c.yaml", "--data", tmp_path / "data", "--out", tmp_path / "o")
    assert run.exit_code == 0, run.output
