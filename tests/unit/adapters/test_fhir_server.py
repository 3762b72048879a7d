"""`HttpFhirServer` against answers that no healthy server gives; nothing here waits or leaves the process."""

import asyncio
import json
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs

import httpx
import pytest

from sync.adapters.circuit_breaker import FAILURES_TO_OPEN, FIRST_PAUSE, CircuitBreaker
from sync.adapters.http import remote
from sync.adapters.http.fhir.server import MAX_ENTRIES, HttpFhirServer
from sync.adapters.http.retrying import ATTEMPTS, LONGEST_FAILURE, short_retries
from sync.errors import FhirConflict, FhirRejected, FhirUnavailable, SyncError, Throttled
from sync.model import UNSEEN_REFERRER, FhirWrite, StudySearch
from sync.telemetry.instruments import FHIR_UNANSWERED
from sync.telemetry.measurements import MeasurementKey
from sync.telemetry.telemetry import Telemetry

BASE = "https://fhir.example/r4"
SENTINEL = "Zztestperson"
PATIENT = {"resourceType": "Patient", "id": "pt-1"}
PUT = FhirWrite(resource_type="Patient", resource_id="pt-1", resource=PATIENT)
FENCED_PUT = FhirWrite(resource_type="Patient", resource_id="pt-1", resource=PATIENT, if_match="3")
DELETE = FhirWrite(resource_type="ImagingStudy", resource_id="is-1")
TALKATIVE = {
    "resourceType": "OperationOutcome",
    "issue": [
        {
            "severity": "error",
            "code": "value",
            "diagnostics": f"name {SENTINEL} is wrong",
            "details": {"text": SENTINEL},
            "expression": [
                f"Patient.name.where(family='{SENTINEL}')",
                SENTINEL,
                f"Patient.{SENTINEL}",
                "Patient.name[0]",
            ],
        },
        {"code": SENTINEL, "location": [f"/f:Patient/{SENTINEL}"]},
    ],
}


class Service:
    """Answers with the given responses in turn, the last one for ever, and keeps what was asked."""

    def __init__(self, *answers, tokens=None, entries=MAX_ENTRIES):
        self.answers = list(answers)
        self.requests = []
        self.waits = []
        self.telemetry = Telemetry()
        self.time = 0.0
        self.client = HttpFhirServer(
            BASE,
            telemetry=self.telemetry,
            tokens=tokens,
            transport=httpx.MockTransport(self._answer),
            breaker=CircuitBreaker(lambda: self.time),
            sleep=self._sleep,
            entries=entries,
        )

    async def _sleep(self, seconds):
        self.waits.append(seconds)

    def _answer(self, request):
        self.requests.append(request)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def says(status=200, body=None, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=body if body is not None else {}, headers=named)


def bundle(*responses, of="transaction"):
    entries = [{"response": response} for response in responses]
    return says(200, {"resourceType": "Bundle", "type": f"{of}-response", "entry": entries})


def read(service):
    return service.client.read("Patient", "pt-1")


async def failure(call):
    with pytest.raises(SyncError) as caught:
        await call
    return caught.value


async def test_a_read_gives_the_resource():
    assert await read(Service(says(200, PATIENT))) == PATIENT


@pytest.mark.parametrize("status", [404, 410])
async def test_what_never_was_and_what_is_deleted_read_as_none(status):
    assert await read(Service(says(status, TALKATIVE))) is None


@pytest.mark.parametrize(
    ("status", "error", "requests"),
    [
        (302, FhirUnavailable, 1),
        (400, FhirRejected, 1),
        (405, FhirRejected, 1),
        (409, FhirConflict, 1),
        (412, FhirConflict, 1),
        (413, FhirRejected, 1),
        (422, FhirRejected, 1),
        (424, FhirUnavailable, 1),
        (401, FhirUnavailable, 1),
        (403, FhirUnavailable, 1),
        (408, FhirUnavailable, ATTEMPTS),
        (429, Throttled, ATTEMPTS),
        (500, FhirUnavailable, ATTEMPTS),
        (502, FhirUnavailable, ATTEMPTS),
        (503, FhirUnavailable, ATTEMPTS),
        (504, FhirUnavailable, ATTEMPTS),
    ],
)
async def test_each_status_is_one_of_our_errors_and_only_an_outage_is_tried_again(status, error, requests):
    service = Service(says(status, TALKATIVE))
    assert type(await failure(read(service))) is error
    assert len(service.requests) == requests


