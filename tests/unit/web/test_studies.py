"""The list of studies, as a page and as JSON: filters, paging, what a reader may ask, and a FHIR service that fails."""

import asyncio
import json
import re
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from sync.errors import FhirUnavailable, RequestRefused
from sync.events import Sources
from sync.model import Action, Change, FhirPage, StudyRef
from sync.web import study_list
from sync.web.dashboard import dashboard
from sync.web.exchange import Request, answered
from tests.worlds import STUDY, MemoryWorld, dicom

SOURCES = Sources(account="memory", containers=frozenset({"dicom"}))
URL = "https://app.example/api/dashboard"
DAYS = {"2.25.1": "20260301", "2.25.2": "20260302", "2.25.3": "20260303"}


@pytest.fixture
async def w():
    world = MemoryWorld(operators="key", viewer_url="https://viewer.example/v?StudyInstanceUIDs={study}")
    for number, (uid, day) in enumerate(DAYS.items()):
        modality = "CT" if number else "MR"
        await world.arrive(
            f"{uid}.dcm",
            StudyInstanceUID=uid,
            StudyDate=day,
            Modality=modality,
            AccessionNumber=f"A{number}",
            PatientID=f"P{number}",
        )
    return world


async def listed(w, **query):
    request = Request(query=query)
    answer = await answered(study_list.answer_studies(request, w.services))
    assert answer.status == 200, answer.body
    return answer.body


async def uids(w, **query):
    return [study["study"] for study in (await listed(w, **query))["studies"]]


async def page(w, method="GET", body=b"", name="studies", **query):
    request = Request(query=query, params={"page": name}, body=body)
    return await dashboard(request, URL, method, SOURCES, w.services)


async def test_all_studies_with_what_fhir_says_of_each(w):
    shown = await listed(w, sort="started")
    assert shown["total"] == 3
    assert [study["study"] for study in shown["studies"]] == ["2.25.3", "2.25.2", "2.25.1"]
    first = shown["studies"][0]
    assert (first["modalities"], first["started"], first["series"], first["instances"]) == (["CT"], "2026-03-03", 1, 1)


async def test_modality_and_days_narrow_the_list(w):
    assert await uids(w, modality="mr") == ["2.25.1"]
    assert await uids(w, **{"from": "2026-03-02", "to": "2026-03-02"}) == ["2.25.2"]
    assert await uids(w, modality="MR", **{"from": "2026-03-02"}) == []


async def test_a_uid_or_an_accession_number_finds_its_study(w):
    assert await uids(w, q="2.25.2") == ["2.25.2"]
    assert await uids(w, q="A2") == ["2.25.3"]


async def test_a_container_narrows_the_list_where_fhir_is_told_of_containers():
    world = MemoryWorld(blob_url="https://account.blob.example", containers=("dicom", "other"))
    world.store.objects._containers = ("dicom", "other")
    for uid, container in (("2.25.1", "dicom"), ("2.25.2", "other")):
        placed = replace(world.ref(f"{uid}.dcm"), container=container)
        etag = world.store.objects.put(placed, dicom(StudyInstanceUID=uid))
        await world.ingest(Change(object=placed, action=Action.CREATED, etag=etag))
    await world.settle()
    assert await uids(world, source="dicom") == ["2.25.1"]
    assert await uids(world, source="other") == ["2.25.2"]
    shown = (await page(world, source="other")).body
    assert "<option selected>other</option>" in shown
    assert (await page(world, source="unknown")).status == 400


async def test_where_fhir_is_not_told_of_containers_no_filter_is_offered_and_the_setting_is_named(w):
    assert 'name="source"' not in (await page(w)).body
    assert "DICOM_SYNC_BLOB_URL" in (await page(w, source="dicom")).body


async def test_an_operator_sees_the_names_of_a_studys_objects_and_that_is_recorded(w):
    assert "2.25.2.dcm" not in (await page(w, name="study", uid="2.25.2")).body
    shown = await page(w, "POST", json.dumps({"uid": "2.25.2", "who": "ann"}).encode(), name="study")
    assert "2.25.2.dcm" in shown.body
    assert "data-refresh" not in shown.body
    [entry] = await w.services.audit.newest(5)
    assert (entry.who, entry.action) == ("ann", "source.where")


@pytest.mark.parametrize(("body", "status"), [({"uid": "2.25.2"}, 400), ({"uid": "2.25.404", "who": "ann"}, 404)])
async def test_names_are_refused_without_who_asks_and_for_a_study_that_is_not_known(w, body, status):
    assert (await page(w, "POST", json.dumps(body).encode(), name="study")).status == status
    assert await w.services.audit.newest(5) == []


async def test_readers_get_no_names():
    reader = MemoryWorld(operators="none")
    await reader.arrive("a.dcm", StudyInstanceUID="2.25.2")
    assert (await page(reader, "POST", b'{"uid": "2.25.2", "who": "ann"}', name="study")).status == 403
    assert "Show names" not in (await page(reader, name="study", uid="2.25.2")).body


