"""Verify names what drifts, repairs it by the ordinary ways, and leaves resources of other systems alone."""

from collections import Counter

import pytest

from sync.errors import SourceGone
from sync.mapping.resource import derived_id
from sync.model import DriftKind, StudyRef
from sync.testing.fhir import MemoryFhirServer
from sync.verify.checking import Checker
from sync.verify.full_scan import Plan, Round
from sync.verify.source import GRACE
from tests.unit.projection.test_derived import PDF
from tests.walking import verified
from tests.worlds import OTHER, STUDY, MemoryWorld, ehr_patient, ehr_study, patient_of, study_id

UNKNOWN = StudyRef(study_instance_uid="2.25.99")


class Heard:
    def __init__(self):
        self.drifts, self.repaired, self.phases = [], [], []

    def report(self, drift, *, repaired):
        (self.repaired if repaired else self.drifts).append(drift)

    def progress(self, phase, done, fraction):
        self.phases.append((phase, done, fraction))


class Naps:
    """Does not wait; lets another writer act meanwhile."""

    def __init__(self, *acts):
        self.acts = list(acts)
        self.count = 0

    async def __call__(self, seconds):
        self.count += 1
        if self.acts:
            await self.acts.pop(0)()


@pytest.fixture
def w():
    return MemoryWorld(dicomweb_url="https://pacs.example/dicom-web")


async def verify(w, *, naps=None, study=None, **plan):
    heard = Heard()
    checker = Checker(sleep=naps or Naps())
    planned = Plan(**plan)
    if not study and planned.sample is None:
        return await verified(w, planned, heard, checker), heard
    round_ = Round(planned, w.services, w.store.objects, audience=heard, checker=checker)
    return await (round_.over_one(study) if study else round_.over_sample()), heard


async def kinds(w, **plan):
    outcome, _ = await verify(w, **plan)
    return {kind: count for kind, count in outcome.found.items() if count}


async def noted(w):
    return Counter([drift.kind async for drift in w.services.drifts.all()])


async def two_studies(w):
    await w.arrive("a")
    await w.arrive("b", study=OTHER.study_instance_uid, sop="2.25.200", PatientID="P2")


async def test_a_settled_world_has_no_drift(w):
    await two_studies(w)
    outcome, heard = await verify(w)
    assert (outcome.left, outcome.studies, outcome.busy, heard.drifts) == (0, 2, 0, [])


async def test_a_check_writes_nothing(w):
    await two_studies(w)
    w.erase_all()
    before = w.fhir.calls["transact"]
    await verify(w)
    assert w.fhir.calls["transact"] == before
    assert w.outstanding() == []


async def test_a_deleted_study_is_missing_and_repaired(w):
    await two_studies(w)
    w.erase("ImagingStudy", study_id(STUDY))
    assert await kinds(w) == {DriftKind.MISSING: 1}
    outcome, _ = await verify(w, repair=True)
    assert (outcome.left, outcome.repaired.total()) == (0, 1)
    assert w.imaging_study() is not None
    assert await kinds(w) == {}


async def test_an_emptied_server_lacks_every_resource_once_and_gets_them_back(w):
    await two_studies(w)
    await w.arrive("c", study="2.25.3", sop="2.25.300")
    before = {(r["resourceType"], r["id"]): {**r, "meta": None} for r in w.server.resources()}
    w.erase_all()
    assert await kinds(w) == {DriftKind.MISSING: 6}  # 3 studies, 2 patients, 1 endpoint
    outcome, _ = await verify(w, repair=True)
    assert outcome.left == 0
    assert {(r["resourceType"], r["id"]): {**r, "meta": None} for r in w.server.resources()} == before


async def test_elements_of_ours_that_others_changed_are_named_and_corrected(w):
    await w.arrive("a")
    right = w.imaging_study()
    w.edit("ImagingStudy", study_id(STUDY), status="unknown", description="mine")
    outcome, heard = await verify(w)
    assert outcome.found == {DriftKind.FOREIGN_MODIFIED: 1}
    assert heard.drifts[0].detail == "description, status"
    await verify(w, repair=True)
    assert {**w.imaging_study(), "meta": None} == {**right, "meta": None}


