"""Writes that travel together: few requests, and everybody's own outcome."""

import asyncio
import contextlib
from collections import Counter
from types import SimpleNamespace

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.data.tables.aio import TableServiceClient

from sync.adapters.azure.tables.batching import Batcher
from sync.adapters.azure.tables.transactions import TransactionClient
from sync.errors import StoreConflict, StoreUnavailable
from tests.contract.storage import fresh

REQUESTS = ("submit_transaction", "create_entity", "update_entity", "upsert_entity")


class Both(TransactionClient):
    """Transactions of ours, all else the library's."""

    def __init__(self, client):
        super().__init__(client)
        self.query_entities, self.delete_entity = client.query_entities, client.delete_entity


class WatchedTable:
    """A table client that counts its requests, and fails the next ones as told."""

    def __init__(self, table):
        self.table = table
        self.calls = Counter()
        self.failures = {}

    def __getattr__(self, name):
        request = getattr(self.table, name)
        if name not in REQUESTS:
            return request

        async def counted(*arguments, **options):
            self.calls[name] += 1
            if failure := self.failures.get(name):
                raise failure
            return await request(*arguments, **options)

        return counted

    @property
    def requests(self):
        return sum(self.calls.values())


@pytest.fixture(params=["the library", "ours"])
async def table(azurite, request):
    async with TableServiceClient.from_connection_string(azurite) as service:
        client = await service.create_table_if_not_exists("batching")
        yield WatchedTable(client if request.param == "the library" else Both(client))


@pytest.fixture
def batcher(table):
    return Batcher(table)


def row(partition, key, value=0):
    return {"PartitionKey": partition, "RowKey": str(key), "value": value}


async def rows_of(table, partition):
    entities = table.table.query_entities("PartitionKey eq @p", parameters={"p": partition})
    return {entity["RowKey"]: entity["value"] async for entity in entities}


def kinds(outcomes):
    return Counter(type(outcome) for outcome in outcomes)


async def gathered(*writes):
    return await asyncio.gather(*writes, return_exceptions=True)


async def test_sixty_four_concurrent_writes_take_at_most_three_requests(batcher, table):
    partition = fresh()
    etags = await asyncio.gather(*(batcher.write("upsert", row(partition, i)) for i in range(64)))
    assert table.requests <= 3
    assert all(etags)
    assert len(await rows_of(table, partition)) == 64


async def test_a_lone_write_is_one_plain_request(batcher, table):
    await batcher.write("create", row(fresh(), 1))
    assert table.calls == {"create_entity": 1}


async def test_the_etag_of_a_batched_write_fences_the_next_one(batcher, table):
    partition = fresh()
    etags = await asyncio.gather(*(batcher.write("create", row(partition, i)) for i in range(5)))
    again = [batcher.write("replace", row(partition, i, 1), etag) for i, etag in enumerate(etags)]
    assert not set(await asyncio.gather(*again)) & set(etags)
    assert set((await rows_of(table, partition)).values()) == {1}


@pytest.mark.parametrize("stale", ["gone", "changed", "there already"])
async def test_one_lost_race_among_fifty_is_the_loss_of_that_one_alone(batcher, table, stale):
    partition = fresh()
    etags = await asyncio.gather(*(batcher.write("create", row(partition, i)) for i in range(50)))
    writes = [batcher.write("replace", row(partition, i, 1), etag) for i, etag in enumerate(etags)]
    writes[17].close()
    if stale == "gone":
        await table.table.delete_entity(partition, "17")
    if stale == "changed":
        await table.table.upsert_entity(row(partition, 17, 5))
    kind, etag = ("create", None) if stale == "there already" else ("replace", etags[17])
    writes[17] = batcher.write(kind, row(partition, 17, 1), etag)
    outcomes = await gathered(*writes)
    assert isinstance(outcomes.pop(17), StoreConflict)
    assert kinds(outcomes) == {str: 49}
    assert Counter((await rows_of(table, partition)).values())[1] == 49


async def test_a_lost_race_sends_the_others_together_once_more(batcher, table):
    partition = fresh()
    await table.table.create_entity(row(partition, 17))
    outcomes = await gathered(*(batcher.write("create", row(partition, i)) for i in range(50)))
    assert kinds(outcomes) == {str: 49, StoreConflict: 1}
    assert table.calls == {"submit_transaction": 2, "create_entity": 1}


async def test_where_most_rows_lose_their_races_each_goes_alone(batcher, table):
    partition = fresh()
    for i in range(0, 20, 2):
        await table.table.create_entity(row(partition, i))
    outcomes = await gathered(*(batcher.write("create", row(partition, i)) for i in range(20)))
    assert kinds(outcomes) == {str: 10, StoreConflict: 10}
    assert table.calls == {"submit_transaction": 4, "create_entity": 20}


async def test_more_than_a_hundred_rows_go_in_several_transactions(batcher, table):
    partition = fresh()
    await asyncio.gather(*(batcher.write("upsert", row(partition, i)) for i in range(250)))
    assert table.calls == {"submit_transaction": 3}
    assert len(await rows_of(table, partition)) == 250


async def test_large_rows_go_in_several_transactions(batcher, table):
    partition = fresh()
    large = [{**row(partition, i), **{f"b{n}": bytes(60_000) for n in range(10)}} for i in range(12)]
    await asyncio.gather(*(batcher.write("upsert", write) for write in large))
    assert table.calls == {"submit_transaction": 3}
    assert len(await rows_of(table, partition)) == 12


