"""Whatever a table answers to a transaction, no writer waits for ever and none gets a wrong outcome."""

import os

from tests.simulation.batching import schedule
from tests.simulation.mutants import apart

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "2000")) // 20


def test_every_writer_hears_of_its_own_row():
    assert {seed: wrong for seed in range(SCHEDULES) if (wrong := schedule(seed))} == {}


COUNTED = ("if len(answers) != len(batch) or", "if False and")
TOLD = ("_fail([*batch, *line], StoreUnavailable(", "_fail([], StoreUnavailable(")


def test_writers_wait_for_ever_where_neither_answers_are_counted_nor_the_end_of_the_worker_is_told():
    changed = apart("sync.adapters.azure.tables.batching", COUNTED, TOLD, rule="every outcome is resolved")
    assert any("a writer waits for ever" in schedule(seed, changed) for seed in range(200))