async def test_a_note_of_another_client_is_no_drift(w):
    await w.arrive("a")
    w.edit("ImagingStudy", study_id(STUDY), note=[{"text": "seen"}])
    w.edit("Patient", patient_of("P1"), telecom=[{"system": "phone", "value": "1"}])
    assert await kinds(w) == {}


async def test_a_patient_that_others_changed_is_foreign_modified(w):
    await w.arrive("a")
    w.edit("Patient", patient_of("P1"), gender="other")
    assert await kinds(w) == {DriftKind.FOREIGN_MODIFIED: 1}
    assert (await verify(w, repair=True))[0].left == 0


async def test_a_study_of_which_fhir_knows_less_than_the_ledger_is_stale(w):
    await w.arrive("a")
    await w.ingest(w.put("b", sop="2.25.101"))
    for dirty in w.outstanding():
        w.store.dirty.table.discard(dirty.study.key)  # a mark was lost
    assert await kinds(w) == {DriftKind.STALE: 1}
    await verify(w, repair=True)
    assert w.imaging_study()["numberOfInstances"] == 2


async def test_a_server_that_was_set_back_is_stale_not_foreign(w):
    await w.arrive("a")
    old = w.imaging_study()
    await w.arrive("b", sop="2.25.101")
    w.server._versions.pop(("ImagingStudy", study_id(STUDY)))
    w.create(old)
    assert await kinds(w) == {DriftKind.STALE: 1}


async def test_an_outstanding_study_is_left_to_the_sync(w):
    await w.arrive("a")
    await w.ingest(w.put("b", sop="2.25.101"))
    outcome, _ = await verify(w)
    assert (outcome.found.total(), outcome.busy) == (0, 1)


async def test_what_changes_between_two_looks_is_no_drift(w):
    await w.arrive("a")
    w.erase("ImagingStudy", study_id(STUDY))
    naps = Naps(lambda: w.project(redelivered=True))
    outcome, _ = await verify(w, naps=naps)
    assert (outcome.found.total(), naps.count) == (0, 1)


async def test_a_study_that_is_marked_while_it_is_looked_at_is_busy(w):
    await w.arrive("a")
    w.erase("ImagingStudy", study_id(STUDY))
    marked = []
    w.fhir.meanwhile["read"] = lambda: marked.append(w.store.dirty.table.upsert(STUDY.key, "marked"))
    outcome, _ = await verify(w)
    assert marked
    assert (outcome.found.total(), outcome.busy) == (0, 1)


async def test_a_resource_of_a_study_without_objects_is_orphaned_and_removed(w):
    await w.arrive("a")
    study = w.imaging_study()
    patient = w.patient()
    await w.go("a")
    w.create(patient)
    w.create(study)
    assert await kinds(w) == {DriftKind.ORPHANED: 1}  # its Patient goes with it
    outcome, _ = await verify(w, repair=True)
    assert (outcome.left, w.imaging_study(), w.patient()) == (0, None, None)


async def test_a_resource_that_no_record_knows_is_orphaned_and_removed(w):
    await w.arrive("a")
    orphan = {**w.imaging_study(), "id": study_id(UNKNOWN)}
    orphan["identifier"] = ehr_study("x", UNKNOWN)["identifier"]
    w.create(orphan)
    w.create({**w.patient(), "id": patient_of("orphan"), "identifier": []})
    w.create({**w.imaging_study(), "id": "is-" + "0" * 40, "identifier": []})
    assert await kinds(w) == {DriftKind.ORPHANED: 3}
    outcome, _ = await verify(w, repair=True)
    assert outcome.left == 0
    assert [r["id"] for r in w.server.resources("ImagingStudy")] == [study_id(STUDY)]
    assert [r["id"] for r in w.server.resources("Patient")] == [patient_of("P1")]


