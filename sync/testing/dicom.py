"""
A DICOM service in memory, with the change feed of Azure's, past rows included: `local` serves it over HTTP.

Rows of the feed never change, but the state of their instance is determined when they are read: ``deleted`` while the
instance does not exist, ``current`` for the row that created its current version, ``replaced`` for all others. A delete
makes all older rows ``deleted``; a re-creation makes the delete's own row ``replaced``, with metadata. Sequences may
have gaps, and a row may be held back so that it appears late.

Source: microsoft/dicom-server, the SQL of its change feed; Azure "DICOM change feed overview".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sync.adapters.clocks import SystemClock
from sync.dicom.instance_names import DEFAULT_PARTITION, instance_ref
from sync.errors import SourceGone, SourceUnavailable, StudyUnlisted
from sync.model import InstanceMetadata, ObjectRef, StudyRef
from sync.ports import ChangeFeed, Clock, RetrievableSource

Dataset = Mapping[str, Any]

_PIECE = 4096

MOST = 200
"""Rows of a page of version 2."""


class InstanceId(NamedTuple):
    """The identifiers of an instance in a service."""

    partition: str
    study: str
    series: str
    sop: str


@dataclass(slots=True)
class FeedRow:
    """A row of the feed; ``visible`` is false while its transaction is under way."""

    sequence: int
    instance: InstanceId
    action: str
    at: datetime
    visible: bool = True


def id_of(dataset: Dataset, partition: str = "") -> InstanceId:
    """Return the identifiers of the instance with these metadata."""
    return InstanceId(partition, *(str(dataset[tag]["Value"][0]) for tag in ("0020000D", "0020000E", "00080018")))


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]


class MemoryDicomService(ChangeFeed, RetrievableSource):
    """
    One DICOM service; tests store, update and delete.

    ``names_default`` makes it name its only partition, as services with data partitions do.
    """

    def __init__(
        self, clock: Clock | None = None, *, account: str = "dicom.example/", names_default: bool = False
    ) -> None:
        self._clock = clock or SystemClock()
        self._account = account
        self._names_default = names_default
        self._sequence = 0
        self.rows: list[FeedRow] = []
        self.instances: dict[InstanceId, tuple[int, Dataset]] = {}
        self.outages: list[SourceUnavailable] = []
        """Errors that the next calls raise, one each."""
        self.contents: dict[InstanceId, bytes] = {}
        """Files of the instances that were stored with one; others cannot be retrieved."""
        self.unreadable: set[InstanceId] = set()
        """Instances that are stored, but whose metadata fail, as does any answer that contains them."""
        self.unfed: set[InstanceId] = set()
        """Instances whose metadata can be read, but any page of the feed that contains them fails."""
        self.lost: set[InstanceId] = set()
        """Instances whose files cannot be retrieved either."""
        self.calls = 0
        self.retrieved = 0
        """Files that were requested."""

    @property
    def account(self) -> str:
        """The account of its instances."""
        return self._account

    # Actions of the outside world.

    def store(
        self,
        dataset: Dataset,
        partition: str = "",
        *,
        visible: bool = True,
        content: bytes = b"",
        readable: bool = True,
    ) -> bool:
        """Store an instance; return False, without effect, if it already exists."""
        instance = id_of(dataset, partition)
        if instance in self.instances:
            return False
        if content:
            self.contents[instance] = content
        if not readable:
            self.unreadable.add(instance)
        self._write(instance, "create", dataset, visible=visible)
        return True

    def update(self, partition: str, study: str, changes: Dataset) -> int:
        """Change attributes of every instance of a study, with a feed row for each. Return how many."""
        instances = [
            instance for instance in self.instances if (instance.partition, instance.study) == (partition, study)
        ]
        for instance in instances:
            self.contents.pop(instance, None)  # the stored file is out of date now
            self._write(instance, "update", {**self.instances[instance][1], **changes})
        return len(instances)

    def delete(self, partition: str, study: str, series: str = "", sop: str = "") -> int:
        """Delete a study, a series or an instance; a row for each instance. Return how many."""
        uids = [part for part in (series, sop) if part]
        instances = [
            instance
            for instance in self.instances
            if (instance.partition, instance.study) == (partition, study)
            and uids == [instance.series, instance.sop][: len(uids)]
        ]
        for instance in instances:
            del self.instances[instance]
            self.contents.pop(instance, None)
            self.unreadable.discard(instance)
            self.lost.discard(instance)
            self._row(instance, "delete")
        return len(instances)

    def skip(self, sequences: int = 1) -> None:
        """Leave a gap in the sequences, like a transaction that is rolled back."""
        self._sequence += sequences

    def reveal(self) -> None:
        """Make rows visible that were held back."""
        for row in self.rows:
            row.visible = True

    def _write(self, instance: InstanceId, action: str, dataset: Dataset, *, visible: bool = True) -> None:
        row = self._row(instance, action, visible=visible)
        self.instances[instance] = (row.sequence, dict(dataset))

    def _row(self, instance: InstanceId, action: str, *, visible: bool = True) -> FeedRow:
        self._sequence += 1
        row = FeedRow(self._sequence, instance, action, self._clock.now(), visible)
        self.rows.append(row)
        return row

    # Answers of the service.

    async def page(
        self, *, start: str = "", end: str = "", offset: int = 0, limit: int = MOST, metadata: bool = True
    ) -> Sequence[Any]:
        """Return entries of a window, by timestamp and sequence."""
        self._answer()
        rows = self.window(
            datetime.fromisoformat(start) if start else None, datetime.fromisoformat(end) if end else None
        )
        rows = rows[offset : offset + limit]
        if metadata:
            self.check_page(rows)
        return [self.entry(row, metadata=metadata) for row in rows]

    def check_page(self, rows: Sequence[FeedRow]) -> None:
        """Fail for a page with metadata as `check_readable` does, or if an instance is nested too deeply."""
        self.check_readable(row.instance for row in rows)
        if any(row.instance in self.unfed for row in rows):
            raise SourceUnavailable("503")

    def check_readable(self, instances: Iterable[InstanceId]) -> None:
        """Fail as the service does when it reads the metadata of an unreadable instance."""
        if any(instance in self.unreadable for instance in instances):
            raise SourceUnavailable("503")

    def window(self, start: datetime | None, end: datetime | None) -> list[FeedRow]:
        """Return the visible rows from ``start`` on and before ``end``, in the order of version 2."""
        rows = [
            row
            for row in self.rows
            if row.visible and (start is None or row.at >= start) and (end is None or row.at < end)
        ]
        return sorted(rows, key=lambda row: (row.at, row.sequence))

    def span(self, offset: int, limit: int) -> list[FeedRow]:
        """Return the rows whose sequences are after ``offset`` and at most ``limit`` later, as in version 1."""
        rows = [row for row in self.rows if row.visible and offset < row.sequence <= offset + limit]
        return sorted(rows, key=lambda row: row.sequence)

    def entry(self, row: FeedRow, *, metadata: bool = True) -> dict[str, Any]:
        """Return a row as the service writes it: keys in camel case, nulls left out."""
        sequence, dataset = self.instances.get(row.instance, (None, None))
        state = "Deleted" if sequence is None else "Current" if sequence == row.sequence else "Replaced"
        partition = row.instance.partition or (DEFAULT_PARTITION if self._names_default else "")
        return {
            "sequence": row.sequence,
            **({"partitionName": partition} if partition else {}),
            "studyInstanceUid": row.instance.study,
            "seriesInstanceUid": row.instance.series,
            "sopInstanceUid": row.instance.sop,
            "action": row.action.capitalize(),
            "timestamp": row.at.isoformat(timespec="microseconds").replace("+00:00", "0+00:00"),
            "state": state,
            **({"metadata": dataset} if metadata and dataset is not None else {}),
        }

    async def metadata(self, ref: ObjectRef) -> InstanceMetadata:
        """Return the metadata of one instance."""
        self._answer()
        for instance, (sequence, dataset) in self.instances.items():
            if self._ref(instance) == ref:
                self.check_readable([instance])
                return InstanceMetadata(dataset=dataset, etag=f"{sequence}")
        raise SourceGone("no such instance")

    @asynccontextmanager
    async def content(self, ref: ObjectRef) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the file of an instance in small pieces."""
        self._answer()
        self.retrieved += 1
        stored = next((instance for instance in self.instances if self._ref(instance) == ref), None)
        if stored is None:
            raise SourceGone("no such instance")
        if stored in self.lost:
            raise SourceUnavailable("503")
        if stored not in self.contents:
            raise SourceUnavailable("406", code="source.refused")
        yield _pieces(self.contents[stored])

    async def objects_of(self, study: StudyRef) -> AsyncIterator[ObjectRef]:
        """Iterate over the instances of a study."""
        self._answer()
        held = [
            instance
            for instance in self.instances
            if (instance.study, instance.partition) == (study.study_instance_uid, study.partition)
        ]
        for instance in held:
            if instance not in self.unreadable:
                yield self._ref(instance)
        if unlisted := len(self.unreadable.intersection(held)):
            raise StudyUnlisted(unlisted)

    def _ref(self, instance: InstanceId) -> ObjectRef:
        return instance_ref(self._account, *instance)

    def _answer(self) -> None:
        self.calls += 1
        if self.outages:
            raise self.outages.pop(0)
