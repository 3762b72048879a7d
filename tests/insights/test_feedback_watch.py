"""The watch on a real FHIR server: the pairs of the report, told once, corrected, withdrawn; and the inbox."""

import base64
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import httpx
import pytest

from insights.collect import Store
from insights.errors import CollectError, Unavailable
from insights.fetch.service import FhirService, connected
from insights.inbox import served, watching
from insights.inbox.items import event_of, items_of
from insights.inbox.watching import Ports, watch_once
from insights.outcomes.addressed import addressed
from insights.outcomes.rule import prepare
from sync.config import Settings
from sync.ports import Announce, Jobs
from sync.protocol.leases import held
from sync.testing.results import MemoryOutbox, MemoryTopic
from sync.testing.state import MemoryCursors
from tests.insights.collected import catalogue, collect, write
from tests.insights.outcomes_world import BENIGN, CANCER, RULE, example, pathology

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ADA, SYSTEM = "ada@example.org", "urn:example:staff"
NAMES = "Doe Jane"
FEW = ("p01", "p07", "p15", "p16", "p18")  # found, found not to be so, other side, waiting, nothing yet
READER, MODEL = 3, 2  # items of the few: the model said nothing of the last three


class Clock:
    """The time of the ports."""

    ahead = timedelta()

    def now(self):
        return datetime.now(UTC) + self.ahead


def ports():
    settings = Settings.load(fhir_url="https://fhir.example", storage="AccountName=x;AccountKey=c291bmQ=")
    common = {"settings": settings, "clock": Clock()}
    announce = Announce(**common, outbox=MemoryOutbox(), results=MemoryTopic())
    return Ports(Jobs(**common, cursors=MemoryCursors()), announce)


def ours(resource, prefix):
    """A resource with ids of one test: several tests share the server."""
    text = json.dumps(resource)
    for kind in ("Patient", "ImagingStudy", "Observation", "DiagnosticReport", "Specimen", "Device"):
        text = text.replace(f'"{kind}/', f'"{kind}/{prefix}-')
    renamed = json.loads(text)
    return {**renamed, "id": f"{prefix}-{renamed['id']}"}


@pytest.fixture(autouse=True)
def short_overlap(monkeypatch):
    """Several tests share the server: a pass need not look back at what another test wrote."""
    monkeypatch.setattr(watching, "OVERLAP", timedelta(seconds=1))


@pytest.fixture
async def world(fhir_embedded, request):
    """A server with some of the example, and a reader who signs in; ids are of this test alone."""
    begin = datetime.now(UTC) - timedelta(seconds=1)
    prefix = f"w{abs(hash(request.node.name)) % 10**8}"
    name = f"{prefix}@example.org"
    reader = {"system": SYSTEM, "value": f"{prefix}-r-17"}
    text = json.dumps([ours(resource, prefix) for resource in some(request)]).replace('"r-17"', f'"{prefix}-r-17"')
    text = text.replace("Nodule Finder", f"Nodule Finder {prefix}")
    person = {"resourceType": "Practitioner", "id": f"{prefix}-ada", "name": [{"text": NAMES}]}
    resources = [{**person, "identifier": [reader, {"value": name}]}, *json.loads(text)]
    async with httpx.AsyncClient(base_url=fhir_embedded, timeout=60) as client:
        await put(client, *resources)
        yield World(fhir_embedded, client, prefix, name, resources, begin)


def some(request):
    """The resources of a few patients, or of all."""
    if request.node.get_closest_marker("usefixtures"):
        return example()
    return [
        resource
        for resource in example()
        if any(of in json.dumps(resource) for of in FEW) or resource["resourceType"] == "Device"
    ]


