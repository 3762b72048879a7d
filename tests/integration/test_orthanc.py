"""A real Orthanc with real files: what it says of them is what the files say, with the plugin and without."""

import warnings
from collections import Counter

import httpx
import pytest

from local.orthanc import orthanc_server
from local.samples import samples
from sync.adapters.http.dicom.orthanc import Orthanc
from sync.adapters.http.dicom.web import OrthancWeb
from sync.config import HeaderLimits
from sync.dicom.header import parse_header, read_json
from sync.dicom.instance_names import possible_refs
from sync.errors import SourceGone
from sync.feeds.orthanc import changes_of
from sync.model import StudyRef
from sync.telemetry.telemetry import Telemetry
from tests.unit.dicom.header.test_json_model import plain

LOGIN = ("reader", "secret")


@pytest.fixture(scope="module", params=[True, False], ids=["dicomweb", "rest"])
def url(request):
    with orthanc_server(dicomweb=request.param, login=LOGIN) as server:
        yield server.url


WITHHELD = 256
"""Bytes of a text above which ``/instances/{id}/tags`` has null; Orthanc, ``ORTHANC_MAXIMUM_TAG_LENGTH``."""


@pytest.fixture(scope="module")
def stored(url):
    """Return the files that Orthanc took, by its ids."""
    samples_of = {}
    with httpx.Client(base_url=url, auth=LOGIN, timeout=60) as client:
        for sample in samples():
            if sample.identity and not sample.name.startswith("ct/"):
                answer = client.post("/instances", content=sample.content)
                if answer.status_code == 200:
                    samples_of[answer.json()["ID"]] = sample
    assert len(samples_of) > 40
    return samples_of


@pytest.fixture
async def server(url):
    web = OrthancWeb(url, setting="DICOM_SYNC_ORTHANC_URL", telemetry=Telemetry(), login=LOGIN)
    yield Orthanc(web, url)
    await web.aclose()


async def test_its_metadata_say_what_the_files_say(server, stored):
    differing = Counter()
    for identifier, sample in stored.items():
        read_back = read_json((await server.metadata(server.ref(identifier))).dataset)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record = parse_header(sample.content, size=len(sample.content), limits=HeaderLimits())
        assert (read_back.study, read_back.series_instance_uid, read_back.sop_instance_uid) == (
            record.study,
            record.series_instance_uid,
            record.sop_instance_uid,
        )
        if record.findings:
            continue
        theirs, ours = comparable(read_back), comparable(record)
        differing.update(keyword for keyword in ours.keys() | theirs.keys() if ours.get(keyword) != theirs.get(keyword))
    assert dict(differing) == {}


def comparable(record):
    """
    Orthanc drops empty items at the end of values, and knows no empty sequence from an absent one.

    Without its plugin it leaves out a text of more than 256 bytes.
    """
    values = plain(record.attributes).items()
    return {keyword: items for keyword, items in values if any(items) and len("\\".join(map(str, items))) <= WITHHELD}


def test_an_id_is_made_of_what_identifies_an_instance(server, stored):
    for identifier, sample in stored.items():
        record = parse_header(sample.content, size=len(sample.content), limits=HeaderLimits())
        named = [ref.name.rpartition("/")[2] for ref in possible_refs(server.account, record.study, record)]
        patient = record.attributes.get("PatientID") or [""]
        assert named[-1] == identifier or not str(patient[0]).isascii(), sample.name


async def test_its_changes_and_its_list_name_what_it_holds(server, stored):
    named, since = set(), 0
    while True:
        page = changes_of(await server.changes(since, 50), server, since)
        named |= {change.object for change in page.changes}
        if page.reached == since:
            break
        since = page.reached
    held = {ref async for ref in server.held()}
    assert named == held == {server.ref(identifier) for identifier in stored}
    assert await server.count() == len(stored)
    study = next(iter(stored.values())).identity.study
    of_study = {ref async for ref in server.objects_of(StudyRef(study_instance_uid=study))}
    assert of_study == {
        server.ref(identifier) for identifier, sample in stored.items() if sample.identity.study == study
    }


async def test_what_is_deleted_resolves_to_nothing_and_no_change_tells(server, stored, url):
    identifier = next(iter(stored))
    etag = (await server.metadata(server.ref(identifier))).etag
    async with httpx.AsyncClient(base_url=url, auth=LOGIN) as client:
        (await client.post("/instances", content=stored[identifier].content)).raise_for_status()
        assert (await server.metadata(server.ref(identifier))).etag != etag
        (await client.delete(f"/instances/{identifier}")).raise_for_status()
    with pytest.raises(SourceGone):
        await server.metadata(server.ref(identifier))
    page = changes_of(await server.changes(0, 10_000), server, 0)
    assert server.ref(identifier) not in {change.object for change in page.changes}
