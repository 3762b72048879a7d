"""
Every call of every adapter, whatever arrives: a value of the port's type, or an error of ours.

Never another exception, for that would be told as a defect of the sync; and nothing is gone or absent because of an
answer that the service itself cannot have given.
"""

import json
from datetime import UTC, datetime

import httpx
import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.adapters.azure.blobs import AzureBlobs
from sync.adapters.azure.queues import AzureQueues
from sync.adapters.azure.tables.store import TableStore
from sync.adapters.azure.transport import StorageTransport
from sync.adapters.http.dicom.orthanc import Orthanc
from sync.adapters.http.dicom.service import DicomService, account_of
from sync.adapters.http.dicom.web import DicomWeb, OrthancWeb
from sync.adapters.http.fhir.capabilities import Capabilities
from sync.adapters.http.fhir.server import HttpFhirServer
from sync.dicom.instance_names import instance_ref
from sync.errors import SourceGone, SyncError
from sync.model import (
    Cursor,
    DeadLetter,
    DirtyStudy,
    Drift,
    DriftKind,
    FhirPage,
    FhirWrite,
    InstanceMetadata,
    Locator,
    ObjectRef,
    Page,
    Stored,
    StudyRef,
    StudySearch,
    SubjectKind,
)
from sync.ports import Counted, Tally
from sync.telemetry.telemetry import Telemetry
from tests.property import examples
from tests.property.answers import Line, answers, listed
from tests.simulation.gateway.blob_service import BlobSession
from tests.simulation.gateway.fhir_service import FhirTransport
from tests.simulation.gateway.lies import Answer
from tests.simulation.gateway.virtual_time import run

STUDY = StudyRef(study_instance_uid="2.25.1")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
FHIR, PACS = "https://fhir.example/r4", "https://pacs.example/base"
KEY = AzureNamedKeyCredential("memory", "a2V5")


def said(status, body=None, **headers):
    """An answer in JSON."""
    content = b"" if body is None else json.dumps(body).encode()
    return Answer(status, {"Content-Type": "application/json", **headers}, content)


class Slow(httpx.AsyncBaseTransport):
    """As `FhirTransport`, but what the headers say of the body's coding shows only when it is read."""

    def __init__(self, line):
        self._inner = FhirTransport(line)
        self._line = line

    async def handle_async_request(self, request):
        taken = []

        async def kept(asked):
            taken.append(await self._line(asked))
            return Answer(200)

        self._inner._send = kept
        await self._inner.handle_async_request(request)
        (answer,) = taken
        return httpx.Response(answer.status, headers=answer.headers, stream=httpx.ByteStream(answer.body))


async def soon(_seconds):
    """Wait for nothing."""


def fhir(line):
    return HttpFhirServer(FHIR, telemetry=Telemetry(), transport=Slow(line), sleep=soon)


def web(line, kind):
    return kind(PACS, setting="DICOM_SYNC_DICOM_URL", telemetry=Telemetry(), transport=Slow(line), sleep=soon)


def azure(kind, name, line, **more):
    transport = StorageTransport(session=BlobSession(line))
    return kind(f"https://memory.{name}.core.windows.net", credential=KEY, transport=transport, retry_total=0, **more)


def blobs(line):
    return AzureBlobs(azure(BlobServiceClient, "blob", line), account="memory", containers=["dicom"])


def queues(line):
    return AzureQueues(azure(QueueServiceClient, "queue", line))


def tables(line):
    return TableStore(azure(TableServiceClient, "table", line))


# What the services themselves say.

