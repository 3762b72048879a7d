"""Workers that share walks: calls by the timer, turns, pauses within seconds, the rate, progress."""

import asyncio
import math
from dataclasses import replace

import pytest

from sync.errors import Contention, SourceUnavailable
from sync.operators.walks import Deed, begin_walk, control_walk
from sync.protocol.walk_rows import WalkState, read_board, read_walk
from sync.walks import sharing
from sync.walks.backfill import KIND, Backfill, Scope, new_backfill
from sync.walks.choosing import Look
from sync.walks.pacing import Pace
from sync.walks.sharing import Worker, cut_walk, end_walks
from sync.walks.tending import take_turn, tend_walks
from tests.walking import EVERYTHING, list_walks
from tests.worlds import count


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    monkeypatch.setattr("sync.walks.cutting.SMALLEST", 2)
    monkeypatch.setattr(sharing, "WATCH", 0.01)


@pytest.fixture
def kinds(w):
    for number in range(10):
        w.put(f"f/{number}", sop=f"2.25.{number + 1}", study=f"2.25.{number}")
    return {KIND: Backfill(listing=w.store.objects)}


async def begun(w, **more):
    await begin_walk(new_backfill(EVERYTHING, **more), w.services, who="ada")
    return await read_walk(EVERYTHING.cursor, w.services)


async def test_the_timer_cuts_calls_workers_and_ends_what_is_done(w, kinds):
    await begun(w)
    assert await tend_walks(kinds, w.services, seconds=60) == 1
    row = await read_walk(EVERYTHING.cursor, w.services)
    assert (row.planned, row.made, row.size) == (True, 5, 10)
    calls = w.store.slice_queue.take()
    assert 1 <= calls <= 5
    await take_turn(kinds, w.services, redelivered=False)
    assert (await read_walk(EVERYTHING.cursor, w.services)).state is WalkState.DONE
    assert await tend_walks(kinds, w.services, seconds=60) == 0
    assert w.store.slice_queue.messages == []


async def test_a_message_begins_a_walk_that_was_just_asked_for(w, kinds):
    await begun(w)
    await take_turn(kinds, w.services, redelivered=False)
    row = await read_walk(EVERYTHING.cursor, w.services)
    assert (row.state, dict(row.counts)) == (WalkState.DONE, {"synced": 10})


async def test_a_busy_process_cuts_what_was_just_asked_for_and_calls_others(w, kinds):
    await begun(w)
    async with w.services.caches.walking:
        await take_turn(kinds, w.services, redelivered=False)
    assert (await read_walk(EVERYTHING.cursor, w.services)).made == 5
    assert 1 <= w.store.slice_queue.take() <= 5


async def test_a_walk_whose_source_does_not_answer_keeps_no_worker_from_others(w, kinds):
    await begun(w)
    await begin_walk(new_backfill(Scope(container="gone")), w.services, who="ada")
    page = w.store.objects.page

    async def down(container, **more):
        if container == "gone":
            raise SourceUnavailable("no answer")
        return await page(container, **more)

    w.store.objects.page = down
    await take_turn(kinds, w.services, redelivered=False)
    walks = (await read_board(w.services)).walks
    assert {name: row.state for name, row in walks.items()} == {
        EVERYTHING.cursor: WalkState.DONE,
        "backfill gone": WalkState.RUNNING,
    }


async def test_no_more_workers_are_called_while_a_message_waits(w, kinds):
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf)
    await w.services.slice_queue.call()
    await tend_walks(kinds, w.services, seconds=60)
    assert len(w.store.slice_queue.messages) == 1


async def test_a_message_that_is_delivered_again_is_dropped(w, kinds):
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf)
    await take_turn(kinds, w.services, redelivered=True)
    board = await read_board(w.services)
    assert not any(piece.done for piece in board.of_walk(board.walks[EVERYTHING.cursor]))
    assert w.store.slice_queue.messages == []


async def test_a_busy_process_offers_the_call_to_others(w, kinds):
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf)
    async with w.services.caches.walking:
        await take_turn(kinds, w.services, redelivered=False)
    assert w.store.slice_queue.take() == 0  # later
    assert len(w.store.slice_queue.messages) == 1