@pytest.mark.parametrize("answer", [says(401), says(403, TALKATIVE)])
async def test_a_missing_role_has_a_code_and_a_hint_of_its_own(answer):
    problem = await failure(read(Service(answer)))
    assert problem.code == "fhir.forbidden"
    assert "FHIR Data Writer" in problem.hint


async def test_a_certificate_that_is_not_trusted_is_not_tried_again_for_only_the_operator_can_repair_it():
    refused = httpx.ConnectError(SENTINEL)
    refused.__cause__ = ssl.SSLCertVerificationError(SENTINEL)
    service = Service(refused)
    problem = await failure(read(service))
    assert (type(problem), problem.code) == (FhirUnavailable, "fhir.certificate")
    assert SENTINEL not in f"{problem} {problem.hint}"
    assert len(service.requests) == 1


async def test_a_short_outage_is_not_even_noticed(actions):
    service = Service(says(503), says(200, PATIENT))
    assert await read(service) == PATIENT
    assert actions == {"fhir.requests": 2, "fhir.retries": 1}


@pytest.mark.parametrize(
    "problem", [httpx.ConnectError(SENTINEL), httpx.ReadTimeout(SENTINEL), httpx.InvalidURL(SENTINEL)]
)
async def test_no_answer_is_an_outage_and_its_text_stays_outside(problem):
    error = await failure(read(Service(problem)))
    assert isinstance(error, FhirUnavailable)
    assert SENTINEL not in str(error)


def in_seconds(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("name", "ask"),
    [("Retry_After", str), ("Retry_After", in_seconds), ("x_ms_retry_after_ms", lambda seconds: f"{seconds * 1000}")],
    ids=["seconds", "date", "milliseconds"],
)
async def test_a_long_wait_that_is_asked_for_goes_to_the_caller(name, ask):
    service = Service(says(429, **{name: ask(90)}))
    error = await failure(read(service))
    assert error.retry_after == pytest.approx(90, abs=30)  # a date says how long from now, whole seconds, slow machine
    assert service.waits == []


@pytest.mark.parametrize("headers", [{"Retry_After": "1"}, {"x_ms_retry_after_ms": "1000"}])
async def test_a_short_wait_that_is_asked_for_is_kept(headers):
    service = Service(says(429, **headers), says(200, PATIENT))
    assert await read(service) == PATIENT
    assert service.waits == [1.0]


async def test_a_date_that_has_passed_asks_for_no_wait():
    service = Service(says(503, Retry_After=in_seconds(-5)), says(200, PATIENT))
    await read(service)
    assert service.waits == [0.0]


@pytest.mark.parametrize("nonsense", ["soon", "-1", "9" * 400, "Wed, 99 Foo 2026 00:00:00 GMT"])
async def test_a_wait_that_makes_no_sense_counts_as_none(nonsense):
    assert (await failure(read(Service(says(503, Retry_After=nonsense))))).retry_after is None


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"\xff\xfe", b"[" * 100_000])
async def test_an_answer_that_is_no_json_object_is_an_outage(body):
    answer = httpx.Response(200, content=body)
    assert type(await failure(read(Service(answer)))) is FhirUnavailable
    assert type(await failure(Service(answer).client.transact([PUT]))) is FhirUnavailable


