"""The ceiling on removals: what is past it stays, waits for an operator, and nothing removes without asking."""

import asyncio
from datetime import timedelta

import pytest

from sync.dead_letters.held_removals import confirm_removals, refuse_removals
from sync.dead_letters.self_retry import retry_passing
from sync.delivery.handlers import handle_change, handle_object_message
from sync.errors import RemovalHeld, SourceGone
from sync.model import Action, Change, Cursor, Projected, StudyRef, SubjectKind
from sync.ports import Counted
from sync.protocol.removals import FEW, GRACE, WINDOW, ensure_removable, may_remove, read_ceiling
from tests.held_removals import MANY, World
from tests.worlds import SOURCES, events

WHO = {"who": "ada", "why": "checked the source"}


@pytest.fixture
async def w():
    return World()


async def test_before_and_after_a_window_none_of_the_allowed_removals_is_used(w):
    """A row that no removal has written since said 0 of 0, and one of yesterday its counts "in this hour"."""
    unused = await read_ceiling(w.services)
    assert (len(unused.studies), unused.limit) == (0, FEW)
    await may_remove("2.25.1", w.services)
    assert len((await read_ceiling(w.services)).studies) == 1
    w.clock.advance(WINDOW.total_seconds())
    later = await read_ceiling(w.services)
    assert (len(later.studies), later.limit) == (0, FEW)


async def test_no_more_studies_go_within_an_hour_than_the_ceiling_allows(w):
    await w.fill()
    await w.lose()
    assert w.in_fhir() == MANY - FEW
    assert len(w.held()) == MANY - FEW
    assert (await read_ceiling(w.services)).held_since is not None


async def test_the_lower_of_number_and_share_holds():
    w = World(max_removals_per_hour=3)
    await w.fill(6)
    await w.lose(6)
    assert w.in_fhir() == 3
    w = World(max_removals_per_hour=0)
    await w.fill(2)
    await w.lose(2)
    assert w.in_fhir() == 2


async def test_a_share_of_many_studies_is_more_than_a_few(w):
    kept = {"kept": {"counts": {"studies": 500}, "at": w.clock.now().isoformat()}}
    await w.services.cursors.write(Cursor(name=Counted.PROJECTIONS.cursor, position=kept), None)
    allowed = [await may_remove(str(number), w.services) for number in range(60)]
    assert sum(allowed) == 50


async def test_a_share_of_everything_bounds_nothing_whatever_was_counted_last():
    w = World(max_removals_per_hour=3 * FEW, max_removal_share_percent=100)
    kept = {"kept": {"counts": {"studies": 1}, "at": w.clock.now().isoformat()}}
    await w.services.cursors.write(Cursor(name=Counted.PROJECTIONS.cursor, position=kept), None)
    assert sum([await may_remove(str(number), w.services) for number in range(4 * FEW)]) == 3 * FEW


async def test_a_study_counts_once_however_many_of_its_instances_go(w):
    for number in range(50):
        await w.ingest(w.put(f"{number}", sop=f"2.25.1.{number + 1}"))
    await w.settle()
    for number in range(50):
        assert await handle_change(w.delete(f"{number}"), w.services) is not None
    await w.settle()
    assert w.in_fhir() == 0
    assert len((await read_ceiling(w.services)).studies) == 1


async def test_a_new_hour_begins_anew_but_never_while_removals_are_held(w):
    assert all([await may_remove(f"a{number}", w.services) for number in range(FEW)])
    w.clock.advance(WINDOW.total_seconds())
    assert all([await may_remove(f"b{number}", w.services) for number in range(FEW)])
    assert not await may_remove("c", w.services)
    w.clock.advance(10 * WINDOW.total_seconds())
    assert not await may_remove("c", w.services)
    assert await may_remove("b0", w.services), "what was counted already may go on"


async def test_two_processes_cannot_both_count_the_last_one(w):
    other = w.process()
    allowed = await asyncio.gather(
        *(may_remove(f"{number}", s) for number in range(FEW) for s in (w.services, other)),
        *(may_remove(f"more {number}", s) for number in range(5) for s in (w.services, other)),
    )
    assert len((await read_ceiling(w.services)).studies) == FEW
    assert sum(allowed[2 * FEW :]) == 0


