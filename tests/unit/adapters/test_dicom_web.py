"""DICOM servers over HTTP: what they answer becomes JSON or one of our errors, whatever it is."""

import base64
import json

import httpx
import pytest

from sync.adapters.http.dicom.orthanc import Orthanc
from sync.adapters.http.dicom.service import DicomService, account_of
from sync.adapters.http.dicom.web import DicomWeb, OrthancWeb
from sync.adapters.http.retrying import ATTEMPTS
from sync.dicom.header import read_json
from sync.dicom.instance_names import instance_ref
from sync.errors import GarbageAnswer, NothingStored, SourceGone, SourceUnavailable
from sync.model import StudyRef
from sync.telemetry.telemetry import Telemetry
from tests.dicom_services import instance, uid

URL = "http://pacs.example/base"


class Server:
    """Answers as configured, by path; keeps the requests."""

    missing = httpx.Response(404)

    def __init__(self, answers=()):
        self.answers = dict(answers)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        answer = self.answers.get(request.url.path, self.missing)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


class Tokens:
    def __init__(self):
        self.asked = []

    async def token(self, *, refresh=False):
        self.asked.append(refresh)
        return f"token-{len(self.asked)}"


def web(server, kind=DicomWeb, **more):
    async def soon(seconds):
        server.slept = [*getattr(server, "slept", []), seconds]

    options = {"setting": "DICOM_SYNC_DICOM_URL", "telemetry": Telemetry(), "sleep": soon, **more}
    return kind(URL, transport=httpx.MockTransport(server), **options)


def azure(answers=()):
    server = Server({f"/base{path}": answer for path, answer in dict(answers).items()})
    return DicomService(web(server), URL), server


def orthanc(answers=()):
    server = Server({f"/base{path}": answer for path, answer in dict(answers).items()})
    return Orthanc(web(server, OrthancWeb), URL), server


UNKNOWN = httpx.Response(404, json={"HttpStatus": 404, "OrthancStatus": 17, "Message": "Unknown resource"})
GATEWAYS = [
    httpx.Response(404, html="<html>Not found</html>"),
    httpx.Response(404, json={"statusCode": 404, "message": "Resource not found"}),
    httpx.Response(410),
]


REF = instance_ref(account_of(URL), "", "1.2", "1.3", "1.4")
DATASET = {**instance(), "00080018": {"vr": "UI", "Value": ["1.4"]}}
FEED = "/v2/changefeed"
METADATA = "/v2/studies/1.2/series/1.3/instances/1.4/metadata"
SEARCH = "/v2/studies/1.2/instances"
LATEST = "/v2/changefeed/latest"
ALIVE = {LATEST: {"sequence": 7, "state": "deleted"}}


async def failure(awaitable):
    with pytest.raises(SourceUnavailable) as caught:
        await awaitable
    return caught.value


async def test_the_feed_is_asked_for_a_window_of_rows():
    service, server = azure({FEED: respond([{"Sequence": 1}])})
    window = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00+01:00"}
    assert await service.page(**window, offset=200, limit=100) == [{"Sequence": 1}]
    asked = server.requests[0].url
    assert dict(asked.params) == {
        "startTime": "2026-01-01T00:00:00Z",
        "endTime": "2026-01-02T00:00:00+01:00",
        "offset": "200",
        "limit": "100",
        "includeMetadata": "true",
    }
    assert "%2B01" in str(asked), "a plus sign in an address means a space"
    await service.page()
    assert "startTime" not in server.requests[1].url.params


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(401), "source.forbidden"),
        (httpx.Response(403), "source.forbidden"),
        (httpx.Response(404), "source.refused"),
        (httpx.Response(400), "source.refused"),
        (httpx.Response(302, headers={"Location": "https://login.example"}), "source.refused"),
        (httpx.Response(429, headers={"Retry-After": "60"}), "source.throttled"),
        (httpx.Response(408), "source.unavailable"),
        (httpx.Response(500), "source.unavailable"),
        (httpx.Response(503), "source.unavailable"),
        (httpx.ConnectError("refused"), "source.unavailable"),
        (httpx.ReadTimeout("late"), "source.unavailable"),
        (httpx.Response(200, text="<html>sign in</html>"), "source.garbage"),
        (httpx.Response(200, text="[" * 100_000), "source.garbage"),
        (httpx.Response(200, content=b"\xff\xfe["), "source.garbage"),
        (httpx.Response(200, json={"error": "x"}), "source.garbage"),
    ],
)
async def test_whatever_is_no_page_is_our_error_without_any_text_of_the_server(answer, code):
    service, _ = azure({FEED: answer})
    problem = await failure(service.page())
    assert problem.code == code
    assert "DICOM" in problem.hint
    assert "storage account" not in problem.hint
    assert "sign in" not in str(problem)


