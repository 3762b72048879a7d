"""One way to look at an object, whatever its source; and of two entries of a feed the higher sequence wins."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from sync.dicom.inspect import inspect_object, inspection_from, ledger_row_of
from sync.dicom.instance_names import instance_ref, plain_partition, uids_of
from sync.errors import ForeignSource, SourceGone
from sync.model import Action, Change, Ingested, Inspection, InstanceMetadata, ObjectRef, StudyRef
from sync.pipeline import ingest
from tests.worlds import MemoryWorld

REF = instance_ref("pacs.example", "", "2.25.1", "2.25.10", "2.25.100")
STUDY = StudyRef(study_instance_uid="2.25.1")
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Service:
    """A DICOM service that holds what the test gives it."""

    account: str = "pacs.example"
    held: dict[str, dict] = field(default_factory=dict)
    inspections: int = 0

    async def metadata(self, ref):
        self.inspections += 1
        if ref.name not in self.held:
            raise SourceGone
        return InstanceMetadata(dataset=self.held[ref.name], etag="1", changed=WHEN)

    async def objects_of(self, study):
        for name in self.held:
            yield ObjectRef(account=self.account, container="", name=name)


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def world(service):
    made = MemoryWorld()
    made.services.instances.update({service.account: service})
    return made


def modality(value):
    return {"00080060": {"vr": "CS", "Value": [value]}}


def entry(sequence, value=None, at="2026-01-01"):
    """An entry of the feed as it was read: the instance with this modality, or gone."""
    order = f"{at}T00:00:00.000000+00:00"
    if value is None:
        return Change(
            object=REF, action=Action.DELETED, sequence=sequence, inspection=Inspection(etag=None, order=order)
        )
    when = datetime.fromisoformat(order)
    seen = inspection_from(InstanceMetadata(dataset=modality(value), etag=str(sequence), changed=when), REF)
    return Change(object=REF, action=Action.CREATED, sequence=sequence, inspection=seen)


async def modality_of(world):
    rows = await world.services.ledger.read(STUDY)
    return [row.record.attributes["Modality"][0] for row in rows]


async def test_the_account_of_an_object_chooses_its_source(world, service):
    service.held[REF.name] = modality("MR")
    blob = world.put("a")
    seen = await inspect_object(REF, world.services)
    assert (seen.record.study, seen.record.sop_instance_uid) == (STUDY, "2.25.100")
    assert (seen.etag, seen.order) == ("1", "2026-01-01T00:00:00.000000+00:00")
    assert (await inspect_object(blob.object, world.services)).record.attributes["Modality"] == ["CT"]


@pytest.mark.parametrize(
    ("detail", "kept"),
    [
        ("none", set()),
        ("acquisition", {"KVP"}),
        ("body", {"KVP", "PatientWeight"}),
        ("full", {"KVP", "PatientWeight", "ImageType"}),
    ],
)
async def test_metadata_are_kept_to_the_detail_that_is_set_whether_offered_or_asked_for(service, detail, kept):
    more = {
        "00080008": {"vr": "CS", "Value": ["ORIGINAL"]},
        "00101030": {"vr": "DS", "Value": [70.5]},
        "00180060": {"vr": "DS", "Value": [120]},
    }
    service.held[REF.name] = modality("CT") | more
    world = MemoryWorld(detail=detail)
    world.services.instances.update({service.account: service})
    offered = inspection_from(InstanceMetadata(dataset=service.held[REF.name], etag="1", changed=WHEN), REF)
    for inspection in (
        await inspect_object(REF, world.services),
        await inspect_object(REF, world.services, offered=offered),
    ):
        assert inspection.record.attributes.keys() - {"Modality"} == kept
        assert ledger_row_of(REF, inspection.record, "", world.services).source is None


async def test_an_instance_that_is_gone_is_a_truth_and_not_a_failure(world):
    assert await inspect_object(REF, world.services) == Inspection(etag=None)


async def test_an_unknown_account_is_refused(world):
    with pytest.raises(ForeignSource):
        await inspect_object(ObjectRef(account="elsewhere", container="", name=REF.name), world.services)


def test_metadata_that_are_none_are_a_problem_of_the_object():
    assert inspection_from(InstanceMetadata(dataset=[]), REF).problem.code == "header.unreadable"
    nameless = ObjectRef(account="pacs.example", container="", name="instances/1")
    assert inspection_from(InstanceMetadata(dataset={}), nameless).problem.code == "header.missing_identity"


@pytest.mark.parametrize("uid", ["", "..", "1/2", "1?x", "a b", "." * 64, "1" * 65])
def test_no_uid_can_lead_a_request_elsewhere(uid):
    with pytest.raises(ValueError):
        instance_ref("pacs.example", "", "1", uid, "3")


def test_names_and_partitions_come_back():
    ref = instance_ref("a", "north", "1.2", "1.3", "1.4")
    assert uids_of(ref) == {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "SOPInstanceUID": "1.4"}
    assert ref.container == "north"
    assert uids_of(ObjectRef(account="a", container="c", name="x.dcm")) == {}
    assert [plain_partition(name) for name in ("", "Microsoft.Default", "microsoft.default", "x")] == ["", "", "", "x"]


async def test_the_highest_sequence_wins_in_any_order(world, service):
    assert await ingest(entry(7, "MR"), world.services) is Ingested.SYNCED
    assert await ingest(entry(5, "CT"), world.services) is Ingested.OVERTAKEN
    assert await modality_of(world) == ["MR"]
    assert await ingest(entry(9), world.services) is Ingested.GONE
    assert await ingest(entry(7, "MR"), world.services) is Ingested.OVERTAKEN
    assert await modality_of(world) == []
    assert await ingest(entry(12, "US"), world.services) is Ingested.SYNCED
    assert await modality_of(world) == ["US"]
    assert service.inspections == 0


async def test_a_settled_entry_is_a_repeat_and_a_replayed_one_marks_its_study_again(world):
    await ingest(entry(7, "MR"), world.services)
    await world.settle()
    assert await ingest(entry(7, "MR"), world.services) is Ingested.REPEAT
    assert world.outstanding() == []
    for sequence in (7, 5):
        await ingest(entry(sequence, "MR"), world.services, redelivered=True)
        assert [dirty.study for dirty in world.outstanding()] == [STUDY]
        await world.settle()


async def test_a_service_that_counts_anew_is_looked_at(world, service):
    service.held[REF.name] = modality("US")
    await ingest(entry(7000, "MR"), world.services)
    assert await ingest(entry(3, "PX", at="2026-02-01"), world.services) is Ingested.SYNCED
    assert await modality_of(world) == ["US"], "the page is not trusted where sequence and time contradict each other"
    assert service.inspections == 1


async def test_a_look_in_between_keeps_the_sequence(world, service):
    service.held[REF.name] = modality("US")
    await ingest(entry(7, "MR"), world.services)
    await ingest(Change(object=REF, action=Action.CREATED), world.services)
    assert await modality_of(world) == ["US"]
    assert await ingest(entry(5, "CT"), world.services) is Ingested.OVERTAKEN
