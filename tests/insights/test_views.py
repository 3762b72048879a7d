"""The compiler of views, beyond the official tests: what is refused and why, and answers that are easy to get wrong."""

import json

import duckdb
import pytest

from insights.errors import InsightsError, ViewError
from insights.views import Catalogue, compile_view, parse_view, shipped_views
from insights.views.ahead import compiled_text
from insights.views.catalogue import COMPILED
from insights.views.reader import connect, ndjson, view_error
from insights.views.rows import MAX_DEPTH


def view(path, resource="Patient", **more):
    column = {"name": "v", "path": path, **more.pop("column", {})}
    return {"resource": resource, "select": [{"column": [column], **more.pop("select", {})}], **more}


def rows(definition, *resources, folder):
    compiled = compile_view(parse_view(definition))
    file = folder / "r.ndjson"
    file.write_text("\n".join(json.dumps(resource) for resource in resources), "utf-8")
    with connect() as connection:
        try:
            return connection.execute(compiled.select(ndjson([file], compiled.shape))).fetchall()
        except duckdb.Error as problem:
            raise view_error(problem, "v") from None


def value(path, folder, *, resource="Patient", **content):
    return rows(view(path, resource), {"resourceType": resource, "id": "p", **content}, folder=folder)[0][0]


REFUSED = {
    "nam": "view.unknown_element",
    "name.famly": "view.unknown_element",
    "name": "view.not_primitive",
    "name.family.foo": "view.unknown_element",
    "birthDate.extension('x').exists()": "view.primitive_extension",
    "deceased": "view.choice_without_type",
    "deceasedBoolean": "view.unknown_element",
    "deceased.ofType(Quantity)": "view.unknown_type",
    "contained.id": "view.contained",
    "name.family.lower()": "view.unsupported_function",
    "name.family | name.given": "view.unsupported_operator",
    "gender = 5": "view.type_mismatch",
    "birthDate < 'x'": "view.type_mismatch",
    "name.where(family)": "view.not_boolean",
    "name.first(1)": "view.arguments",
    "%unknown": "view.unknown_constant",
    "name..family": "view.path_syntax",
    "name.family)": "view.path_syntax",
    "name.family name": "view.path_syntax",
    "'open": "view.path_syntax",
    "name.given['a']": "view.type_mismatch",
    "multipleBirth.ofType(integer).lowBoundary()": "view.type_mismatch",
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_not_supported_is_refused_by_name(path):
    with pytest.raises(ViewError) as problem:
        compile_view(parse_view(view(path)))
    assert problem.value.code == REFUSED[path]


@pytest.mark.parametrize(
    ("definition", "code"),
    [
        ({"resource": "Patient", "select": []}, "view.invalid"),
        ({"resource": "Pattient", "select": [{"column": [{"name": "v", "path": "id"}]}]}, "view.unknown_type"),
        ({"resource": "Patient", "select": [{"column": [{"name": "v; DROP", "path": "id"}]}]}, "view.invalid"),
        ({"resource": "Patient", "select": [{"column": [{"name": "v", "path": "id"}] * 2}]}, "view.duplicate_column"),
        (view("gender", column={"type": "integer"}), "view.column_type"),
        (view("id", select={"forEach": "name", "repeat": ["link"]}), "view.invalid"),
        (view("id", constant=[{"name": "c", "valueInteger": "1"}]), None),
        (view("%c", constant=[{"name": "c", "valueInteger": "1"}]), "view.invalid"),
        (view("id", "QuestionnaireResponse", select={"repeat": ["itm"]}), "view.unknown_element"),
    ],
)
def test_definitions_that_are_wrong(definition, code):
    if code is None:
        compile_view(parse_view(definition))
        return
    with pytest.raises(InsightsError) as problem:
        compile_view(parse_view(definition))
    assert problem.value.code == code


NAMES = [{"use": "usual", "given": ["A", None, "B"]}, {"use": "official", "family": "F", "given": ["C"]}]

ANSWERS = {
    "name.given.count()": 3,  # null stands for an extension, it is no value
    "name.given.join('+')": "A+B+C",
    "name[1].given[0]": "C",
    "name.given[2]": "C",
    "name.given[9]": None,
    "name.given.last()": "C",
    "name.where(use = 'official').family": "F",
    "name.where(family.exists()).use": "official",
    "name.where(use = 'old').exists()": False,
    "name.exists(use = 'usual' and given.exists())": True,
    "gender = 'male'": None,
    "gender.exists() or active": True,
    "gender = 'male' and active = false": False,
    "(gender = 'male' or active = false).empty()": True,
    "name.use = 'usual'": False,  # two values are not equal to one
    "active.not()": False,
    "active implies gender.exists()": False,
    "birthDate = @1970-06": True,
    "birthDate = @1970-06-01": None,
    "birthDate < @1970-06-01": None,
    "birthDate < @1970-07-01": True,
    "birthDate >= @1970-05-31": True,
    "birthDate.highBoundary()": "1970-06-30",
    "multipleBirth.ofType(integer) + 1": 3,
    "multipleBirth.ofType(integer) / 4": 0.5,
    "-multipleBirth.ofType(integer)": -2,
    "deceased.exists()": True,
    "Patient.id": "p",
    r"'it\'s'": "it's",
    "where(active).id": "p",
    "where(active.not()).id": None,
    "link.other.getReferenceKey(Patient)": "q",
    "extension('http://x').value.ofType(code)": "c",
    "extension('http://y').exists()": False,
}


@pytest.mark.parametrize("path", ANSWERS)
def test_answers_that_are_easy_to_get_wrong(tmp_path, path):
    answer = value(
        path,
        tmp_path,
        name=NAMES,
        active=True,
        birthDate="1970-06",
        multipleBirthInteger=2,
        deceasedDateTime="2020",
        link=[{"other": {"reference": "Patient/q/_history/2"}, "type": "refer"}],
        extension=[{"url": "http://x", "valueCode": "c"}],
    )
    assert answer == ANSWERS[path]


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("Patient/1", "1"),
        ("Group/1", None),
        ("#p", None),
        ("http://elsewhere/fhir/Patient/1", None),
        ("Patient/1/_history/3", "1"),
        ("urn:uuid:6f1c2e0a-1111-4222-8333-944455556666", None),
    ],
)
def test_only_references_to_this_server_have_keys_of_a_type(tmp_path, reference, key):
    answer = value("subject.getReferenceKey(Patient)", tmp_path, resource="Condition", subject={"reference": reference})
    assert answer == key


