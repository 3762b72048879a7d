"""
The floor of an instance: what its calls cost at best in the libraries that the sync uses, and nothing around them.

Each file's first 64 KiB are read by a ranged request, its header becomes a row, and three such rows are written in
batches of a hundred: what the protocol asks for, without protocol, queues, host and telemetry. Measured in the world of
the run, so that load and machine are the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from azure.data.tables.aio import TableClient, TableServiceClient
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from bench.header_speed import to_row
from bench.some_at_once import act_on_each
from bench.studies import Study
from bench.worlds import BenchWorld
from sync.adapters.azure.tables.batching import MAX_ROWS

FIRST_READ = 65_536
ROWS = 3
"""Writes per instance: claim, row, settle."""

_AT_ONCE, _TABLE = 16, "benchfloor"


def floor_ms(world: BenchWorld, study: Study) -> float:
    """Return milliseconds of processor time an instance; the study's files must be in the world."""
    return asyncio.run(_measure(world, [name for name, _ in study.files()]))


async def _measure(world: BenchWorld, names: Sequence[str]) -> float:
    async with (
        BlobServiceClient.from_connection_string(world.storage) as blobs,
        TableServiceClient.from_connection_string(world.storage) as tables,
    ):
        table = await tables.create_table_if_not_exists(_TABLE)
        container = blobs.get_container_client(world.container)
        await _read(container, names[:_AT_ONCE])
        began = time.process_time()
        contents = await _read(container, names)
        for number in range(ROWS):
            await _write(table, contents, number)
        took = time.process_time() - began
        await tables.delete_table(_TABLE)
    return round(1000 * took / len(names), 2)


async def _read(container: ContainerClient, names: Sequence[str]) -> list[bytes]:
    contents: list[bytes] = []

    async def read(name: str) -> None:
        stream = await container.download_blob(name, offset=0, length=FIRST_READ)
        contents.append(await stream.readall())

    await act_on_each(names, read, at_once=_AT_ONCE)
    return contents


async def _write(table: TableClient, contents: Sequence[bytes], number: int) -> None:
    rows = [
        {**to_row(content), "PartitionKey": "floor", "RowKey": f"{number}-{place}"}
        for place, content in enumerate(contents)
    ]
    for first in range(0, len(rows), MAX_ROWS):
        await table.submit_transaction([("upsert", row) for row in rows[first : first + MAX_ROWS]])