async def test_with_the_wrong_state_nothing_is_removed(w):
    await two_studies(w)
    await w.arrive("c", study="2.25.3", sop="2.25.300")
    empty = MemoryWorld(w.server)
    outcome, _ = await verify(empty, repair=True, removals=2)
    assert (outcome.not_removed, outcome.left) == (3, 3)
    assert len(list(w.server.resources("ImagingStudy"))) == 3
    assert len(list(w.server.resources("Patient"))) == 2


async def test_a_plain_copy_is_doubled_and_removed(w):
    await w.arrive("a")
    w.create({**w.imaging_study(), "id": "copy"})
    assert await kinds(w) == {DriftKind.DOUBLED: 1}
    outcome, _ = await verify(w, repair=True)
    assert (outcome.left, w.server.peek("ImagingStudy", "copy")) == (0, None)


async def test_no_more_copies_are_removed_than_may_be(w):
    await w.arrive("a")
    for name in ("copy-1", "copy-2"):
        w.create({**w.imaging_study(), "id": name})
    outcome, _ = await verify(w, repair=True, removals=1)
    left = [name for name in ("copy-1", "copy-2") if w.server.peek("ImagingStudy", name)]
    assert (outcome.left, len(left)) == (1, 1)
    await verify(w, repair=True, removals=0)
    assert w.server.peek("ImagingStudy", left[0]) is not None


async def test_an_orphan_that_has_to_stay_is_not_told_as_repaired():
    w = MemoryWorld(MemoryFhirServer(checks_references=True))
    w.create({"resourceType": "Patient", "id": patient_of("orphan")})
    w.create({"resourceType": "Observation", "id": "o", "subject": {"reference": f"Patient/{patient_of('orphan')}"}})
    outcome, heard = await verify(w, repair=True)
    assert (outcome.kept, outcome.repaired.total(), heard.repaired) == (1, 0, [])
    assert w.server.peek("Patient", patient_of("orphan")) is not None


async def test_a_double_that_says_more_is_foreign_and_only_reported(w):
    await w.arrive("a")
    w.create(ehr_study("theirs", note=[{"text": "seen"}]))
    outcome, heard = await verify(w, repair=True)
    assert (outcome.left, outcome.found) == (1, {DriftKind.DOUBLED: 1})
    assert heard.drifts[0].resource == "ImagingStudy/theirs"
    assert w.server.peek("ImagingStudy", "theirs") is not None


async def test_one_uid_in_two_data_partitions_is_no_double(w):
    await w.arrive("a")
    record = w.projection()
    other = StudyRef(study_instance_uid=STUDY.study_instance_uid, partition="2")
    w.create({**w.imaging_study(), "id": study_id(other)})
    w.store.projections.table.upsert(other.key, type(record)(study=other, fhir_id=study_id(other), instances=1))
    assert await kinds(w, study=STUDY) == {}


async def test_an_adopted_study_is_no_double_and_no_drift(w):
    w.create({"resourceType": "Patient", "id": "of-the-ehr"})
    w.create(ehr_study("theirs", note=[{"text": "seen"}]))
    await w.arrive("a")
    assert w.projection().adopted
    assert await kinds(w) == {}


async def test_an_object_that_was_deleted_or_overwritten_without_an_event_is_named_and_repaired(w):
    await w.arrive("a")
    await w.arrive("b", sop="2.25.101")
    await w.arrive("c", sop="2.25.102")
    w.delete("a")
    w.put("b", sop="2.25.101", StudyDescription="new")
    assert await kinds(w) == {DriftKind.OBJECT_GONE: 1, DriftKind.OBJECT_CHANGED: 1}
    assert await kinds(w, objects=False) == {}
    outcome, _ = await verify(w, repair=True)
    assert outcome.left == 0
    assert w.imaging_study()["numberOfInstances"] == 2
    assert await kinds(w) == {}