PATIENT = {"resourceType": "Patient", "id": "p1", "identifier": [{"system": "s", "value": "P1"}]}
STUDY_RESOURCE = {"resourceType": "ImagingStudy", "id": "is-1", "subject": {"reference": "Patient/p1"}}
FHIR_OWN = [
    said(200, PATIENT),
    said(404, {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-found"}]}),
    said(
        200,
        {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": 1,
            "link": [{"relation": "self", "url": FHIR}, {"relation": "next", "url": f"{FHIR}/Patient?after=1"}],
            "entry": [{"resource": PATIENT, "search": {"mode": "match"}}],
        },
    ),
    said(200, {"resourceType": "Bundle", "type": "searchset"}),
    said(
        200,
        {
            "resourceType": "Bundle",
            "type": "transaction-response",
            "entry": [{"response": {"status": "200 OK", "etag": 'W/"2"'}, "resource": PATIENT}],
        },
    ),
    said(200, {"resourceType": "Bundle", "type": "history", "entry": [{"resource": PATIENT}]}),
    said(
        200,
        {
            "resourceType": "CapabilityStatement",
            "fhirVersion": "4.0.1",
            "rest": [{"mode": "server", "interaction": [{"code": "transaction"}], "resource": [{"type": "Patient"}]}],
        },
    ),
]
DATASET = {"00080018": {"vr": "UI", "Value": ["1.4"]}, "0020000D": {"vr": "UI", "Value": ["2.25.1"]}}
INSTANCE = {"ID": "a" * 8, "ParentSeries": "b" * 8, "FileUuid": "f", "MainDicomTags": {"SOPInstanceUID": "1.4"}}
DICOM_OWN = [
    said(200, [DATASET]),
    said(200, [{"sequence": 1, "action": "create", "metadata": DATASET}]),
    said(200, {"Sequence": 1}),
    Answer(404, {"Content-Type": "text/plain"}, b"The specified instance was not found."),
    said(204),
]
ORTHANC_OWN = [
    said(200, INSTANCE),
    said(200, ["a" * 8, INSTANCE]),
    said(200, {"Changes": [], "Done": True, "Last": 4}),
    said(200, {"CountInstances": 4}),
    said(200, {"0008,0018": {"Name": "SOPInstanceUID", "Type": "String", "Value": "1.4"}}),
    said(404, {"HttpStatus": 404, "OrthancStatus": 17, "Message": "Unknown resource"}),
]
OF_STORE = {"x-ms-request-id": "1", "x-ms-version": "2025-01-05", "Date": "Fri, 02 Jan 2026 00:00:00 GMT"}


def xml(status, text, **headers):
    """An answer in XML."""
    return Answer(status, {**OF_STORE, "Content-Type": "application/xml", **headers}, text.encode())


OF_BLOB = {"ETag": '"0x1"', "Last-Modified": "Fri, 02 Jan 2026 00:00:00 GMT", "x-ms-blob-type": "BlockBlob"}
BLOBS_OWN = [
    Answer(206, {**OF_STORE, **OF_BLOB, "Content-Range": "bytes 0-3/4", "Content-Length": "4"}, b"DICM"),
    Answer(200, {**OF_STORE, **OF_BLOB, "Content-Length": "0"}),
    xml(404, "<Error><Code>BlobNotFound</Code></Error>", **{"x-ms-error-code": "BlobNotFound"}),
    xml(416, "<Error><Code>InvalidRange</Code></Error>", **{"x-ms-error-code": "InvalidRange"}),
    xml(
        200,
        '<EnumerationResults ContainerName="dicom"><Blobs><Blob><Name>a</Name><Properties><Etag>x</Etag>'
        "<Last-Modified>Fri, 02 Jan 2026 00:00:00 GMT</Last-Modified><Content-Length>4</Content-Length>"
        "</Properties></Blob></Blobs><NextMarker>m</NextMarker></EnumerationResults>",
    ),
]
TIMES = "".join(
    f"<{name}>Fri, 02 Jan 2026 00:00:00 GMT</{name}>" for name in ("InsertionTime", "ExpirationTime", "TimeNextVisible")
)
QUEUES_OWN = [
    xml(
        201,
        f"<QueueMessagesList><QueueMessage><MessageId>1</MessageId>{TIMES}<PopReceipt>p</PopReceipt>"
        "<DequeueCount>1</DequeueCount><MessageText>e30=</MessageText></QueueMessage></QueueMessagesList>",
    ),
    Answer(200, {**OF_STORE, "x-ms-approximate-messages-count": "3"}),
    Answer(204, OF_STORE),
    xml(404, "<Error><Code>QueueNotFound</Code></Error>", **{"x-ms-error-code": "QueueNotFound"}),
]
# Without rows: one that has the form of a row and not our columns was written by something else, and is told so.
TABLES_OWN = [
    Answer(200, {**OF_STORE, "Content-Type": "application/json"}, b'{"value": []}'),
    Answer(204, {**OF_STORE, "ETag": 'W/"2"'}),
    Answer(
        404,
        {**OF_STORE, "Content-Type": "application/json", "x-ms-error-code": "ResourceNotFound"},
        b'{"odata.error": {"code": "ResourceNotFound", "message": {"lang": "en-US", "value": "x"}}}',
    ),
    Answer(
        202,
        {**OF_STORE, "Content-Type": "multipart/mixed; boundary=b"},
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\n"
        b'Content-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 204 No Content\r\nETag: W/"3"\r\n\r\n\r\n'
        b"--c--\r\n--b--\r\n",
    ),
]

# Every call, and the type of what it gives.

PUT = FhirWrite(resource_type="Patient", resource_id="p1", resource=PATIENT)
CALLS_OF_FHIR = {
    "capabilities": (lambda s: s.capabilities(), Capabilities),
    "read": (lambda s: s.read("Patient", "p1"), dict | None),
    "read_all": (lambda s: s.read_all(["Patient/p1"]), list),
    "search": (lambda s: s.search("Patient", "s", "P1"), list),
    "page": (lambda s: s.page("Patient"), FhirPage),
    "next_page": (lambda s: s.page("Patient", "/Patient?after=1"), FhirPage),
    "find_studies": (lambda s: s.find_studies(StudySearch()), FhirPage),
    "transact": (lambda s: s.transact([PUT]), list),
    "referrers": (lambda s: s.referrers(["Patient/p1"]), dict),
    "last_version": (lambda s: s.last_version("Patient", "p1"), dict | None),
}
OF_SERVICE = instance_ref(account_of(PACS), "", "2.25.1", "1.3", "1.4")


async def _content(source):
    async with source.content(OF_SERVICE) as chunks:
        return await listed(chunks)


CALLS_OF_DICOM = {
    "page": (lambda s: s.page(), list),
    "metadata": (lambda s: s.metadata(OF_SERVICE), InstanceMetadata),
    "objects_of": (lambda s: listed(s.objects_of(STUDY)), list),
    "content": (_content, list),
}
CALLS_OF_ORTHANC = {
    "changes": (lambda s: s.changes(0, 10), object),
    "count": (lambda s: s.count(), int | None),
    "held": (lambda s: listed(s.held()), list),
    "objects_of": (lambda s: listed(s.objects_of(STUDY)), list),
    "metadata": (lambda s: s.metadata(s.ref("a" * 8)), InstanceMetadata),
}
BLOB = ObjectRef(account="memory", container="dicom", name="a")
CALLS_OF_BLOBS = {
    "read": (lambda s: s.read(BLOB, start=0, length=4), object),
    "read_on": (lambda s: s.read(BLOB, start=4, length=4, etag="0x1"), object),
    "etag": (lambda s: s.etag(BLOB), str),
    "page": (lambda s: s.page("dicom"), Page),
}
CALLS_OF_QUEUES = {
    "ensure": (lambda s: s.ensure(), None),
    "enqueue": (lambda s: s.enqueue(STUDY, 3), None),
    "send": (lambda s: s.send("{}"), None),
    "length": (lambda s: s.length(), int),
    "has_visible": (lambda s: s.has_visible(), bool),
    "depths": (lambda s: s.depths(), dict),
    "oldest": (lambda s: s.oldest(["studies", "objects"]), dict),
}
LETTER = DeadLetter(kind=SubjectKind.OBJECT, subject="s", code="c.d", detail="", hint="", first_at=NOW, last_at=NOW)
DIRTY = DirtyStudy(study=STUDY, first_marked=NOW, last_marked=NOW)
DRIFT = Drift(subject="s", kind=DriftKind.MISSING, resource="ImagingStudy/is-1")
LOCATOR = Locator(object=BLOB, etag="0x1", study=STUDY)
CALLS_OF_TABLES = {
    "locators.read": (lambda s: s.locators.read(BLOB), Stored | None),
    "locators.find": (lambda s: s.locators.find(BLOB.key), Stored | None),
    "locators.etags": (lambda s: s.locators.etags("p", 10), dict | None),
    "locators.rows": (lambda s: s.locators.rows("p", 10), list | None),
    "locators.below": (lambda s: listed(s.locators.below("memory", "dicom", "a")), list),
    "locators.insert": (lambda s: s.locators.insert(LOCATOR), str),
    "locators.replace": (lambda s: s.locators.replace(LOCATOR, "e"), str),
    "ledger.read": (lambda s: s.ledger.read(STUDY), list),
    "ledger.between": (lambda s: listed(s.ledger.between("a", "b")), list),
    "ledger.orders": (lambda s: s.ledger.orders(STUDY, 5), list),
    "ledger.delete": (lambda s: s.ledger.delete(STUDY, BLOB.key), None),
    "ledger.entries": (lambda s: listed(s.ledger.entries("2.25.1")), list),
    "dirty.read": (lambda s: s.dirty.read(STUDY), Stored | None),
    "dirty.mark": (lambda s: s.dirty.mark(STUDY, NOW), bool),
    "dirty.postpone": (lambda s: s.dirty.postpone(DIRTY, "e"), None),
    "dirty.delete": (lambda s: s.dirty.delete(STUDY, "e"), None),
    "dirty.all": (lambda s: listed(s.dirty.all()), list),
    "projections.read": (lambda s: s.projections.read(STUDY), Stored | None),
    "projections.find": (lambda s: s.projections.find("k"), object),
    "projections.after": (lambda s: s.projections.after("", 5), list),
    "patients.read": (lambda s: s.patients.read("k"), list),
    "patients.delete": (lambda s: s.patients.delete("k", STUDY), None),
    "cursors.read": (lambda s: s.cursors.read("c"), Stored | None),
    "cursors.write": (lambda s: s.cursors.write(Cursor(name="c"), None), str),
    "cursors.replace_beside": (lambda s: s.cursors.replace_beside(Cursor(name="c"), "e", [Cursor(name="d")]), str),
    "cursors.delete": (lambda s: s.cursors.delete("c"), None),
    "cursors.delete_all": (lambda s: s.cursors.delete_all(["c", "d"]), None),
    "cursors.all": (lambda s: listed(s.cursors.all()), list),
    "dead_letters.put": (lambda s: s.dead_letters.put(LETTER), None),
    "dead_letters.clear": (lambda s: s.dead_letters.clear(SubjectKind.OBJECT, "s"), None),
    "dead_letters.read": (lambda s: s.dead_letters.read(SubjectKind.OBJECT, "s"), Stored | None),
    "dead_letters.all": (lambda s: listed(s.dead_letters.all()), list),
    "drifts.note": (lambda s: s.drifts.note("s", [DRIFT], NOW), None),
    "drifts.all": (lambda s: listed(s.drifts.all()), list),
    "outbox.waiting": (lambda s: s.outbox.waiting(5), list),
    "audit.newest": (lambda s: s.audit.newest(5), list),
    "history.latest": (lambda s: s.history.latest(5), list),
    "history.discard": (lambda s: s.history.discard(NOW, 5), int),
    "metrics.between": (lambda s: listed(s.metrics.between(60, NOW, NOW)), list),
    "tallies.page": (lambda s: s.tallies.page(Counted.DIRTY), Tally),
    "ensure": (lambda s: s.ensure(), None),
}
ADAPTERS = {
    "fhir": (fhir, FHIR_OWN, CALLS_OF_FHIR, 60),
    "dicom_service": (lambda line: DicomService(web(line, DicomWeb), PACS), DICOM_OWN, CALLS_OF_DICOM, 60),
    "orthanc": (lambda line: Orthanc(web(line, OrthancWeb), PACS), ORTHANC_OWN, CALLS_OF_ORTHANC, 60),
    "blobs": (blobs, BLOBS_OWN, CALLS_OF_BLOBS, 60),
    "queues": (queues, QUEUES_OWN, CALLS_OF_QUEUES, 60),
    "tables": (tables, TABLES_OWN, CALLS_OF_TABLES, 120),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_call_gives_a_value_of_its_type_or_an_error_of_ours(adapter):
    make, own, calls, number = ADAPTERS[adapter]

    async def ask(call, line):
        try:
            return await call(make(line))
        except SyncError as failure:
            return failure

    @settings(max_examples=examples(number), deadline=None, derandomize=True)
    @given(name=st.sampled_from(sorted(calls)), arriving=answers(own))
    def check(name, arriving):
        line, (call, kind) = Line(arriving), calls[name]
        value = run(ask(call, line))
        if isinstance(value, SyncError):
            assert line.own or not isinstance(value, SourceGone), "gone, though the service did not say so"
            return
        assert value is None if kind is None else isinstance(value, kind)
        absent = value is None and kind is not None
        assert line.own or not absent or name == "count", "absent, though the service did not say so"

    check()
