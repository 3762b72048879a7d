"""
The real batcher over a table that answers short, garbled, late or not at all: every writer hears of its own row.

Time leaps, so a writer that waits for an outcome that will never come ends the run at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Mapping, Sequence
from types import ModuleType
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ServiceResponseError

from sync.adapters.azure.tables import batching
from sync.errors import StoreConflict, StoreUnavailable
from sync.ports import Company
from tests.simulation.gateway.virtual_time import NothingWillHappen, run

ANSWERS = ("right", "short", "empty", "without ETags", "reset before", "reset after", "no list", "defect", "503")
WRITERS = 12


class _Response:
    headers: Mapping[str, str] = {"x-ms-error-code": "EntityAlreadyExists"}
    reason = ""

    def __init__(self, status: int) -> None:
        self.status_code = status

    def text(self) -> str:
        return ""


class LyingTable:
    """A table of one partition, and what becomes of its answers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.rows: dict[str, Any] = {}
        self.honest = False

    async def submit_transaction(self, operations: Sequence[tuple[Any, ...]]) -> Any:
        """Write all rows or none."""
        await asyncio.sleep(self.rng.random())
        answer = "right" if self.honest else self.rng.choice(ANSWERS)
        self._before(answer)
        for kind, entity, *_ in operations:
            self._check(kind, entity)
        for _, entity, *_ in operations:
            self.rows[entity["RowKey"]] = entity["value"]
        return self._spoiled(answer, [{"etag": "x"} for _ in operations])

    async def create_entity(self, entity: Any) -> Any:
        """Insert a row."""
        return await self._alone("create", entity)

    async def upsert_entity(self, entity: Any, **_mode: Any) -> Any:
        """Insert or replace a row."""
        return await self._alone("upsert", entity)

    async def _alone(self, kind: str, entity: Any) -> Any:
        await asyncio.sleep(self.rng.random())
        answer = "right" if self.honest else self.rng.choice(ANSWERS)
        self._before(answer)
        self._check(kind, entity)
        self.rows[entity["RowKey"]] = entity["value"]
        return (self._spoiled(answer, [{"etag": "x"}]) or [{}])[0]

    def _check(self, kind: str, entity: Any) -> None:
        if kind == "create" and entity["RowKey"] in self.rows:
            raise ResourceExistsError(response=_Response(409))

    def _before(self, answer: str) -> None:
        if answer == "reset before":
            raise ServiceResponseError("reset")
        if answer == "503":
            raise HttpResponseError(response=_Response(503))

    def _spoiled(self, answer: str, rows: list[Any]) -> Any:
        match answer:
            case "reset after":
                raise ServiceResponseError("reset")
            case "short":
                return rows[: self.rng.randrange(len(rows))]
            case "empty":
                return []
            case "without ETags":
                return [{} for _ in rows]
            case "no list":
                return [None]
            case "defect":
                raise TypeError("the library met what it did not expect")
        return rows


class NotedTable:
    """A table that notes when rows were written, and which."""

    def __init__(self) -> None:
        self.batches: list[tuple[float, list[str]]] = []

    async def submit_transaction(self, operations: Sequence[tuple[Any, ...]]) -> Any:
        """Write all rows."""
        return self._noted([entity["RowKey"] for _, entity, *_ in operations])

    async def upsert_entity(self, entity: Any, **_mode: Any) -> Any:
        """Insert or replace a row."""
        return self._noted([entity["RowKey"]])[0]

    def _noted(self, rows: list[str]) -> list[Any]:
        self.batches.append((round(asyncio.get_running_loop().time(), 3), rows))
        return [{"etag": "x"} for _ in rows]


def written_at(
    moments: Sequence[float],
    module: ModuleType = batching,
    *,
    patient: Collection[int] = (),
    from_queue: bool = False,
) -> list[tuple[float, list[str]]]:
    """
    Let each delivery write a row after its delay, in seconds; return when which rows went out.

    All begin at once, those of messages when they write.
    """

    async def played() -> list[tuple[float, list[str]]]:
        table, company = NotedTable(), Company()
        batcher = module.Batcher(table, company)

        async def deliver(number: int) -> None:
            await asyncio.sleep(moments[number] if from_queue else 0)
            with company.joined(from_queue=from_queue):
                await asyncio.sleep(0 if from_queue else moments[number])
                row = {"PartitionKey": "p", "RowKey": str(number)}
                await batcher.write("upsert", row, patient=number in patient)

        await asyncio.gather(*map(deliver, range(len(moments))))
        return table.batches

    return run(played(), seed=0)


def schedule(seed: int, module: ModuleType = batching) -> list[str]:
    """Let many write at once through a bad network, each until its row is confirmed; return what is wrong."""
    rng = random.Random(seed)
    wrong: list[str] = []

    async def write(batcher: Any, table: LyingTable, number: int) -> None:
        kind = rng.choice(("create", "upsert"))
        entity = {"PartitionKey": "p", "RowKey": f"{number % 9}", "value": number}
        for _ in range(40):
            await asyncio.sleep(rng.choice((0, 0.01, 1)))
            try:
                await batcher.write(kind, entity)
            except StoreConflict:
                kind = "upsert"  # it looks again, as a claim does
            except (StoreUnavailable, TypeError, AttributeError):
                table.honest = table.honest or rng.random() < 0.05
            else:
                if entity["RowKey"] not in table.rows:
                    wrong.append("a row that was told to be written is not there")
                return
        wrong.append("a writer never got through")

    async def played() -> None:
        table, company = LyingTable(rng), Company()
        batcher = module.Batcher(table, company)

        async def joined(number: int) -> None:
            with company.joined():
                await write(batcher, table, number)

        await asyncio.gather(*(joined(number) for number in range(WRITERS)))

    try:
        run(played(), seed=seed)
    except NothingWillHappen:
        wrong.append("a writer waits for ever")
    return wrong
