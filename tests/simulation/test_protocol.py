"""Any schedule ends right; without any one rule some schedule does not."""

from __future__ import annotations

import os

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.world import schedule

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "1500"))
"""How many random schedules the unmutated protocol has to survive; raise it for a long night."""

ENOUGH_TO_CATCH = 20_000


@pytest.mark.parametrize("block", range(10))
def test_every_schedule_ends_as_if_nothing_had_happened(block):
    each = SCHEDULES // 10
    wrong = {seed: end for seed in range(block * each, (block + 1) * each) if (end := schedule(seed)) is not None}
    assert wrong == {}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule.replace(" ", "_"))
def test_a_protocol_without_this_rule_is_caught(mutant: Mutant):
    pipeline, handling = mutant.load()
    caught = (
        seed
        for seed in range(ENOUGH_TO_CATCH)
        if schedule(seed, pipeline_module=pipeline, handling_module=handling) is not None
    )
    assert next(caught, None) is not None, f"nobody noticed the missing rule: {mutant.rule}"
