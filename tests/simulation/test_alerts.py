"""
Raised once, cleared once, whichever process evaluates or dies in between; without a rule, not.

What was sent twice must be the same notice with the same id, and that only after a death or an answer that was lost.
"""

from collections import Counter

import pytest

from sync.monitoring.alerts import evaluation
from tests.simulation.alerts import AlertWorld, always_second, history, stoppages
from tests.simulation.mutants import apart

SEEDS = 12
EXPECTED = ["raised", "cleared"] * 3
WORST = {"crash_rate": 0.03, "fail_rate": 0.3, "outage_rate": 0.02}


def told(world, code="alert.lag"):
    """Return what each channel was sent about an alert."""
    return [channel.steps(code) for channel in world.channels.values()]


@pytest.mark.parametrize("seed", range(3))
async def test_two_workers_raise_once_and_clear_once(seed):
    world = await history(seed)
    assert told(world) == [EXPECTED] * 2
    for channel in world.channels.values():
        assert len(channel.got) == len(EXPECTED)
        notices = channel.distinct()
        assert [notice.alert for notice in notices[::2]] == [notice.alert for notice in notices[1::2]]
        assert len({notice.alert for notice in notices}) == 3


async def test_deaths_outages_and_failing_channels_lose_nothing_and_make_nothing_up():
    repeats, crashes = Counter(), 0
    for seed in range(SEEDS):
        world = await history(seed, **WORST)
        assert told(world) == [EXPECTED] * 2, seed
        repeats[sum(len(channel.got) for channel in world.channels.values()) - 2 * len(EXPECTED)] += 1
        crashes += world.crashes
    assert crashes > SEEDS  # the schedules are as bad as they are meant to be
    assert repeats[0] < SEEDS


async def test_a_channel_that_fails_alone_sends_nothing_twice():
    for seed in range(5):
        world = await history(seed, fail_rate=0.5)
        assert told(world) == [EXPECTED] * 2
        assert all(len(channel.got) == len(EXPECTED) for channel in world.channels.values())


async def failing_webhook(seed, module=evaluation):
    """One channel fails for good while a study is late and is not any more; then it is back, within the hour."""
    world = AlertWorld(seed, module=module)
    world.channels["webhook"].fail_rate = 1.0
    for broken in (True, False):
        await world.late(broken=broken)
        for _ in range(4):
            await world.storm(rounds=1)
            world.clock.advance(60)
    return world


async def test_a_channel_that_fails_for_good_holds_up_no_other_and_is_told_in_order_when_it_is_back():
    for seed in range(5):
        world = await failing_webhook(seed)
        assert told(world) == [[], ["raised", "cleared"]]
        await world.peace()
        assert told(world) == [["raised", "cleared"]] * 2


async def test_who_watches_from_outside_rings_once_when_the_app_stops_and_once_when_it_is_back():
    for seed in range(SEEDS):
        world = await stoppages(seed, crash_rate=0.02, outage_rate=0.003)
        assert told(world, "alert.stopped") == [["raised", "cleared"] * 2] * 2, seed


async def test_an_app_that_never_gets_the_lease_is_not_taken_for_stopped():
    assert told(await always_second(evaluation), "alert.stopped") == [[], []]


async def acknowledging(seed, module=evaluation):
    """Two people take note of two alerts while both are evaluated, and one of the alerts is raised anew later."""
    world = AlertWorld(seed, module=module)
    await world.late(broken=True)
    await world.drifting(broken=True)
    await world.peace(rounds=1)
    for _ in range(2):
        s = world.services
        works = [world.worker(), world.worker()]
        works += [module.acknowledge(code, who, s()) for code, who in (("alert.lag", "Ada"), ("alert.drift", "Eve"))]
        await world.run(*works)
        world.clock.advance(100)
    return world


async def taken(world, module=evaluation):
    cursors = {row.name: row for row in world.store.cursors.table.values()}
    raised = module.Evaluated.of(cursors[module.CURSOR]).states
    noted = {code: module.acknowledgement_of(raised[code], cursors.get(module.ACKNOWLEDGED)) for code in raised}
    return {code: acknowledgement.who for code, acknowledgement in noted.items() if acknowledgement}


async def test_no_acknowledgement_is_lost_and_none_outlives_its_alert():
    for seed in range(SEEDS):
        world = await acknowledging(seed)
        assert await taken(world) == {"alert.lag": "Ada", "alert.drift": "Eve"}, seed
        assert told(world) == [["raised"]] * 2
        await world.late(broken=False)
        await world.peace()
        assert await taken(world) == {"alert.drift": "Eve"}
        await world.late(broken=True)
        await world.peace()
        assert await taken(world) == {"alert.drift": "Eve"}
        assert told(world) == [["raised", "cleared", "raised"]] * 2