@pytest.mark.parametrize("entry", [[1], "x", {"a": 1}])
async def test_a_bundle_of_something_else_is_an_outage(entry):
    searched = says(200, {"resourceType": "Bundle", "type": "searchset", "entry": entry})
    assert type(await failure(Service(searched).client.search("Patient", "s", "v"))) is FhirUnavailable
    written = says(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": entry})
    assert type(await failure(Service(written).client.transact([PUT]))) is FhirUnavailable


ANSWERS = {
    "search": ("searchset", lambda client: client.search("Patient", "s", "v")),
    "page": ("searchset", lambda client: client.page("Patient")),
    "find_studies": ("searchset", lambda client: client.find_studies(StudySearch())),
    "last_version": ("history", lambda client: client.last_version("Patient", "pt-1")),
    "read_all": ("batch-response", lambda client: client.read_all(["Patient/pt-1"])),
    "transact": ("transaction-response", lambda client: client.transact([PUT])),
}
"""Calls that a Bundle answers, with its type."""
OTHERS = [
    (call, other)
    for call, (right, _) in ANSWERS.items()
    for other in ("searchset", "history", "batch-response", "transaction-response", "collection", None)
    if other != right
]


@pytest.mark.parametrize(("call", "other"), OTHERS)
async def test_a_bundle_that_answers_another_request_is_an_outage(call, other):
    right, ask = ANSWERS[call]
    resource = {"resourceType": "ImagingStudy", "id": "is-1"} if call == "find_studies" else known_as("v")
    answered = {"resource": resource, "response": {"status": "200", "etag": 'W/"1"'}}
    bodies = [{"resourceType": "Bundle", "type": kind, "entry": [answered]} for kind in (right, other)]
    assert await ask(Service(says(200, bodies[0])).client)
    problem = await failure(ask(Service(says(200, bodies[1])).client))
    assert (type(problem), problem.code) == (FhirUnavailable, "fhir.garbled")


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_transaction_with_another_number_of_answers_has_failed(count):
    answer = bundle(*[{"status": "200", "etag": 'W/"1"'}] * count)
    assert type(await failure(Service(answer).client.transact([PUT, DELETE]))) is FhirUnavailable


@pytest.mark.parametrize(
    ("write", "status", "error"),
    [
        (FENCED_PUT, "412 Precondition Failed", FhirConflict),
        (FENCED_PUT, "404", FhirConflict),
        (FENCED_PUT, "410 Gone", FhirConflict),
        (PUT, "409", FhirConflict),
        (PUT, "404", FhirRejected),
        (PUT, "400 Bad Request", FhirRejected),
        (PUT, "422", FhirRejected),
        (PUT, "429", Throttled),
        (PUT, "500 Internal", FhirUnavailable),
        (PUT, "", FhirUnavailable),
        (PUT, "fine", FhirUnavailable),
        (PUT, None, FhirUnavailable),
        (DELETE, "409", FhirConflict),
        (DELETE, "400", FhirRejected),
        (DELETE, "503", FhirUnavailable),
    ],
)
async def test_one_failed_entry_fails_the_transaction(write, status, error):
    good = {"status": "200 OK", "etag": 'W/"1"'}
    other = FhirWrite(resource_type="Patient", resource_id="pt-2", resource={**PATIENT, "id": "pt-2"})
    service = Service(bundle(good, {"status": status, "outcome": TALKATIVE}))
    problem = await failure(service.client.transact([other, write]))
    assert type(problem) is error
    assert SENTINEL not in str(problem)


@pytest.mark.parametrize("status", ["200", "204 No Content", "404", "410"])
async def test_deleting_what_is_gone_is_fine(status):
    assert await Service(bundle({"status": status})).client.transact([DELETE]) == [None]


@pytest.mark.parametrize(
    ("response", "version"),
    [
        ({"etag": 'W/"7"'}, "7"),
        ({"etag": '"7"'}, "7"),
        ({"etag": "7"}, "7"),
        ({"location": f"{BASE}/Patient/pt-1/_history/7"}, "7"),
        ({"etag": "", "location": "Patient/pt-1"}, None),
        ({}, None),
    ],
)
async def test_the_version_is_taken_from_wherever_it_stands(response, version):
    assert await Service(bundle({"status": "201", **response})).client.transact([PUT]) == [version]


async def test_a_transaction_says_what_it_writes_and_on_which_condition():
    service = Service(bundle({"status": "200"}, {"status": "204"}))
    await service.client.transact([FENCED_PUT, DELETE])
    request = service.requests[0]
    assert (request.method, str(request.url)) == ("POST", BASE)
    assert json.loads(request.content) == {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/pt-1", "ifMatch": 'W/"3"'}},
            {"request": {"method": "DELETE", "url": "ImagingStudy/is-1"}},
        ],
    }


async def test_more_writes_than_a_bundle_may_hold_go_in_several():
    writes = [
        FhirWrite(resource_type="Patient", resource_id=str(i), resource={**PATIENT, "id": str(i)})
        for i in range(MAX_ENTRIES + 1)
    ]
    service = Service(bundle(*[{"status": "200", "etag": 'W/"1"'}] * MAX_ENTRIES), bundle({"status": "200"}))
    assert await service.client.transact(writes) == ["1"] * MAX_ENTRIES + [None]
    assert [len(json.loads(request.content)["entry"]) for request in service.requests] == [MAX_ENTRIES, 1]