async def test_an_object_without_an_event_is_unseen_once_it_is_old_enough_and_repaired(w):
    await w.arrive("a")
    w.put("b", sop="2.25.101")
    w.put("c", study=OTHER.study_instance_uid, sop="2.25.200")
    w.put("d", b"not a DICOM file")
    assert await kinds(w) == {}  # their events may be on their way
    w.clock.advance(GRACE)
    assert await kinds(w, objects=False) == {}
    assert await kinds(w) == {DriftKind.OBJECT_UNSEEN: 3}
    outcome, _ = await verify(w, repair=True)
    assert (outcome.left, await kinds(w), await noted(w)) == (0, {}, {})
    assert w.imaging_study()["numberOfInstances"] == 2
    assert w.imaging_study(OTHER) is not None
    assert w.dead_letters() == [("object", "header.not_dicom")]


async def test_a_container_that_is_not_there_yet_holds_nothing(w):
    await w.arrive("a")

    async def no_container(container, **_):
        raise SourceGone("no such container")

    w.store.objects.page = no_container
    assert (await verify(w))[0].studies == 1


async def test_a_sample_goes_round_the_end_of_the_keys_and_meets_no_study_twice(w):
    await two_studies(w)
    for start in ("0" * 40, "8" * 40, "f" * 40, STUDY.key, OTHER.key):
        assert (await verify(w, sample=10, start=start))[0].studies == 2


async def test_an_object_that_moved_to_another_study_unheard_brings_both_studies_right(w):
    await w.arrive("a")
    w.put("a", study=OTHER.study_instance_uid)
    assert (await verify(w, repair=True))[0].left == 0
    assert (w.imaging_study(), w.imaging_study(OTHER)["numberOfInstances"]) == (None, 1)


async def test_what_is_found_is_noted_until_it_is_right_again(w):
    await two_studies(w)
    w.erase("ImagingStudy", study_id(STUDY))
    w.create({**w.patient(), "id": patient_of("orphan"), "identifier": []})
    await verify(w)
    assert await noted(w) == {DriftKind.MISSING: 1, DriftKind.ORPHANED: 1}
    [first] = {drift.first_at async for drift in w.services.drifts.all()}
    w.clock.advance(60)
    await verify(w)
    assert {(drift.first_at, drift.last_at > first) async for drift in w.services.drifts.all()} == {(first, True)}
    w.erase("Patient", patient_of("orphan"))
    await w.project(redelivered=True)
    await verify(w)
    assert await noted(w) == {}


async def test_what_others_refer_to_has_to_stay_and_is_no_alarm_twice():
    w = MemoryWorld(MemoryFhirServer(checks_references=True))
    await w.arrive("a")
    report = {"resourceType": "DiagnosticReport", "id": "r", "subject": {"reference": f"Patient/{patient_of('P1')}"}}
    w.create(report)
    await w.go("a")
    assert w.patient() is not None  # the report refers to it
    assert await kinds(w) == {DriftKind.ORPHANED: 1}
    outcome, _ = await verify(w, repair=True)
    assert (outcome.left, outcome.kept) == (0, 1)
    outcome, _ = await verify(w)
    assert (outcome.left, outcome.kept) == (0, 1)
    w.erase("DiagnosticReport", "r")
    assert (await verify(w, repair=True))[0].left == 0
    assert (await kinds(w), w.patient()) == ({}, None)


async def test_a_study_that_was_cancelled_because_others_refer_to_it_is_as_it_should_be():
    w = MemoryWorld(MemoryFhirServer(checks_references=True))
    await w.arrive("a")
    reference = {"reference": f"ImagingStudy/{study_id(STUDY)}"}
    w.create({"resourceType": "DiagnosticReport", "id": "r", "imagingStudy": [reference]})
    await w.go("a")
    assert w.imaging_study()["status"] == "cancelled"
    assert await kinds(w) == {}


