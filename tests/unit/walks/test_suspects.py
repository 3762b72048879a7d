"""A change that ended its processes and is named again: passed over, and its row written rarely."""

from sync.delivery.handlers import dead_letter_delivery
from sync.errors import PermanentError
from sync.protocol.attempts import CRASH_CODE, KEPT, KEPT_AGAIN, AttemptsRow, keep_count
from sync.walks.suspects import alone_if_suspect
from sync.walks.walk import Walk
from tests.worlds import MemoryWorld, count

EVERY = 30
"""Seconds from one read of a feed to the next."""


async def named_for(seconds):
    """Have a feed name a buried change again and again; return its row's writes, and how often it was processed."""
    w, walk, processed = MemoryWorld(), Walk(), []
    change = w.put("a")
    await dead_letter_delivery(change, PermanentError("it ended", code=CRASH_CODE), w.services)
    await keep_count(AttemptsRow.of_change(change), w.services)
    walk.crashed = w.clock.now()

    async def work(change):
        processed.append(change)

    async def give_up(change, refusal):
        raise AssertionError(refusal)

    writes = count(w.store.cursors, "write")
    pass_over = alone_if_suspect(work, walk, give_up, w.services)
    for _ in range(0, seconds, EVERY):
        w.clock.advance(EVERY)
        await pass_over(change)
    return len(writes), len(processed), pass_over, w, change, processed


async def test_the_row_of_a_change_that_is_passed_over_is_not_written_at_each_read():
    """It was written twice a minute, as long as the feed named the change."""
    longer = int(3 * KEPT.total_seconds())
    writes, processed, *_ = await named_for(longer)
    assert processed == 0, "it stands while it is named"
    assert 0 < writes <= longer / KEPT_AGAIN.total_seconds()


async def test_a_change_that_is_not_named_for_an_hour_is_tried_again():
    *_, pass_over, w, change, processed = await named_for(EVERY)
    w.clock.advance((KEPT - KEPT_AGAIN).total_seconds() - EVERY)
    await pass_over(change)
    assert processed == []
    w.clock.advance(KEPT.total_seconds())
    await pass_over(change)
    assert processed == [change]