async def test_a_server_that_takes_less_gets_less_in_transactions_and_batches():
    service = Service(bundle({"status": "200"}, {"status": "200"}), bundle({"status": "200"}), entries=2)
    writes = [
        FhirWrite(resource_type="Patient", resource_id=str(i), resource={**PATIENT, "id": str(i)}) for i in range(3)
    ]
    await service.client.transact(writes)
    assert [len(json.loads(request.content)["entry"]) for request in service.requests] == [2, 1]
    gone = {"status": "404"}
    service = Service(bundle(gone, gone, of="batch"), bundle(gone, of="batch"), entries=2)
    assert await service.client.read_all(["Patient/1", "Patient/2", "Patient/3"]) == [None, None, None]
    assert [len(json.loads(request.content)["entry"]) for request in service.requests] == [2, 1]


async def test_text_that_is_no_unicode_still_leaves_as_utf_8():
    service = Service(bundle({"status": "200"}))
    odd = {**PATIENT, "name": [{"text": "a\ud800b"}]}
    await service.client.transact([FhirWrite(resource_type="Patient", resource_id="pt-1", resource=odd)])
    assert "a?b" in service.requests[0].content.decode("utf-8")


async def test_a_search_carries_the_identifier_in_its_body_and_nowhere_else():
    service = Service(bundle_of())
    value = r"a,b|c$d\ e+f%20ü"
    assert await service.client.search("Patient", f"urn:{SENTINEL}", value) == []
    request = service.requests[0]
    assert (request.method, str(request.url)) == ("POST", f"{BASE}/Patient/_search")
    form = parse_qs(request.content.decode())
    assert form["identifier"] == [rf"urn:{SENTINEL}|a\,b\|c\$d\\ e+f%20ü"]
    assert request.headers["Cache-Control"] == "no-cache, no-store"


async def test_a_search_that_may_lack_matches_is_made_again_with_further_pages():
    first, rest = [known_as("v", id=f"a{number}") for number in range(10)], [known_as("v", id="b")]
    service = Service(bundle_of(*first), bundle_of(*first, following=f"{BASE}?_getpages=x"), bundle_of(*rest))
    assert await service.client.search("Patient", "s", "v") == [*first, *rest]
    asked = [request.headers["Cache-Control"] for request in service.requests]
    assert asked == ["no-cache, no-store", "no-cache", "no-cache"]


async def test_a_search_of_few_matches_is_made_once():
    few = [known_as("v", id=f"a{number}") for number in range(9)]
    service = Service(bundle_of(*few))
    assert await service.client.search("Patient", "s", "v") == few
    assert len(service.requests) == 1


async def test_a_search_leaves_out_what_did_not_match():
    entries = [
        {"resource": known_as("v"), "search": {"mode": "match"}},
        {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}},
        {"resource": {**known_as("v"), "id": "beside"}, "search": {"mode": "include"}},
        {"search": None, "resource": None},
    ]
    service = Service(searchset(*entries))
    assert await service.client.search("Patient", "s", "v") == [known_as("v")]


def known_as(value, system="s", **more):
    return {**PATIENT, "identifier": [{"system": system, "value": value}], **more}


def bundle_of(*resources, following=None):
    links = {"link": [{"relation": "next", "url": following}]} if following else {}
    return searchset(*({"resource": resource} for resource in resources), **links)


def searchset(*entries, **more):
    return says(200, {"resourceType": "Bundle", "type": "searchset", "entry": list(entries)} | more)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (known_as("番号42"), "the index of the server has ?? for both"),
        (known_as("患者42", "t"), "another system"),
        (known_as("患者42 "), "a blank behind"),
        (known_as("患者42", ""), "no system"),
        (PATIENT, "no identifier"),
        ({**PATIENT, "identifier": "患者42"}, "not R4"),
        ({**PATIENT, "identifier": ["患者42", None]}, "not R4"),
    ],
)
async def test_only_what_carries_exactly_the_identifier_is_a_match(other, why):
    right = known_as("患者42", id="pt-2")
    matches = await Service(bundle_of(other, right)).client.search("Patient", "s", "患者42")
    assert matches == [right], why


async def test_of_any_system_means_of_any_and_of_none_means_of_none():
    both = [known_as("v", "s"), {**PATIENT, "id": "pt-2", "identifier": [{"value": "v"}]}]
    assert await Service(bundle_of(*both)).client.search("Patient", None, "v") == both
    assert await Service(bundle_of(*both)).client.search("Patient", "", "v") == both[1:]


