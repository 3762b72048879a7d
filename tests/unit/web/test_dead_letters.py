"""Dead letters over HTTP: what is answered, to whom, and that nothing is done by mistake."""

import json
from urllib.parse import urlencode

import pytest

from sync.errors import FhirRejected, StoreUnavailable
from sync.monitoring.counts import store_counts
from sync.protocol.dead_letters import dead_letter_study
from sync.web import dead_letters as web
from sync.web.exchange import Request, answered
from tests.worlds import SOURCES, STUDY, UNREADABLE, MemoryWorld

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.fixture
def w():
    return MemoryWorld(operators="key")


async def listed(w, **query):
    return await answered(web.list_dead_letters(Request(query=query), w.services))


async def shown(w, kind, subject, *, headers=None, **query):
    request = Request(params={"kind": kind, "subject": subject}, query=query, headers=headers or {})
    return await answered(web.show_dead_letter(request, w.services))


async def retried(w, *, headers=None, **fields):
    request = Request(headers=headers or {}, body=json.dumps(fields).encode())
    return await answered(web.retry_selected(request, SOURCES, w.services))


async def discarded(w, body, headers=None):
    return await answered(web.discard_selected(Request(headers=headers or {}, body=body), w.services))


async def test_groups_tell_how_many_and_what_to_do(w):
    for n in range(25):
        await w.ingest(w.put(f"Doe-{n}.dcm", UNREADABLE))
    await dead_letter_study(STUDY, FhirRejected("422"), w.services)
    answer = await listed(w)
    assert (answer.status, answer.body["total"]) == (200, 26)
    group = answer.body["by_code"]["header.not_dicom"]
    assert (group["count"], len(group["letters"]), bool(group["hint"])) == (25, 3, True)
    assert "Doe" not in json.dumps(answer.body)
    assert answer.body["counted_at"] is None


async def test_of_very_many_letters_is_told_when_they_were_counted(w):
    for n in range(9):
        await w.ingest(w.put(f"{n}", UNREADABLE))
    w.store.tallies.size = 2
    await store_counts(w.services)
    counted_at = w.clock.now()
    w.clock.advance(20)
    answer = (await listed(w)).body
    assert (answer["total"], answer["counted_at"]) == (9, counted_at.isoformat())
    newest = answer["by_code"]["header.not_dicom"]["letters"]
    assert [letter["subject"] for letter in newest] == [str(w.ref(f"{n}").key) for n in (8, 7, 6)]


async def test_pages_of_a_code_follow_one_another(w):
    for n in range(5):
        await w.ingest(w.put(f"{n}", UNREADABLE))
    first = (await listed(w, code="header.not_dicom", limit="3")).body
    second = (await listed(w, code="header.not_dicom", limit="3", token=first["token"])).body
    assert [len(first["letters"]), len(second["letters"]), second["token"]] == [3, 2, None]


@pytest.mark.parametrize("limit", ["0", "501", "x", "-1", "1e3", "²", "9" * 5000])
async def test_a_limit_that_is_none_is_refused(w, limit):
    answer = await listed(w, code="a.b", limit=limit)
    assert (answer.status, answer.body["code"]) == (400, "request.malformed")


async def test_a_letter_is_shown_without_saying_whose_it_is(w):
    await dead_letter_study(STUDY, FhirRejected("422"), w.services)
    answer = await shown(w, "study", STUDY.key)
    assert (answer.status, answer.body["code"], "secrets" in answer.body) == (200, "fhir.rejected", False)


async def test_whose_it_is_is_told_to_an_operator_and_noted(w):
    await dead_letter_study(STUDY, FhirRejected("422"), w.services)
    answer = await shown(w, "study", STUDY.key, secrets="true", headers={"X-DICOM-Sync-Operator": "Jane"})
    assert answer.body["secrets"] == {"study_instance_uid": STUDY.study_instance_uid}
    (entry,) = await w.store.audit.newest(9)
    assert (entry.who, entry.action, entry.subject) == ("Jane", "dead-letters.secrets", f"study {STUDY.key}")