async def test_a_pause_that_is_asked_for_is_passed_on_and_a_short_one_is_waited_for():
    service, _ = azure({FEED: httpx.Response(429, headers={"Retry-After": "60"})})
    assert (await failure(service.page())).retry_after == 60
    service, server = azure({FEED: [httpx.Response(429, headers={"Retry-After": "1"}), httpx.Response(200, json=[1])]})
    assert await service.page() == [1]
    assert server.slept == [1]


async def test_an_outage_is_tried_a_few_times_and_a_refusal_once():
    for status, tries in ((503, ATTEMPTS), (403, 1), (400, 1)):
        service, server = azure({FEED: httpx.Response(status)})
        await failure(service.page())
        assert len(server.requests) == tries


@pytest.mark.parametrize("answer", [httpx.Response(204), httpx.Response(200, text=" "), httpx.Response(200, json=None)])
async def test_an_empty_body_is_no_empty_page_of_the_feed(answer):
    service, _ = azure({FEED: answer})
    assert (await failure(service.page())).code == "source.garbage"
    service, _ = azure({FEED: respond([])})
    assert await service.page() == []


async def test_a_number_without_end_spoils_no_page():
    service, _ = azure(
        {FEED: httpx.Response(200, text='[{"Sequence": 1, "Metadata": {"x": ' + "9" * 5000 + ', "y": NaN}}]')}
    )
    assert (await service.page())[0]["Sequence"] == 1


async def test_a_refused_token_is_asked_for_anew_once():
    server, tokens = Server({"/base/x": [httpx.Response(401), httpx.Response(200, json=1)]}), Tokens()
    assert await web(server, tokens=tokens).get("/x") == 1
    assert tokens.asked == [False, True]
    assert server.requests[1].headers["Authorization"] == "Bearer token-2"


async def test_a_password_is_sent_where_there_is_one():
    server = Server({"/base/x": 1})
    await web(server, login=("reader", "secret")).get("/x")
    assert server.requests[0].headers["Authorization"] == "Basic " + base64.b64encode(b"reader:secret").decode()


async def test_metadata_are_those_of_the_instance():
    service, server = azure({METADATA: [DATASET]})
    metadata = await service.metadata(REF)
    assert metadata.dataset == DATASET
    assert server.requests[0].headers["Accept"] == "application/dicom+json"


@pytest.mark.parametrize(
    "other", [{"message": "maintenance"}, [{"message": "maintenance"}], [{}], [], [instance()], 1, "up", None]
)
async def test_json_that_is_not_the_metadata_of_the_instance_is_an_outage(other):
    service, _ = azure({METADATA: httpx.Response(200, json=other)})
    assert (await failure(service.metadata(REF))).code == "source.garbage"


@pytest.mark.parametrize("none", [httpx.Response(204), []], ids=["204", "[]"])
async def test_an_instance_is_gone_when_metadata_and_search_lack_it_and_the_feed_answers(none):
    service, server = azure({SEARCH: [none] if none == [] else none, **ALIVE})
    server.answers[f"/base{SEARCH}"] = httpx.Response(200, json=[]) if none == [] else none
    with pytest.raises(SourceGone):
        await service.metadata(REF)
    assert dict(server.requests[1].url.params) == {"SOPInstanceUID": "1.4", "limit": "1"}


