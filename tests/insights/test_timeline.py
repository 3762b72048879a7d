"""The timeline: what is on it, on a FHIR server and in a browser, and that no failure is a silent gap."""

import csv
import io
import json
import re
import shlex
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from insights.errors import Unavailable
from insights.fetch.asked import is_asked_for
from insights.fetch.service import connected
from insights.timeline.entries import LANES, entries, entry
from insights.timeline.gather import PAGES, Gathered, gather
from insights.timeline.page import Shown, growth, html, policy, rows_csv
from sync.cli import app
from tests.property import examples

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert('x')</script>"
IMAGING = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "imaging"}]}


def code(text):
    return {"coding": [{"system": "http://snomed.info/sct", "code": "1", "display": text}]}


def about(kind, identity, of, **more):
    return {"resourceType": kind, "id": identity, "subject": {"reference": f"Patient/{of}"}, **more}


def study(identity, of, started, site="51185008", modality="CT", **more):
    body = {"system": "http://snomed.info/sct", "code": site}
    dcm = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": modality}
    return about(
        "ImagingStudy", identity, of, status="available", started=started, modality=[dcm],
        description=f"study {identity}",
        identifier=[{"system": "urn:dicom:uid", "value": f"urn:oid:1.2.3.{identity[-1]}"}],
        series=[{"uid": f"1.2.3.{identity[-1]}.1", "modality": dcm, "bodySite": body}], **more,
    )  # fmt: skip


def lesion(identity, of, at, size):
    return about(
        "Observation", identity, of, status="final", category=[IMAGING], code=code("diameter"), effectiveDateTime=at,
        identifier=[{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3.99"}],
        valueQuantity={"value": size, "unit": "mm", "system": "http://unitsofmeasure.org", "code": "mm"},
    )  # fmt: skip


RESOURCES = [
    {"resourceType": "Patient", "id": "tl-old", "gender": "male"},
    {"resourceType": "Patient", "id": "tl-me", "gender": "male",
     "link": [{"other": {"reference": "Patient/tl-old"}, "type": "replaces"}]},
    {"resourceType": "Patient", "id": "tl-also",
     "link": [{"other": {"reference": "Patient/tl-me"}, "type": "seealso"}]},
    {"resourceType": "Patient", "id": "tl-other"},
    about("Condition", "tl-c1", "tl-me", code=code(EVIL), onsetDateTime="2019"),
    about("Condition", "tl-c2", "tl-me", code=code("refuted"), onsetDateTime="2020",
          verificationStatus={"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status",
                                          "code": "refuted"}]}),
    about("Procedure", "tl-p1", "tl-old", code=code("lobectomy"), status="completed", performedDateTime="2021-03"),
    about("MedicationRequest", "tl-m1", "tl-also", status="active", intent="order", authoredOn="2022-01-02",
          medicationCodeableConcept=code("=cisplatin()")),
    study("tl-s1", "tl-me", "2020-05-01"),
    study("tl-s2", "tl-old", "2021-05-01", site="69536005"),
    study("tl-s3", "tl-me", "2023-05-01"),
    about("DiagnosticReport", "tl-r1", "tl-me", status="final", code=code("CT report"),
          effectiveDateTime="2023-05-01T10:00:00Z", conclusion="stable"),
    lesion("tl-o1", "tl-me", "2020-05-01", 20),
    lesion("tl-o2", "tl-me", "2023-05-01", 25),
    study("tl-s9", "tl-other", "2022-01-01"),
]  # fmt: skip


@pytest.fixture(scope="module")
def fhir(fhir_embedded):
    with httpx.Client(base_url=fhir_embedded, timeout=30) as client:
        for resource in RESOURCES:
            client.put(f"/{resource['resourceType']}/{resource['id']}", json=resource).raise_for_status()
    return fhir_embedded


def run(fhir, *words):
    return CliRunner().invoke(app, ["timeline", *words, "--fhir", fhir])


