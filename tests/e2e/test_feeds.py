"""A real Orthanc and a DICOM service with a change feed, both read by one world: what they hold is in FHIR."""

import json
import time

import httpx
import pytest

from local.dicom_service import dicom_service
from local.orthanc import orthanc_server
from local.samples import samples
from tests.e2e.files import differences, expected_studies, uids_of
from tests.e2e.running import until, up
from tests.waiting import deadline

FILES = [one.content for one in samples() if one.identity and not one.name.startswith("ct/")]
"""Real files of many kinds; one instance is there twice."""

ORTHANCS, SERVICES = FILES[::2], FILES[1::2]


class Feeds:
    """The world, and the two servers that it reads."""

    def __init__(self, world, orthanc, service):
        self.world = world
        self.orthanc, self.service = (
            httpx.Client(base_url=orthanc, timeout=60),
            httpx.Client(base_url=service, timeout=60),
        )
        self.in_orthanc, self.in_service = {}, {}

    def store_in_orthanc(self, content):
        self.in_orthanc[self.orthanc.post("/instances", content=content).raise_for_status().json()["ID"]] = content

    def store_in_service(self, content):
        if self.service.post("/v2/studies", content=content).status_code in (200, 202):
            self.in_service[uids_of(content)] = content

    def wake(self):
        """Send the event that Azure sends."""
        event = {"specVersion": "1.0", "type": "Microsoft.HealthcareApis.DicomImageCreated", "data": {}}
        self.world.send("objects", json.dumps(event))

    def wrong(self):
        expected = expected_studies([*self.in_orthanc.values(), *self.in_service.values()])
        return differences(expected, self.world.all("ImagingStudy"))

    def agree(self, seconds=90):
        end = deadline(seconds)
        while (wrong := self.wrong()) and time.monotonic() < end:
            time.sleep(0.5)
        assert wrong == []
        self.world.settle()
        assert self.wrong() == []


@pytest.fixture(scope="module")
def feeds():
    settings = {"DICOM_SYNC_QUIET_PERIOD": "1", "DICOM_SYNC_MAX_WAIT": "15"}
    with orthanc_server() as orthanc, dicom_service() as service:
        settings |= {"DICOM_SYNC_ORTHANC_URL": orthanc.url, "DICOM_SYNC_DICOM_URL": service}
        with up("embedded-azure", **settings) as world:
            yield Feeds(world, orthanc.url, service)


def test_what_two_servers_hold_is_in_fhir_through_stores_overwrites_deletions_and_outages(feeds):
    for content in ORTHANCS:
        feeds.store_in_orthanc(content)
    for content in SERVICES:
        feeds.store_in_service(content)
    feeds.wake()
    feeds.agree()
    assert not feeds.world.letters()

    # Everything once more: nothing is written.
    versions = feeds.world.versions()
    for content in ORTHANCS:
        feeds.store_in_orthanc(content)
    time.sleep(6)
    feeds.agree()
    assert feeds.world.versions() == versions

    # An instance and a study go from Orthanc; a study goes from the service and comes again, another one changes.
    instance, *others = feeds.in_orthanc
    feeds.orthanc.delete(f"/instances/{instance}").raise_for_status()
    study = feeds.orthanc.get(f"/instances/{others[0]}/study").raise_for_status().json()["ID"]
    gone = {instance["ID"] for instance in feeds.orthanc.get(f"/studies/{study}/instances").json()} | {instance}
    feeds.orthanc.delete(f"/studies/{study}").raise_for_status()
    feeds.in_orthanc = {identity: content for identity, content in feeds.in_orthanc.items() if identity not in gone}
    again, changed = sorted({uids.study for uids in feeds.in_service})[:2]
    feeds.service.delete(f"/v2/studies/{again}").raise_for_status()
    back = [content for uids, content in feeds.in_service.items() if uids.study == again]
    feeds.in_service = {uids: content for uids, content in feeds.in_service.items() if uids.study != again}
    feeds.agree()
    for content in back:
        feeds.store_in_service(content)
    changes = {"00081030": {"vr": "LO", "Value": ["CHANGED IN BULK"]}}
    feeds.service.post("/control/update", json={"study": changed, "changes": changes}).raise_for_status()
    feeds.agree()
    until(lambda: (feeds.world.study(changed) or {}).get("description") == "CHANGED IN BULK", "the update is in FHIR")

    # The service throttles, then answers rubbish; meanwhile a study is deleted.
    feeds.service.post("/control/fail", json={"status": 429, "seconds": 60, "retry_after": 4})
    until(lambda: "source.throttled" in _errors(feeds), "the throttling is reported")
    feeds.service.post("/control/fail", json={"status": 200, "seconds": 60, "body": "<html>sign in</html>"})
    until(lambda: "source.garbage" in _errors(feeds), "the garbage is reported")
    feeds.service.post("/control/fail", json={"status": 200, "seconds": 0})
    feeds.in_service = {uids: content for uids, content in feeds.in_service.items() if uids.study != changed}
    until(lambda: feeds.service.delete(f"/v2/studies/{changed}").status_code == 204, "the service answers again")
    feeds.agree()
    assert _errors(feeds) == []
    assert not feeds.world.letters()


def _errors(feeds):
    return [feed["error"] for feed in feeds.world.status()["feeds"].values() if "error" in feed]