async def test_a_study_that_fhir_would_refuse_is_told_by_its_code(w):
    await w.arrive("a")
    w.create({"resourceType": "Patient", "id": "one", "identifier": w.patient()["identifier"]})
    w.create({"resourceType": "Patient", "id": "two", "identifier": w.patient()["identifier"]})
    outcome, heard = await verify(w, repair=True)
    assert (outcome.left, [drift.detail for drift in heard.drifts]) == (1, ["fhir.ambiguous_patient"])


async def test_a_lost_record_is_made_anew(w):
    await w.arrive("a")
    w.store.projections.table.discard(STUDY.key)
    w.edit("ImagingStudy", study_id(STUDY), status="unknown")
    assert await kinds(w) == {DriftKind.STALE: 1}
    assert (await verify(w, repair=True))[0].left == 0
    assert w.imaging_study()["status"] == "available"


async def test_what_an_instance_made_is_compared_like_the_rest(w):
    await w.arrive("a")
    await w.arrive("d", sop="2.25.700", **PDF)
    made = f"DiagnosticReport/{derived_id('DiagnosticReport', STUDY, '2.25.700')}"
    assert await kinds(w) == {}
    w.edit(*made.split("/"), conclusion="mine")
    _, heard = await verify(w)
    assert [(drift.kind, drift.resource) for drift in heard.drifts] == [(DriftKind.FOREIGN_MODIFIED, made)]
    right = w.server.peek(*made.split("/"))
    w.erase("DocumentReference", derived_id("DocumentReference", STUDY, "2.25.700"))
    assert await kinds(w) == {DriftKind.FOREIGN_MODIFIED: 1, DriftKind.MISSING: 1}
    assert (await verify(w, repair=True))[0].left == 0
    await w.go("d")
    w.create({**right, "imagingStudy": []})
    assert await kinds(w) == {DriftKind.ORPHANED: 1}
    assert (await verify(w, repair=True))[0].left == 0
    assert w.server.peek(*made.split("/")) is None


@pytest.mark.parametrize("policy", ["link-or-create", "update", "reference-only"])
async def test_under_every_patient_policy_a_settled_world_has_no_drift(policy):
    w = MemoryWorld(patient_policy=policy)
    w.create(ehr_patient("of-the-ehr", "P2", gender="male"))
    await two_studies(w)
    await w.arrive("c", study="2.25.3", sop="2.25.300", PatientID=None)
    _, heard = await verify(w)
    assert heard.drifts == []
    before = w.fhir.calls["transact"]
    await verify(w, repair=True)
    assert w.fhir.calls["transact"] == before


async def test_a_sample_looks_at_so_many_studies_and_lists_nothing(w):
    for number in range(10):
        await w.arrive(f"{number}", study=f"2.25.7{number}", sop=f"2.25.70{number}")
    outcome, heard = await verify(w, sample=4)
    assert (outcome.studies, w.fhir.calls["page"]) == (4, 0)
    assert heard.phases[-1] == ("studies", 4, 1.0)


async def test_a_container_that_is_said_to_be_gone_was_not_listed(w, monkeypatch):
    await w.arrive("a/1")
    w.store.locators.table._rows.clear()

    async def gone(container, **asked):
        raise SourceGone("no such container")

    monkeypatch.setattr(w.store.objects, "page", gone)
    await verify(w, repair=True)
    assert len(await w.services.ledger.read(STUDY)) == 1
    assert w.imaging_study()["numberOfInstances"] == 1


async def test_what_changed_since_it_was_listed_and_is_known_so_is_no_drift(w):
    await w.arrive("gone")
    await w.arrive("changed", sop="2.25.301")
    listed = (await w.store.objects.page("dicom")).objects
    w.clock.advance(GRACE + 1)
    await w.go("gone")
    await w.arrive("changed", study=OTHER.study_instance_uid, sop="2.25.303")
    round_ = Round(Plan(), w.services, w.store.objects, audience=Heard(), checker=Checker(sleep=Naps()))
    await round_.objects(listed)
    assert {kind: number for kind, number in round_.take().found.items() if number} == {}
