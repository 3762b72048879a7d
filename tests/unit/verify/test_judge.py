"""A drift is announced and counted once, whichever check finds it: the timer, the command or a page."""

from __future__ import annotations

import pytest

from sync.model import DriftKind
from sync.protocol.outbox import sweep_outbox
from sync.testing.results import MemoryTopic
from sync.verify.judge import Judge
from tests.unit.verify.test_full_scan import noted, verify
from tests.unit.verify.test_reconcile import round_of
from tests.unit.web.test_dashboard import post
from tests.worlds import STUDY, MemoryWorld, study_id


async def by_timer(w):
    await round_of(w)


async def by_command(w):
    await verify(w)


async def by_command_of_one_study(w):
    await verify(w, study=STUDY)


async def by_page(w):
    answer = await post(w, action="verify-study", uid=STUDY.study_instance_uid, who="Ada")
    assert answer.status == 303


CHECKS = [by_timer, by_command, by_command_of_one_study, by_page]


@pytest.fixture
async def w():
    world = MemoryWorld(topic=MemoryTopic(), operators="key", containers="dicom")
    await world.arrive("a")
    world.topic.events.clear()
    world.erase("ImagingStudy", study_id(STUDY))
    return world


async def announced(w):
    w.clock.advance(60)  # the sweep leaves to others what was put in just now
    await sweep_outbox(w.services)
    return [event.data["code"] for event in w.topic.events if event.type.endswith("drift.found.v1")]


@pytest.mark.parametrize("check", CHECKS)
async def test_a_drift_is_announced_counted_and_stored_by_whichever_check_finds_it(w, check):
    await check(w)
    assert await announced(w) == ["drift.missing"]
    assert await noted(w) == {DriftKind.MISSING: 1}


@pytest.mark.parametrize("first", CHECKS)
@pytest.mark.parametrize("second", CHECKS)
async def test_a_known_drift_is_not_announced_again_by_another_check(w, first, second):
    await first(w)
    w.clock.advance(60)
    await second(w)
    assert await announced(w) == ["drift.missing"]
    assert await noted(w) == {DriftKind.MISSING: 1}


async def test_a_drift_that_was_right_in_between_is_announced_again(w):
    await by_command(w)
    await verify(w, repair=True)
    w.clock.advance(60)
    w.erase("ImagingStudy", study_id(STUDY))
    await by_page(w)
    assert await announced(w) == ["drift.missing", "drift.missing"]


async def test_a_conclusion_that_died_before_it_was_stored_announces_the_same_event(w):
    class Died(BaseException):
        """The process ends here."""

    async def down(*_):
        raise Died

    note, w.services.drifts.note = w.services.drifts.note, down
    with pytest.raises(Died):
        await by_timer(w)
    w.services.drifts.note = note
    await by_timer(w)
    assert await announced(w) == ["drift.missing"], "one event: its id is that of the round"
    assert await noted(w) == {DriftKind.MISSING: 1}


async def test_what_could_not_be_read_at_first_is_not_announced_again(w):
    await by_timer(w)
    judge = Judge(w.services, found_in="x")
    known = [drift async for drift in w.services.drifts.all()]
    assert await judge.conclude(STUDY.key, known, known) == []
    assert judge.subjects == [STUDY.key]
