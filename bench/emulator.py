"""
Measures the cost of a message in the storage emulator while few and many others wait, with the bare library.

    python -m bench.emulator [--messages 3000] [--stop]

Sends messages to a queue of Azurite, then receives and deletes them as a functions host does, 32 at once and 16 at a
time; to Azurite as it is shipped, and as the local world starts it (ADR 0058). Meanwhile the blob service is asked all
the time, and the longest that it gave no answer is told; with ``--stop`` for a minute more, in which the emulator
surely collects what was deleted. Prints one JSON object; processor time is that of the emulator.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from bench.processor import worked
from bench.some_at_once import act_on_each
from local.azurite import Azurite, azurite

FEW = 300
AT_ONCE, RECEIVED = 16, 32
CONTENT = "m" * 900
"""As long as an event."""

_COLLECTED_WITHIN, _PROBE_EVERY = 66.0, 0.05


async def _drain(queue: QueueClient) -> None:
    async def delete(message: QueueMessage) -> None:
        await queue.delete_message(message)

    while received := [one async for one in queue.receive_messages(max_messages=RECEIVED, messages_per_page=RECEIVED)]:
        await act_on_each(received, delete, at_once=AT_ONCE)


async def _cost(emulator: Azurite, queue: QueueClient, messages: int) -> dict[str, float]:
    """Return milliseconds for receiving and deleting a message."""
    await queue.create_queue()
    await act_on_each(range(messages), lambda _: queue.send_message(CONTENT), at_once=AT_ONCE)
    processor, began = worked([emulator.pid]), time.monotonic()
    await _drain(queue)
    seconds = time.monotonic() - began
    return {
        "messages": messages,
        "ms_a_message": round(1000 * seconds / messages, 2),
        "processor_ms_a_message": round((worked([emulator.pid]) - processor) / messages, 2),
    }


async def _silences(connection: str, seconds: list[float]) -> None:
    """Ask for a blob that is not there, again and again, and note how long each answer took."""
    async with BlobServiceClient.from_connection_string(connection) as service:
        blob = service.get_blob_client("files", "none")
        while True:
            began = time.monotonic()
            with contextlib.suppress(ResourceNotFoundError):
                await blob.get_blob_properties()
            seconds.append(time.monotonic() - began)
            await asyncio.sleep(_PROBE_EVERY)


async def _measure(emulator: Azurite, messages: int, *, stop: bool) -> dict[str, Any]:
    silences: list[float] = []
    probing = asyncio.create_task(_silences(emulator.connection_string, silences))
    async with QueueServiceClient.from_connection_string(emulator.connection_string) as service:
        sizes = {"few": FEW, "many": messages}
        costs = [await _cost(emulator, service.get_queue_client(name), size) for name, size in sizes.items()]
    if stop:
        await asyncio.sleep(_COLLECTED_WITHIN)
    probing.cancel()
    return {
        "costs": costs,
        "many_of_few": round(costs[1]["ms_a_message"] / costs[0]["ms_a_message"], 2),
        "longest_silence_s": round(max(silences), 2),
    }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.emulator", description="Milliseconds of Azurite per queue message."
    )
    parser.add_argument("--messages", type=int, default=3000, help="messages of the large run (default 3,000)")
    parser.add_argument("--stop", action="store_true", help="wait for the collection of deleted messages")
    asked = parser.parse_args()
    if asked.messages < 1:
        parser.error("--messages: at least 1")
    measured = {}
    for name, as_shipped in (("as_shipped", True), ("as_started_here", False)):
        with azurite(as_shipped=as_shipped) as emulator:
            measured[name] = asyncio.run(_measure(emulator, asked.messages, stop=asked.stop))
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
