"""The official tests of SQL on FHIR: each passes, or is refused with the reason that stands here."""

import json
import os
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from insights.errors import ViewError
from insights.views import compile_view, parse_view
from insights.views.reader import connect, ndjson, view_error

FOLDER = Path(os.environ.get("SQL_ON_FHIR_TESTS", Path(__file__).parents[3] / "shared" / "data" / "sql-on-fhir"))
LEAST = 130

REFUSED = {
    "fn_boundary / decimal lowBoundary": "view.decimal_boundary",  # numbers are DOUBLE, without their written precision
    "fn_boundary / decimal highBoundary": "view.decimal_boundary",
    "repeat / empty expression": "view.unknown_element",  # QuestionnaireResponse has no such element: a typing error
}


def _cases():
    for file in sorted(FOLDER.glob("*.json")):
        suite = json.loads(file.read_text("utf-8"))
        for test in suite["tests"]:
            yield pytest.param(suite["resources"], test, id=f"{file.stem} / {test['title']}")


CASES = list(_cases())
needs_tests = pytest.mark.skipif(not CASES, reason=f"the official tests are not in {FOLDER}")


@pytest.fixture(scope="module")
def engine():
    """One DuckDB for all: they only ask it, and to open one takes longer than to ask it."""
    with connect() as connection:
        yield connection


def _answer(engine, view, resources, folder):
    compiled = compile_view(parse_view(view))
    file = folder / "resources.ndjson"
    of_type = [json.dumps(resource) for resource in resources if resource["resourceType"] == compiled.resource]
    file.write_text("\n".join(of_type), "utf-8")
    try:
        cursor = engine.execute(compiled.select(ndjson([file], compiled.shape)))
        names = [column[0] for column in cursor.description]
        assert [str(column[1]) for column in cursor.description] == [column.sql_type for column in compiled.columns]
        return names, [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except duckdb.Error as problem:
        raise view_error(problem, compiled.name) from None


def _comparable(rows):
    """Rows in any order; JSON knows one kind of number."""
    return Counter(json.dumps({name: _number(value) for name, value in row.items()}, sort_keys=True) for row in rows)


def _number(value):
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@needs_tests
@pytest.mark.parametrize(("resources", "test"), CASES)
def test_official(resources, test, request, tmp_path, engine):
    name = request.node.callspec.id
    if name in REFUSED:
        with pytest.raises(ViewError) as refusal:
            _answer(engine, test["view"], resources, tmp_path)
        assert refusal.value.code == REFUSED[name]
        return
    if test.get("expectError"):
        with pytest.raises(ViewError):
            _answer(engine, test["view"], resources, tmp_path)
        return
    names, rows = _answer(engine, test["view"], resources, tmp_path)
    assert _comparable(rows) == _comparable(test["expect"])
    assert names == test.get("expectColumns", names)


@needs_tests
def test_enough_of_them_pass():
    assert len(CASES) - len(REFUSED) >= LEAST