def test_everything_of_all_linked_patients_is_there_and_nothing_of_others(fhir):
    result = run(fhir, "tl-me", "--json")
    assert result.exit_code == 0, result.output
    timeline = json.loads(result.stdout)
    assert timeline["patients"][0] == "tl-me"
    assert set(timeline["patients"]) == {"tl-me", "tl-old", "tl-also"}
    expected = ["tl-c1", "tl-o1", "tl-s1", "tl-p1", "tl-s2", "tl-m1", "tl-o2", "tl-r1", "tl-s3"]
    assert [row["reference"].partition("/")[2] for row in timeline["entries"]] == expected
    assert [row["start"] for row in timeline["entries"]][:4] == ["2019", "2020-05-01", "2020-05-01", "2021-03"]
    assert [row["reference"] for row in timeline["entries"] if row["prior"]] == ["ImagingStudy/tl-s1"]


def test_what_is_new_is_marked(fhir):
    assert all(
        row["new"] for row in json.loads(run(fhir, "tl-me", "--json", "--since", "2020-01-01").stdout)["entries"]
    )
    assert not any(
        row["new"] for row in json.loads(run(fhir, "tl-me", "--json", "--since", "2199-01-01").stdout)["entries"]
    )


def test_a_study_that_is_not_the_patient_s_is_said_and_marks_nothing(fhir):
    result = run(fhir, "tl-me", "--json", "--study", "1.2.3.4.5")
    assert result.exit_code == 0
    assert "1.2.3.4.5 is no study of this patient" in result.stderr
    assert not any(row["prior"] for row in json.loads(result.stdout)["entries"])
    assert "no study" not in run(fhir, "tl-me", "--json", "--study", "1.2.3.2").stderr


@pytest.mark.parametrize("patient", ["nowhere", "a/b", "x?y=z"])
def test_a_patient_that_is_not_there_is_an_error_and_no_empty_page(fhir, patient, tmp_path):
    result = run(fhir, patient, "--html", str(tmp_path / "page.html"))
    assert result.exit_code == 2
    assert "timeline.no_patient" in result.stderr
    assert not list(tmp_path.iterdir())


def test_files_are_for_their_owner_and_texts_do_not_run(fhir, tmp_path):
    page, table = tmp_path / "page.html", tmp_path / "table.csv"
    assert run(fhir, "tl-me", "--html", str(page), "--csv", str(table)).exit_code == 0
    assert {stat.S_IMODE(file.stat().st_mode) for file in (page, table)} == {0o600}
    assert "<script" not in page.read_text("utf-8")
    labels = [row["label"] for row in csv.DictReader(io.StringIO(table.read_text("utf-8")))]
    assert "'=cisplatin()" in labels


class Service:
    """Answers every search with nothing, some with a failure or without end."""

    def __init__(self, **failures):
        self.failures = failures
        self.asked = []

    def __call__(self, request):
        kind = request.url.path.split("/")[2]
        self.asked.append(str(request.url))
        if request.url.path.endswith("/Patient/p"):
            return httpx.Response(200, json={"resourceType": "Patient", "id": "p"})
        status = self.failures.get(kind, 200)
        if status == "endless":
            following = [{"relation": "next", "url": f"https://fhir.example/r4/{kind}?page={len(self.asked)}"}]
            more = {"link": following, "entry": [{"resource": {"resourceType": kind, "id": f"x{len(self.asked)}",
                                                               "subject": {"reference": "Patient/p"}},
                                                  "search": {"mode": "match"}}]}  # fmt: skip
            return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", **more})
        if status != 200:
            return httpx.Response(status, json={"resourceType": "OperationOutcome", "issue": []})
        return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset"})

    async def gathered(self):
        async def quick(_):
            return None

        transport = httpx.MockTransport(self)
        async with connected("https://fhir.example/r4", transport=transport, sleep=quick) as service:
            return await gather(service, "p")


@pytest.mark.parametrize("status", [400, 403, 404, 503, "endless"])
@pytest.mark.parametrize("kind", ["Observation", "ImagingStudy", "Encounter"])
async def test_a_search_that_fails_is_a_marked_lane(kind, status):
    service = Service(**{kind: status})
    timeline = await service.gathered()
    assert set(timeline.missing) == {LANES[kind]}
    shown = html(Shown(timeline, entries(timeline.resources)))
    assert "Not everything is here" in shown
    assert f"{LANES[kind]} (!)" in shown
    if status == "endless":
        assert len(timeline.resources) == PAGES