async def put(client, *resources):
    entries = [
        {"resource": resource, "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}}
        for resource in resources
    ]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    answer = (await client.post("", json=bundle)).raise_for_status().json()
    assert {entry["response"]["status"][0] for entry in answer["entry"]} == {"2"}, answer


class World:
    def __init__(self, url, client, prefix, name, resources, begin):  # noqa: PLR0917 -- made in one place only
        self.url, self.client, self.prefix, self.name, self.resources = url, client, prefix, name, resources
        self.begin = begin

    async def watch(self, to):
        async with connected(self.url) as service:
            return await watch_once(service, prepare(RULE), to, begin=self.begin)

    async def items(self):
        people = [f"Patient/{resource['id']}" for resource in self.resources if resource["resourceType"] == "Patient"]
        answer = await self.client.get("/Communication", params={"patient": ",".join(people), "_count": 1000})
        return [one["resource"] for one in answer.json().get("entry") or ()]

    async def inbox(self, *, method="GET", form=None, name=None, roles=("feedback",), on=True, sent=()):
        claims = [{"typ": "preferred_username", "val": name or self.name}]
        claims += [{"typ": "roles", "val": role} for role in roles]
        principal = base64.b64encode(json.dumps({"claims": claims}).encode()).decode()
        settings = Settings.load(
            fhir_url=self.url, storage="AccountName=x;AccountKey=c291bmQ=", inbox=on, sign_in="True"
        )
        headers = {"X-MS-CLIENT-PRINCIPAL": principal, **dict(sent)}
        return await served.serve(headers, method, urlencode(form or {}).encode(), settings)


def batch(folder, world):
    """The items that the collected tables give."""
    collect(folder / "data", write(folder / "in", *world.resources))
    with Store(folder / "data").reading(catalogue()) as reading:
        return addressed(reading, prepare(RULE))


@pytest.mark.usefixtures("fhir_embedded")  # all of the example
async def test_live_and_batch_give_the_same_pairs_and_events_without_patient_or_judgement(world, tmp_path):
    to = ports()
    await world.watch(to)
    expected = items_of("lung-nodules", batch(tmp_path, world), BEGIN)
    expected = {
        item.id: (item.state, [line["contentString"] for line in item.resource["payload"]]) for item in expected
    }
    there = await world.items()
    told = {
        resource["id"]: (resource["identifier"][0]["value"], [line["contentString"] for line in resource["payload"]])
        for resource in there
    }
    assert told == expected
    assert len(told) == 23  # 12 of the reader (one of the other side), 11 of the model
    for event in to.announce.results.events:
        text = json.dumps([dict(event.data), event.subject])
        assert "Patient" not in text
        assert NAMES not in text
        assert event.type.startswith("org.dicom-fhir-sync.")
    kinds = Counter(event.type.split(".")[-3] for event in to.announce.results.events)
    assert kinds == {"feedback": 12, "model": 11}
    reader = next(event for event in to.announce.results.events if "feedback" in event.type)
    assert set(reader.data) == {"resource", "reader", "rule"}


async def test_a_second_pass_tells_nothing_again_and_a_first_one_repeated_neither(world):
    to = ports()
    first = await world.watch(to)
    versions = {item["id"]: item["meta"]["versionId"] for item in await world.items()}
    events = len(to.announce.results.events)
    assert (first.told_readers, first.told_models) == (READER, MODEL)
    assert (await world.watch(to)).told_readers == 0
    again = ports()  # a cursor that was lost: everything is looked at once more
    assert (await world.watch(again)).told_readers == 0
    assert {item["id"]: item["meta"]["versionId"] for item in await world.items()} == versions
    assert len(to.announce.results.events) == events
    assert again.announce.results.events == []
    stored = await to.jobs.cursors.read("feedback lung-nodules")
    since = datetime.fromisoformat(stored.value.position["since"])
    assert timedelta() <= datetime.now(UTC) - timedelta(seconds=1) - since < timedelta(minutes=10)
    later = datetime.now(UTC) + timedelta(days=1)
    moved = {**stored.value.position, "since": later.isoformat(timespec="seconds").replace("+00:00", "Z")}
    await to.jobs.cursors.write(replace(stored.value, position=moved), stored.etag)
    assert (await world.watch(to)).patients == 0

    stored = await to.jobs.cursors.read("feedback lung-nodules")
    await to.jobs.cursors.write(replace(stored.value, position={**moved, "since": 7}), stored.etag)
    from_the_beginning = await world.watch(to)
    assert (from_the_beginning.patients, from_the_beginning.told_readers) == (first.patients, 0)


async def test_an_outcome_that_arrives_later_is_told_and_a_corrected_one_again(world):
    to = ports()
    await world.watch(to)
    late = [ours(resource, world.prefix) for resource in pathology("p18", CANCER, after=30)]
    await put(world.client, *late)
    assert (await world.watch(to)).told_readers == 1
    corrected = [ours(resource, world.prefix) for resource in pathology("p18", BENIGN, after=30, status="corrected")]
    await put(world.client, *corrected)
    assert (await world.watch(to)).told_readers == 1
    await put(world.client, {**corrected[1], "status": "entered-in-error"})
    done = await world.watch(to)
    assert (done.told_readers, done.withdrawn) == (0, 1)
    ids = Counter(event.id for event in to.announce.results.events)
    assert max(ids.values()) == 1


async def test_a_pass_that_is_broken_off_anywhere_is_finished_by_the_next(world, monkeypatch):
    to, written = ports(), []
    whole = FhirService.put

    async def breaks(self, path, resource):
        if len(written) == 2:
            raise Unavailable("the FHIR service", code="collect.unavailable")
        written.append(path)
        return await whole(self, path, resource)

    monkeypatch.setattr(FhirService, "put", breaks)
    with pytest.raises(Unavailable):
        await world.watch(to)
    assert (await to.jobs.cursors.read("feedback lung-nodules")).value.position == {}
    monkeypatch.undo()
    await world.watch(to)
    resources = {event.data["resource"] for event in to.announce.results.events}
    there = {f"Communication/{item['id']}" for item in await world.items()}
    assert there <= resources
    assert len(there) == READER + MODEL


async def test_two_watches_do_not_run_one_rule_at_once(world):
    to = ports()
    async with held("feedback lung-nodules", to.jobs, seconds=60) as lease:
        assert lease is not None
        assert await world.watch(to) is None


async def test_a_watch_that_is_suspended_is_taken_over_and_tells_nothing_more(world, monkeypatch):
    to, written, between = ports(), [], []
    whole = FhirService.put

    async def suspended(self, path, resource):
        if resource["subject"]["reference"].startswith(f"Patient/{world.prefix}"):
            written.append(path.strip("/"))
            if len(written) == 2:
                to.jobs.clock.ahead = timedelta(seconds=watching.LEASE_SECONDS + 1)
                between.append(await world.watch(to))
        return await whole(self, path, resource)

    monkeypatch.setattr(FhirService, "put", suspended)
    assert await world.watch(to) is None
    assert between[0] is not None
    # The one that was on its way as the process was suspended: the same resource and the same event once more.
    once_and_twice = {1: READER + MODEL - 1, 2: 1}
    assert Counter(Counter(written).values()) == once_and_twice
    told = {event.id for event in to.announce.results.events if event.data["resource"] in written}
    assert len(told) == READER + MODEL
    assert (await world.watch(to)).told_readers == 0
    assert Counter(Counter(written).values()) == once_and_twice


async def test_a_week_that_ended_is_digested_once_a_reader(world, monkeypatch):
    to = ports()
    await world.watch(to)
    assert not [event for event in to.announce.results.events if "digest" in event.type]
    later = datetime.now(UTC) + timedelta(days=7)

    async def in_a_week(_):
        return later

    monkeypatch.setattr(watching, "_server_time", in_a_week)
    assert (await world.watch(to)).digests >= 1
    assert (await world.watch(to)).digests == 0
    key = event_of(items_of("x", [_one(world)], later)[0], "x", later).data["reader"]
    (told,) = [
        event.data for event in to.announce.results.events if "digest" in event.type and event.data["reader"] == key
    ]
    assert (told["items"], told["unmarked"]) == (READER, READER)


def _one(world):
    from insights.outcomes.addressees import Addressed, Addressee
    from insights.outcomes.matching import Days, Finding, Matched, Pair, Place, Truth

    day = Days(BEGIN.date(), BEGIN.date())
    finding = Finding("f", "r", "p", day, Place("lung", "left"), said=True)
    truth = Truth("t", "pathology", 0, "p", day, final=True, found=True)
    to = Addressee(system=SYSTEM, value=f"{world.prefix}-r-17")
    return Addressed(to, Matched(finding, Pair(truth, 0, 0)))


async def test_a_refusal_to_write_ends_the_pass_and_keeps_the_cursor(world, monkeypatch):
    async def refused(self, path, resource):
        return httpx.Response(403, json={"resourceType": "OperationOutcome", "issue": []})

    monkeypatch.setattr(FhirService, "put", refused)
    to = ports()
    with pytest.raises(CollectError, match="Communication"):
        await world.watch(to)
    assert (await to.jobs.cursors.read("feedback lung-nodules")).value.position == {}


async def test_a_reader_sees_the_own_items_and_marks_them(world):
    await world.watch(ports())
    page = await world.inbox()
    assert page.status == 200
    assert "3 outcomes of your reads, 3 without your mark" in page.body
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert "script" not in page.headers["Content-Security-Policy"]
    item = next(
        item for item in await world.items() if "p07" in item["subject"]["reference"] and "Device" not in str(item)
    )
    form = {"item": item["id"], "mark": "disagree"}
    marked = await world.inbox(method="POST", form=form, sent={"Sec-Fetch-Site": "same-origin"})
    assert "3 outcomes of your reads, 2 without your mark" in marked.body
    assert f"marked by {world.name}" in (await world.inbox()).body
    assert "2 without" in (await world.inbox(method="POST", form={**form, "mark": "agree"})).body
    marks = [item for item in await world.items() if "inResponseTo" in item]
    assert [(mark["reasonCode"][0]["coding"][0]["code"], mark["sender"]["display"]) for mark in marks] == [
        ("agree", world.name)
    ]
    client = await world.client.get("/AuditEvent", params={"_count": 1000})
    events = [entry["resource"] for entry in client.json()["entry"]]
    mine = [event["action"] for event in events if event["agent"][0].get("name") == world.name]
    assert Counter(mine) == {"R": 4, "U": 2}
    # a corrected outcome is without a mark again
    corrected = next(resource for resource in world.resources if resource["id"] == f"{world.prefix}-path-p07-1")
    text = json.dumps({**corrected, "status": "corrected"}).replace(BENIGN, CANCER)
    await put(world.client, json.loads(text))
    await world.watch(ports())
    assert "3 without your mark" in (await world.inbox()).body


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"on": False}, 404),
        ({"roles": ()}, 403),
        ({"roles": ("timeline-all", "operator")}, 403),
        ({"method": "POST", "form": {"item": "x", "mark": "agree"}, "sent": {"Sec-Fetch-Site": "cross-site"}}, 403),
        ({"method": "POST", "form": {"item": "x", "mark": "agree"}}, 404),
    ],
)
async def test_what_is_not_allowed_is_refused(world, more, status):
    answer = await world.inbox(**more)
    assert answer.status == status
    assert "Found:" not in answer.body