@pytest.mark.parametrize(
    "answers",
    [
        *[{METADATA: answer, SEARCH: httpx.Response(204), **ALIVE} for answer in GATEWAYS],
        *[{SEARCH: answer, **ALIVE} for answer in [*GATEWAYS, httpx.Response(404), httpx.Response(500)]],
        *[{SEARCH: httpx.Response(204), LATEST: answer} for answer in [*GATEWAYS, httpx.Response(404)]],
        {SEARCH: httpx.Response(204), LATEST: httpx.Response(200, html="<html>up</html>")},
        {SEARCH: httpx.Response(204), LATEST: httpx.Response(200, json={"status": "up"})},
        {SEARCH: httpx.Response(204), LATEST: httpx.Response(204)},
        {SEARCH: httpx.Response(200, json=[instance()]), **ALIVE},
        {METADATA: httpx.Response(204), SEARCH: httpx.Response(204), **ALIVE},
        {METADATA: httpx.Response(200, json=[]), SEARCH: httpx.Response(204), **ALIVE},
        {METADATA: httpx.Response(403, html="<html>blocked</html>")},
        {METADATA: httpx.Response(424)},
    ],
)
async def test_without_each_proof_an_instance_is_not_gone(answers):
    service, _ = azure(answers)
    problem = await failure(service.metadata(REF))
    assert problem.hint


async def test_a_dependency_of_the_service_and_a_gateway_are_told_apart():
    service, _ = azure({METADATA: httpx.Response(424)})
    assert (await failure(service.metadata(REF))).code == "source.dependency"
    service, _ = azure({METADATA: GATEWAYS[0]})
    assert (await failure(service.metadata(REF))).code == "source.gateway"


@pytest.mark.parametrize("answer", [*GATEWAYS, httpx.Response(404)])
async def test_a_search_that_is_answered_by_404_found_nothing_out(answer):
    service, _ = azure({f"/v2/studies/{uid(1)}/instances": answer, **ALIVE})
    with pytest.raises(SourceUnavailable):
        [ref async for ref in service.objects_of(StudyRef(study_instance_uid=uid(1)))]


@pytest.mark.parametrize("feed", [httpx.Response(200), httpx.Response(200, json=[])], ids=["nothing", "no entries"])
async def test_only_the_list_of_a_new_service_says_that_nothing_was_stored(feed):
    """Another server answers every address with an empty body and status 200: config check called it sound."""
    path = f"/v2/studies/{uid(1)}/instances"
    service, _ = azure({path: httpx.Response(204), LATEST: httpx.Response(204), FEED: feed})
    with pytest.raises(SourceUnavailable) as refused:
        [ref async for ref in service.objects_of(StudyRef(study_instance_uid=uid(1)))]
    assert isinstance(refused.value, NothingStored if feed.content else GarbageAnswer)


async def test_a_study_without_any_instance_is_believed_of_a_service_that_answers_elsewhere():
    path = f"/v2/studies/{uid(1)}/instances"
    service, _ = azure({path: httpx.Response(204), **ALIVE})
    assert [ref async for ref in service.objects_of(StudyRef(study_instance_uid=uid(1)))] == []
    service, _ = azure({path: httpx.Response(204)})
    with pytest.raises(SourceUnavailable):
        [ref async for ref in service.objects_of(StudyRef(study_instance_uid=uid(1)))]


async def test_data_partitions_are_part_of_the_address():
    north = instance_ref(account_of(URL), "north wing", "1.2", "1.3", "1.4")
    service, server = azure({"/v2/partitions/north wing/studies/1.2/series/1.3/instances/1.4/metadata": [DATASET]})
    assert (await service.metadata(north)).dataset
    assert "north%20wing" in str(server.requests[0].url)


async def test_a_service_with_partitions_wants_the_default_one_named():
    named = METADATA.replace("/v2/", "/v2/partitions/Microsoft.Default/")
    service, _ = azure({METADATA: httpx.Response(400), named: [DATASET]})
    assert (await service.metadata(REF)).dataset == DATASET


async def test_the_instances_of_a_study_are_searched_page_by_page():
    instances = [instance(1, sop) for sop in range(5)]
    pages = [instances[:3], [*instances[3:], {"no": "instance"}, 7], httpx.Response(204)]
    service, server = azure({f"/v2/studies/{uid(1)}/instances": [*map(respond, pages)]})
    refs = [ref async for ref in service.objects_of(StudyRef(study_instance_uid=uid(1)))]
    assert len(refs) == 5
    assert [request.url.params["offset"] for request in server.requests] == ["0", "3", "7"]


def respond(page):
    return page if isinstance(page, httpx.Response) else httpx.Response(200, json=page)