async def test_pages_of_false_matches_are_followed_to_their_end_and_no_address_has_the_identifier():
    right = known_as("患者42", id="pt-9")
    pages = [
        bundle_of(*[known_as("番号42", id=f"a{number}") for number in range(10)], following=f"{BASE}/Patient?{query}")
        for query in ("ct=1&identifier=s%7C%E6%82%A3%E8%80%8542", "ct=2&identifier=s%7C%E6%82%A3%E8%80%8542")
    ]
    service = Service(*pages, bundle_of(right))
    assert await service.client.search("Patient", "s", "患者42") == [right]
    assert [(request.method, request.url.path) for request in service.requests] == [("POST", "/r4/Patient/_search")] * 3
    assert [parse_qs(request.content.decode()).get("ct") for request in service.requests] == [None, ["1"], ["2"]]
    assert parse_qs(service.requests[2].content.decode())["identifier"] == ["s|患者42"]


async def test_a_link_that_does_not_repeat_the_question_is_followed_as_it_is():
    service = Service(bundle_of(following=f"{BASE}?_getpages=x&_getpagesoffset=50"), bundle_of(known_as("v")))
    assert len(await service.client.search("Patient", "s", "v")) == 1
    assert (service.requests[1].method, str(service.requests[1].url)) == (
        "GET",
        f"{BASE}?_getpages=x&_getpagesoffset=50",
    )


async def test_pages_in_a_circle_are_an_outage():
    service = Service(bundle_of(following=f"{BASE}/Patient?ct=1"))
    assert type(await failure(service.client.search("Patient", "s", "v"))) is FhirUnavailable
    assert len(service.requests) == 2


async def test_pages_that_alternate_are_an_outage_too():
    service = Service(*[bundle_of(following=f"{BASE}/Patient?ct={number % 2}") for number in range(20)])
    assert type(await failure(service.client.search("Patient", "s", "v"))) is FhirUnavailable
    assert len(service.requests) < 6


async def test_the_id_of_a_match_may_stand_in_its_full_url_only_and_must_stand_somewhere():
    nameless = {name: value for name, value in known_as("v").items() if name != "id"}
    entry = {"fullUrl": f"{BASE}/Patient/pt-7", "resource": nameless}
    service = Service(searchset(entry))
    assert [patient["id"] for patient in await service.client.search("Patient", "s", "v")] == ["pt-7"]
    assert type(await failure(Service(bundle_of(nameless)).client.search("Patient", "s", "v"))) is FhirUnavailable


class Tokens:
    def __init__(self):
        self.asked = []

    async def token(self, *, refresh=False):
        self.asked.append(refresh)
        return "new" if refresh else "old"


async def test_a_refused_token_is_renewed_once():
    tokens = Tokens()
    service = Service(says(401), says(200, PATIENT), tokens=tokens)
    assert await read(service) == PATIENT
    assert [request.headers["Authorization"] for request in service.requests] == ["Bearer old", "Bearer new"]


async def test_a_token_that_is_refused_twice_is_given_up():
    tokens = Tokens()
    service = Service(says(401), tokens=tokens)
    assert (await failure(read(service))).code == "fhir.forbidden"
    assert tokens.asked == [False, True]


async def test_without_tokens_nothing_is_said_about_authority():
    service = Service(says(200, PATIENT))
    await read(service)
    assert "Authorization" not in service.requests[0].headers


async def test_after_five_failures_the_service_is_left_alone():
    service = Service(says(503))
    for _ in range(3):
        problem = await failure(read(service))
    assert len(service.requests) == 5
    assert problem.retry_after == FIRST_PAUSE


@pytest.mark.parametrize(
    ("answers", "code"),
    [([says(401)] * 5, "fhir.forbidden"), ([says(401)] * 4 + [says(503)], "fhir.unavailable")],
)
async def test_while_it_is_left_alone_the_last_failure_is_told(answers, code):
    service = Service(*answers)
    for _ in range(5):
        known = await failure(read(service))
    told = await failure(read(service))
    assert told.detail == f"the service is left alone for a while after: {401 if code == 'fhir.forbidden' else 503}"
    assert (told.code, told.hint, told.retry_after) == (code, known.hint, FIRST_PAUSE)