async def _history_is_wrong(seed, module):
    return told(await history(seed, module=module, **WORST)) != [EXPECTED] * 2


async def _something_is_sent_twice(seed, module):
    world = await history(seed, fail_rate=0.5, module=module)
    return any(len(channel.got) != len(EXPECTED) for channel in world.channels.values())


async def _the_other_channel_waits(seed, module):
    return told(await failing_webhook(seed, module)) != [[], ["raised", "cleared"]]


async def _stoppages_are_wrong(seed, module):
    world = await stoppages(seed, module=module)
    return told(world, "alert.stopped") != [["raised", "cleared"] * 2] * 2


async def _a_running_app_is_overlooked(_, module):
    return told(await always_second(module), "alert.stopped") != [[], []]


async def _an_acknowledgement_is_lost(seed, module):
    return await taken(await acknowledging(seed, module), module) != {"alert.lag": "Ada", "alert.drift": "Eve"}


async def _an_acknowledgement_stays(seed, module):
    world = await acknowledging(seed, module)
    for broken in (False, True):
        await world.late(broken=broken)
        await world.peace()
    return "alert.lag" in await taken(world, module)


MUTANTS = {
    "what a predecessor left unsent is sent": (
        "[*before.unsent, *[(n, channel) for n in notices for channel in channels]]",
        "[(n, channel) for n in notices for channel in channels]",
        _history_is_wrong,
    ),
    "a notice is kept before it is sent": (
        "        await lease.advance(_position(alerts, unsent, ran_at))\n        remaining =",
        "        remaining =",
        _history_is_wrong,
    ),
    "what was sent is struck out": (
        "        if remaining != unsent:\n            await lease.advance(_position(alerts, remaining, ran_at))\n",
        "",
        _something_is_sent_twice,
    ),
    "an alert is cleared only when its cause is gone for a while": (
        "    if (now - since).total_seconds() < limits.clear_after_seconds:\n",
        "    if False:\n",
        _history_is_wrong,
    ),
    "the while begins anew when the cause is back": (
        "        return replace(current, quiet_since=None), None\n    since",
        "        return current, None\n    since",
        _history_is_wrong,
    ),
    "a channel that fails holds up no other": (
        "        if name in {failing for _, failing in remaining}:\n",
        "        if remaining:\n",
        _the_other_channel_waits,
    ),
    "who watches from outside is not the app": (
        "(before.app_at if outside else None) or s.clock.now()",
        "s.clock.now()",
        _stoppages_are_wrong,
    ),
    "the app that evaluates runs": (
        "(before.app_at if outside else None) or s.clock.now()",
        "before.app_at or s.clock.now()",
        _stoppages_are_wrong,
    ),
    "an app that does not get the lease says that it runs": (
        "                await _sign(s)\n",
        "                pass\n",
        _a_running_app_is_overlooked,
    ),
    "an acknowledgement that lost its race is written again": (
        '    await change_position(ACKNOWLEDGED, with_entry, s, subject="an acknowledgement")\n',
        (
            "    stored = await s.cursors.read(ACKNOWLEDGED)\n"
            "    row, etag = (stored.value, stored.etag) if stored is not None else (Cursor(name=ACKNOWLEDGED), None)\n"
            "    with suppress(StoreConflict):\n"
            "        await s.cursors.write(replace(row, position=with_entry(row)), etag)\n"
        ),
        _an_acknowledgement_is_lost,
    ),
    "an acknowledgement leaves those of other alerts": (
        "{**_acknowledged(row), code: entry}",
        "{code: entry}",
        _an_acknowledgement_is_lost,
    ),
    "an acknowledgement holds until the alert is raised anew": (
        " and alert.raised and alert.number == entry.number",
        " and alert.raised",
        _an_acknowledgement_stays,
    ),
}


@pytest.mark.parametrize("rule", MUTANTS)
async def test_without_the_rule_something_is_lost_or_made_up(rule):
    old, new, shows = MUTANTS[rule]
    module = apart("sync.monitoring.alerts.evaluation", (old, new), rule=rule)
    for seed in range(10 * SEEDS):
        if await shows(seed, module):
            return
    pytest.fail(f"no schedule caught that this rule was gone: {rule}")
