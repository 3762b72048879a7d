"""The timer's slices: together a whole scan, each of them small, without needless announcements."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest

from sync.errors import FhirUnavailable, ForeignLink, StoreUnavailable, SyncError
from sync.model import RECONCILE_CURSOR as CURSOR
from sync.model import DriftKind, StudyRef
from sync.model.result_events import DriftFound
from sync.operators.pause import pause_projection, resume_projection
from sync.protocol.outbox import sweep_outbox
from sync.telemetry.instruments import OPEN_DRIFT, TIMER_RUNS
from sync.testing.fhir import MemoryFhirServer
from sync.testing.results import MemoryTopic
from sync.verify.checking import Checker
from sync.verify.reconcile import reconcile
from sync.verify.source import GRACE
from tests.unit.verify.test_full_scan import Naps, noted
from tests.worlds import STUDY, MemoryWorld, patient_of, study_id

STUDIES = 5


async def world(topic=None, **settings):
    w = MemoryWorld(MemoryFhirServer(page=2), topic=topic, reconcile_studies_per_minute=2, **settings)
    for number in range(STUDIES):
        await w.arrive(f"{number}", study=f"2.25.{number + 1}", sop=f"2.25.{number + 1}00")
    return w


async def runs(w, count):
    looked = 0
    for _ in range(count):
        w.clock.advance(60)
        looked += await reconcile(w.services, w.store.objects, Checker(sleep=Naps()))
    return looked


def place(w):
    return w.store.cursors.table.get(CURSOR).value.position


async def round_of(w):
    """Run until one more round has ended."""
    before = place(w).get("last_round") if w.store.cursors.table.get(CURSOR) else None
    for _ in range(30):
        await runs(w, 1)
        if place(w).get("last_round") != before:
            return place(w)["last_round"]
    raise AssertionError("no round ends")


def open_drift(w):
    """Return what the last run has measured, by kind."""
    samples = {k: v for k, v in w.services.telemetry.take().items() if k.name == OPEN_DRIFT.name}
    return {
        dict(key.attributes)["dicom_sync.drift.kind"]: sample.highest
        for key, sample in samples.items()
        if sample.highest
    }


async def test_a_few_runs_make_a_whole_round_and_the_next_begins():
    w = await world()
    first = await round_of(w)
    assert first["studies"] == STUDIES
    second = await round_of(w)
    assert first["ended"] <= second["began"] < second["ended"]


async def test_a_run_looks_at_no_more_than_it_is_told():
    w = await world()
    await runs(w, 2)  # the source's list is one page here
    assert await runs(w, 1) == 2
    w.services = w.process(reconcile_studies_per_minute=0)
    assert await runs(w, 1) == 0


async def test_a_settled_world_makes_no_noise_and_no_writes(actions):
    w = await world()
    before = w.fhir.calls["transact"]
    await round_of(w)
    assert (await noted(w), w.fhir.calls["transact"]) == ({}, before)
    assert "drift.found" not in actions


class Asked:
    """A port, and how often each of its methods was called."""

    def __init__(self, port):
        self.port, self.calls = port, Counter()

    def __getattr__(self, name):
        self.calls[name] += 1
        return getattr(self.port, name)


async def test_a_folder_costs_a_few_requests_however_many_objects_are_in_it():
    """Each object by itself would cost its row twice, and one question to the source."""
    w = await world()
    for number in range(40):
        await w.arrive(f"folder/{number}", study="2.25.77", sop=f"2.25.77{number:03}")
    await round_of(w)
    locators, objects = Asked(w.services.locators), Asked(w.services.objects)
    w.services = replace(w.services, locators=locators, objects=objects)
    await round_of(w)
    # The other objects have no folder of their own to be found by.
    assert locators.calls["find"] + locators.calls["read"] <= 3 * STUDIES
    assert objects.calls["etag"] <= STUDIES
    assert await noted(w) == {}


async def test_what_changed_in_a_folder_is_found_all_the_same():
    w = await world()
    for number in range(4):
        await w.arrive(f"folder/{number}", study="2.25.77", sop=f"2.25.77{number:03}")
    w.delete("folder/1")  # without an event
    w.put("folder/2", study="2.25.77", sop="2.25.779")  # the same
    w.put("folder/new", study="2.25.77", sop="2.25.778")  # the same
    w.clock.advance(GRACE)
    for _ in range(2):
        await round_of(w)
    drifts = await noted(w)
    assert drifts[DriftKind.OBJECT_GONE] == 1
    assert drifts[DriftKind.OBJECT_UNSEEN] == 1
    assert drifts[DriftKind.OBJECT_CHANGED] >= 1


async def test_what_drifts_is_noted_and_counted_once_and_not_repaired_unless_configured(actions):
    w = await world()
    w.erase("ImagingStudy", study_id(STUDY))
    w.create({"resourceType": "Patient", "id": patient_of("orphan")})
    for _ in range(3):
        await round_of(w)
    assert await noted(w) == {DriftKind.MISSING: 1, DriftKind.ORPHANED: 1}
    assert actions["drift.found"] == 2
    assert open_drift(w) == {"drift.missing": 1, "drift.orphaned": 1}
    assert w.imaging_study() is None


@pytest.mark.parametrize("repaired", [False, True])
async def test_what_drifts_is_announced_once(repaired):
    w = await world(MemoryTopic(), reconcile_repair=repaired)
    await sweep_outbox(w.services)
    w.erase("ImagingStudy", study_id(STUDY))
    w.delete("4")  # without an event
    for _ in range(3):
        await round_of(w)
    w.clock.advance(60)
    await sweep_outbox(w.services)
    told = [event for event in w.topic.events if event.type == DriftFound.type()]
    missing, gone = sorted(told, key=lambda event: event.data["code"])
    assert missing.subject == f"studies/{STUDY.key}"
    assert missing.data == {
        "code": "drift.missing",
        "study": STUDY.key,
        "resource": f"ImagingStudy/{study_id(STUDY)}",
        "repaired": repaired,
    }
    assert (gone.data["code"], "resource" in gone.data) == ("drift.object_gone", False)


async def test_what_is_right_again_is_seen_by_the_next_run_wherever_the_round_is():
    w = await world()
    w.erase("ImagingStudy", study_id(STUDY))
    w.create({"resourceType": "Patient", "id": patient_of("orphan")})
    await round_of(w)
    await w.project(redelivered=True)
    w.erase("Patient", patient_of("orphan"))
    await runs(w, 1)
    assert await noted(w) == {}


async def test_a_study_is_repaired_where_that_is_set_and_an_unknown_one_is_left_to_a_person(monkeypatch):
    w = await world(reconcile_repair=True)
    find = w.services.projections.find

    async def of_a_key(key):
        assert "/" not in key, "Table Storage answers such a key with an error"
        return await find(key)

    monkeypatch.setattr(w.services.projections, "find", of_a_key)
    w.erase("ImagingStudy", study_id(STUDY))
    w.create({**w.patient(), "id": "pt-" + "0" * 40, "identifier": []})
    await round_of(w)
    assert w.imaging_study() is not None
    assert await noted(w) == {DriftKind.ORPHANED: 1}
    assert w.server.peek("Patient", "pt-" + "0" * 40) is not None


async def test_nothing_is_repaired_while_an_operator_holds_projection_back():
    w = await world(reconcile_repair=True)
    w.erase("ImagingStudy", study_id(STUDY))
    await pause_projection(w.services, who="o", why="w")
    await round_of(w)
    assert (w.imaging_study(), await noted(w)) == (None, {DriftKind.MISSING: 1})
    await resume_projection(w.services, who="Ada")
    await runs(w, 1)
    assert (w.imaging_study() is not None, await noted(w)) == (True, {})


async def test_an_object_without_an_event_is_noted_and_repaired_where_that_is_set():
    for repair in (False, True):
        w = await world(reconcile_repair=repair)
        w.put("unheard", study="2.25.9", sop="2.25.900")
        w.clock.advance(GRACE)
        await round_of(w)
        assert await noted(w) == ({} if repair else {DriftKind.OBJECT_UNSEEN: 1})
        assert (w.imaging_study(StudyRef(study_instance_uid="2.25.9")) is not None) == repair


async def test_an_unseen_object_that_goes_before_its_event_is_forgotten():
    w = await world()
    w.put("unheard", study="2.25.9", sop="2.25.900")
    w.clock.advance(GRACE)
    await round_of(w)
    w.delete("unheard")
    await round_of(w)
    await round_of(w)
    assert await noted(w) == {}


async def test_two_runs_at_once_are_one():
    w = await world()
    await runs(w, 1)
    cursor = w.store.cursors.table.get(CURSOR)
    later = type(cursor.value)(
        name=CURSOR, position=cursor.value.position, holder="another", held_until=w.clock.now().replace(year=2999)
    )
    w.store.cursors.table.upsert(CURSOR, later)
    assert await runs(w, 1) == 0


async def test_an_outage_ends_the_run_and_the_next_begins_at_the_same_place():
    w = await world()
    await runs(w, 3)
    before = place(w)
    w.fhir.outage = FhirUnavailable("away")
    await runs(w, 2)
    assert place(w) == before | {"failures": 2}
    w.fhir.outage = None
    assert (await round_of(w))["studies"] == STUDIES


def ended(w):
    """Give the phases that have run since the last call, and how."""
    taken = [dict(key.attributes) for key in w.services.telemetry.take() if key.name == TIMER_RUNS.name]
    return {(attributes["dicom_sync.timer.phase"], attributes["dicom_sync.outcome"]) for attributes in taken}


@pytest.mark.parametrize("failure", [ForeignLink("elsewhere"), FhirUnavailable("503"), ZeroDivisionError("defect")])
async def test_a_list_that_cannot_be_read_keeps_no_other_part_from_being_looked_at(failure):
    """A server that names an internal host in its links must not keep deletions from being noticed."""
    w = await world()
    before = await round_of(w)
    w.server.page = refuses(failure)
    ended(w)
    for _ in range(40):
        w.clock.advance(60)
        with suppress(SyncError):
            await reconcile(w.services, w.store.objects, Checker(sleep=Naps()))
    told = ended(w)
    assert {("list_patient", "failed"), ("list_imagingstudy", "failed")} <= told
    assert {("list_source", "done"), ("list_studies", "done"), ("known_drift", "done")} <= told
    assert place(w)["last_round"] == before, "a round that left something out is not a whole one"


async def test_known_drift_that_cannot_be_looked_at_does_not_hold_the_round_up():
    w = await world()
    await runs(w, 3)
    before = place(w)

    async def silent():
        raise StoreUnavailable("503")
        yield

    real, w.store.drifts.all = w.store.drifts.all, silent
    with pytest.raises(StoreUnavailable):
        await runs(w, 1)
    assert place(w) != before
    w.store.drifts.all = real
    assert (await round_of(w))["studies"] == STUDIES


async def test_a_link_that_expired_begins_the_list_anew():
    from sync.errors import FhirRejected

    w = await world()
    await runs(w, 1)
    while place(w)["phase"] != "ImagingStudy":
        await runs(w, 1)
    await runs(w, 1)
    assert place(w)["after"]
    real, w.server.page = w.server.page, refuses(FhirRejected("410"))
    await runs(w, 1)
    w.server.page = real
    assert (place(w)["phase"], place(w)["after"]) == ("ImagingStudy", "")
    await round_of(w)


def refuses(problem):
    async def page(*_, **__):
        raise problem

    return page


@pytest.mark.parametrize("position", [{"phase": "nonsense"}, {"phase": "Patient", "more": 1}, {}])
async def test_a_position_of_another_version_harms_nothing(position):
    w = await world()
    await runs(w, 1)
    cursor = w.store.cursors.table.get(CURSOR)
    w.store.cursors.table.upsert(CURSOR, type(cursor.value)(name=CURSOR, position={**position, "after": ""}))
    await round_of(w)