async def test_after_the_pause_one_call_tries_and_opens_the_way():
    service = Service(*[says(503)] * 5, says(200, PATIENT))
    for _ in range(2):
        await failure(read(service))
    service.time += FIRST_PAUSE
    assert await read(service) == PATIENT
    assert await read(service) == PATIENT


@pytest.mark.parametrize("status", [400, 404, 409, 412, 422])
async def test_refusals_are_answers_and_never_open_the_breaker(status):
    service = Service(*[says(status, TALKATIVE)] * 10, says(200, PATIENT))
    for _ in range(10):
        try:
            await read(service)
        except (FhirConflict, FhirRejected):
            continue
    assert await read(service) == PATIENT


@pytest.mark.parametrize("status", [302, 400, 403, 409, 422, 429, 503])
async def test_what_the_service_says_in_words_is_never_repeated(status):
    for call in ("read", "search", "transact"):
        client = Service(says(status, TALKATIVE)).client
        arguments = {"read": ("Patient", "pt-1"), "search": ("Patient", "s", SENTINEL), "transact": ([PUT],)}[call]
        problem = await failure(getattr(client, call)(*arguments))
        assert SENTINEL not in f"{problem} {problem.detail} {problem.hint} {problem.code}"


async def test_codes_and_element_paths_of_a_refusal_are_kept():
    problem = await failure(Service(says(422, TALKATIVE)).client.transact([PUT]))
    assert problem.detail == "422 value Patient.name[0]; unknown"


@pytest.mark.parametrize(
    ("diagnostics", "shown"),
    [
        (
            f"Literal '{SENTINEL}' cannot be parsed as a dateTime. (at ImagingStudy.started[0])",
            " ImagingStudy.started[0]",
        ),
        (
            "Element with min. cardinality 1 cannot be null. At ImagingStudy.status, line , position",
            " ImagingStudy.status",
        ),
        (f"Unknown element '{SENTINEL.lower()}' at location 'Patient.name[0].{SENTINEL.lower()}'", " Patient.name[0]"),
        (f"Transaction failed on 'PUT' for the requested url '/Patient/pt-{SENTINEL}'.", ""),
        (f"Patient.{SENTINEL.lower()} and xPatient.name and Patient/name.name", ""),
        (
            "Patient.name and Patient.name, Patient.gender, Patient.id, Patient.link",
            " Patient.name Patient.gender Patient.id",
        ),
        (7, ""),
    ],
)
async def test_a_path_within_diagnostics_is_taken_out_and_never_a_value(diagnostics, shown):
    outcome = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "invalid", "diagnostics": diagnostics}],
    }
    problem = await failure(Service(says(400, outcome)).client.transact([PUT]))
    assert problem.detail == f"400 invalid{shown}"


async def test_a_bundle_asks_for_its_entries_at_once_and_waits_longer_than_the_service_does():
    service = Service(bundle({"status": "200"}))
    await service.client.transact([PUT])
    [request] = service.requests
    assert request.headers["x-bundle-processing-logic"] == "parallel"
    assert request.extensions["timeout"]["read"] > 100


@pytest.mark.parametrize("issue", [7, [7], [{"expression": 7}], None, []])
async def test_an_outcome_of_another_shape_is_a_refusal_all_the_same(issue):
    outcome = {"resourceType": "OperationOutcome", "issue": issue}
    assert type(await failure(Service(says(422, outcome)).client.transact([PUT]))) is FhirRejected


async def test_throttling_is_counted(actions):
    service = Service(says(429))
    await failure(read(service))
    assert actions["fhir.throttled"] == ATTEMPTS


GATEWAYS = {
    "html": {"html": f"<html>{SENTINEL}</html>"},
    "json": {"json": {"statusCode": 404, "message": SENTINEL}},
    "outcome as text": {"text": json.dumps(TALKATIVE)},
    "empty": {},
    "resource": {"json": PATIENT},
}


@pytest.mark.parametrize("status", [302, 400, 403, 404, 405, 409, 410, 412, 413, 422])
@pytest.mark.parametrize("body", GATEWAYS.values(), ids=GATEWAYS)
async def test_what_a_gateway_answers_is_an_outage_whatever_its_status(status, body):
    answer = httpx.Response(status, **body)
    for call in ("read", "search", "transact", "read_all", "page"):
        client = Service(answer).client
        arguments = {
            "read": ("Patient", "pt-1"),
            "search": ("Patient", "s", SENTINEL),
            "transact": ([FENCED_PUT, DELETE],),
            "read_all": (["Patient/pt-1"],),
            "page": ("Patient",),
        }[call]
        problem = await failure(getattr(client, call)(*arguments))
        assert (type(problem), problem.code) == (FhirUnavailable, "fhir.gateway")
        assert "gateway" in problem.hint
        assert SENTINEL not in f"{problem} {problem.detail}"