async def test_writes_of_one_row_happen_one_after_the_other_in_order(batcher, table):
    partition = fresh()
    etags = await asyncio.gather(*(batcher.write("upsert", row(partition, "a", i)) for i in range(4)))
    assert len(set(etags)) == 4
    assert await rows_of(table, partition) == {"a": 3}


async def test_of_concurrent_creations_of_one_row_one_succeeds(batcher, table):
    partition = fresh()
    outcomes = await gathered(*(batcher.write("create", row(partition, "a")) for _ in range(4)))
    assert kinds(outcomes) == {str: 1, StoreConflict: 3}


async def test_a_caller_that_gives_up_harms_no_other(batcher, table):
    partition = fresh()
    tasks = [asyncio.create_task(batcher.write("upsert", row(partition, i))) for i in range(20)]
    await asyncio.sleep(0)
    tasks[0].cancel()  # the one that opened the line
    tasks[7].cancel()
    outcomes = await gathered(*tasks)
    assert kinds(outcomes) == {str: 18, asyncio.CancelledError: 2}
    assert await batcher.write("upsert", row(partition, "later"))


async def test_partitions_do_not_wait_for_one_another_and_leave_nothing_behind(batcher, table):
    partitions = [fresh() for _ in range(10)]
    await asyncio.gather(*(batcher.write("upsert", row(p, i)) for p in partitions for i in range(3)))
    assert table.calls == {"submit_transaction": 10}
    await asyncio.sleep(0)
    assert not batcher._lines
    assert not batcher._workers


async def test_an_outage_fails_every_row_with_an_error_of_its_own(batcher, table):
    table.failures["submit_transaction"] = ServiceRequestError("https://account/Zztestperson")
    outcomes = await gathered(*(batcher.write("upsert", row("p", i)) for i in range(5)))
    assert kinds(outcomes) == {StoreUnavailable: 5}
    assert len({id(outcome) for outcome in outcomes}) == 5
    assert "Zztestperson" not in str(outcomes)
    assert table.calls == {"submit_transaction": 1}


class Refused(HttpResponseError):
    def __init__(self, status, code="EntityTooLarge"):
        super().__init__("Zztestperson")
        self.status_code = status
        self.error_code = code


@pytest.mark.parametrize("status", [400, 404, 409, 412, 413])
async def test_a_transaction_that_is_refused_for_one_row_lets_the_others_through(batcher, table, status):
    partition = fresh()
    table.failures["submit_transaction"] = Refused(status)
    outcomes = await gathered(*(batcher.write("upsert", row(partition, i)) for i in range(5)))
    assert kinds(outcomes) == {str: 5}


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
async def test_what_concerns_every_row_is_not_tried_row_by_row(batcher, table, status):
    table.failures["submit_transaction"] = Refused(status)
    outcomes = await gathered(*(batcher.write("upsert", row("p", i)) for i in range(5)))
    assert kinds(outcomes) == {StoreUnavailable: 5}
    assert table.requests == 1


async def test_after_a_failure_the_line_goes_on(batcher, table):
    partition = fresh()
    table.failures["submit_transaction"] = ServiceRequestError("down")
    await gathered(*(batcher.write("upsert", row(partition, i)) for i in range(5)))
    table.failures.clear()
    await asyncio.gather(*(batcher.write("upsert", row(partition, i)) for i in range(5)))
    assert len(await rows_of(table, partition)) == 5


async def within(seconds, *writes):
    """Every outcome, in bounded time: a writer that hears nothing fails the test instead of hanging it."""
    return await asyncio.wait_for(gathered(*writes), seconds)


@pytest.mark.parametrize("answers", [[], [{"etag": "1"}] * 4, [{"etag": "1"}] * 6, [{}] * 5, [{"etag": None}] * 5])
async def test_an_answer_with_another_number_of_parts_than_rows_is_an_outage_for_every_writer(batcher, table, answers):
    async def cut(operations):
        return answers

    table.table = SimpleNamespace(submit_transaction=cut)
    outcomes = await within(5, *(batcher.write("upsert", row("p", i)) for i in range(5)))
    assert kinds(outcomes) == {StoreUnavailable: 5}
    assert {outcome.code for outcome in outcomes} == {"store.garbled"}
    assert len({id(outcome) for outcome in outcomes}) == 5


class Death(BaseException):
    """What no handler expects."""


@pytest.mark.parametrize("death", [asyncio.CancelledError(), Death(), RecursionError()])
async def test_whatever_the_lines_worker_dies_of_every_writer_hears_of_it(batcher, table, death):
    async def dies(operations):
        raise death

    table.table = SimpleNamespace(submit_transaction=dies)
    writes = [asyncio.create_task(batcher.write("upsert", row("p", i % 150))) for i in range(300)]
    await asyncio.sleep(0)
    [worker] = batcher._workers.values()
    with contextlib.suppress(BaseException):
        await asyncio.wait_for(asyncio.shield(asyncio.gather(*writes, return_exceptions=True)), 5)
    assert all(write.done() for write in writes)
    with contextlib.suppress(BaseException):
        await worker
    for write in writes:
        assert write.cancelled() or isinstance(write.exception(), Exception)
    assert not batcher._lines


async def test_a_gateway_answers_for_all_rows_of_a_transaction(batcher, table):
    table.failures["submit_transaction"] = Refused(404, code="")
    outcomes = await within(5, *(batcher.write("upsert", row("p", i)) for i in range(5)))
    assert kinds(outcomes) == {StoreUnavailable: 5}
    assert table.requests == 1