async def test_a_search_that_never_ends_ends():
    service, _ = azure({f"/v2/studies/{uid(1)}/instances": httpx.Response(200, json=[instance(1, 1)])})
    assert len([ref async for ref in service.objects_of(StudyRef(study_instance_uid=uid(1)))]) == 1


# Orthanc.

ORTHANC_ID = "f689ddd2-662f8fe1-8b18180d-ec2a2cee-937917af"
RESOURCES = {
    f"/instances/{ORTHANC_ID}": {
        "ID": ORTHANC_ID,
        "FileUuid": "file-1",
        "ParentSeries": "series-1",
        "MainDicomTags": {"SOPInstanceUID": "1.4"},
    },
    "/series/series-1": {"ParentStudy": "study-1", "MainDicomTags": {"SeriesInstanceUID": "1.3"}},
    "/studies/study-1": {"MainDicomTags": {"StudyInstanceUID": "1.2"}},
}
PLUGIN = {"/dicom-web/studies/1.2/series/1.3/instances/1.4/metadata": [DATASET]}
TAGS = {
    f"/instances/{ORTHANC_ID}/tags": {
        "0008,0018": {"Name": "SOPInstanceUID", "Type": "String", "Value": "1.4"},
        "0020,000d": {"Name": "StudyInstanceUID", "Type": "String", "Value": "1.2"},
        "0020,000e": {"Name": "SeriesInstanceUID", "Type": "String", "Value": "1.3"},
        "0008,1030": {"Name": "StudyDescription", "Type": "TooLong", "Value": None},
        "0008,0050": {"Name": "AccessionNumber", "Type": "Null", "Value": None},
        "0010,1001": {"Name": "OtherPatientNames", "Type": "String", "Value": "A^B\\C^D"},
        "0008,1032": {
            "Name": "ProcedureCodeSequence",
            "Type": "Sequence",
            "Value": [{"0008,0100": {"Name": "CodeValue", "Type": "String", "Value": "T-1"}}],
        },
        "odd": 5,
    }
}


async def test_orthancs_plugin_gives_the_metadata_and_its_file_the_etag():
    server, http = orthanc({**RESOURCES, **PLUGIN})
    for _ in range(2):
        metadata = await server.metadata(server.ref(ORTHANC_ID))
        assert (metadata.dataset, metadata.etag) == (DATASET, "file-1")
    assert len(http.requests) == 4 + 2, "the UIDs of a series are asked for once"


async def test_without_the_plugin_orthancs_own_tags_say_the_same():
    server, _ = orthanc({**RESOURCES, **TAGS})
    record = read_json((await server.metadata(server.ref(ORTHANC_ID))).dataset)
    assert (record.study.study_instance_uid, record.sop_instance_uid) == ("1.2", "1.4")
    assert record.attributes == {
        "AccessionNumber": [],
        "OtherPatientNames": ["A^B", "C^D"],
        "ProcedureCodeSequence": [{"CodeValue": ["T-1"]}],
    }
    assert [(finding.keyword, finding.code) for finding in record.findings] == [("StudyDescription", "value.elsewhere")]


@pytest.mark.parametrize("other", [{}, {"message": "maintenance"}, {"ID": "another"}, [], 1, None])
async def test_json_that_is_not_the_instance_is_an_outage_of_orthanc(other):
    answers = {f"/instances/{ORTHANC_ID}": httpx.Response(200, json=other)}
    server, http = orthanc(answers)
    http.missing = UNKNOWN
    assert (await failure(server.metadata(server.ref(ORTHANC_ID)))).code == "source.garbage"
    server, _ = orthanc({**RESOURCES, f"/instances/{ORTHANC_ID}/tags": httpx.Response(200, json=other)})
    assert (await failure(server.metadata(server.ref(ORTHANC_ID)))).code == "source.garbage"


async def test_a_file_that_orthanc_cannot_find_is_no_deleted_instance():
    lost = httpx.Response(404, json={"HttpStatus": 404, "OrthancStatus": 12, "Message": "Inexistent file"})
    server, _ = orthanc({**RESOURCES, f"/instances/{ORTHANC_ID}/tags": lost})
    assert (await failure(server.metadata(server.ref(ORTHANC_ID)))).code == "source.gateway"
    server, _ = orthanc({f"/instances/{ORTHANC_ID}": httpx.Response(404), f"/instances/{ORTHANC_ID}/tags": lost})
    assert (await failure(server.metadata(server.ref(ORTHANC_ID)))).code == "source.gateway"


