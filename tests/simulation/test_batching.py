"""Whatever a table answers to a transaction, no writer waits for ever and none gets a wrong outcome."""

import asyncio

import pytest

from sync.adapters.azure.tables.batching import LINGER, LONGEST_LINGER, Batcher
from tests.simulation.amount import schedules
from tests.simulation.batching import NotedTable, schedule, written_at
from tests.simulation.gateway.virtual_time import run
from tests.simulation.mutants import apart

SCHEDULES = schedules(20)


def test_every_writer_hears_of_its_own_row():
    assert {seed: wrong for seed in range(SCHEDULES) if (wrong := schedule(seed))} == {}


COUNTED = ("if len(answers) != len(batch) or", "if False and")
TOLD = ("_fail([*batch, *line], StoreUnavailable(", "_fail([], StoreUnavailable(")


def test_writers_wait_for_ever_where_neither_answers_are_counted_nor_the_end_of_the_worker_is_told():
    changed = apart("sync.adapters.azure.tables.batching", COUNTED, TOLD, rule="every outcome is resolved")
    assert any("a writer waits for ever" in schedule(seed, changed) for seed in range(200))


@pytest.mark.parametrize("rows", [1, 3])
def test_an_empty_etag_is_none(rows):
    """A later write under it would be one without a condition."""

    class WithoutETags(NotedTable):
        def _noted(self, rows):
            return [{**answer, "etag": ""} for answer in super()._noted(rows)]

    async def played():
        batcher = Batcher(WithoutETags())
        written = (batcher.write("upsert", {"PartitionKey": "p", "RowKey": str(row)}) for row in range(rows))
        return await asyncio.gather(*written, return_exceptions=True)

    assert [getattr(outcome, "code", outcome) for outcome in run(played(), seed=0)] == ["store.garbled"] * rows


def test_a_line_waits_for_deliveries_on_their_way():
    assert [rows for _, rows in written_at([0.0, 0.05, 0.1, 0.15])] == [["0", "1", "2", "3"]]


def test_a_line_goes_out_soon_once_all_wait():
    ((at, rows),) = written_at([0.0, 0.01])
    assert (at, rows) == (2 * LINGER, ["0", "1"])
    assert written_at([0.0]) == [(LINGER, ["0"])]


def test_a_line_does_not_wait_for_ever_for_a_delivery_that_hangs():
    (at, rows), (later, last) = written_at([0.0, 600.0])
    assert (rows, last) == (["0"], ["1"])
    assert LONGEST_LINGER <= at < LONGEST_LINGER + LINGER
    assert later > 600


def test_rows_go_out_apart_where_no_delivery_is_waited_for():
    edit = (" and not company.may_come", "")
    module = apart("sync.adapters.azure.tables.batching", edit, rule="deliveries on their way are waited for")
    assert len(written_at([0.0, 0.05, 0.1, 0.15], module)) == 4


def test_a_patient_row_goes_with_the_next_ones_of_its_partition():
    assert [rows for _, rows in written_at([0.0, 0.1], patient={0}, from_queue=True)] == [["0", "1"]]
    assert [rows for _, rows in written_at([0.0, 0.1], from_queue=True)] == [["0"], ["1"]]


def test_a_patient_row_of_a_walk_goes_out_soon():
    assert written_at([0.0], patient={0}) == [(LINGER, ["0"])]


def test_a_patient_row_waits_for_a_while_only():
    ((at, _),) = written_at([0.0], patient={0}, from_queue=True)
    assert LONGEST_LINGER <= at < LONGEST_LINGER + LINGER
