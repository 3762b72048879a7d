"""Cohorts: who is in on every edge, what the funnel tells and hides, and what leaves."""

import csv
import json
import re
import stat

import pytest

from insights.cohort.located import parse_located
from insights.cohort.results import MANIFEST
from insights.cohort.run import Wanted, prepare, question_of, run
from insights.collect import Store
from insights.errors import CohortError, InsightsError, Withheld
from tests.insights.collected import collect, write

SCT = "http://snomed.info/sct"
OSTEOSARCOMA = "307576001"
DEFINITION = """\
cohort: osteosarcoma-over-45
purpose: research
approval: IRB 2026-117
as_of: 2026-06-30
codes:
  osteosarcoma: ["http://snomed.info/sct|307576001", "http://terminology.hl7.org/CodeSystem/icd-o-3|918*/3"]
who:
  - diagnosis: {in: osteosarcoma, when: last 2 years, date: onset or recorded}
  - age: {over: 45}
get: {medications: all, studies: {modality: CT}, reports: of studies}
"""


def patient(identity, born="1970-01-01", **more):
    return {
        "resourceType": "Patient",
        "id": identity,
        "meta": {"lastUpdated": "2026-06-30T12:00:00Z"},
        "birthDate": born,
        **more,
    }


def diagnosis(of, onset="2026-01-15", code=OSTEOSARCOMA, system=SCT, **more):
    return {
        "resourceType": "Condition",
        "id": f"c-{of}-{len(more)}-{onset or 'none'}-{code}".replace("*", ""),
        "subject": {"reference": f"Patient/{of}"},
        "code": {"coding": [{"system": system, "code": code}]} if code else {"text": "SENTINELTEXT"},
        **({"onsetDateTime": onset} if onset else {}),
        **more,
    }


def verified(status):
    return {"verificationStatus": {"coding": [{"code": status}]}}


def study(of, number, modality="CT", started="2026-02-01", **more):
    return {
        "resourceType": "ImagingStudy",
        "id": f"s-{of}-{number}",
        "status": "available",
        "subject": {"reference": f"Patient/{of}"},
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:1.2.3.777.{number}"}],
        "started": started,
        "description": "SENTINELDESCRIPTION",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": modality}],
        "series": [{"uid": f"1.2.3.777.{number}.1", "modality": {"code": modality}, "numberOfInstances": 3}],
        **more,
    }


def report(of, number, at="2026-02-01", **more):
    return {
        "resourceType": "DiagnosticReport",
        "id": f"r-{of}-{number}",
        "status": "final",
        "subject": {"reference": f"Patient/{of}"},
        "category": [{"coding": [{"code": "RAD"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "24627-2"}]},
        "effectiveDateTime": at,
        "conclusion": "SENTINELCONCLUSION",
        **more,
    }


class Cohort:
    """Runs a definition on a few resources."""

    def __init__(self, folder):
        self.folder = folder
        self.runs = 0

    def run(self, *resources, definition=DEFINITION, minimum=1, **wanted):
        self.runs += 1
        here = self.folder / str(self.runs)
        collect(here / "data", write(here / "in", *resources))
        return self.again(here / "data", definition=definition, minimum=minimum, **wanted)

    def again(self, data, definition=DEFINITION, minimum=1, out="out", **wanted):
        file = data.parent / "cohort.yaml"
        file.write_text(definition, "utf-8")
        self.out = data.parent / out
        self.data = data
        said, self.answer = run(file, data, Wanted(self.out, minimum=minimum, **wanted))
        self.said = said
        return [step.counted.people for step in self.answer.funnel][-1]

    def step(self, kind):
        return next(step.counted for step in self.answer.funnel if step.kind == kind)

    def table(self, name):
        with (self.out / f"{name}.csv").open(encoding="utf-8", newline="") as rows:
            return list(csv.DictReader(rows))


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path)


IN, OUT, UNDECIDED = "in", "out", "undecided"

