"""
Random schedules over the real pipeline.

A seeded scheduler picks what happens next: an object changes, a message is delivered (perhaps twice), a
running delivery takes one more port call, or crashes there and is delivered again. When nothing is left to do, FHIR,
the dead letters and the ledger must equal those of a clean world that sees only the objects as they are in the end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from sync import pipeline
from sync.delivery import handlers
from tests.simulation.contents import CONTENTS, Content
from tests.simulation.ehr import Ehr
from tests.simulation.end_state import difference
from tests.simulation.world import LONG_PACE, Faults, World

MAX_STEPS = 20_000


def play(world: World, changes: list[tuple[str, Content | bytes | None]]) -> str | None:
    """
    Play one schedule to its end.

    Returns
    -------
    str or None
        What is wrong with the end state; None when all is well.
    """
    rng, pending = world.rng, list(changes)
    for _ in range(MAX_STEPS):
        world.collect_messages()
        if not (pending or world.actors or world.object_messages or world.study_messages):
            world.clock.advance(LONG_PACE)
            world.land()
            if world.store.study_queue.messages:
                continue
            if world.store.dirty.table.values():
                world.sweep()
            elif world.next_policy:
                world.switch()
            elif not world.replay():
                return difference(world)
            continue
        _one_step(world, pending, rng)
    return "no progress"


def _choices(world: World, pending: list[tuple[str, Content | bytes | None]], rng: random.Random) -> list[str]:
    """Return everything that may happen next, each as often as it is likely."""
    room = len(world.actors) < 4
    choices = ["step"] * (3 if world.actors else 0)
    busy = bool(world.actors or world.object_messages or world.study_messages)
    choices += ["change"] if pending and (not busy or rng.random() < world.faults.haste) else []
    choices += ["object"] if world.object_messages and room else []
    choices += ["study"] if world.study_messages and room else []
    choices += ["sweep"] if _may_sweep(world) else []
    choices += ["note"] if world.faults.notes and busy else []
    choices += ["land_one"] if world.under_way else []
    choices += ["admit"] if world.ehr and not world.ehr.knows_p1 and busy and rng.random() < 0.05 else []
    choices += ["switch"] if world.next_policy and busy and rng.random() < 0.05 else []
    return choices or ["none"]


def _one_step(world: World, pending: list[tuple[str, Content | bytes | None]], rng: random.Random) -> None:
    match rng.choice(_choices(world, pending, rng)):
        case "change":
            world.change(*pending.pop(0))
        case "object":
            world.start_object(*world.object_messages.pop(rng.randrange(len(world.object_messages))))
        case "study":
            world.start_study(*world.study_messages.pop(rng.randrange(len(world.study_messages))))
        case "sweep":
            world.faults.sweeps -= 1
            world.sweep()
        case "note":
            world.faults.notes -= 1
            world.note()
        case "land_one" | "admit" | "switch" as happens:
            getattr(world, happens)()
        case "step":
            actor = rng.choice(world.actors)
            if world.faults.crashes and rng.random() < world.faults.crash_rate:
                world.faults.crashes -= 1
                world.crash(actor)
            else:
                world.step(actor)


def _may_sweep(world: World) -> bool:
    room = len(world.actors) + len(world.study_messages) < 4
    return bool(world.store.dirty.table.values()) and room and world.faults.sweeps > 0


@dataclass(frozen=True)
class Scenario:
    """What a family of schedules is made of; each schedule picks one of every tuple."""

    contents: tuple[Content | bytes | None, ...] = CONTENTS
    names: tuple[int, ...] = (1, 2, 2, 3)
    changes: tuple[int, ...] = (1, 2, 3, 4)
    crashes: tuple[int, ...] = (0, 1, 2, 3)
    crash_rate: tuple[float, ...] = (0.05, 0.2)
    timeouts: tuple[int, ...] = (0, 0, 1, 2)
    sweeps: tuple[int, ...] = (0, 2, 5)
    haste: tuple[float, ...] = (0.03, 0.2, 1.0)
    refusals: tuple[int, ...] = (0,)
    notes: tuple[int, ...] = (0,)
    ehr: bool = False
    policy: tuple[str, ...] = ("link-or-create",)
    next_policy: tuple[str | None, ...] = (None,)
    quiet: tuple[float, ...] = (0.0,)
    pace: tuple[float, ...] = (LONG_PACE,)
    late: tuple[int, ...] = (0,)
    halves: tuple[int, ...] = (0,)


SHARED = Scenario(refusals=(0, 0, 1, 2), notes=(0, 1, 3), ehr=True)
"""Another system writes to the same FHIR service, and it refuses a transaction now and then."""

POLICIES = ("link-or-create", "update", "reference-only")
UPDATE = replace(SHARED, contents=(*CONTENTS, Content("3", "P2", "31"), Content("4", "P2", "41")), policy=("update",))
REFERENCE_ONLY = replace(SHARED, policy=("reference-only",))
SLOW = replace(
    SHARED,
    quiet=(0.0, 1.0, 5.0),
    pace=(0.2, 1.0, 10.0),
    late=(0, 1, 2),
    halves=(0, 1, 2),
    crashes=(0, 0, 1),
)
"""Studies are not due yet when their messages come, writes take effect late, and some only in part."""

SWITCH = replace(UPDATE, policy=POLICIES, next_policy=POLICIES)
"""The policy changes while deliveries are under way."""


def schedule(
    seed: int,
    scenario: Scenario = Scenario(),
    *,
    pipeline_module: ModuleType = pipeline,
    handling_module: ModuleType = handlers,
) -> str | None:
    """Build the world of a seed, play it, and say what is wrong in the end."""
    rng = random.Random(seed)
    names = ["a/1", "a/2", "b/3"][: rng.choice(scenario.names)]
    pool = rng.sample(scenario.contents, rng.randint(2, len(scenario.contents)))
    changes = [(name, rng.choice(pool)) for name in names for _ in range(rng.choice(scenario.changes))]
    rng.shuffle(changes)
    faults = Faults(
        crashes=rng.choice(scenario.crashes),
        crash_rate=rng.choice(scenario.crash_rate),
        timeouts=rng.choice(scenario.timeouts),
        duplicates=rng.choice([0, 0.3]),
        sweeps=rng.choice(scenario.sweeps),
        haste=rng.choice(scenario.haste),
        late=_pick(rng, scenario.late),
        halves=_pick(rng, scenario.halves),
    )
    if scenario.ehr:
        faults.refusals, faults.notes = rng.choice(scenario.refusals), rng.choice(scenario.notes)
    ehr = Ehr(knows_p1=rng.random() < 0.3) if scenario.ehr else None
    world = World(
        rng,
        faults,
        pipeline=pipeline_module,
        handling=handling_module,
        varied=True,
        ehr=ehr,
        policy=_pick(rng, scenario.policy),
        next_policy=_pick(rng, scenario.next_policy),
        quiet=_pick(rng, scenario.quiet),
        pace=_pick(rng, scenario.pace),
        eager=seed % 2 == 1,  # by the seed itself: it takes nothing from the generator
    )
    return play(world, changes)


def _pick(rng: random.Random, values: tuple[Any, ...]) -> Any:
    """Choose; a single value takes nothing from the generator, so that seeds keep their schedules."""
    return rng.choice(values) if len(values) > 1 else values[0]
