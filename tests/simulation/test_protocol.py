"""Any schedule ends right; without any one rule some schedule does not."""

from __future__ import annotations

import random

import pytest

from tests.simulation.amount import schedules
from tests.simulation.end_state import difference
from tests.simulation.interleavings import SCRIPTS
from tests.simulation.lost_answers import SCRIPTS as LOST_ANSWERS
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.mutants_of_answers import MUTANTS as OF_ANSWERS
from tests.simulation.schedules import REFERENCE_ONLY, SHARED, SLOW, SWITCH, UPDATE, Scenario, schedule
from tests.simulation.soonest import SOONEST, is_noticed
from tests.simulation.world import Faults, World

pytestmark = pytest.mark.usefixtures("mapped_once")

SCHEDULES = schedules()
"""How many random schedules the unmutated protocol has to survive; raise it for a long night."""

ENOUGH_TO_CATCH = 20_000


@pytest.mark.parametrize("block", range(10))
def test_every_schedule_ends_as_if_nothing_had_happened(block):
    per_block = SCHEDULES // 10
    wrong = {
        seed: end for seed in range(block * per_block, (block + 1) * per_block) if (end := schedule(seed)) is not None
    }
    assert wrong == {}


@pytest.mark.parametrize("block", range(2))
def test_every_schedule_beside_an_ehr_ends_as_if_nothing_had_happened(block):
    per_block = SCHEDULES // 25
    seeds = range(block * per_block, (block + 1) * per_block)
    assert {seed: end for seed in seeds if (end := schedule(seed, SHARED)) is not None} == {}


@pytest.mark.parametrize("block", range(2))
def test_every_schedule_of_quiet_periods_and_late_writes_ends_as_if_nothing_had_happened(block):
    per_block = SCHEDULES // 25
    seeds = range(block * per_block, (block + 1) * per_block)
    assert {seed: end for seed in seeds if (end := schedule(seed, SLOW)) is not None} == {}


@pytest.mark.parametrize("scenario", [UPDATE, REFERENCE_ONLY, SWITCH], ids=["update", "reference-only", "switch"])
def test_every_schedule_of_another_patient_policy_ends_as_if_nothing_had_happened(scenario):
    seeds = range(SCHEDULES // 25)
    assert {seed: end for seed in seeds if (end := schedule(seed, scenario)) is not None} == {}


@pytest.mark.parametrize("script", [*SCRIPTS, *LOST_ANSWERS], ids=lambda script: script.__name__)
def test_a_rare_interleaving_ends_as_if_nothing_had_happened(script):
    world = World(random.Random(0), Faults())
    script(world)
    assert difference(world) is None


@pytest.mark.parametrize("mutant", [*MUTANTS, *OF_ANSWERS], ids=lambda mutant: mutant.rule.replace(" ", "_"))
def test_a_protocol_without_this_rule_is_caught(mutant: Mutant):
    assert _is_caught(mutant), f"no schedule caught the missing rule: {mutant.rule}"


@pytest.mark.parametrize(
    "mutant",
    [mutant for mutant in (*MUTANTS, *OF_ANSWERS) if mutant.rule in SOONEST],
    ids=lambda mutant: mutant.rule.replace(" ", "_"),
)
def test_the_schedule_that_notices_soonest_ends_right_with_the_rule(mutant: Mutant):
    assert schedule(SOONEST[mutant.rule], mutant.scenario) is None


def _is_caught(mutant: Mutant) -> bool:
    pipeline, handling = mutant.load()
    if not isinstance(mutant.scenario, Scenario):
        world = World(random.Random(0), Faults(), pipeline=pipeline, handling=handling)
        mutant.scenario(world)
        return difference(world) is not None

    def notices(seed: int) -> bool:
        return schedule(seed, mutant.scenario, pipeline_module=pipeline, handling_module=handling) is not None

    return is_noticed(mutant.rule, notices, range(ENOUGH_TO_CATCH))
