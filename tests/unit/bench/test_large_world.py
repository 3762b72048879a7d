"""The large world is not filled for ever."""

from types import SimpleNamespace

import pytest

from bench import large_world
from bench.worlds import BenchError
from sync.testing.store import MemoryStore


async def test_tables_that_are_never_counted_to_their_end_are_told(monkeypatch):
    async def count_nothing(s):
        pass

    monkeypatch.setattr(large_world, "store_counts", count_nothing)
    with pytest.raises(BenchError, match="not counted to its end"):
        await large_world._count(SimpleNamespace(cursors=MemoryStore().cursors))
