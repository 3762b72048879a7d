"""DICOM services in memory, and the small instances that tests put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from sync.errors import SourceGone, SourceUnavailable
from sync.mapping.resource import canonical, study_id
from sync.model import Action, Change, InstanceMetadata, ObjectRef, StudyRef
from sync.ports import OrthancServer
from sync.testing.dicom import MemoryDicomService
from tests.worlds import MemoryWorld


def uid(*numbers: int) -> str:
    return ".".join(("2.25", *map(str, numbers)))


EMPTY: dict[str, Any] = {
    "00080030": {"vr": "TM"},
    "00080050": {"vr": "SH"},
    "00080070": {"vr": "LO"},
    "00080090": {"vr": "PN"},
    "00100030": {"vr": "DA"},
    "00100040": {"vr": "CS"},
    "00200010": {"vr": "SH"},
    "00200011": {"vr": "IS"},
}
"""Elements that every instance has, with or without a value (type 2)."""


def instance(study: int = 1, sop: int = 1, series: int = 1, **more: Any) -> dict[str, Any]:
    """Metadata of an instance; more elements by tag, t00080060={…}."""
    return {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00080018": {"vr": "UI", "Value": [uid(study, series, sop)]},
        "00080020": {"vr": "DA", "Value": ["20260102"]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
        "00100020": {"vr": "LO", "Value": ["P1"]},
        **EMPTY,
        "0020000D": {"vr": "UI", "Value": [uid(study)]},
        "0020000E": {"vr": "UI", "Value": [uid(study, series)]},
        "00200013": {"vr": "IS", "Value": [sop]},
        **{tag[1:]: element for tag, element in more.items()},
    }


def described(text: str) -> dict[str, Any]:
    """A description of a study, as an element to change."""
    return {"00081030": {"vr": "LO", "Value": [text]}}


def study_ref(study: int, partition: str = "") -> StudyRef:
    return StudyRef(study_instance_uid=uid(study), partition=partition)


class FeedWorld(MemoryWorld):
    """A sync in memory that reads the feed of a DICOM service in memory."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.clock.advance(86_400)
        self.service = MemoryDicomService(self.clock)
        self.connect()

    def connect(self) -> None:
        object.__setattr__(self.services, "dicom_feed", self.service)
        self.services.instances[self.service.account] = self.service

    def held(self, study: int, partition: str = "") -> set[str]:
        """The SOP Instance UIDs that FHIR has of a study."""
        resource = self.server.peek("ImagingStudy", study_id(study_ref(study, partition)))
        series = resource.get("series", []) if resource else []
        return {one["uid"] for one_series in series for one in one_series.get("instance", [])}

    async def source_equals_fhir(self) -> None:
        """Assert that FHIR shows what a sync shows that sees the service as it is now, and nothing else."""
        fresh = FeedWorld(max_removals_per_hour=1000, max_removal_share_percent=100)
        fresh.service.instances = self.service.instances
        fresh.connect()
        for study in {
            StudyRef(study_instance_uid=identity.study, partition=identity.partition)
            for identity in fresh.service.instances
        }:
            async for ref in fresh.service.objects_of(study):
                await fresh.ingest(Change(object=ref, action=Action.CREATED))
        await fresh.settle()
        assert shown(self) == shown(fresh)
        assert self.outstanding() == []


def shown(world: MemoryWorld) -> dict[tuple[str, str], bytes]:
    return {
        (r["resourceType"], r["id"]): canonical({k: v for k, v in r.items() if k != "meta"})
        for r in world.server.resources()
    }


@dataclass
class MemoryOrthanc(OrthancServer):
    """An Orthanc in memory: what is deleted takes its changes along."""

    account: str = "orthanc.example/"
    instances: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    last: int = 0
    counts: bool = True
    outages: list[SourceUnavailable] = field(default_factory=list)
    inspections: int = 0
    lists: int = 0

    def ref(self, instance: str) -> ObjectRef:
        return ObjectRef(account=self.account, container="", name=f"instances/{instance}")

    def store(self, identifier: str, dataset: dict[str, Any]) -> None:
        if identifier in self.instances:
            self.log = [change for change in self.log if change["ID"] != identifier]
        self.instances[identifier] = dataset
        for kind in ("NewInstance", "StableSeries"):
            self.last += 1
            what = "Instance" if kind == "NewInstance" else "Series"
            date = f"20260102T{self.last % 240000:06}"
            name = identifier if what == "Instance" else f"series-of-{identifier}"
            self.log.append(
                {"ChangeType": kind, "ResourceType": what, "ID": name, "Seq": self.last, "Date": date, "Path": "/"}
            )

    def delete(self, identifier: str) -> None:
        del self.instances[identifier]
        self.log = [change for change in self.log if change["ID"] != identifier]

    def wipe(self) -> None:
        self.instances, self.log, self.last = {}, [], 0

    async def changes(self, since: int, limit: int) -> Any:
        if self.outages:
            raise self.outages.pop(0)
        hits = [change for change in self.log if change["Seq"] > since][:limit]
        last = hits[-1]["Seq"] if hits else self.last
        return {"Changes": hits, "Done": last == self.last, "Last": last}

    async def count(self) -> int | None:
        return len(self.instances) if self.counts else None

    async def held(self) -> AsyncIterator[ObjectRef]:
        self.lists += 1
        for identifier in list(self.instances):
            yield self.ref(identifier)

    async def metadata(self, ref: ObjectRef) -> InstanceMetadata:
        self.inspections += 1
        held = self.instances.get(ref.name.removeprefix("instances/"))
        if held is None:
            raise SourceGone("no such instance")
        return InstanceMetadata(dataset=held, etag="1")

    async def objects_of(self, study: StudyRef) -> AsyncIterator[ObjectRef]:
        for identifier, dataset in list(self.instances.items()):
            if dataset["0020000D"]["Value"] == [study.study_instance_uid]:
                yield self.ref(identifier)