async def test_many_deletions_at_once_do_not_race_for_the_row():
    w = World(max_removals_per_hour=200)
    writes, read, write = [], w.store.cursors.read, w.store.cursors.write

    async def slow_read(name):
        await asyncio.sleep(0)
        return await read(name)

    async def slow_write(cursor, etag):
        writes.append(cursor.name)
        await asyncio.sleep(0)
        return await write(cursor, etag)

    w.store.cursors.read, w.store.cursors.write = slow_read, slow_write
    kept = {"kept": {"counts": {"studies": 5_000}, "at": w.clock.now().isoformat()}}
    await write(Cursor(name=Counted.PROJECTIONS.cursor, position=kept), None)
    assert all(await asyncio.gather(*(may_remove(f"{number}", w.services) for number in range(100))))
    assert len(writes) == 100


async def test_what_is_confirmed_goes(w):
    await w.fill()
    await w.lose()
    assert await confirm_removals(SOURCES, w.services, **WHO) == MANY - FEW
    await w.run_messages()
    assert (w.in_fhir(), w.held()) == (0, [])
    [*_, entry] = [entry for entry in await w.services.audit.newest(10) if entry.action == "removals.confirm"]
    assert (entry.who, entry.why) == ("ada", "checked the source")


async def test_what_is_confirmed_goes_at_once_however_much_it_is():
    w = World(max_removals_per_hour=3)
    await w.fill(12)
    await w.lose(12)
    assert await confirm_removals(SOURCES, w.services, **WHO) == 9
    await w.run_messages()
    assert (w.in_fhir(), w.held()) == (0, [])
    ceiling = await read_ceiling(w.services)
    assert (ceiling.held_since, len(ceiling.studies), len(ceiling.confirmed)) == (None, 0, 9)
    assert [await may_remove(f"later {number}", w.services) for number in range(4)] == [True, True, True, False]


async def test_a_confirmation_is_of_what_was_held_and_of_nothing_later(w):
    await w.fill(2 * MANY)
    await w.lose()
    await confirm_removals(SOURCES, w.services, **WHO)
    await w.run_messages()
    for number in range(MANY, 2 * MANY):
        await handle_object_message(events(w.delete(f"{number}")), SOURCES, w.services)
    await w.settle()
    assert w.in_fhir() >= MANY - FEW
    assert w.held()


async def test_what_was_held_after_a_confirmation_stays_held_however_often_it_is_delivered(w):
    await w.fill(2 * MANY)
    await w.lose()
    await confirm_removals(SOURCES, w.services, **WHO)
    await w.run_messages()
    w.clock.advance(1)
    later = [events(w.delete(f"{number}")) for number in range(MANY, 2 * MANY)]
    for text in later:
        await handle_object_message(text, SOURCES, w.services)
    await w.settle()
    held, in_fhir = sorted(w.held()), w.in_fhir()
    assert held
    for text in later:
        await handle_object_message(text, SOURCES, w.services)
    await w.settle()
    assert (sorted(w.held()), w.in_fhir()) == (held, in_fhir)


@pytest.mark.parametrize("decide", [lambda s, **how: confirm_removals(SOURCES, s, **how), refuse_removals])
async def test_a_page_that_was_shown_before_removals_were_held_decides_nothing_about_them(w, decide):
    await w.fill()
    shown = w.clock.now()
    w.clock.advance(1)
    await w.lose()
    held, ceiling = w.held(), await read_ceiling(w.services)
    assert await decide(w.services, until=shown, **WHO) == 0
    await w.run_messages()
    assert (w.held(), w.in_fhir()) == (held, MANY - FEW)
    assert (await read_ceiling(w.services)).held_since == ceiling.held_since is not None


async def test_two_clicks_on_one_page_confirm_once(w):
    await w.fill(2 * MANY)
    await w.lose()
    shown = w.clock.now()
    assert await confirm_removals(SOURCES, w.services, until=shown, **WHO) == MANY - FEW
    await w.run_messages()
    w.clock.advance(60)
    for number in range(MANY, 2 * MANY):
        await handle_object_message(events(w.delete(f"{number}")), SOURCES, w.services)
    await w.settle()
    held, in_fhir = w.held(), w.in_fhir()
    assert held
    assert await confirm_removals(SOURCES, w.services, until=shown, **WHO) == 0
    await w.run_messages()
    assert (w.held(), w.in_fhir()) == (held, in_fhir)
    assert (await read_ceiling(w.services)).held_since is not None