async def test_the_hint_of_a_gateway_says_what_it_may_have_refused():
    assert "size" in (await failure(Service(httpx.Response(413)).client.transact([PUT]))).hint
    assert "WAF" in (await failure(Service(httpx.Response(403)).client.transact([PUT]))).hint


async def test_a_firewall_that_refuses_one_body_opens_no_breaker():
    service = Service(*[httpx.Response(403, html="<html>blocked</html>")] * 10, says(200, PATIENT))
    for _ in range(10):
        assert (await failure(service.client.transact([PUT]))).code == "fhir.gateway"
    assert await read(service) == PATIENT


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("body", GATEWAYS.values(), ids=GATEWAYS)
async def test_a_success_that_is_not_the_services_own_finds_nothing_and_proves_nothing(status, body):
    answer = httpx.Response(status, **body)
    for call, arguments in (
        ("search", ("Patient", "s", "v")),
        ("transact", ([PUT],)),
        ("read_all", (["Patient/pt-2"],)),
        ("page", ("Patient",)),
        ("read", ("Patient", "pt-2")),
    ):
        assert (await failure(getattr(Service(answer).client, call)(*arguments))).code == "fhir.garbled"


@pytest.mark.parametrize("call", [("search", "Patient", "s", "v"), ("page", "Patient")], ids=["search", "page"])
async def test_matches_of_another_type_are_no_proof_that_nothing_matches(call):
    name, *arguments = call
    other = bundle_of({"resourceType": "Medication", "id": "m"})
    assert (await failure(getattr(Service(other).client, name)(*arguments))).code == "fhir.garbled"


async def test_warnings_and_what_is_included_are_no_matches():
    warning = {"resource": {"resourceType": "OperationOutcome", "issue": []}}
    included = {"resource": {"resourceType": "Device", "id": "d"}, "search": {"mode": "include"}}
    right = known_as("v")
    answer = searchset(warning, included, {"resource": right})
    assert await Service(answer).client.search("Patient", "s", "v") == [right]


async def test_a_batch_that_mixes_up_its_answers_is_an_outage():
    other = {"response": {"status": "200"}, "resource": {**PATIENT, "id": "pt-2"}}
    service = Service(says(200, {"resourceType": "Bundle", "type": "batch-response", "entry": [other]}))
    assert (await failure(service.client.read_all(["Patient/pt-1"]))).code == "fhir.garbled"


@pytest.mark.parametrize(
    ("other", "error"),
    [("412", FhirConflict), ("422", FhirRejected), ("424", FhirUnavailable), ("200", FhirUnavailable)],
)
async def test_what_was_cancelled_because_another_entry_failed_is_no_refusal(other, error):
    second = FhirWrite(resource_type="Patient", resource_id="pt-2", resource={**PATIENT, "id": "pt-2"})
    answer = bundle({"status": "424", "outcome": TALKATIVE}, {"status": other, "outcome": TALKATIVE})
    assert type(await failure(Service(answer).client.transact([PUT, second]))) is error


def each_answered(**entry):
    """Answer every search of a batch in the same way; pages of a search are empty."""

    def answer(request):
        asked = json.loads(request.content)["entry"]
        return httpx.Response(
            200, json={"resourceType": "Bundle", "type": "batch-response", "entry": [entry] * len(asked)}
        )

    return answer


def asking(answer):
    return HttpFhirServer(BASE, telemetry=Telemetry(), transport=httpx.MockTransport(answer))


EMPTY = {"resourceType": "Bundle", "type": "searchset"}


@pytest.mark.parametrize("status", ["400", "404 Not Found"])
async def test_a_search_that_the_server_does_not_know_finds_no_referrer(status):
    def answer(request):
        entries = [{"response": {"status": status}} for _ in json.loads(request.content)["entry"]]
        entries[-1] = {"response": {"status": "200"}, "resource": EMPTY}
        return httpx.Response(200, json={"resourceType": "Bundle", "type": "batch-response", "entry": entries})

    client = asking(answer)
    assert await client.referrers(["Patient/a", "Device/b"]) == {"Patient/a": frozenset(), "Device/b": frozenset()}


