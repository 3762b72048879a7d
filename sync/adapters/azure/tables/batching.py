"""
Concurrent row writes of one partition go out together, as entity-group transactions.

Functions take one message each, but the invocations of a worker process share one event loop. A caller that writes a
row hands it to the batcher and waits for its own outcome. A line goes out when no row joined it for 20 ms (50 ms in a
burst) and no delivery is on its way to a write, when 100 rows wait, or after 250 ms: a lone write hardly waits, a burst
makes large batches. Patient rows, for which only their own delivery waits, have those 250 ms wherever messages of a
queue are handled: they go with the next rows of their partition. A transaction fails as a whole, so one row that lost
its race, or is refused, makes the others be sent again, without it. One event loop a process.

Every writer hears of its outcome, whatever becomes of the task that works for it: an answer with fewer parts than rows,
cut on its way, is an outage for all of them, and so is the end of the task.

Source: Azure "Performing entity group transactions" (100 rows, 4 MiB, one partition, no row twice).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from azure.core import MatchConditions
from azure.core.exceptions import AzureError
from azure.data.tables import TableTransactionError, UpdateMode

from sync.adapters.azure.errors import GARBLED, concerns_all, etag_of, is_etag, state_errors
from sync.adapters.azure.tables.rows import Entity, entity_bytes
from sync.adapters.azure.tables.transactions import TransactionClient
from sync.errors import StoreUnavailable, SyncError
from sync.ports import Company

MAX_ROWS = 100
MAX_BYTES = 3 * 1024 * 1024
LINGER = 0.02
"""Seconds without a newcomer after which a line goes out, if none may come."""

LINGER_IN_BURST = 0.05
"""The same while many messages are handled at once: the next have probably been sent."""

LONGEST_LINGER = 0.25
"""Seconds that the first write of a line waits at most; little beside the quiet period that follows."""

MOST_BLAMED = 3
"""Rows of one batch that are sent alone because the service blames them for a failed transaction."""

Kind = Literal["create", "replace", "upsert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWrite:
    """One row to write; ``etag`` belongs to ``replace``."""

    kind: Kind
    entity: Entity
    etag: str | None = None
    patient: bool = False
    outcome: asyncio.Future[str] = field(repr=False)

    @property
    def key(self) -> str:
        """Row key, which may stand only once in a transaction."""
        return str(self.entity["RowKey"])

    def operation(self) -> tuple[Any, ...]:
        """Return it in the form of the library's transactions."""
        if self.kind == "create":
            return ("create", self.entity)
        if self.kind == "upsert":
            return ("upsert", self.entity, {"mode": UpdateMode.REPLACE})
        condition = {"etag": self.etag, "match_condition": MatchConditions.IfNotModified}
        return ("update", self.entity, {"mode": UpdateMode.REPLACE, **condition})


