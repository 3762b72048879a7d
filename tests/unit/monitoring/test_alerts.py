"""Each rule of the table is raised by what it is for, says so, and is cleared when that is repaired."""

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest

from sync.errors import FhirUnavailable, RemovalHeld, StoreUnavailable
from sync.model import Cursor, DeadLetter, Drift, DriftKind, SubjectKind
from sync.monitoring.alerts import evaluation
from sync.monitoring.alerts.evaluation import acknowledge, evaluate_alerts
from sync.monitoring.alerts.rules import BY_CODE, RULES, Aggregation
from sync.monitoring.alerts.watch import watch
from sync.monitoring.history import Recorder
from sync.monitoring.status import status
from sync.monitoring.verdict import FLOW
from sync.telemetry.instruments import DEAD_LETTERS, FAILURES, FHIR_THROTTLED, TIMER_RUNS
from tests.worlds import STUDY, UNREADABLE, MemoryWorld


class Watched:
    """A world with a timer and a channel."""

    def __init__(self, **settings):
        self.w = MemoryWorld(**settings)
        self.s = self.w.services
        self.recorder = Recorder(self.s.telemetry, self.w.store.metrics, self.w.clock)
        self.got = []

    async def send(self, notice):
        self.got.append(notice)

    async def tick(self, seconds=30, times=1):
        for _ in range(times):
            self.w.clock.advance(seconds)
            await self.evaluate()

    async def evaluate(self, *, outside=False):
        channels = {"channel": self}
        return await evaluate_alerts(self.s, recorder=self.recorder, channels=channels, outside=outside)

    def told(self):
        return [(notice.step, notice.code) for notice in self.got]

    async def settle(self, code):
        """What raised it is over; let so much time pass that it must be cleared."""
        await self.tick(60, BY_CODE[code].minutes + 4)


async def old_study(world):
    await world.w.store.dirty.mark(STUDY, world.w.clock.now() - timedelta(seconds=1000))


async def study_done(world):
    row = await world.w.store.dirty.read(STUDY)
    await world.w.store.dirty.delete(STUDY, row.etag)


async def old_message(world):
    await world.w.store.study_queue.enqueue(STUDY)
    await world.tick(60, 10)


async def message_done(world):
    world.w.store.study_queue.messages.clear()


async def old_feed(world):
    stuck = Cursor(name="dicom-feed pacs", advanced_at=world.w.clock.now() - timedelta(seconds=5000))
    await world.w.store.cursors.write(stuck, None)


async def feed_moves(world):
    while True:
        row = await world.w.store.cursors.read("dicom-feed pacs")
        moved = Cursor(name="dicom-feed pacs", advanced_at=world.w.clock.now() + timedelta(hours=1))
        await world.w.store.cursors.write(moved, row.etag)
        return


async def unseen(world):
    silent = Cursor(
        name="missing_events", position={"unseen_since": (world.w.clock.now() - timedelta(hours=1)).isoformat()}
    )
    await world.w.store.cursors.write(silent, None)


async def seen(world):
    row = await world.w.store.cursors.read("missing_events")
    await world.w.store.cursors.write(Cursor(name="missing_events"), row.etag)


async def drifted(world):
    stale = Drift(subject="s", kind=DriftKind.STALE, resource="ImagingStudy")
    await world.w.store.drifts.note("s", [stale], world.w.clock.now())


async def agrees(world):
    await world.w.store.drifts.note("s", [], world.w.clock.now())


async def held_removal(world):
    held = RemovalHeld("21 studies")
    await world.w.store.dead_letters.put(DeadLetter.of(SubjectKind.OBJECT, "a", held, world.w.clock.now()))


async def removal_decided(world):
    await world.w.store.dead_letters.clear(SubjectKind.OBJECT, "a")


def counted(instrument, amount, **attributes):
    async def count(world):
        world.s.telemetry.measure(instrument, amount, **attributes)

    return count


async def keeps_failing(world):
    """Fail for eleven minutes while another phase of the same timer succeeds."""
    for _ in range(11):
        world.s.telemetry.measure(TIMER_RUNS, timer="reconcile", phase="list_studies", outcome="done")
        world.s.telemetry.measure(TIMER_RUNS, timer="reconcile", phase="list_patient", outcome="failed")
        await world.tick(60)