@pytest.mark.parametrize("status", ["401", "403 Forbidden"])
async def test_what_we_may_not_search_may_refer_to_everything(status):
    client = asking(each_answered(response={"status": status}))
    assert await client.referrers(["Patient/a"]) == {"Patient/a": frozenset({UNSEEN_REFERRER})}


@pytest.mark.parametrize(
    "resource",
    [{}, {"resourceType": "Patient"}, {"resourceType": "Bundle", "type": "history"}, {**EMPTY, "entry": "x"}, None, 1],
)
async def test_a_search_without_its_searchset_is_no_proof_that_nothing_refers(resource):
    assert await asking(each_answered(response={"status": "200"}, resource=EMPTY)).referrers(["Patient/a"])
    problem = await failure(
        asking(each_answered(response={"status": "200"}, resource=resource)).referrers(["Patient/a"])
    )
    assert (type(problem), problem.code) == (FhirUnavailable, "fhir.garbled")


async def test_a_next_page_of_another_type_is_no_proof_that_nothing_more_refers():
    first = {**EMPTY, "link": [{"relation": "next", "url": f"{BASE}/ImagingStudy?page=2"}]}
    first_pages = each_answered(response={"status": "200"}, resource=first)

    def answer(request):
        return first_pages(request) if request.method == "POST" else httpx.Response(200, json={"ok": True})

    problem = await failure(asking(answer).referrers(["Patient/a"]))
    assert (type(problem), problem.code) == (FhirUnavailable, "fhir.garbled")


class Frozen:
    """Takes requests and answers none until it is released."""

    def __init__(self):
        self.released = asyncio.Event()
        self.breaker = CircuitBreaker(lambda: 0.0)
        self.telemetry = Telemetry()
        self.requests = 0
        self.client = HttpFhirServer(
            BASE, telemetry=self.telemetry, transport=httpx.MockTransport(self._answer), breaker=self.breaker
        )

    async def _answer(self, request):
        self.requests += 1
        await self.released.wait()
        return says(200, PATIENT)

    def waited(self):
        """Times that a request has gone on without an answer."""
        taken = self.telemetry._samples.get(MeasurementKey(FHIR_UNANSWERED.name))
        return taken.total if taken else 0


async def holds(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 -- what it waits for is counted, not signalled
            await asyncio.sleep(0.005)


async def test_requests_without_an_answer_open_the_breaker_long_before_they_time_out(monkeypatch):
    monkeypatch.setattr(remote, "UNANSWERED_SECONDS", 0.01)
    frozen = Frozen()
    asked = [asyncio.create_task(read(frozen)) for _ in range(FAILURES_TO_OPEN)]
    await holds(lambda: frozen.waited() >= FAILURES_TO_OPEN)
    problem = await failure(read(frozen))
    assert (problem.code, problem.retry_after, frozen.requests) == ("fhir.unavailable", FIRST_PAUSE, FAILURES_TO_OPEN)
    frozen.released.set()
    assert await asyncio.gather(*asked) == [PATIENT] * FAILURES_TO_OPEN, "a late answer is one"
    assert frozen.breaker.remaining() == 0.0


async def test_a_request_that_waits_long_counts_once_and_is_measured_again_and_again(monkeypatch):
    monkeypatch.setattr(remote, "UNANSWERED_SECONDS", 0.01)
    frozen = Frozen()
    asked = [asyncio.create_task(read(frozen)) for _ in range(FAILURES_TO_OPEN - 1)]
    await holds(lambda: frozen.waited() >= 3 * FAILURES_TO_OPEN)
    assert frozen.breaker.remaining() == 0.0
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    waited = frozen.waited()
    await asyncio.sleep(0.05)
    assert frozen.waited() == waited, "it ends with its request"


async def test_a_failure_that_took_long_is_not_repeated_at_once():
    tried = []

    async def fail():
        tried.append(1)
        raise FhirUnavailable("504")

    async def no_wait(_):
        return None

    for within, times in ((LONGEST_FAILURE, ATTEMPTS), (0.0, 1)):
        tried.clear()
        with pytest.raises(FhirUnavailable):
            await short_retries(lambda _: True, sleep=no_wait, within=within)(fail)
        assert len(tried) == times