async def test_whose_object_it_is_is_shown_to_operators_alone():
    w = MemoryWorld()
    await dead_letter_study(STUDY, FhirRejected("422"), w.services)
    answer = await shown(w, "study", STUDY.key, secrets="true")
    assert (answer.status, answer.body["code"]) == (403, "access.not_operator")


async def test_a_letter_that_is_not_there_or_of_no_kind_is_said_so(w):
    assert (await shown(w, "study", "x")).status == 404
    assert (await shown(w, "patient", "x")).status == 400


async def test_an_operator_retries(w):
    await w.arrive("a", UNREADABLE)
    answer = await retried(w, code="header.not_dicom")
    expected = {"dry_run": False, "selected": 1, "by_code": {"header.not_dicom": 1}, "outcomes": {"asked": 1}}
    assert (answer.status, answer.body) == (200, expected)
    assert len(w.store.object_queue.messages) == 1


@pytest.mark.parametrize("by", [{"all": True}, {"all": "yes"}, {"kind": "object", "subject": "x.y"}])
async def test_a_dry_run_does_nothing(w, by):
    await w.arrive("a", UNREADABLE)
    answer = await retried(w, dry_run=True, **by)
    assert (answer.status, answer.body["dry_run"]) == (200, True)
    assert w.store.object_queue.messages == []


@pytest.mark.parametrize(
    "fields",
    [{}, {"code": ""}, {"all": False}, {"all": True, "code": "a.b"}, {"kind": "object"} | {"code": "a.b"}, {"code": 5}],
)
async def test_nothing_is_taken_for_all_by_mistake(w, fields):
    await w.arrive("a", UNREADABLE)
    answer = await retried(w, **fields)
    assert (answer.status, answer.body["code"]) == (400, "request.malformed")
    assert w.store.object_queue.messages == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"5", b"\xff", b"[" * 60_000, b" " * 70_000])
async def test_a_body_that_is_none_is_refused(w, body):
    answer = await answered(web.retry_selected(Request(body=body), SOURCES, w.services))
    assert answer.status == 400


async def test_by_default_no_one_may_act():
    w = MemoryWorld()
    await w.arrive("a", UNREADABLE)
    answer = await retried(w, all=True)
    assert (answer.status, answer.body["code"]) == (403, "access.not_operator")
    answer = await discarded(w, b'{"all": true, "why": "x", "who": "Jane"}')
    assert answer.status == 403
    assert w.dead_letters() == [("object", "header.not_dicom")]


async def test_a_page_of_another_site_may_not_act(w):
    await w.arrive("a", UNREADABLE)
    answer = await retried(w, all=True, headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status, answer.body["code"]) == (403, "access.cross_site")


async def test_an_operator_discards_by_a_form(w):
    await w.arrive("a", UNREADABLE)
    form = {"kind": "object", "subject": str(w.ref("a").key), "why": "not ours", "who": "Jane"}
    answer = await discarded(w, urlencode(form).encode(), FORM)
    assert (answer.status, answer.body["outcomes"]) == (200, {"discarded": 1})
    (entry,) = await w.store.audit.newest(9)
    assert (entry.who, entry.why) == ("Jane", "not ours")


@pytest.mark.parametrize(
    "fields", [{"why": "x"}, {"who": "Jane"}, {"who": " ", "why": "x"}, {"who": "Jane", "why": " "}]
)
async def test_a_discard_needs_a_name_and_a_reason(w, fields):
    await w.arrive("a", UNREADABLE)
    answer = await discarded(w, json.dumps({"all": True} | fields).encode())
    assert answer.status == 400
    assert w.dead_letters() == [("object", "header.not_dicom")]


async def test_an_outage_of_storage_is_said_so(w):
    async def away(_table, _token=None):
        raise StoreUnavailable("no answer")

    w.store.tallies.page = away
    answer = await listed(w)
    assert (answer.status, answer.body["code"]) == (503, "store.unavailable")