def test_times_compare_as_instants(tmp_path):
    def earlier(one, other):
        path = f"effective.ofType(dateTime) < @{other}"
        return value(path, tmp_path, resource="Observation", effectiveDateTime=one)

    assert earlier("2024-01-01T23:30:00+02:00", "2024-01-01T22:00:00Z") is True
    assert earlier("2024-01-01T23:30:00-02:00", "2024-01-01T22:00:00Z") is False
    assert earlier("2024-01-01", "2024-01-01T22:00:00Z") is None


def test_several_values_in_one_column_are_an_error_without_the_values(tmp_path):
    with pytest.raises(ViewError) as problem:
        value("name.given", tmp_path, name=[{"given": ["SENTINEL", "B"]}])
    assert problem.value.code == "view.many_values"
    assert "SENTINEL" not in str(problem.value)


def nested(depth):
    item = {"linkId": str(depth)}
    return {**item, "item": [nested(depth - 1)]} if depth > 1 else item


@pytest.mark.parametrize("depth", [1, MAX_DEPTH, MAX_DEPTH + 1])
def test_a_repeat_is_whole_or_an_error(tmp_path, depth):
    definition = view("linkId", "QuestionnaireResponse", select={"repeat": ["item"]})
    resource = {"resourceType": "QuestionnaireResponse", "id": "q", "item": [nested(depth)]}
    if depth > MAX_DEPTH:
        with pytest.raises(ViewError) as problem:
            rows(definition, resource, folder=tmp_path)
        assert problem.value.code == "view.repeat_too_deep"
    else:
        assert len(rows(definition, resource, folder=tmp_path)) == depth


def test_texts_of_a_definition_are_values_and_never_sql(tmp_path):
    for text in ("'); DROP TABLE r; --", "%", "\\", 'a"b', "{}", "%s"):
        constant = [{"name": "c", "valueString": text}]
        selected = rows(view("%c", constant=constant), {"resourceType": "Patient", "id": "p"}, folder=tmp_path)
        assert selected == [(text,)]


def test_the_shipped_views_are_compiled_ahead_as_they_would_be_now():
    assert COMPILED.read_text("utf-8") == compiled_text(), "run: .venv/bin/python -m insights.views.ahead"


def test_what_was_compiled_ahead_is_what_compiling_gives():
    catalogue = Catalogue(shipped_views())  # that nothing was built with
    compiled = catalogue.compile()
    assert list(catalogue.views) == list(compiled)
    for name, view in catalogue.views.items():
        assert (view.columns, view.key, view.select("t")) == (
            compiled[name].columns,
            compiled[name].key,
            compiled[name].select("t"),
        )
        assert view.shape.columns() == compiled[name].shape.columns()


def test_other_views_are_compiled_when_they_are_used():
    own = parse_view(
        {"name": "patient", "resource": "Patient", "select": [{"column": [{"name": "x", "path": "gender"}]}]}
    )
    assert [column.name for column in Catalogue.shipped([own]).views["patient"].columns] == ["x"]


def test_an_absent_element_is_null_in_every_shipped_view(tmp_path):
    """Each view over a resource that has an id and nothing else: no error, whatever is absent."""
    catalogue = Catalogue.shipped()
    for compiled in catalogue.views.values():
        file = tmp_path / "r.ndjson"
        file.write_text(json.dumps({"resourceType": compiled.resource, "id": "x"}), "utf-8")
        with connect() as connection:
            selected = connection.execute(compiled.select(ndjson([file], compiled.shape))).fetchall()
        for row in selected:
            values = dict(zip((column.name for column in compiled.columns), row, strict=True))
            assert {values.pop(compiled.key)} == {"x"}
            assert not any(values.values()), compiled.name
