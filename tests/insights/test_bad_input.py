"""Wrong input, typed: each command says what is wrong and where, ends with its exit code and leaves nothing behind."""

import hashlib

import httpx
import pytest
from typer.testing import CliRunner

from insights.errors import CollectError
from insights.fetch import service
from insights.fetch.patients import fetch_patients
from insights.fetch.service import connected
from sync.cli import app
from tests.insights import test_cohort, test_similar
from tests.insights.collected import collect, tables, write
from tests.insights.outcomes_world import RULE, example

BASE = "https://fhir.example/r4"
CANCERS = '["http://snomed.info/sct|254637007", "http://hl7.org/fhir/sid/icd-10|C34*"]'
ICD_11 = '["http://hl7.org/fhir/sid/icd-11|2C25"]'
EMPTY = "{file: empty.csv}"
COHORT = test_cohort.DEFINITION.replace("307576001", "254637007")
OUTCOMES = RULE.read_text("utf-8")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """Two folders of data: of a trial, and of reads."""
    folder = tmp_path_factory.mktemp("clinic")
    collect(folder / "data", write(folder / "in", *test_similar.world()))
    collect(folder / "reads", write(folder / "in-reads", *example()))
    return folder


def there(folder):
    """Every file of a folder, also a hidden one, with its content; a database and the audit file by name only."""
    return {
        file.relative_to(folder): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix not in {".duckdb", ".ndjson"}
    }


def type_it(*words):
    ended = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert "SENTINEL" not in ended.output
    assert "Traceback" not in ended.output
    return ended


COHORT_RUN = ["cohort", "run", "file.yaml", "--data", "data", "--out", "out"]
SIMILAR = ["similar", "me", "--rule", "file.yaml", "--data", "data", "--out", "out"]
FEEDBACK = ["feedback", "report", "file.yaml", "--reader", "r-17", "--data", "reads", "--out", "out"]
MODELS = ["models", "report", "file.yaml", "--model", "Nodule Finder 2.1", "--data", "reads", "--out", "out"]
OTHER_SYSTEM = ("http://snomed.info/sct|", "http://hl7.org/fhir/sid/icd-11|")


def instead(words, old, new):
    return [new if word == old else word for word in words]