async def test_a_pause_stops_a_worker_in_the_middle_and_nothing_is_lost(w, kinds):
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf)
    stuck, read = asyncio.Event(), w.store.objects.read

    async def slow(ref, **more):
        await stuck.wait()
        return await read(ref, **more)

    w.store.objects.read = slow
    working = asyncio.create_task(Worker(kinds=kinds, s=w.services).work(until=math.inf))
    await asyncio.sleep(0.05)
    await control_walk(EVERYTHING.cursor, Deed.PAUSE, w.services, who="ada")
    assert await asyncio.wait_for(working, 10) is False  # none is free: the walk is paused
    stuck.set()
    await control_walk(EVERYTHING.cursor, Deed.RESUME, w.services, who="ada")
    await Worker(kinds=kinds, s=w.services).work(until=math.inf)
    await end_walks(w.services)
    assert dict((await read_walk(EVERYTHING.cursor, w.services)).counts) == {"synced": 10}


async def test_a_slice_costs_three_writes_from_its_cut_to_its_end_and_no_look_at_the_others(w, kinds):
    row = await begun(w)
    writes, cuts, looks = count(w.store.cursors, "write"), count(w.store.cursors, "replace_beside"), []
    scan = w.store.cursors.all
    w.store.cursors.all = lambda: looks.append(1) or scan()
    await cut_walk(row, kinds, w.services, until=math.inf)
    await Worker(kinds=kinds, s=w.services).work(until=math.inf)
    made = (await read_walk(EVERYTHING.cursor, w.services)).made
    assert made == 5
    assert (len(cuts), len(writes)) == (made, 2 * made + 1)  # and the lease of cutting
    assert len(looks) <= 3


async def test_a_slice_that_an_earlier_version_wrote_and_did_not_note_is_taken_over(w, kinds):
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf, most=2)
    before = w.store.cursors.table.get(row.name)
    await cut_walk(row, kinds, w.services, until=math.inf, most=1)
    w.store.cursors.table.upsert(row.name, before.value)  # killed between the two writes
    await cut_walk(row, kinds, w.services, until=math.inf)
    await Worker(kinds=kinds, s=w.services).work(until=math.inf)
    await end_walks(w.services)
    latest = await read_walk(row.name, w.services)
    assert (latest.state, latest.made, dict(latest.counts)) == (WalkState.DONE, 5, {"synced": 10})


async def test_a_worker_that_meets_another_looks_again(w, kinds):
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf)
    workers = [Worker(kinds=kinds, s=w.process()) for _ in range(3)]
    await asyncio.gather(*(worker.work(until=math.inf) for worker in workers))
    await end_walks(w.services)
    assert dict((await read_walk(EVERYTHING.cursor, w.services)).counts) == {"synced": 10}


async def test_begun_again_a_paused_walk_goes_on_and_takes_the_new_rate(w, kinds):
    await begun(w)
    await control_walk(EVERYTHING.cursor, Deed.PAUSE, w.services, who="ada")
    row = await begun(w, rate=2.5)
    assert (row.state, row.rate) == (WalkState.RUNNING, 2.5)


async def test_the_row_of_a_slice_that_was_deleted_meanwhile_is_not_made_again(w, kinds):
    """What made it might die before it deletes it again, and no walk knows of it then."""
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf)
    before = await read_board(w.services)
    await control_walk(EVERYTHING.cursor, Deed.CANCEL, w.services, who="ada")
    written, write = [], w.store.cursors.write

    async def noted(cursor, etag):
        written.append(cursor.name)
        return await write(cursor, etag)

    w.store.cursors.write = noted
    worker = Worker(kinds=kinds, s=w.services)
    with pytest.raises(Contention):
        await worker._take(row, before.of_walk(row)[0], before, math.inf)
    assert written == []


async def test_a_slice_that_another_process_has_done_costs_a_read_and_no_write(w, kinds):
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf)
    before = await read_board(w.services)
    await Worker(kinds=kinds, s=w.process()).work(until=math.inf)
    writes, reads = count(w.store.cursors, "write"), count(w.store.cursors, "read")
    with pytest.raises(Contention):
        await Worker(kinds=kinds, s=w.services)._take(row, before.of_walk(row)[0], before, math.inf)
    assert (len(writes), len(reads)) == (0, 1)