async def test_nobody_sees_or_marks_the_items_of_another_reader(world, monkeypatch):
    await world.watch(ports())
    other = {"resourceType": "Practitioner", "id": f"{world.prefix}-eve"}
    eve = f"eve-{world.name}"
    number = {"system": "urn:example:other", "value": f"{world.prefix}-r-17"}  # the number of another register
    await put(world.client, {**other, "identifier": [{"value": eve}, number]})
    assert "0 outcomes of your reads" in (await world.inbox(name=eve)).body
    item = next(item for item in await world.items() if "Device" not in str(item))
    answer = await world.inbox(name=eve, method="POST", form={"item": item["id"], "mark": "agree"})
    assert answer.status == 404
    assert not [item for item in await world.items() if "inResponseTo" in item]
    # without its AuditEvent the reader sees nothing either
    written = []
    whole = FhirService.put

    async def no_audit(self, path, resource):
        written.append(path)
        return httpx.Response(403) if "AuditEvent" in path else await whole(self, path, resource)

    monkeypatch.setattr(FhirService, "put", no_audit)
    for more in ({}, {"method": "POST", "form": {"item": item["id"], "mark": "agree"}}):
        answer = await world.inbox(**more)
        assert answer.status == 503
        assert "Found:" not in answer.body
    assert all("AuditEvent" in path for path in written)
