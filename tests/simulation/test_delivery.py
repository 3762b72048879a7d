"""Messages that fail, are lost or are held end well; without a rule of delivery or of the timers, they do not."""

import pytest

from tests.simulation.delivery.mutants import MUTANTS, SCENES
from tests.simulation.delivery.removed import real
from tests.simulation.gateway.virtual_time import run


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_scene_ends_well(scene):
    assert run(scene(real())) == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule.replace(" ", "_"))
def test_delivery_without_this_rule_is_caught(mutant):
    assert mutant.wrong() != []
