"""However deliveries race, repeat and die, no more studies go than the ceiling allows; all that is confirmed goes."""

import pytest

from tests.simulation.amount import schedules
from tests.simulation.removals import MUTANTS, schedule

SCHEDULES = schedules(40)
ENOUGH_TO_CATCH = 40


def test_every_schedule_keeps_the_ceiling():
    assert {seed: wrong for seed in range(SCHEDULES) if (wrong := schedule(seed)) is not None} == {}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule.replace(" ", "_"))
def test_a_ceiling_without_this_rule_is_caught(mutant):
    pipeline, handling = mutant.load()
    assert any(
        schedule(seed, pipeline_module=pipeline, handling_module=handling) is not None
        for seed in range(ENOUGH_TO_CATCH)
    )