class Batcher:
    """Writes rows of one table; each partition has its own line, and one request under way at a time."""

    def __init__(self, table: TransactionClient, company: Company | None = None) -> None:
        self._table = table
        self._company = company or Company()
        self._lines: defaultdict[str, list[RowWrite]] = defaultdict(list)
        self._workers: dict[str, asyncio.Task[None]] = {}

    async def write(self, kind: Kind, entity: Entity, etag: str | None = None, *, patient: bool = False) -> str:
        """
        Write one row and return its new ETag.

        Parameters
        ----------
        patient
            Nothing but the caller waits for it.

        Raises
        ------
        StoreConflict
            This row lost its race; others of the batch are not concerned.
        StoreUnavailable
            The service did not answer; whether the row was written is unknown.
        """
        partition = str(entity["PartitionKey"])
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        # No await from here to the task: else the worker could end between the two and leave the row in the line.
        self._lines[partition].append(RowWrite(kind=kind, entity=entity, etag=etag, patient=patient, outcome=outcome))
        if partition not in self._workers:
            self._workers[partition] = asyncio.create_task(self._work(partition))
        with self._company.waiting():
            return await outcome

    async def _work(self, partition: str) -> None:
        line, batch = self._lines[partition], list[RowWrite]()
        try:
            while line:
                await _gather_company(line, self._company)
                batch = _take_batch(line)
                await self._send(batch)
        finally:
            # No await since the line was found empty: no writer can have joined it in between. If the task is ended
            # before that, by whatever it is, those of the last batch and of the line hear of it here.
            del self._workers[partition], self._lines[partition]
            _fail([*batch, *line], StoreUnavailable("the transaction ended without an outcome", code="store.garbled"))

    async def _send(self, batch: list[RowWrite], *, blamed: int = 0) -> None:
        if len(batch) == 1:
            await self._send_alone(batch[0])
            return
        try:
            answers = await self._table.submit_transaction([write.operation() for write in batch])
        except (AzureError, OSError, TimeoutError) as problem:
            if isinstance(problem, AzureError) and not concerns_all(problem):
                await self._send_apart(batch, problem, blamed)
                return
            _fail(batch, problem)
            return
        except Exception as problem:  # noqa: BLE001 -- every waiting caller has to hear of it
            _fail(batch, problem)
            return
        if len(answers) != len(batch) or not all(is_etag(response.get("etag")) for response in answers):
            # An empty one too: a later write under it would be one without a condition.
            detail = f"{len(answers)} answers, or fewer with an ETag, for {len(batch)} rows"
            _fail(batch, StoreUnavailable(detail, code="store.garbled", hint=GARBLED))
            return
        for write, response in zip(batch, answers, strict=True):
            if not write.outcome.done():
                write.outcome.set_result(str(response["etag"]))

    async def _send_apart(self, batch: list[RowWrite], problem: AzureError, blamed: int) -> None:
        """
        Send the rows of a failed transaction, of which nothing was written, so that the one to blame fails alone.

        The service names it, and the others go together once more. After a few blamed rows each goes alone: where most
        rows lose their races, or the service names the wrong one, that takes fewer requests.
        """
        if (
            blamed >= MOST_BLAMED
            or not isinstance(problem, TableTransactionError)
            or not 0 <= problem.index < len(batch)
        ):
            await asyncio.gather(*(self._send_alone(write) for write in batch))
            return
        others = [*batch[: problem.index], *batch[problem.index + 1 :]]
        await asyncio.gather(self._send_alone(batch[problem.index]), self._send(others, blamed=blamed + 1))

    async def _send_alone(self, write: RowWrite) -> None:
        try:
            with state_errors():
                etag = etag_of(await self._one(write))
        except Exception as problem:  # noqa: BLE001 -- the waiting caller has to hear of it
            _fail([write], problem)
            return
        if not write.outcome.done():
            write.outcome.set_result(etag)

    async def _one(self, write: RowWrite) -> Mapping[str, Any]:
        if write.kind == "create":
            return await self._table.create_entity(write.entity)
        if write.kind == "upsert":
            return await self._table.upsert_entity(write.entity, mode=UpdateMode.REPLACE)
        return await self._table.update_entity(
            write.entity, mode=UpdateMode.REPLACE, etag=write.etag, match_condition=MatchConditions.IfNotModified
        )


async def _gather_company(line: Sequence[RowWrite], company: Company) -> None:
    """Wait while the line grows, or may grow, within bounds; longer where all of its rows are patient."""
    loop = asyncio.get_running_loop()
    latest = loop.time() + LONGEST_LINGER
    while (waiting := len(line)) < MAX_ROWS and loop.time() < latest:
        await asyncio.sleep(LINGER_IN_BURST if company.is_many else LINGER)
        is_patient = company.may_be_sent and all(write.patient for write in line)
        if len(line) == waiting and not company.may_come and not is_patient:
            return


def _take_batch(line: list[RowWrite]) -> list[RowWrite]:
    """Take from the front what fits one transaction; a second write of a row waits for the next one."""
    batch: list[RowWrite] = []
    keys: set[str] = set()
    size = 0
    for write in line:
        size += entity_bytes(write.entity)
        if len(batch) == MAX_ROWS or write.key in keys or (batch and size > MAX_BYTES):
            break
        batch.append(write)
        keys.add(write.key)
    del line[: len(batch)]
    return batch


def _fail(batch: list[RowWrite], problem: Exception) -> None:
    """Give every caller an error of its own: one exception object raised in many tasks would mix their tracebacks."""
    for write in batch:
        if write.outcome.done():
            continue
        if isinstance(problem, SyncError):
            write.outcome.set_exception(type(problem)(problem.detail, code=problem.code, hint=problem.hint))
            continue
        try:
            with state_errors():
                raise problem  # noqa: TRY301 -- translated where it is raised
        except Exception as translated:  # noqa: BLE001 -- whatever it is, it is the caller's now
            write.outcome.set_exception(translated)