async def succeeds(world):
    world.s.telemetry.measure(TIMER_RUNS, timer="reconcile", phase="list_patient", outcome="done")


async def no_timer(world):
    world.w.clock.advance(1000)


async def nothing(world):
    return


BROKEN = {
    "alert.lag": (old_study, study_done),
    "alert.queue": (old_message, message_done),
    "alert.feed": (old_feed, feed_moves),
    "alert.missing_events": (unseen, seen),
    "alert.fhir_failing": (counted(FAILURES, 3, code="fhir.unavailable"), nothing),
    "alert.fhir_throttling": (counted(FHIR_THROTTLED, 51), nothing),
    "alert.access": (counted(FAILURES, 1, code="fhir.forbidden"), nothing),
    "alert.dead_letters": (counted(DEAD_LETTERS, 11, code="header.not_dicom"), nothing),
    "alert.poison": (counted(DEAD_LETTERS, 1, code="poison.study"), nothing),
    "alert.defect": (counted(FAILURES, 1, code="sync.unexpected"), nothing),
    "alert.delivery": (counted(FAILURES, 1, code="delivery.too_long"), nothing),
    "alert.removals": (held_removal, removal_decided),
    "alert.drift": (drifted, agrees),
    "alert.timer": (keeps_failing, succeeds),
    "alert.stopped": (no_timer, nothing),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
async def test_every_rule_is_raised_once_and_cleared_once(rule):
    world = Watched()
    object.__setattr__(world.s, "dicom_feed", SimpleNamespace(account="pacs"))
    break_it, mend_it = BROKEN[rule.code]
    await world.tick()
    await break_it(world)
    await world.tick(times=3)
    assert world.told() == [("raised", rule.code)]
    assert world.got[0].text.startswith(f"{rule.title}: ")
    assert world.got[0].text.endswith(rule.hint)
    said = (await status(world.s))["health"]
    if rule.code == "alert.stopped":  # the app that tells of it runs again: the alert is clearing
        assert said["verdict"] == "attention"
    elif rule.severity.value == 1:
        assert said["verdict"] == "failing"
    else:
        assert said["verdict"] == ("behind" if rule.code in FLOW else "attention")
    assert said["reasons"][0].startswith(rule.code)
    await mend_it(world)
    await world.settle(rule.code)
    assert world.told() == [("raised", rule.code), ("cleared", rule.code)]
    assert (await status(world.s))["health"] == {"verdict": "in sync", "reasons": []}


def test_the_table_is_sound():
    assert len(BY_CODE) == len(RULES)
    for rule in RULES:
        keys = {attribute.key for attribute in rule.instrument.attributes}
        assert set(rule.where) <= keys
    assert [rule.code for rule in RULES if rule.figure is Aggregation.ABSENT] == ["alert.stopped"]


async def test_a_figure_that_hovers_around_its_threshold_rings_once():
    world = Watched(quiet_period=0)
    await old_study(world)
    for age in (301, 299, 301, 270, 350, 250, 301):
        await study_done(world)
        await world.w.store.dirty.mark(STUDY, world.w.clock.now() + timedelta(seconds=60 - age))
        await world.tick(60)
    assert world.told() == [("raised", "alert.lag")]


async def test_a_short_relief_does_not_clear():
    world = Watched()
    await old_study(world)
    await world.tick()
    for _ in range(5):
        await study_done(world)
        await world.tick(50)
        await old_study(world)
        await world.tick(10)
    assert world.told() == [("raised", "alert.lag")]


async def test_a_stopped_app_is_told_by_who_asks():
    world = Watched()
    await world.tick()
    world.w.clock.advance(181)
    said = (await status(world.s))["health"]
    assert said["verdict"] == "failing"
    assert said["reasons"][0].startswith("alert.stopped")


async def test_a_stopped_app_is_raised_by_who_watches_from_outside_and_cleared_once_when_it_is_back():
    world = Watched()
    await world.tick()
    for _ in range(12):
        world.w.clock.advance(30)
        await world.evaluate(outside=True)
    assert world.told() == [("raised", "alert.stopped")]
    assert (await status(world.s))["health"]["reasons"] == [
        "alert.stopped: The timers of the function app do not run: 360 s, allowed 180 s."
    ]
    for _ in range(6):
        await world.tick()
        await world.evaluate(outside=True)
    assert world.told() == [("raised", "alert.stopped"), ("cleared", "alert.stopped")]
    assert (await status(world.s))["health"]["verdict"] == "in sync"


async def test_an_app_that_never_ran_is_noticed_by_who_watches():
    world = Watched()
    await world.evaluate(outside=True)
    for _ in range(7):
        world.w.clock.advance(30)
        await world.evaluate(outside=True)
    assert world.told() == [("raised", "alert.stopped")]


async def test_an_app_that_never_ran_is_noticed_at_once_when_a_study_waits_for_it():
    world = Watched()
    await old_study(world)
    await world.evaluate(outside=True)
    assert ("raised", "alert.stopped") in world.told()


async def test_no_storage_changes_nothing():
    world = Watched()
    await old_study(world)
    await world.tick()
    kept = await world.w.store.cursors.read(evaluation.CURSOR)

    async def down(*_):
        raise StoreUnavailable("503")

    world.w.store.study_queue.depths = down
    with pytest.raises(StoreUnavailable):
        await world.tick(100)
    after = await world.w.store.cursors.read(evaluation.CURSOR)
    assert after.value.position == kept.value.position


async def test_an_acknowledgement_holds_until_the_alert_is_raised_anew():
    world = Watched()
    assert await acknowledge("alert.lag", "ada", world.s) is None
    await old_study(world)
    await world.tick()
    assert await world.s.audit.newest(9) == []
    assert (await acknowledge("alert.lag", "ada", world.s)).raised
    assert [(entry.who, entry.action, entry.subject) for entry in await world.s.audit.newest(9)] == [
        ("ada", "alert.acknowledge", "alert.lag")
    ]
    assert (await status(world.s))["alerts"][0]["acknowledged_by"] == "ada"
    await world.tick()
    assert (await status(world.s))["alerts"][0]["acknowledged_by"] == "ada"
    await study_done(world)
    await world.settle("alert.lag")
    await old_study(world)
    await world.tick()
    assert (await status(world.s))["alerts"][0]["acknowledged_by"] is None
    assert world.told() == [
        ("raised", "alert.lag"),
        ("cleared", "alert.lag"),
        ("raised", "alert.lag"),
    ]


async def test_the_same_files_uploaded_again_are_the_same_dead_letters_and_raise_no_alert():
    world = Watched()
    for _ in range(4):
        for number in range(5):
            await world.w.ingest(world.w.put(f"{number}.dcm", UNREADABLE))
        await world.tick()
    assert [letter.attempts for letter in world.w.store.dead_letters.table.values()] == [4] * 5
    assert world.told() == [], "five dead letters, of which ten are allowed"
    for number in range(5, 11):
        await world.w.ingest(world.w.put(f"{number}.dcm", UNREADABLE))
    await world.tick()
    assert world.told() == [("raised", "alert.dead_letters")]


async def test_a_notice_holds_nothing_of_a_file():
    world = Watched(alert={"dead_letters": 0})
    await world.w.ingest(world.w.put("Doe-Jane.dcm", UNREADABLE))
    await world.tick()
    assert world.told() == [("raised", "alert.dead_letters")]
    assert "Doe" not in json.dumps([notice.as_json() for notice in world.got])


async def test_an_outage_of_fhir_raises_within_a_minute_and_clears_after_it():
    world = Watched(quiet_period=0, alert={"stopped_seconds": 10_000})
    world.w.fhir.outage = FhirUnavailable("503")
    await world.w.ingest(world.w.put("a"))
    await world.tick(1)
    for _ in range(12):
        for study in world.w.store.study_queue.take():
            from sync.delivery.handlers import handle_study_message
            from sync.events import study_message

            await handle_study_message(study_message(study), world.s)
        await world.tick(5)
    assert world.told() == [("raised", "alert.fhir_failing")]
    world.w.fhir.outage = None
    await world.w.settle()
    await world.settle("alert.fhir_failing")
    assert world.told() == [("raised", "alert.fhir_failing"), ("cleared", "alert.fhir_failing")]


async def test_a_failing_source_stops_no_warning():
    class Broken:
        async def page(self, *_, **__):
            raise FhirUnavailable("503")

    world = Watched()
    await old_study(world)
    await watch(world.s, recorder=world.recorder, channels={"channel": world}, listing=Broken())
    assert world.told() == [("raised", "alert.lag")]