WRONG = {
    "unknown field of a cohort": (COHORT_RUN, COHORT, ("over: 45", "ovr: 45"), 2, "cohort.invalid: {file}:9:11: "),
    "unknown field of a comparison": (
        SIMILAR, test_similar.RULE_OF_TRIAL, ("within: 5", "whithin: 5"), 2, "there is no field 'whithin'"),
    "unknown field of reads": (
        FEEDBACK, OUTCOMES, ("within_days", "within_dayz"), 2, "there is no field 'within_dayz'"),
    "unknown field of a model": (
        MODELS, OUTCOMES, ("within_days", "within_dayz"), 2, "there is no field 'within_dayz'"),
    "unknown code system of a cohort": (COHORT_RUN, COHORT, OTHER_SYSTEM, 2, "cohort.unknown_system: {file}:"),
    "unknown code system of a comparison": (
        SIMILAR, test_similar.RULE_OF_TRIAL, OTHER_SYSTEM, 2, "cohort.unknown_system: {file}:"),
    "unknown code system of reads": (FEEDBACK, OUTCOMES, OTHER_SYSTEM, 2, "outcome.unknown_system: {file}:12:1: "),
    "unknown code system of a model": (MODELS, OUTCOMES, OTHER_SYSTEM, 2, "outcome.unknown_system: {file}:12:1: "),
    "unknown code system of outcomes": (
        FEEDBACK, OUTCOMES.replace(CANCERS, ICD_11), ("sct|30807003", "x|1"), 2, "outcome.unknown_system: {file}:13:1"),
    "codes that the data does not have": (
        MODELS, OUTCOMES.replace("27925004", "1"), ("281900007", "2"), 2, "models.nothing_coded: "),
    "empty value set": (
        COHORT_RUN, COHORT, ('"http://snomed.info/sct|254637007"', EMPTY), 2, "cohort.empty_codes: {file}:"),
    "empty value set of reads": (
        FEEDBACK, OUTCOMES, ('"http://snomed.info/sct|27925004"', EMPTY), 2, "cohort.empty_codes: {file}:"),
    "stale data for a cohort": (COHORT_RUN, COHORT, ("2026-06-30", "2027-06-30"), 2, "cohort.stale_data: {file}:4:1: "),
    "stale data for a comparison": (
        SIMILAR, test_similar.RULE_OF_TRIAL, ("2026-06-30", "2027-06-30"), 2, "cohort.stale_data: {file}:"),
    "stale data for reads": (
        FEEDBACK, OUTCOMES, ("approval:", "as_of: 2027-06-30\napproval:"), 2, "outcome.stale_data: {file}:3:1: "),
    "stale data for a model": (
        MODELS, OUTCOMES, ("approval:", "as_of: 2027-06-30\napproval:"), 2, "outcome.stale_data: {file}:3:1: "),
    "patient not found": (
        instead(SIMILAR, "me", "nowhere"), test_similar.RULE_OF_TRIAL, None, 2, "similar.no_patient: "),
    "reader not found": (instead(FEEDBACK, "r-17", "r-99"), OUTCOMES, None, 2, "feedback.unknown_reader: "),
    "model not found": (instead(MODELS, "Nodule Finder 2.1", "Nodule Finder 9"), OUTCOMES, None, 2, "models.unknown: "),
    "too few people for rows": (
        [*COHORT_RUN, "--rows"], COHORT, ("over: 45", "over: 120"), 1, "cohort.too_few: fewer than 11 people"),
    "no data": (instead(COHORT_RUN, "data", "nothing"), COHORT, None, 2, "collect.nothing: "),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_question_is_said_and_writes_nothing(clinic, name):
    words, text, change, exit_code, says = WRONG[name]
    file = clinic / "file.yaml"
    (clinic / "empty.csv").write_text("system,code\n", "utf-8")
    if change is not None:
        assert change[0] in text
        text = text.replace(*change)
    file.write_text(text, "utf-8")
    before = there(clinic)
    paths = {"file.yaml", "data", "reads", "out", "nothing"}
    ended = type_it(*(clinic / word if word in paths else word for word in words))
    assert ended.exit_code == exit_code, ended.output
    assert says.format(file=file) in ended.stderr
    assert ended.stdout == ""
    assert there(clinic) == before


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("words", [["--ndjson", "WORLD"], ["--fhir", "http://127.0.0.1:9/fhir"]])
def test_a_refresh_of_nothing_leaves_no_folder_behind(tmp_path, words, there):
    folder = tmp_path / "typo" / "data"
    if there:
        folder.mkdir(parents=True)
    words = [str(write(tmp_path / "in", *test_similar.person("me"))) if word == "WORLD" else word for word in words]
    ended = type_it("collect", folder, *words, "--since", "last")
    assert (ended.exit_code, "error  collect.nothing: " in ended.stderr) == (2, True)
    assert "hint   Collect everything first." in ended.stderr
    assert list(folder.iterdir()) == [] if there else not folder.parent.exists()


@pytest.mark.parametrize("words", [["--ndjson"], ["--since", "last", "--ndjson"]])
def test_a_torn_file_is_named_by_line_and_the_tables_stay(tmp_path, words):
    good, torn = write(tmp_path / "good", *test_similar.person("me")), tmp_path / "torn"
    torn.mkdir()
    whole = (good / "Patient.ndjson").read_text("utf-8")
    (torn / "Patient.ndjson").write_text(f"{whole}{whole[: len(whole) // 2]}", "utf-8")
    assert type_it("collect", tmp_path / "data", "--ndjson", good).exit_code == 0
    before = tables(tmp_path / "data"), there(tmp_path)
    ended = type_it("collect", tmp_path / "data", *words, torn)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert f"data.malformed: {torn / 'Patient.ndjson'}:2: not a FHIR resource" in ended.stderr
    assert (tables(tmp_path / "data"), there(tmp_path)) == before
    assert type_it("collect", tmp_path / "new", *words[-1:], torn).exit_code == 2
    assert not (tmp_path / "new" / "tables.duckdb").exists()


OURS = [
    {"resourceType": "Patient", "id": "p", "meta": {"lastUpdated": "2026-01-01T00:00:00Z"}},
    {"resourceType": "ImagingStudy", "id": "s", "subject": {"reference": f"{BASE}/Patient/p/_history/2"},
     "status": "available", "started": "2026-01-01", "meta": {"lastUpdated": "2026-01-01T00:00:00Z"}},
]  # fmt: skip
OTHERS = [
    {"resourceType": "Patient", "id": "other", "meta": {"lastUpdated": "2025-01-01T00:00:00Z"}},
    {"resourceType": "ImagingStudy", "id": "o", "subject": {"reference": "Patient/other"}, "status": "available",
     "started": "2026-01-02", "description": "SENTINEL", "meta": {"lastUpdated": "2025-01-01T00:00:00Z"}},
]  # fmt: skip


class Lacking:
    """A FHIR service that lacks a search parameter: it ignores it, or refuses it where it is asked to be strict."""

    def __init__(self, parameter, *, refuses):
        self.parameter, self.refuses = parameter, refuses

    def __call__(self, request):
        kind, _, identity = request.url.path.removeprefix("/r4/").partition("/")
        if kind == "metadata":
            rest = [{"mode": "server", "resource": [{"type": "Patient"}, {"type": "ImagingStudy"}]}]
            return httpx.Response(200, json={"resourceType": "CapabilityStatement", "rest": rest})
        if identity:
            return httpx.Response(200, json=OURS[0]) if identity == "p" else httpx.Response(404, json={})
        lacks = self.parameter in request.url.params
        if lacks and self.refuses and request.headers.get("Prefer") == "handling=strict":
            return httpx.Response(400, json={"resourceType": "OperationOutcome", "issue": []})
        matching = [resource for resource in (*OURS, *OTHERS * lacks) if resource["resourceType"] == kind]
        if kind == "Patient" and "link" in request.url.params and not lacks:
            matching = []
        entries = [{"resource": resource, "search": {"mode": "match"}} for resource in matching]
        return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": entries})


@pytest.fixture
def lacking(monkeypatch, request):
    parameter, refuses = request.param

    async def quick(_):
        return None

    def instead_of_network(url):
        return connected(url, transport=httpx.MockTransport(Lacking(parameter, refuses=refuses)), sleep=quick)

    monkeypatch.setattr(service, "connected", instead_of_network)
    return parameter


def each_way(*parameters):
    return pytest.mark.parametrize(
        "lacking", [(parameter, refuses) for parameter in parameters for refuses in (False, True)], indirect=True
    )


@each_way("_lastUpdated")
@pytest.mark.usefixtures("lacking")
def test_a_service_that_does_not_search_by_last_update_refreshes_nothing(tmp_path):
    assert type_it("collect", tmp_path, "--fhir", BASE, "--paging").exit_code == 0
    before = tables(tmp_path)
    ended = type_it("collect", tmp_path, "--fhir", BASE, "--paging", "--since", "last")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "error  collect.search_parameter: the service does not search " in ended.stderr
    assert "by _lastUpdated\nhint   Collect everything, without --since." in ended.stderr
    assert tables(tmp_path) == before


@each_way("patient", "link")
def test_a_timeline_shows_no_other_patient_and_marks_what_is_missing(tmp_path, lacking):
    ended = type_it("timeline", "p", "--fhir", BASE, "--csv", tmp_path / "table.csv", "--html", tmp_path / "page.html")
    assert ended.exit_code == 1
    lane = {"patient": "Studies", "link": "Linked patients"}[lacking]
    assert f"missing  {lane}: the service " in ended.stderr
    for file in tmp_path.iterdir():
        text = file.read_text("utf-8")
        assert not any(of in text for of in ("SENTINEL", "Patient/other", "ImagingStudy/o"))


@each_way("patient", "link", "_id")
async def test_a_watch_matches_no_records_of_patients_that_it_did_not_ask_for(tmp_path, lacking):
    async with service.connected(BASE) as stands_in:
        with pytest.raises(CollectError, match=f"does not search .* by {lacking}") as refused:
            await fetch_patients(stands_in, ["p"], tmp_path, "2026-01-01T00:00:00Z")
    assert refused.value.code == "collect.search_parameter"
    assert not list(tmp_path.iterdir())


async def test_a_service_with_the_parameters_is_believed(tmp_path):
    async def quick(_):
        return None

    transport = httpx.MockTransport(Lacking("none", refuses=True))
    async with connected(BASE, transport=transport, sleep=quick) as stands_in:
        data, people = await fetch_patients(stands_in, ["p"], tmp_path, "2026-01-01T00:00:00Z")
    assert (set(data.by_type), people) == ({"Patient", "ImagingStudy"}, {"p"})