async def test_there_are_eight_searches_of_lanes_and_each_names_all_patients():
    service = Service()
    timeline = await service.gathered()
    lanes = [url for url in service.asked if "patient=" in url]
    assert len(lanes) == len(LANES) == 8
    assert timeline.missing == {}


async def test_a_failing_search_for_links_is_said_too():
    assert set((await Service(Patient=400).gathered()).missing) == {"Linked patients"}


@pytest.mark.parametrize(
    "answer",
    [
        {"resourceType": "Bundle", "type": "searchset"},
        {"resourceType": "Patient", "id": "another"},
        {"resourceType": "Patient"},
        {},
    ],
    ids=["a Bundle", "another Patient", "no id", "nothing"],
)
async def test_an_answer_that_is_not_the_patient_is_refused(answer):
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    async with connected("https://fhir.example/r4", transport=transport) as service:
        with pytest.raises(Unavailable, match="not the resource that was asked for") as problem:
            await gather(service, "p")
    assert problem.value.code == "collect.unavailable"


@pytest.mark.parametrize("status", [200, 404, 410])
async def test_a_gateways_page_does_not_say_that_there_is_no_such_patient(status):
    transport = httpx.MockTransport(lambda _: httpx.Response(status, html="<html>Sign in</html>"))
    async with connected("https://fhir.example/r4", transport=transport) as service:
        with pytest.raises(Unavailable) as problem:
            await gather(service, "p")
    assert problem.value.code == "collect.unavailable"


@pytest.mark.parametrize("kind", LANES)
def test_a_bare_resource_of_any_kind_is_an_entry_without_a_date(kind):
    bare = entry({"resourceType": kind, "id": "bare"})
    assert (bare.start, bare.reference) == ("", f"{kind}/bare")
    shown = Shown(Gathered(("p",), {}, (), {}), (bare,))
    assert "no date" in html(shown)
    assert rows_csv(shown).count("\n") == 2


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["coding", "code", "start"]), inner),
    max_leaves=4,
)


def places(value, path=()):
    """Every place in a resource, from its elements down."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


@settings(max_examples=examples(1000))
@given(st.sampled_from([resource for resource in RESOURCES if resource["resourceType"] in LANES]), st.data())
def test_an_element_of_another_type_costs_that_element_and_no_more(resource, data):
    changed = json.loads(json.dumps(resource))
    *above, last = data.draw(st.sampled_from(list(places(resource))))
    holder = changed
    for key in above:
        holder = holder[key]
    holder[last] = data.draw(anything)
    is_asked_for(changed, "patient", {"Patient/tl-me"})
    other = next(shown for one in RESOURCES if one is not resource and (shown := entry(one)) is not None)
    others = [one for one in RESOURCES if one is not resource]
    assert other in {replace(shown, prior=False) for shown in entries([changed, *others])}


def test_growth_needs_two_measurements_of_one_lesion_in_one_unit():
    one, two = entry(lesion("o1", "p", "2020", 20)), entry(lesion("o2", "p", "2021", 0))
    assert growth([one]) == []
    assert [change for _, _, measured in growth([two, one]) for _, change in measured] == ["", ""]
    assert [change for _, _, measured in growth([one, two]) for _, change in measured] == ["", "-100 %"]


def test_the_page_lets_nothing_be_loaded():
    assert "default-src 'none'" in policy()
    assert "unsafe" not in policy()
    assert "script-src" not in policy()


def test_the_commands_of_the_page_of_the_docs_end_well(fhir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "timeline.md").read_text("utf-8")
    typed = [line for line in re.findall(r"^python -m sync (timeline .*)$", page, re.MULTILINE) if "--open" not in line]
    assert typed
    for line in typed:
        result = CliRunner().invoke(app, [*shlex.split(line.replace("PATIENT", "tl-me")), "--fhir", fhir])
        assert result.exit_code == 0, result.output


def test_nothing_of_it_loads_duckdb():
    code = "import sys, insights.timeline.page; print('duckdb' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
