"""A walk that an operator asks for, by HTTP or by a button, has its first slice taken at once, and not by the timer."""

import time
from datetime import UTC, datetime

from tests.e2e.running import World

TICK = 30
"""Seconds between two runs of the timer, which begin with the minute."""

KINDS = ("backfill", "replay blob", "replay study", "verify")


def to_next_tick() -> float:
    now = datetime.now(UTC)
    return TICK - (now.second + now.microsecond / 1e6) % TICK


def begun_since(world: World, before: datetime) -> dict[str, dict]:
    walks = world.api.get("walks").raise_for_status().json()["walks"]
    return {walk["kind"]: walk for walk in walks if datetime.fromisoformat(walk["began"]) >= before}


def test_what_is_asked_for_is_worked_on_before_the_timer_runs(embedded_world, place):
    world = embedded_world
    world.upload(place.name("one"), place.file())
    world.settle()
    if to_next_tick() < TICK - 5:
        time.sleep(to_next_tick() + 2)  # the run of this tick has looked for walks, and found none of ours
    before, seconds = datetime.now(UTC), to_next_tick()
    end = time.monotonic() + seconds - 1
    compare = {"action": "compare-all", "who": "Ada"}
    asked = [
        world.api.post("walks", json={"who": "Ada", "container": world.addresses["container"]}),
        world.api.post("replay", json={"who": "Ada", "source": "blob", "from": before.isoformat()}),
        world.api.post("replay", json={"who": "Ada", "study": place.study()}),
        world.api.post("dashboard/act", data=compare, headers={"Origin": world.addresses["api"].removesuffix("/api")}),
    ]
    assert [answer.status_code for answer in asked] == [202, 202, 202, 303]
    taken: set[str] = set()
    while time.monotonic() < end and len(taken) < len(KINDS):
        walks = begun_since(world, before)
        taken |= {kind for kind, walk in walks.items() if walk["workers"] or walk["slices_done"]}
        time.sleep(0.2)
    assert taken == set(KINDS), f"{sorted(taken)} in {seconds:.0f} s"
    world.settle()
