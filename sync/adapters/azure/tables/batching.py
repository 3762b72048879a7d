"""
Sends concurrent row writes of one partition together, as entity-group transactions.

Functions take one message each, but the invocations of a worker process share one event loop. A caller that writes a
row hands it to the batcher and waits for its own outcome. A line is sent when no row joined it for 20 ms (50 ms in a
burst) and no delivery is about to write, when 100 rows wait, or after 250 ms: a lone write hardly waits, and a burst
makes large batches. Patient rows, for which only their own delivery waits, may use those 250 ms wherever messages of a
queue are handled: they are sent with the next rows of their partition. A transaction fails as a whole, so if one row
lost its race or is refused, the others are sent again without it. There is one event loop per process.

Every writer gets its outcome, whatever happens to the task that sends its row: a truncated answer, with fewer parts
than rows, is an outage for all of them, and so is the end of the task.

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
"""Seconds without a new row after which a line is sent, if no row can be expected."""

LINGER_IN_BURST = 0.05
"""The same while many messages are handled at once: more rows are probably on their way."""

LONGEST_LINGER = 0.25
"""Maximum seconds that the first write of a line waits; short compared to the quiet period that follows."""

MOST_BLAMED = 3
"""Maximum rows of one batch that are sent alone because the service blames them for a failed transaction."""

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
        """Row key, which may occur only once in a transaction."""
        return str(self.entity["RowKey"])

    def operation(self) -> tuple[Any, ...]:
        """Return the write in the form of the library's transactions."""
        if self.kind == "create":
            return ("create", self.entity)
        if self.kind == "upsert":
            return ("upsert", self.entity, {"mode": UpdateMode.REPLACE})
        condition = {"etag": self.etag, "match_condition": MatchConditions.IfNotModified}
        return ("update", self.entity, {"mode": UpdateMode.REPLACE, **condition})


class Batcher:
    """Writes rows of one table; each partition has its own line, and one request in flight at a time."""

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
            Only the caller waits for this write.

        Raises
        ------
        StoreConflict
            This row lost its race; the other rows of the batch are not affected.
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
        Resend the rows of a failed transaction, none of which was written, so that only the row at fault fails.

        The service names that row, and the others are sent together again. After a few blamed rows, each is sent alone:
        if most rows lose their races, or the service names the wrong one, that takes fewer requests.
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
    """Wait while the line grows or may grow, up to a limit; longer if all of its rows are patient."""
    loop = asyncio.get_running_loop()
    latest = loop.time() + LONGEST_LINGER
    while (waiting := len(line)) < MAX_ROWS and loop.time() < latest:
        await asyncio.sleep(LINGER_IN_BURST if company.is_many else LINGER)
        is_patient = company.may_be_sent and all(write.patient for write in line)
        if len(line) == waiting and not company.may_come and not is_patient:
            return


def _take_batch(line: list[RowWrite]) -> list[RowWrite]:
    """Take rows from the front that fit one transaction; a second write of a row waits for the next one."""
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
    """Give every caller its own error: one exception object raised in many tasks would mix their tracebacks."""
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