async def test_a_time_ahead_confirms_nothing_that_is_held_later(w):
    await w.fill(2 * MANY)
    await w.lose()
    await confirm_removals(SOURCES, w.services, until=w.clock.now() + timedelta(days=1), **WHO)
    assert (await read_ceiling(w.services)).approved_at == w.clock.now()


async def test_what_is_refused_stays(w):
    await w.fill()
    await w.lose()
    assert await refuse_removals(w.services, **WHO) == MANY - FEW
    await w.run_messages()
    assert w.in_fhir() == MANY - FEW
    assert w.held() == []
    assert (await read_ceiling(w.services)).held_since is None


@pytest.mark.parametrize("decide", [lambda s, **how: confirm_removals(SOURCES, s, **how), refuse_removals])
@pytest.mark.parametrize("how", [{"who": "", "why": "x"}, {"who": "x", "why": " "}])
async def test_who_decides_says_who_and_why(w, decide, how):
    with pytest.raises(ValueError):
        await decide(w.services, **how)


async def test_what_is_there_again_is_found_without_an_operator_and_the_ceiling_opens(w):
    await w.fill()
    lost = [(w.ref(f"{number}"), w.store.objects._blobs[w.ref(f"{number}")]) for number in range(MANY)]
    await w.lose()
    for ref, blob in lost:
        w.store.objects._blobs[ref] = blob  # a mount that came back
    w.clock.advance(timedelta(hours=1).total_seconds())
    for _ in range(3):
        await retry_passing(SOURCES, w.services)
        await w.run_messages()
        w.clock.advance(timedelta(hours=1).total_seconds())
    assert w.held() == []
    assert (await read_ceiling(w.services)).held_since is None


async def test_what_is_still_gone_stays_held_however_often_it_is_looked_at(w):
    await w.fill()
    await w.lose()
    for _ in range(5):
        w.clock.advance(timedelta(hours=7).total_seconds())
        await retry_passing(SOURCES, w.services)
        await w.run_messages()
    assert w.in_fhir() == MANY - FEW
    assert len(w.held()) == MANY - FEW


async def test_the_ceiling_is_not_lifted_before_the_first_dead_letter_is_written(w):
    for number in range(FEW + 1):
        await may_remove(f"{number}", w.services)
    await retry_passing(SOURCES, w.services)
    assert (await read_ceiling(w.services)).held_since is not None
    w.clock.advance(GRACE.total_seconds() + 1)
    await retry_passing(SOURCES, w.services)
    assert (await read_ceiling(w.services)).held_since is None


async def test_a_ledger_that_was_lost_takes_no_more_studies_along_than_the_ceiling(w):
    await w.fill()
    for number in range(MANY):
        study = StudyRef(study_instance_uid=f"2.25.{number + 1}")
        for row in await w.services.ledger.read(study):
            await w.services.ledger.delete(study, row.object_key)
    outcomes = [await w.project(StudyRef(study_instance_uid=f"2.25.{n + 1}"), redelivered=True) for n in range(MANY)]
    assert outcomes.count(Projected.DEAD_LETTERED) == MANY - FEW
    assert w.in_fhir() == MANY - FEW


async def test_objects_that_become_unreadable_or_others_count_too(w):
    await w.fill()
    for number in range(MANY):
        data = b"<html>maintenance</html>" if number % 2 else None
        again = w.put(f"{number}", data, study="2.25.9999", sop=f"2.25.9999.{number + 1}")
        await handle_change(again, w.services)
    await w.settle()
    assert len(w.held()) == MANY - FEW


async def test_a_removal_that_is_held_is_an_error_of_its_own(w):
    for number in range(FEW + 1):
        await may_remove(f"{number}", w.services)
    with pytest.raises(RemovalHeld) as caught:
        await ensure_removable("another", SubjectKind.OBJECT, "x", w.services)
    assert caught.value.code == "removal.held"


async def test_an_object_that_never_was_a_part_of_a_study_is_gone_without_being_counted(w):
    for number in range(MANY):
        change = Change(object=w.ref(f"never {number}"), action=Action.DELETED)
        await handle_change(change, w.services)
    assert (await read_ceiling(w.services)).studies == ()
    with pytest.raises(SourceGone):
        await w.services.objects.etag(w.ref("never 0"))