async def test_a_patient_is_found_by_operators_in_the_body_of_a_request_only(w):
    body = json.dumps({"patient": "P1"}).encode()
    answer = await answered(study_list.answer_studies(Request(body=body), w.services))
    assert [study["study"] for study in answer.body["studies"]] == ["2.25.2"]
    assert (await answered(study_list.answer_studies(Request(query={"patient": "P1"}), w.services))).status == 400
    reader = Request(body=body)
    with pytest.raises(RequestRefused):
        study_list.filters_of(reader, operator=False)
    unknown = await page(w, "POST", json.dumps({"patient": "nobody"}).encode())
    assert "No study is known" in unknown.body


async def test_pages_follow_one_another_and_hold_every_study_once(w):
    listed_uids, token = [], ""
    while True:
        body = await listed(w, limit="2", token=token)
        listed_uids += [study["study"] for study in body["studies"]]
        token = body["token"]
        if not token:
            break
    assert sorted(listed_uids) == sorted(DAYS)


async def test_the_page_leads_on_with_the_same_filters(w):
    shown = (await page(w, modality="CT", limit="1")).body
    more = re.search(r'href="([^"]+token=[^"]+)"', shown)[1].replace("&amp;", "&")
    query = {name: values[0] for name, values in parse_qs(urlsplit(more).query).items()}
    assert query["modality"] == "CT"
    assert 'value="CT"' in shown


@pytest.mark.parametrize(
    "query",
    [
        {"state": "strange"},
        {"sort": "size"},
        {"modality": "C T"},
        {"from": "yesterday"},
        {"to": "2026-02-30"},
        {"limit": "0"},
        {"token": "%%%"},
        {"token": "L1BhdGllbnQ="},
        {"state": "dirty", "modality": "CT"},
    ],
)
async def test_what_is_not_understood_is_refused(w, query):
    assert (await answered(study_list.answer_studies(Request(query=query), w.services))).status == 400
    assert (await page(w, **query)).status == 400


async def test_dirty_removed_and_dead_lettered_studies_have_lists_of_their_own(w):
    await w.ingest(w.put("new.dcm", StudyInstanceUID="2.25.9"))
    assert await uids(w, state="dirty") == ["2.25.9"]
    await w.go("2.25.1.dcm")
    assert await uids(w, state="removed") == ["2.25.1"]
    assert await uids(w, state="dead_lettered") == []


async def test_a_fhir_service_that_hangs_is_told_before_the_page_counts_as_old(w, monkeypatch):
    hung = asyncio.Event()
    monkeypatch.setattr(study_list, "REFRESHED_PATIENCE", 0.01)
    monkeypatch.setattr(w.fhir, "find_studies", lambda *_, **__: hung.wait())
    shown = (await page(w)).body
    assert "fhir.unavailable" in shown
    assert 'data-refresh="10"' in shown
    assert study_list.REFRESHED_PATIENCE + 10 < 15


async def test_while_fhir_fails_the_page_says_so_and_shows_what_was_written_last(w):
    w.fhir.outage = FhirUnavailable("503")
    shown = await page(w)
    assert shown.status == 200
    assert "fhir.unavailable" in shown.body
    assert f"<code>{w.services.settings.fhir_url}</code>:" in shown.body
    assert "2.25.3" in shown.body
    assert (await answered(study_list.answer_studies(Request(), w.services))).status == 503
    study = await page(w, name="study", uid=STUDY.study_instance_uid)
    assert study.status == 200
    assert "The request to FHIR failed" in study.body


async def test_a_study_shows_its_series_its_resources_and_the_viewer(w):
    shown = (await page(w, name="study", uid="2.25.2")).body
    assert 'href="https://viewer.example/v?StudyInstanceUIDs=2.25.2"' in shown
    assert 'data-of="Modality">CT<' in shown
    resource = w.projection(StudyRef(study_instance_uid="2.25.2"))
    assert f"http://localhost/fhir/ImagingStudy/{resource.fhir_id}" in shown
    assert f"http://localhost/fhir/Patient/{resource.patient_id}" in shown


ODD = [None, 7, "x", {}, ["x"], [None], {"code": 7}, [{"code": ["x"]}]]
OF_STUDY = ("modality", "started", "numberOfSeries", "numberOfInstances", "meta", "series")
OF_SERIES = ("uid", "number", "modality", "bodySite", "numberOfInstances", "started")


def odd_studies(held, odd):
    """Yield a study's resource with an element of another type, each in turn."""
    yield from ({**held, name: odd} for name in OF_STUDY)
    yield from ({**held, "series": [{**held["series"][0], name: odd}]} for name in OF_SERIES)
    yield {**held, "identifier": [{"system": "urn:dicom:uid", "value": 7}, *held["identifier"]]}


@pytest.mark.parametrize("odd", ODD, ids=json.dumps)
async def test_an_element_of_another_type_costs_that_element_only(w, monkeypatch, odd):
    given = []
    monkeypatch.setattr(w.fhir, "find_studies", lambda *_: later(FhirPage(resources=given)))
    monkeypatch.setattr(w.fhir, "read", lambda *_: later(given[0]))
    held = w.imaging_study(StudyRef(study_instance_uid="2.25.2"))
    for resource in odd_studies(held, odd):
        given[:] = [resource]
        assert await uids(w) == ["2.25.2"]
        assert (await page(w)).status == (await page(w, name="study", uid="2.25.2")).status == 200
    given[:] = [{**held, "identifier": odd}]
    assert await uids(w) == []


async def later(value):
    return value
