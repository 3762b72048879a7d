"""
One mutant against the simulation, in a process of its own.
"""

from __future__ import annotations

import logging
import os
import random
import resource
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

from tests.simulation import feeds, lost_answers
from tests.simulation.end_state import difference
from tests.simulation.interleavings import SCRIPTS
from tests.simulation.mutants import BACK_AND_FORTH, CHAIN, DOCUMENTS, copied
from tests.simulation.schedules import SHARED, SLOW, SWITCH, UPDATE, Scenario, schedule
from tests.simulation.world import Faults, World

KILLED = 3
"""Exit code when something noticed the mutant."""

SEEDS = 25
"""Schedules of each family."""


LONGEST = 90
"""Seconds of processor time; what takes longer, as what never ends, is killed by the system, and was noticed."""


def loaded(module: str, source: str) -> dict[str, ModuleType]:
    """Return the chain of modules with one replaced; what judges the end goes on with the real ones."""
    kept = {name: import_module(name) for name in CHAIN}
    try:
        for name in CHAIN[CHAIN.index(module) :]:
            if name != module:
                copied(name, (), rule=module)
                continue
            changed = sys.modules[name] = ModuleType(name)
            changed.__file__ = kept[name].__file__
            exec(compile(source, str(changed.__file__), "exec"), changed.__dict__)
        return {name: sys.modules[name] for name in CHAIN}
    finally:
        sys.modules.update(kept)


def wrongs(module: str, source: str) -> Iterator[object]:
    """Play every check, the fastest first; a result that is not None means that the mutant was noticed."""
    if module == "sync.feeds.dicom_windows":
        changed = ModuleType(module)
        changed.__file__ = import_module(module).__file__
        exec(compile(source, str(changed.__file__), "exec"), changed.__dict__)
        yield from (script(changed) for script in (feeds.appeared_after_a_rest, feeds.passed_while_hidden))
        yield from (feeds.schedule(seed, windows_module=changed) for seed in range(10 * SEEDS))
    if module not in CHAIN:
        return
    chain = loaded(module, source)
    pipeline, handling = chain["sync.pipeline"], chain["sync.delivery.handlers"]
    for script in (*SCRIPTS, *lost_answers.SCRIPTS):
        world = World(random.Random(0), Faults(), pipeline=pipeline, handling=handling)
        script(world)
        yield difference(world)
    for seed in range(SEEDS):
        for scenario in (Scenario(), BACK_AND_FORTH, DOCUMENTS, SHARED, UPDATE, SLOW, SWITCH):
            yield schedule(seed, scenario, pipeline_module=pipeline, handling_module=handling)
        yield feeds.schedule(seed, pipeline_module=pipeline)


def attempt(module: str, source: str) -> int:
    """Return `KILLED` when the mutant was noticed, by a wrong end or by an exception; 0 when it survived."""
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
    try:
        return KILLED if any(wrong is not None for wrong in wrongs(module, source)) else 0
    except Exception:  # noqa: BLE001 -- whatever a mutant raises, it was noticed
        return KILLED


def attempt_apart(module: str, source: str) -> bool:
    """Attempt a mutant in a child of this process, which has all modules already; return whether it was noticed."""
    child = os.fork()
    if child == 0:
        os._exit(attempt(module, source))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) != 0
