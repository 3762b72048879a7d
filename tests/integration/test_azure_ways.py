"""
What Azure's FHIR service does differently, as the embedded server imitates it, request by request.

Each expectation is one of microsoft/fhir-server at commit 14f52857e, run or read: `docs/fhir-servers.md` says which.
"""

import httpx
import pytest

from tests.contract.fhir_resources import patient
from tests.contract.storage import fresh

SYSTEM = "urn:example:patients"


@pytest.fixture
def azure(fhir_embedded_azure):
    with httpx.Client(base_url=fhir_embedded_azure, timeout=30) as client:
        yield client


def put(resource, **request):
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url, **request}}


def delete(resource):
    return {"request": {"method": "DELETE", "url": f"{resource['resourceType']}/{resource['id']}"}}


def get(address):
    return {"request": {"method": "GET", "url": address}}


def bundle(azure, *entries, kind="transaction", **headers):
    body = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
    return azure.post("", json=body, headers=headers)


def observation(**elements):
    return {"resourceType": "Observation", "id": fresh(), "status": "final", "code": {"text": "x"}, **elements}


def read(azure, resource):
    return azure.get(f"/{resource['resourceType']}/{resource['id']}")


def ids(answer):
    return [entry["resource"].get("id") for entry in answer.json().get("entry", [])]


def test_what_was_deleted_answers_410_and_what_never_was_404(azure):
    wanted = patient()
    assert read(azure, wanted).status_code == 404
    bundle(azure, put(wanted))
    assert [entry["response"]["status"] for entry in bundle(azure, delete(wanted)).json()["entry"]] == ["204"]
    assert read(azure, wanted).status_code == 410
    answers = bundle(azure, get(f"Patient/{wanted['id']}"), get(f"Patient/{fresh()}"), kind="batch").json()["entry"]
    assert [answer["response"]["status"] for answer in answers] == ["410", "404"]
    assert all(answer["response"]["outcome"] for answer in answers)


def test_a_bundle_of_more_than_500_entries_is_refused(azure):
    assert bundle(azure, *[get(f"Patient/{fresh()}")] * 501, kind="batch").status_code == 400
    assert bundle(azure, *[get(f"Patient/{fresh()}")] * 500, kind="batch").status_code == 200


def test_an_unchanged_body_makes_no_version_and_a_deletion_does(azure):
    wanted = patient()
    etags = [bundle(azure, put(wanted)).json()["entry"][0]["response"]["etag"] for _ in range(2)]
    bundle(azure, delete(wanted))
    etags.append(bundle(azure, put(wanted)).json()["entry"][0]["response"]["etag"])
    assert etags == ['W/"1"', 'W/"1"', 'W/"3"']


def test_one_address_twice_is_refused_whatever_its_case(azure):
    one = patient(f"a{fresh()}")
    other = {**one, "id": one["id"].upper()}
    assert bundle(azure, put(one), put(other)).status_code == 400


@pytest.mark.parametrize(
    ("if_match", "status"),
    [('W/"1"', 200), ('W/"2"', 412), ('"1"', 400), ("1", 400)],
    ids=["same", "old", "strong", "bare"],
)
def test_a_condition_is_a_weak_etag_and_a_failed_one_changes_nothing_at_all(azure, if_match, status):
    wanted, beside = patient(), patient()
    bundle(azure, put(wanted))
    changed = {**wanted, "gender": "female"}
    assert bundle(azure, put(beside), put(changed, ifMatch=if_match)).status_code == status
    assert read(azure, beside).status_code == (200 if status == 200 else 404)
    assert (read(azure, wanted).json().get("gender") == "female") == (status == 200)


def test_a_condition_on_what_never_was_is_404(azure):
    assert bundle(azure, put(patient(), ifMatch='W/"1"')).status_code == 404


def test_a_deletion_is_never_refused_because_others_refer_to_it(azure):
    wanted = patient()
    seen = observation(subject={"reference": f"Patient/{wanted['id']}"})
    bundle(azure, put(wanted), put(seen))
    assert bundle(azure, delete(wanted)).status_code == 200
    assert read(azure, seen).status_code == 200


def test_not_referenced_finds_what_nothing_refers_to(azure):
    one, other = patient(), patient()
    bundle(azure, put(one), put(other), put(observation(subject={"reference": f"Patient/{one['id']}"})))
    asked = {"_id": f"{one['id']},{other['id']}", "_not-referenced": "*:*"}
    assert ids(azure.get("/Patient", params=asked)) == [other["id"]]


def test_characters_beyond_windows_1252_are_all_the_same_to_a_search(azure):
    number = fresh()[:8]
    ours, others = patient(value=f"患者{number}"), patient(value=f"番号{number}")
    bundle(azure, put(ours), put(others), put(patient(value=f"é€{number}")))
    matching = azure.post("/Patient/_search", data={"identifier": f"{SYSTEM}|患者{number}"})
    assert sorted(ids(matching)) == sorted([ours["id"], others["id"]])


def test_elements_leave_out_the_id_unless_it_is_asked_for(azure):
    wanted = patient()
    bundle(azure, put({**wanted, "gender": "male"}))
    one = azure.get("/Patient", params={"_id": wanted["id"], "_elements": "identifier"}).json()["entry"][0]["resource"]
    assert set(one) == {"resourceType", "meta", "identifier"}
    assert ids(azure.get("/Patient", params={"_id": wanted["id"], "_elements": "id,identifier"})) == [wanted["id"]]
    study = {"resourceType": "ImagingStudy", "id": fresh(), "status": "available", "subject": {"display": "x"}}
    bundle(azure, put(study))
    [entry] = azure.get("/ImagingStudy", params={"_id": study["id"], "_elements": "identifier"}).json()["entry"]
    assert set(entry["resource"]) == {"resourceType", "meta", "status", "subject"}