async def test_workers_beside_others_take_several_slices_by_one_look(w, kinds):
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf)
    looks, scan = [], w.store.cursors.all
    w.store.cursors.all = lambda: looks.append(1) or scan()
    workers = [Worker(kinds=kinds, s=w.process()) for _ in range(2)]
    await asyncio.gather(*(worker.work(until=math.inf) for worker in workers))
    assert len(looks) <= 6  # five slices, and both see that none is left


async def test_who_ends_a_walk_deletes_its_slices_and_no_other_does_meanwhile(w, kinds):
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf)
    await Worker(kinds=kinds, s=w.services).work(until=math.inf)
    deleted, read = count(w.store.cursors, "delete_all"), w.store.cursors.read

    async def slowly(name):
        stored = await read(name)
        await asyncio.sleep(0)
        return stored

    w.store.cursors.read = slowly
    await asyncio.gather(*(end_walks(w.process()) for _ in range(3)))
    assert len(deleted) == 1
    assert (await read_board(w.services)).slices == {}


async def test_large_slices_come_first_and_after_one_the_next(w, kinds):
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf)
    board = await read_board(w.services)
    row, pieces = board.walks[row.name], board.of_walk(board.walks[row.name])
    look = Look.at(board, [(row, piece) for piece in pieces], w.clock.now())
    assert look.choose(pieces[1], but=())[1] == pieces[2]
    assert {look.choose(None, but=())[1].name for _ in range(100)} == {piece.name for piece in pieces}
    assert {look.choose(pieces[1], but={pieces[2].name})[1].name for _ in range(100)} >= {pieces[0].name}
    beside = replace(look, held=frozenset({pieces[0].name}), free=look.free[1:])
    assert {beside.choose(None, but=())[1].name for _ in range(100)} == {piece.name for piece in pieces[3:]}
    large = [replace(piece, size=5) if piece is pieces[0] else piece for piece in pieces]
    look = replace(look, free=[(row, piece) for piece in large])
    assert look.choose(pieces[1], but=())[1] == large[0]


async def test_studies_are_marked_no_faster_than_the_rate(w, kinds, monkeypatch):
    turns = []

    async def turn(self):
        turns.append(self.rate)

    monkeypatch.setattr(Pace, "turn", turn)
    row = await begun(w, rate=4.0)
    await cut_walk(row, kinds, w.services, until=math.inf)
    await Worker(kinds=kinds, s=w.services).work(until=math.inf)
    assert turns == [4.0] * 10  # ten studies, and one worker


async def test_progress_adds_all_slices_up_and_expects_the_rest_as_fast(w, kinds):
    row = await begun(w)
    await cut_walk(row, kinds, w.services, until=math.inf)
    board = await read_board(w.services)
    [first, second, *_] = board.of_walk(await read_walk(EVERYTHING.cursor, w.services))
    for piece in (first, second):
        stored = await w.services.cursors.read(piece.name)
        done = {**piece.position, "done": True, "counts": {"synced": 2}}
        await w.services.cursors.write(replace(stored.value, position=done), stored.etag)
    w.clock.advance(8)
    (told,) = await list_walks(w.services)
    assert (told.share, told.slices, told.slices_done, told.counts) == (0.4, 5, 2, {"synced": 4})
    assert told.seconds_left == pytest.approx(12, rel=0.2)
    await control_walk(EVERYTHING.cursor, Deed.CANCEL, w.services, who="ada")
    [told] = await list_walks(w.services)
    assert (told.share, told.seconds_left, told.counts) == (None, None, {"synced": 4})


async def test_a_container_that_is_not_there_ends_the_walk_with_its_code(w, kinds):
    gone = new_backfill(replace(EVERYTHING, container="gone"))
    await begin_walk(gone, w.services, who="ada")
    await tend_walks(kinds, w.services, seconds=60)
    row = await read_walk(gone.name, w.services)
    assert (row.state, row.problem) == (WalkState.FAILED, "event.foreign_source")