async def test_an_instance_that_orthanc_lost_on_the_way_is_gone():
    for answers in ({}, RESOURCES):
        server, http = orthanc(answers)
        http.missing = UNKNOWN
        with pytest.raises(SourceGone):
            await server.metadata(server.ref(ORTHANC_ID))
        # Orthanc 1.10 gives its 404 for the instance itself no body.
        server, _ = orthanc({f"/instances/{ORTHANC_ID}": httpx.Response(404), f"/instances/{ORTHANC_ID}/tags": UNKNOWN})
        with pytest.raises(SourceGone):
            await server.metadata(server.ref(ORTHANC_ID))


@pytest.mark.parametrize("answer", [*GATEWAYS, httpx.Response(404), httpx.Response(204), httpx.Response(200)])
async def test_what_a_gateway_says_of_an_instance_of_orthanc_proves_nothing(answer):
    server, http = orthanc()
    http.missing = answer
    with pytest.raises(SourceUnavailable):
        await server.metadata(server.ref(ORTHANC_ID))


@pytest.mark.parametrize("answer", [*GATEWAYS, {"Type": "Study"}, httpx.Response(204), UNKNOWN])
async def test_a_look_up_that_is_no_list_found_nothing_out(answer):
    server, _ = orthanc({"/tools/lookup": answer})
    with pytest.raises(SourceUnavailable):
        [ref async for ref in server.objects_of(StudyRef(study_instance_uid="1.2"))]


async def test_a_change_names_nothing_else_than_an_instance():
    server, _ = orthanc()
    for name in ("", "..", "../system", "a/b", "x" * 400, "a?b"):
        with pytest.raises(ValueError):
            server.ref(name)


async def test_orthancs_lists_are_read_to_their_end():
    pages = [["a", {"ID": "b"}, 5, "../c"], ["d"], []]
    server, http = orthanc({"/instances": [respond(page) for page in pages]})
    assert sorted([ref.name async for ref in server.held()]) == ["instances/a", "instances/b", "instances/d"]
    assert [request.url.params["since"] for request in http.requests] == ["0", "4", "5"]


async def test_the_instances_of_a_study_are_looked_up_under_every_patient():
    hits = [{"ID": "s1", "Type": "Study"}, {"ID": "s2", "Type": "Study"}, {"ID": "p", "Type": "Patient"}, 5]
    server, http = orthanc(
        {
            "/tools/lookup": respond(hits),
            "/studies/s1/instances": respond([{"ID": "a"}]),
            "/studies/s2/instances": respond([{"ID": "b"}]),
        }
    )
    names = [ref.name async for ref in server.objects_of(StudyRef(study_instance_uid="1.2"))]
    assert names == ["instances/a", "instances/b"]
    assert http.requests[0].content == b"1.2"


async def test_orthanc_is_counted_if_it_counts():
    for answer, count in (
        ({"CountInstances": 7}, 7),
        ({"CountInstances": "7"}, 7),
        ({}, None),
        ([], None),
        ({"CountInstances": True}, None),
    ):
        server, _ = orthanc({"/statistics": respond(answer)})
        assert await server.count() == count
    server, _ = orthanc()
    assert await server.count() is None


async def test_something_else_than_orthanc_is_named():
    server, http = orthanc()
    assert (await failure(server.changes(0, 10))).code == "source.gateway"
    http.missing = UNKNOWN
    assert (await failure(server.changes(0, 10))).code == "source.refused"
    server, _ = orthanc({"/instances": {"no": "list"}})
    with pytest.raises(SourceUnavailable):
        [ref async for ref in server.held()]


def test_an_account_is_host_and_path_and_never_that_of_blobs():
    assert account_of("https://Ws-Svc.dicom.azurehealthcareapis.com") == "ws-svc.dicom.azurehealthcareapis.com/"
    assert account_of("http://pacs/Base") == "pacs/Base/"
    assert json.dumps(account_of("http://localhost:8042")) == '"localhost:8042/"'
