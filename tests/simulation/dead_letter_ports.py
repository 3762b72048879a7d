"""What stands between the sync and a world of dead letters: causes of failure, and operators whose doings are noted."""

from __future__ import annotations

from typing import Any

from sync.errors import FhirRejected
from sync.mapping.resource import study_id
from sync.model import DeadLetter, ObjectRef, StudyRef, SubjectKind
from sync.testing.fhir import MemoryFhirServer
from sync.testing.objects import MemoryObjects

Key = tuple[SubjectKind, str]


def key_of(letter: DeadLetter) -> Key:
    return letter.kind, letter.subject


class Defect(Exception):
    """Something of ours is wrong; its text might hold anything."""


class Objects:
    """The store; looking at some of its objects meets a defect."""

    def __init__(self, store: MemoryObjects, defects: set[ObjectRef]) -> None:
        self._store, self._defects = store, defects

    async def read(self, ref: ObjectRef, **window: Any) -> Any:
        if ref in self._defects:
            raise Defect
        return await self._store.read(ref, **window)

    async def etag(self, ref: ObjectRef) -> str:
        return await self._store.etag(ref)


class Fhir:
    """The FHIR service, which refuses some studies; writing some others meets a defect."""

    def __init__(self, server: MemoryFhirServer, refused: set[StudyRef], defects: set[StudyRef]) -> None:
        self._server, self._refused, self._defects = server, refused, defects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    async def transact(self, writes: Any) -> Any:
        written = {write.resource_id for write in writes if write.resource is not None}
        if written & set(map(study_id, self._defects)):
            raise Defect
        if written & set(map(study_id, self._refused)):
            raise FhirRejected("422")
        return await self._server.transact(writes)


class Operator:
    """An operator with a command, as seen by dead letters and queues: what was shown, removed and asked for."""

    def __init__(self, world: Any, who: str, *, discards: bool) -> None:
        self.world, self.who, self.discards = world, who, discards
        self.shown: dict[Key, DeadLetter] = {}
        self._port = world.store.dead_letters

    def ports(self) -> dict[str, Any]:
        """Return the ports that he uses himself."""
        return {"dead_letters": self, "object_queue": self, "study_queue": self}

    async def put(self, letter: DeadLetter) -> None:
        await self.world.slots.pause("put")
        await self._port.put(letter)

    async def send(self, text: str, delay: float = 0.0) -> None:
        await self.world.slots.pause("send")
        await self.world.store.object_queue.send(text, delay)
        self.world.asked.add(self.who)

    async def enqueue(self, study: StudyRef, delay: float = 0.0, *, redelivered: bool = False) -> None:
        await self.world.slots.pause("enqueue")
        await self.world.store.study_queue.enqueue(study, delay, redelivered=redelivered)
        self.world.asked.add(self.who)

    async def page(self, **which: Any) -> Any:
        await self.world.slots.pause("page")
        letters = await self._port.page(**which)
        for letter in letters.letters:
            self._sees(letter)
        return letters

    async def read(self, kind: SubjectKind, subject: str) -> Any:
        await self.world.slots.pause("read")
        letter = await self._port.read(kind, subject)
        if letter is not None:
            self._sees(letter.value)
        return letter

    def _sees(self, letter: DeadLetter) -> None:
        """Judge a discard by what the operator saw first; a retry reads each dead letter again before it acts."""
        if not self.discards or key_of(letter) not in self.shown:
            self.shown[key_of(letter)] = letter

    async def delete(self, letter: DeadLetter, etag: str) -> None:
        await self.world.slots.pause("delete")
        there = self._port.table.get(key_of(letter))
        await self._port.delete(letter, etag)
        assert there is not None
        self._gone(there.value)

    async def clear(self, kind: SubjectKind, subject: str) -> None:
        await self.world.slots.pause("clear")
        there = self._port.table.get((kind, subject))
        await self._port.clear(kind, subject)
        if there is not None:
            self._gone(there.value)

    def _gone(self, letter: DeadLetter) -> None:
        key = key_of(letter)
        seen = self.shown.get(key)
        if seen is None or seen.attempts != letter.attempts:
            self.world.wrong.append(f"{self.who} took a letter away that he had not seen")
        if self.discards:
            self.world.discarded.setdefault(key, []).append(self.who)
            self.world.given_up |= self.world.concerned(letter)
        elif letter.kind is not SubjectKind.MESSAGE:
            self.world.wrong.append(f"{self.who} took a letter away by asking for another look")
