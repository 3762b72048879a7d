"""What the timers ask of storage while nothing happens: each queue and table once. The bench counts the requests."""

from sync.delivery.lost_messages import enqueue_lost_objects
from sync.monitoring.alerts.watch import watch
from sync.monitoring.history import Recorder
from sync.ports import Counted
from sync.walks.tending import tend_walks
from tests.worlds import MemoryWorld, count


async def in_sync() -> MemoryWorld:
    w = MemoryWorld()
    await w.ingest(w.put("a"))
    await w.settle()
    w.clock.advance(1000)
    return w


async def test_a_round_of_the_watch_counts_each_table_once_and_writes_each_of_its_cursors_twice():
    w = await in_sync()
    s = w.services
    recorder = Recorder(s.telemetry, w.store.metrics, w.clock)
    for _ in range(2):  # the first stores counts
        await watch(s, recorder=recorder, channels={}, listing=w.store.objects)
        w.clock.advance(30)
    pages, depths = count(w.store.tallies, "page"), count(s.queues, "depths")
    reads, writes = count(w.store.cursors, "read"), count(w.store.cursors, "write")
    await watch(s, recorder=recorder, channels={}, listing=w.store.objects)
    assert sorted(table.value for table, *_ in pages) == sorted(table.value for table in Counted)
    assert len(depths) == 1
    assert sorted(name for name, *_ in reads) == ["alerts", "missing_events"]
    assert sorted(cursor.name for cursor, *_ in writes) == ["alerts", "alerts", "missing_events", "missing_events"]


async def test_a_sweep_for_lost_messages_asks_for_one_queue():
    w = await in_sync()
    depths = count(w.services.queues, "depths")
    assert await enqueue_lost_objects(w.services, w.services.queues, w.store.objects) == 0
    assert depths == []


async def test_the_walks_are_read_once_while_there_are_none():
    w = await in_sync()
    read, times = w.store.cursors.all, list[None]()

    def counted():
        times.append(None)
        return read()

    w.store.cursors.all = w.store.cursors.below = counted
    assert await tend_walks({}, w.services, seconds=60) == 0
    assert len(times) == 1