EDGES = {
    "the 46th birthday": (patient("p", "1980-06-30"), diagnosis("p"), IN),
    "a day short of 46": (patient("p", "1980-07-01"), diagnosis("p"), OUT),
    "a birth year that may be either": (patient("p", "1980"), diagnosis("p"), UNDECIDED),
    "a birth year that is enough": (patient("p", "1979"), diagnosis("p"), IN),
    "a birth month that is not enough": (patient("p", "1980-07"), diagnosis("p"), OUT),
    "the first day of the window": (patient("p"), diagnosis("p", "2024-06-30"), IN),
    "a day before the window": (patient("p"), diagnosis("p", "2024-06-29"), OUT),
    "the last day of the window": (patient("p"), diagnosis("p", "2026-06-30T23:59:59+02:00"), IN),
    "the day after it": (patient("p"), diagnosis("p", "2026-07-01"), OUT),
    "a month across the edge": (patient("p"), diagnosis("p", "2024-06"), UNDECIDED),
    "a year across the edge": (patient("p"), diagnosis("p", "2024"), UNDECIDED),
    "a year within": (patient("p"), diagnosis("p", "2025"), IN),
    "no date": (patient("p"), diagnosis("p", None), UNDECIDED),
    "recorded where there is no onset": (patient("p"), diagnosis("p", None, recordedDate="2026-01-01"), IN),
    "an onset before the window, recorded in it": (
        patient("p"),
        diagnosis("p", "2020", recordedDate="2026-01-01"),
        OUT,
    ),
    "refuted": (patient("p"), diagnosis("p", **verified("refuted")), OUT),
    "entered in error": (patient("p"), diagnosis("p", **verified("entered-in-error")), OUT),
    "provisional": (patient("p"), diagnosis("p", **verified("provisional")), OUT),
    "confirmed": (patient("p"), diagnosis("p", **verified("confirmed")), IN),
    "a pattern": (
        patient("p"),
        diagnosis("p", code="9180/3", system="http://terminology.hl7.org/CodeSystem/icd-o-3"),
        IN,
    ),
    "another code": (patient("p"), diagnosis("p", code="1"), OUT),
    "a code of another system": (patient("p"), diagnosis("p", system="http://example.org"), OUT),
    "uncoded": (patient("p"), diagnosis("p", code=None), OUT),
    "restricted": (
        patient(
            "p",
            meta={"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]},
        ),
        diagnosis("p"),
        OUT,
    ),
}


def renamed(resource, name):
    """The same about another patient."""
    text = json.dumps(resource).replace('Patient/p"', f'Patient/{name}"')
    again = json.loads(text)
    again["id"] = name if resource["resourceType"] == "Patient" else f"{resource['id']}-{name}"
    return again


def memberships(folder, cases, definitions):
    """All cases, about a patient each, in one world, as they would be in life: what each definition makes of each."""
    names = {case: f"case{number}" for number, case in enumerate(cases)}
    resources = [renamed(resource, names[case]) for case, about in cases.items() for resource in about]
    collect(folder / "data", write(folder / "in", *resources))
    made = {}
    with Store(folder / "data").reading() as reading:
        for name, definition in definitions.items():
            (folder / "cohort.yaml").write_text(definition, "utf-8")
            question = question_of(prepare(folder / "cohort.yaml"), reading)
            outcome = dict(reading.connection.execute(question.answers()).fetchall())
            made[name] = {case: outcome[patient_name] for case, patient_name in names.items()}
    return made


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    about = {edge: resources for edge, (*resources, _) in EDGES.items()}
    return memberships(tmp_path_factory.mktemp("edges"), about, {"all": DEFINITION})["all"]


@pytest.mark.parametrize("edge", EDGES)
def test_on_every_edge(outcomes, edge):
    assert outcomes[edge] == EDGES[edge][-1]


def test_two_codings_are_one_condition(cohort):
    both = diagnosis("p")
    both["code"]["coding"].append({"system": "http://terminology.hl7.org/CodeSystem/icd-o-3", "code": "9180/3"})
    assert cohort.run(patient("p"), both) == 1
    assert cohort.step("diagnosis").records == 1


def test_records_of_a_merged_patient_count_for_the_one_that_replaced_it(cohort):
    old = patient("old", link=[{"other": {"reference": "Patient/new"}, "type": "replaced-by"}])
    assert cohort.run(old, patient("new"), diagnosis("old")) == 1
    assert cohort.answer.funnel[0].counted.people == 1


def replaced_by(name, other):
    return patient(name, link=[{"other": {"reference": f"Patient/{other}"}, "type": "replaced-by"}])


def test_merges_of_merges_are_followed(cohort):
    chain = [replaced_by(f"p{number}", f"p{number + 1}") for number in range(7)]
    assert cohort.run(*chain, patient("p7"), diagnosis("p0"), diagnosis("p3")) == 1
    assert cohort.step("diagnosis").records == 2


def test_wrong_links_lose_no_one(cohort):
    in_a_circle = (replaced_by("a", "b"), replaced_by("b", "a"))
    into_nothing = replaced_by("c", "not-collected")
    assert cohort.run(*in_a_circle, into_nothing, diagnosis("a"), diagnosis("b"), diagnosis("c")) == 2
    assert cohort.answer.funnel[0].counted.people == 2


def test_the_funnel_tells_undated_and_uncoded_records(cohort):
    cohort.run(
        patient("a"), diagnosis("a", None), patient("b"), diagnosis("b", code=None), patient("c"), diagnosis("c")
    )
    counted = cohort.step("diagnosis")
    assert (counted.people, counted.undecided, counted.undated, counted.uncoded) == (1, 1, 1, 1)


def consent(of, kind, at="2026-01-01", status="active", **more):
    return {
        "resourceType": "Consent",
        "id": f"k-{of}-{kind}-{at}-{status}",
        "status": status,
        "scope": {"coding": [{"code": "research"}]},
        "patient": {"reference": f"Patient/{of}"},
        **({"dateTime": at} if at else {}),
        "provision": {"type": kind, **more},
    }


CONSENTS = {
    "none": ((), (False, True, True)),
    "permit": ((consent("p", "permit"),), (True, True, True)),
    "deny": ((consent("p", "deny"),), (False, False, True)),
    "deny, then permit": ((consent("p", "deny", "2025-01-01"), consent("p", "permit")), (True, True, True)),
    "permit, then deny": ((consent("p", "permit", "2025-01-01"), consent("p", "deny")), (False, False, True)),
    "both on one day": ((consent("p", "permit"), consent("p", "deny")), (False, False, True)),
    "a denial in the morning of one day": (
        (consent("p", "permit", "2026-01-01T15:00:00Z"), consent("p", "deny", "2026-01-01T09:00:00Z")),
        (False, False, True),
    ),
    "a denial of the same year": ((consent("p", "permit"), consent("p", "deny", "2026")), (False, False, True)),
    "a denial of the year before": ((consent("p", "permit"), consent("p", "deny", "2025")), (True, True, True)),
    "a permit of the same year": ((consent("p", "permit", "2026"), consent("p", "deny")), (False, False, True)),
    "a denial without a date": ((consent("p", "permit"), consent("p", "deny", None)), (False, False, True)),
    "a permit without a date": ((consent("p", "permit", None), consent("p", "deny")), (False, False, True)),
    "a denial that is no longer active": ((consent("p", "deny", status="inactive"),), (False, True, True)),
    "a permit that has ended": ((consent("p", "permit", period={"end": "2026-06-29"}),), (False, True, True)),
    "a denial of tomorrow": ((consent("p", "deny", "2026-07-01"),), (False, True, True)),
}


@pytest.fixture(scope="module")
def consented(tmp_path_factory):
    """All consents in one world: what each rule makes of each patient."""
    about = {name: (patient("p"), diagnosis("p"), *consents) for name, (consents, _) in CONSENTS.items()}
    definitions = {rule: DEFINITION + f"consent: {rule}\n" for rule in ("required", "opt-out", "none")}
    return memberships(tmp_path_factory.mktemp("consents"), about, definitions)


@pytest.mark.parametrize("name", CONSENTS)
def test_consent(consented, name):
    assert tuple(consented[rule][name] == IN for rule in ("required", "opt-out", "none")) == CONSENTS[name][-1]


def test_the_rule_on_consent_decides_who_is_counted(cohort):
    cohort.run(patient("p"), diagnosis("p"))
    for rule, is_in in zip(("required", "opt-out", "none"), CONSENTS["none"][-1], strict=True):
        assert cohort.again(cohort.data, definition=DEFINITION + f"consent: {rule}\n", out=rule) == is_in


def about_p(kind, name, **more):
    return {"resourceType": kind, "id": name, "subject": {"reference": "Patient/p"}, **more}


def concept(system, code):
    return {"coding": [{"system": system, "code": code}]}


ATC = "http://www.whocc.no/atc"
PRESCRIBED = {"status": "active", "intent": "order", "authoredOn": "2026-03-01"}
DRUG = {"resourceType": "Medication", "id": "d", "code": concept(ATC, "L01")}
MEASURED = {"status": "final", "code": concept("http://loinc.org", "1-1"), "effectiveDateTime": "2026-01-01"}
STAYED = {"class": {"code": "IMP"}, "period": {"start": "2026-01-01"}}

KINDS = {
    "sex": ("sex: female", (patient("p", gender="female"),), (patient("p", gender="male"),)),
    "medication": (
        "medication: {in: drug, when: since 2026-01-01}",
        (
            patient("p"),
            DRUG,
            about_p("MedicationRequest", "m", medicationReference={"reference": "Medication/d"}, **PRESCRIBED),
        ),
        (
            patient("p"),
            about_p(
                "MedicationRequest", "m", doNotPerform=True, medicationCodeableConcept=concept(ATC, "L01"), **PRESCRIBED
            ),
        ),
    ),
    "study": (
        "study: {modality: [CT, PT], when: before 2026-03-01}",
        (patient("p"), study("p", 1)),
        (patient("p"), study("p", 1, "MR")),
    ),
    "encounter": (
        "encounter: {class: IMP}",
        (patient("p"), about_p("Encounter", "e", status="finished", **STAYED)),
        (patient("p"), about_p("Encounter", "e", status="planned", **STAYED)),
    ),
    "observation": (
        "observation: {in: lab, above: 5, unit: mm}",
        (patient("p"), about_p("Observation", "o", valueQuantity={"value": 5.5, "code": "mm"}, **MEASURED)),
        (patient("p"), about_p("Observation", "o", valueQuantity={"value": 5.5, "code": "cm"}, **MEASURED)),
    ),
    "procedure": (
        "procedure: {in: operation, when: 2026-01-01 to 2026-02-28}",
        (
            patient("p"),
            about_p("Procedure", "x", status="completed", code=concept(SCT, "9"), performedPeriod={"start": "2026-02"}),
        ),
        (
            patient("p"),
            about_p("Procedure", "x", status="not-done", code=concept(SCT, "9"), performedDateTime="2026-02-01"),
        ),
    ),
    "not": ("not: {study: {modality: MR}}", (patient("p"), study("p", 1)), (patient("p"), study("p", 1, "MR"))),
    "any": (
        "any: [{sex: male}, {age: {at_least: 90}}]",
        (patient("p", "1930", gender="female"),),
        (patient("p", gender="female"),),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_criterion(cohort, kind):
    criterion, inside, outside = KINDS[kind]
    definition = f"""\
cohort: kinds
as_of: 2026-06-30
codes:
  drug: ["http://www.whocc.no/atc|L0*"]
  lab: ["http://loinc.org|1-1"]
  operation: ["http://snomed.info/sct|9"]
who: [{{{criterion}}}]
"""
    assert cohort.run(*inside, definition=definition) == 1
    assert cohort.run(*outside, definition=definition) == 0


def test_reports_are_found_by_reference_number_and_day(cohort):
    def numbered(value):
        return {"identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "value": value}]}

    by_number = study("p", 2, started="2026-03-01")
    by_number["identifier"] += numbered("A2")["identifier"]
    cohort.run(
        patient("p"),
        diagnosis("p"),
        study("p", 1),
        report("p", 1, "2026-05-05", imagingStudy=[{"reference": "ImagingStudy/s-p-1"}]),
        by_number,
        report("p", 2, "2026-05-06", **numbered("A2")),
        study("p", 3, started="2026-04-01T10:00:00Z"),
        report("p", 3, "2026-04-01"),
        study("p", 4, started="2026-04-10"),
        study("p", 5, "MR", started="2026-04-10"),
        report("p", 4, "2026-04-10"),  # two studies of that day: not unique
        rows=True,
    )
    assert sorted(row["found_by"] for row in cohort.table("reports")) == ["accession", "day", "imagingStudy"]
    assert sorted(row["reports"] for row in cohort.table("studies")) == ["0", "1", "1", "1"]
    assert (cohort.answer.studies, cohort.answer.without_report) == (4, 1)


def world(people=40):
    for number in range(people):
        name = f"SENTINELID{number}"
        yield patient(name, f"19{30 + number % 30}-01-01", gender="male", name=[{"family": "SENTINELNAME"}])
        yield diagnosis(name, "2026-01-15")
        yield study(name, number)
        yield report(name, number, imagingStudy=[{"reference": f"ImagingStudy/s-{name}-{number}"}])


@pytest.mark.parametrize("file_format", ["csv", "ndjson", "parquet"])
def test_nothing_identifying_leaves_by_default(cohort, file_format, monkeypatch):
    # a fixed key: with a random one, a moved date falls on another's true date once in a few hundred runs
    monkeypatch.setattr("insights.cohort.deidentify.secrets.token_bytes", lambda size: bytes(range(size)))
    cohort.run(*world(), minimum=11, rows=True, format=file_format)
    for file in cohort.out.iterdir():
        content = file.read_bytes()
        assert b"SENTINEL" not in content, file
        assert b"1.2.3.777" not in content, file
        if file.name != "question.sql":
            assert b"2026-01-15" not in content, file
    assert stat.S_IMODE((cohort.data / "pseudonym.key").stat().st_mode) == 0o600


def test_with_identities_on_request_only(cohort):
    cohort.run(*world(), minimum=11, rows=True, identified=True)
    assert {row["patient_id"] for row in cohort.table("patients")} == {f"SENTINELID{number}" for number in range(40)}
    assert {row["conclusion"] for row in cohort.table("reports")} == {"SENTINELCONCLUSION"}


def test_pseudonyms_join_and_intervals_stay(cohort):
    cohort.run(*world(), minimum=11, rows=True)
    people = {row["patient_id"] for row in cohort.table("patients")}
    studies = {row["study_id"]: row for row in cohort.table("studies")}
    assert {row["patient_id"] for row in studies.values()} == people
    assert all(studies[row["study_id"]]["date"] == row["date"] for row in cohort.table("reports"))
    assert all(row["date"] != "2026-02-01" for row in studies.values())
    assert all(re.fullmatch(r"2\.25\.\d{1,39}", row["series_uid"]) for row in cohort.table("images"))


def test_ages_from_90_on_are_one(cohort):
    ages = cohort.run(*world(), patient("old", "1920-01-01"), diagnosis("old"), minimum=11, rows=True)
    assert ages == 41
    assert {row["age"] for row in cohort.table("patients") if row["age"].startswith("9")} == {"90+"}


def test_the_same_input_gives_the_same_bytes(cohort):
    cohort.run(*world(), minimum=11, rows=True, format="parquet")
    first = {file.name: file.read_bytes() for file in cohort.out.iterdir()}
    cohort.again(cohort.data, minimum=11, rows=True, format="parquet", out="again")
    assert {file.name: file.read_bytes() for file in cohort.out.iterdir()} == first


def test_the_manifest_names_what_the_results_depend_on(cohort):
    cohort.run(*world(), minimum=11, rows=True)
    manifest = json.loads((cohort.out / MANIFEST).read_text("utf-8"))
    assert {"definition", "codes", "views", "data", "engine", "outputs", "key", "as_of"} <= set(manifest)
    assert set(manifest["outputs"]) == {file.name for file in cohort.out.iterdir()} - {MANIFEST}


def test_the_group_holds_the_members(cohort):
    cohort.run(*world(), minimum=11, rows=True)
    group = json.loads((cohort.out / "group.json").read_text("utf-8"))
    people = {row["patient_id"] for row in cohort.table("patients")}
    assert {member["entity"]["identifier"]["value"] for member in group["member"]} == people
    assert group["quantity"] == 40


def test_small_cells_are_hidden_and_so_are_differences(cohort):
    few = [patient(f"young{number}", "2000-01-01") for number in range(5)]
    ill = [diagnosis(f"young{number}") for number in range(5)]
    cohort.run(*world(), *few, *ill, minimum=11)
    by_kind = {step.kind: step.counted.people for step in cohort.answer.funnel}
    assert by_kind["diagnosis"] == 45
    assert by_kind["age"] is None  # 40 would tell that 5 are younger
    assert "| 40 |" not in cohort.said
    assert "40" not in (cohort.out / "funnel.csv").read_text("utf-8")


def test_rows_of_too_few_people_do_not_leave(cohort):
    with pytest.raises(Withheld) as problem:
        cohort.run(*world(10), minimum=11, rows=True)
    assert problem.value.code == "cohort.too_few"
    assert problem.value.exit_code == 1
    assert not (cohort.folder / "1" / "out").exists()
    assert not list(cohort.folder.glob("1/.*partial"))


@pytest.mark.parametrize("field", ["purpose", "approval"])
def test_rows_need_purpose_and_approval(cohort, field):
    definition = re.sub(rf"{field}: .*\n", "", DEFINITION)
    with pytest.raises(Withheld) as problem:
        cohort.run(*world(), definition=definition, rows=True)
    assert problem.value.code == "cohort.approval_missing"
    assert cohort.run(*world(), definition=definition) == 40


def test_rows_are_audited(cohort):
    cohort.run(*world(), minimum=11, rows=True)
    cohort.again(cohort.data, minimum=11, out="counts")
    lines = [json.loads(line) for line in (cohort.data / "audit.ndjson").read_text("utf-8").splitlines()]
    assert [(line["approval"], line["identified"], line["rows"]["patients.csv"]) for line in lines] == [
        ("IRB 2026-117", False, 40)
    ]


def test_results_are_not_overwritten_unawares(cohort):
    cohort.run(*world())
    before = {file.name: file.read_bytes() for file in cohort.out.iterdir()}
    with pytest.raises(CohortError) as problem:
        cohort.again(cohort.data)
    assert problem.value.code == "cohort.out_exists"
    assert {file.name: file.read_bytes() for file in cohort.out.iterdir()} == before
    cohort.again(cohort.data, overwrite=True)


WRONG = {
    "an unknown field": ("age: {over: 45}", "age: {ovr: 45}", "cohort.invalid", "9:11"),
    "an unknown criterion": ("- age:", "- ages:", "cohort.invalid", "9:5"),
    "no such codes": ("in: osteosarcoma", "in: osteosarkoma", "cohort.unknown_codes", "8:17"),
    "no window": ("last 2 years", "two years", "cohort.invalid", "8:35"),
    "a key twice": ("purpose:", "cohort: x\npurpose:", "cohort.yaml", "2:1"),
    "not YAML": ("{over: 45}", "{over: 45", "cohort.yaml", "10:4"),
    "an alias within itself": ("as_of: 2026-06-30", "as_of: &a [*a]", "cohort.yaml", "1:1"),
    "nested too deep": ("as_of: 2026-06-30", "as_of: " + "[" * 5000 + "]" * 5000, "cohort.yaml", "1:1"),
    "another number of YAML": ("{over: 45}", "{over: 1:30}", "cohort.invalid", "9:11"),
    "no fields": ("{over: 45}", "45", "cohort.invalid", "9:5"),
    "no finite number": ("{over: 45}", "{over: 1.0e+400}", "cohort.invalid", "9:11"),
    "a part of a number": ("{over: 45}", "{over: 4.5}", "cohort.invalid", "9:11"),
    "a list for a number": ("{over: 45}", "{over: [1]}", "cohort.invalid", "9:11"),
    "too large a number": ("{over: 45}", "{over: 99999}", "cohort.invalid", "9:11"),
    "infinity": ("{over: 45}", "{over: .inf}", "cohort.invalid", "9:11"),
    "what is tagged as a number": ("{over: 45}", "{over: !!int old}", "cohort.invalid", "9:11"),
    "no day": ("2026-06-30", "2026-06-31", "cohort.invalid", "4:1"),
    "an empty list": ("{over: 45}", "{over: 45}\n  - any: []", "cohort.invalid", "10:5"),
    "no list": ("get:", "tests: 5\nget:", "cohort.invalid", "10:1"),
    "no number": ("{over: 45}", "{over: old}", "cohort.invalid", "9:11"),
    "stale data": ("2026-06-30", "2026-07-01", "cohort.stale_data", "4:1"),
    "a system that the data does not use": (
        "http://snomed.info/sct|307576001",
        "http://hl7.org/fhir/sid/icd-10|C40*",
        "cohort.unknown_system",
        "8:17",
    ),
    "an expression without a server": (
        '"http://snomed.info/sct|307576001"',
        '{ecl: "<<307576001"}',
        "cohort.no_terminology",
        "6:18",
    ),
    "a file of codes that is not there": (
        '"http://snomed.info/sct|307576001"',
        "{file: codes.csv}",
        "cohort.code_file",
        "6:18",
    ),
}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    collect(folder / "data", write(folder / "in", *world(3)))
    return folder / "data"


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory():
    lists = ["l0: &l0 [x, x]", *(f"l{n}: &l{n} [*l{n - 1}, *l{n - 1}]" for n in range(1, 40))]
    with pytest.raises(CohortError, match=r"wide.yaml:1:.*: more than 100000 values") as problem:
        parse_located("\n".join(lists), "wide.yaml")
    assert problem.value.code == "cohort.yaml"


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_by_line_and_column(cohort, three, name):
    now, then, code, place = WRONG[name]
    assert DEFINITION.count(now) == 1
    with pytest.raises(InsightsError) as problem:
        cohort.again(three, definition=DEFINITION.replace(now, then))
    assert problem.value.code == code
    assert f"cohort.yaml:{place}:" in problem.value.message
    assert not re.search("Input should|Tuple|parse", problem.value.message), "words for programmers"
    assert problem.value.exit_code == 2
    assert not cohort.out.exists()


def test_a_file_of_no_codes_is_an_error(cohort):
    (cohort.folder / "1").mkdir()
    (cohort.folder / "1" / "codes.csv").write_text("system,code\n", "utf-8")
    definition = DEFINITION.replace('"http://snomed.info/sct|307576001"', "{file: codes.csv}")
    with pytest.raises(CohortError) as problem:
        cohort.run(*world(3), definition=definition)
    assert problem.value.code == "cohort.empty_codes"


def test_without_a_day_the_data_says_it(cohort):
    definition = DEFINITION.replace("as_of: 2026-06-30\n", "")
    cohort.run(*world(3), definition=definition)
    assert json.loads((cohort.out / MANIFEST).read_text("utf-8"))["as_of"] == "2026-06-30"