def test_pages_go_on_by_a_continuation_token_and_keep_the_elements(azure):
    value = fresh()
    bundle(azure, *[put(patient(value=value)) for _ in range(3)])
    asked = {"identifier": f"{SYSTEM}|{value}", "_count": "2", "_elements": "id"}
    first = azure.get("/Patient", params=asked).json()
    [following] = [link["url"] for link in first["link"] if link["relation"] == "next"]
    assert following.startswith(str(azure.base_url).rstrip("/"))
    assert {"ct", "_elements"} <= set(httpx.URL(following).params)
    second = azure.get(following)
    assert (len(first["entry"]), len(second.json()["entry"])) == (2, 1)
    assert "id" in second.json()["entry"][0]["resource"]


@pytest.mark.parametrize(
    ("search", "status"),
    [
        ("patient.identifier=a|b", 403),
        ("patient:Patient.identifier=a|b", 200),
        ("patient.gender=male", 200),
        ("patient.birthdate=ge1950-01-01", 200),
    ],
)
def test_a_chain_names_the_type_where_several_have_the_parameter(azure, search, status):
    assert azure.get(f"/ImagingStudy?{search}").status_code == status


def test_a_parameter_that_it_does_not_know_is_left_out_of_the_question_and_of_the_self_link(azure):
    answer = azure.get("/Patient", params={"_count": "1", "nothing": "x"}).json()
    [itself] = [link["url"] for link in answer["link"] if link["relation"] == "self"]
    assert "nothing" not in itself


def test_a_transaction_answers_whole_resources_whatever_is_preferred(azure):
    answer = bundle(azure, put(patient()), Prefer="return=minimal").json()
    assert answer["entry"][0]["resource"]["resourceType"] == "Patient"


@pytest.mark.parametrize("started", ["2016-12-31T23:59:60Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_a_moment_that_dotnet_does_not_have_is_refused_and_the_path_is_in_diagnostics_only(azure, started):
    study = {"resourceType": "ImagingStudy", "id": fresh(), "status": "available", "subject": {"display": "x"}}
    answer = bundle(azure, put({**study, "started": started}))
    assert answer.status_code == 400
    [issue] = answer.json()["issue"]
    assert set(issue) == {"severity", "code", "diagnostics"}
    assert "(at ImagingStudy.started)" in issue["diagnostics"]


def test_an_instant_loses_its_trailing_zeros_and_a_date_time_does_not(azure):
    said = "2024-01-17T14:15:40.120000+01:00"
    wanted = observation(issued=said, effectiveDateTime=said)
    bundle(azure, put(wanted))
    held = read(azure, wanted).json()
    assert (held["issued"], held["effectiveDateTime"]) == ("2024-01-17T14:15:40.12+01:00", said)


def test_numbers_from_ten_to_the_eighteenth_on_are_refused(azure):
    assert bundle(azure, put(observation(valueQuantity={"value": 10**18}))).status_code == 400
    assert bundle(azure, put(observation(valueQuantity={"value": 10**17}))).status_code == 200


def test_the_history_has_a_deletion_as_a_resource_without_content(azure):
    wanted = patient()
    bundle(azure, put({**wanted, "gender": "male"}))
    bundle(azure, delete(wanted))
    history = azure.get(f"/Patient/{wanted['id']}/_history", params={"_count": 5}).json()
    assert [entry["request"]["method"] for entry in history["entry"]] == ["DELETE", "PUT"]
    assert set(history["entry"][0]["resource"]) == {"resourceType", "id", "meta"}
    assert history["entry"][1]["resource"]["gender"] == "male"


def started(day):
    study = {"resourceType": "ImagingStudy", "id": fresh(), "status": "available", "subject": {"display": "x"}}
    return {**study, "started": f"2024-01-{day:02}", "modality": [{"code": "CT"}]}


@pytest.mark.parametrize(
    ("sort", "sorted_"),
    [
        ("started", True),
        ("-started", True),
        ("-started,modality", False),
        ("started,_lastUpdated", False),
        ("modality", False),
        ("subject", False),
    ],
)
def test_a_search_sorts_by_one_date_or_string_and_comes_unsorted_with_a_warning_otherwise(azure, sort, sorted_):
    studies = [started(day) for day in (17, 3, 29, 11)]
    bundle(azure, *map(put, studies))
    asked = {"_id": ",".join(study["id"] for study in studies), "_sort": sort}
    entries = azure.get("/ImagingStudy", params=asked).json()["entry"]
    days = [entry["resource"]["started"] for entry in entries if entry["search"]["mode"] == "match"]
    assert len(days) == len(studies)
    warned = [entry["resource"]["issue"][0]["severity"] for entry in entries if entry["search"]["mode"] == "outcome"]
    assert (days in (sorted(days), sorted(days, reverse=True)), warned) == (sorted_, [] if sorted_ else ["warning"])
    strict = azure.get("/ImagingStudy", params=asked, headers={"Prefer": "handling=strict"})
    assert strict.status_code == (200 if sorted_ else 400)


def test_an_unknown_parameter_is_named_in_a_warning_or_refused_when_the_client_is_strict(azure):
    answer = azure.get("/Patient", params={"colour": "red", "_count": "1"})
    outcome = answer.json()["entry"][0]
    assert (outcome["search"]["mode"], outcome["resource"]["issue"][0]["severity"]) == ("outcome", "warning")
    assert azure.get("/Patient?colour=red", headers={"Prefer": "handling=strict"}).status_code == 400
    assert any("colour" in parameter for parameter in azure.get("/_ignored").json()["ignored"])
