"""The bench's instruments: its figures are worth no more than these."""

import io
import json

import httpx
import pydicom
import pytest

from bench.cast import Cast
from bench.relay import Request, RequestStream
from bench.studies import SERIES, study
from bench.traffic import BLOB_READ, HOST, QUEUE_READ, QUEUE_WRITE, TABLE_READ, TABLE_WRITE, UPLOAD, kind_of
from bench.worlds import without_reads


def requests_of(pieces):
    seen = []

    def begin(method, target):
        seen.append(Request("table", method, target, 0.0))
        return seen[-1]

    stream = RequestStream(begin)
    for piece in pieces:
        stream.feed(piece)
    return [(request.method, request.target, request.operations) for request in seen]


GET = b"GET /a/b HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT /a/c HTTP/1.1\r\nContent-Length: 33\r\n\r\nGET /not/a/request HTTP/1.1\r\n\r\n.."
BATCH_BODY = b"--b\r\nContent-Type: application/http\r\n\r\n--b\r\nContent-Type: application/http\r\n\r\n--b--"
BATCH = b"POST /a/$batch HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(BATCH_BODY), BATCH_BODY)
SEEN = [("GET", "/a/b", 1), ("PUT", "/a/c", 1), ("POST", "/a/$batch", 2), ("GET", "/a/b", 1)]


def test_requests_are_told_apart_by_their_lengths_not_by_what_bodies_look_like():
    assert requests_of([GET, PUT, BATCH, GET]) == SEEN


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_requests_are_told_apart_however_the_bytes_are_cut(size):
    sent = GET + PUT + BATCH + GET
    assert requests_of([sent[start : start + size] for start in range(0, len(sent), size)]) == SEEN


def test_a_body_of_unknown_length_is_refused_rather_than_miscounted():
    with pytest.raises(ValueError, match="unknown length"):
        requests_of([b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"])


@pytest.mark.parametrize(
    ("service", "method", "target", "kind"),
    [
        ("blob", "GET", "/account/dicom/a/b.dcm", BLOB_READ),
        ("blob", "PUT", "/account/dicom/a/b.dcm", UPLOAD),
        ("table", "GET", "/account/locators(PartitionKey='a',RowKey='b')", TABLE_READ),
        ("table", "POST", "/account/$batch", TABLE_WRITE),
        ("table", "PATCH", "/account/dirty(PartitionKey='a',RowKey='b')", TABLE_WRITE),
        ("table", "DELETE", "/account/dirty(PartitionKey='a',RowKey='b')", TABLE_WRITE),
        ("queue", "POST", "/account/studies/messages?visibilitytimeout=5", QUEUE_WRITE),
        ("queue", "GET", "/account/studies?comp=metadata", QUEUE_READ),
        ("queue", "GET", "/account/studies/messages?numofmessages=32", HOST),
        ("queue", "PUT", "/account/studies/messages/id?popreceipt=x", HOST),
        ("queue", "DELETE", "/account/studies/messages/id?popreceipt=x", HOST),
        ("queue", "POST", "/account/studies-poison/messages", HOST),
    ],
)
def test_each_request_to_the_storage_has_one_owner(service, method, target, kind):
    assert kind_of(Request(service, method, target, 0.0)) == kind


def test_a_generated_file_says_what_its_instance_says():
    made = study("seed", 9)
    for instance, (_, content) in zip(made.instances, made.files(), strict=True):
        header = pydicom.dcmread(io.BytesIO(content))
        said = (header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID, header.PatientID)
        assert said == (instance.study, instance.series, instance.sop, instance.patient)
        assert header.file_meta.MediaStorageSOPInstanceUID == instance.sop
        assert (header.SeriesNumber, header.InstanceNumber) == (instance.series_number, instance.number)
        assert header.StudyDescription == instance.study_description
        assert all(pydicom.uid.UID(uid).is_valid for uid in said[:3])


def test_a_generated_study_has_distinct_instances_in_one_folder_and_is_repeatable():
    made = study("seed", 50)
    assert len({one.sop for one in made.instances}) == len({name for name, _ in made.files()}) == 50
    assert len({one.series for one in made.instances}) == SERIES
    assert len({name.rpartition("/")[0] for name, _ in made.files()}) == 1
    assert list(made.files()) == list(study("seed", 50).files())
    assert study("other", 1).uid != made.uid


class Server:
    """Answers searches with what it was given, and transactions with success."""

    def __init__(self, **held):
        self.held, self.requests, self.bundles = held, [], []

    def __call__(self, request):
        kind = request.url.path.rpartition("/")[2]
        self.requests.append((request.method, kind, sorted(request.url.params)))
        if request.method == "GET":
            entries = [{"resource": self.held[kind]}] if kind in self.held else []
            return httpx.Response(200, json={"resourceType": "Bundle", "entry": entries})
        bundle = json.loads(request.content)
        self.bundles.append({entry["resource"]["resourceType"]: entry for entry in bundle["entry"]})
        entries = [{"response": {"status": "201 Created"}} for _ in bundle["entry"]]
        return httpx.Response(200, json={"resourceType": "Bundle", "entry": entries})


def processed(instance, **held):
    server = Server(**held)
    with httpx.Client(base_url="http://fhir.example/r4", transport=httpx.MockTransport(server)) as client:
        Cast(client).process(instance)
    return server


def stored(entry, number):
    return {**entry["resource"], "id": str(number), "meta": {"versionId": "3"}}


def test_the_baseline_makes_three_searches_and_one_transaction_an_instance():
    server = processed(study("seed", 1).instances[0])
    assert server.requests == [
        ("GET", "Patient", ["identifier"]),
        ("GET", "Endpoint", ["connection-type", "name"]),
        ("GET", "ImagingStudy", ["identifier"]),
        ("POST", "", []),
    ]
    (bundle,) = server.bundles
    assert list(bundle) == ["Endpoint", "ImagingStudy", "Patient"]
    assert all(entry["request"]["method"] == "POST" and entry["request"]["ifNoneExist"] for entry in bundle.values())
    assert bundle["ImagingStudy"]["resource"]["subject"]["reference"] == bundle["Patient"]["fullUrl"]


def test_the_baseline_updates_the_grown_study_only_under_its_version():
    first, second = study("seed", 2).instances
    (created,) = processed(first).bundles
    kinds = ("Patient", "Endpoint", "ImagingStudy")
    resources = {kind: stored(created[kind], number) for number, kind in enumerate(kinds)}
    resources["ImagingStudy"] |= {"endpoint": [{"reference": "Endpoint/1"}], "subject": {"reference": "Patient/0"}}
    (updated,) = processed(second, **resources).bundles
    assert list(updated) == ["ImagingStudy"]
    assert updated["ImagingStudy"]["request"] == {"method": "PUT", "url": "ImagingStudy/2", "ifMatch": 'W/"3"'}
    shown = [one["uid"] for series in updated["ImagingStudy"]["resource"]["series"] for one in series["instance"]]
    assert shown == [first.sop, second.sop]
    resources["ImagingStudy"] = stored(updated["ImagingStudy"], 2)
    assert processed(second, **resources).bundles == []


def test_what_is_read_to_answer_the_bench_is_not_counted():
    reads = [Request("table", "GET", "/a/cursors", at) for at in (1.0, 2.5, 4.0)]
    others = [Request("blob", "GET", "/a/dicom/x", 2.5), Request("table", "PUT", "/a/dirty", 2.5)]
    assert without_reads([*reads, *others], [(2.0, 3.0)]) == [reads[0], reads[2], *others]
