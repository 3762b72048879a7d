"""Whatever a gateway answers in a service's place, nothing that is there goes, and all is right once it is over."""

import pytest

from tests.simulation.amount import schedules
from tests.simulation.gateway.lies import LIES
from tests.simulation.gateway.mutants import MUTANTS
from tests.simulation.gateway.schedules import one_lie, schedule

SCHEDULES = schedules(100, least=4)


@pytest.mark.parametrize(("service", "lie"), [(service, lie) for service, lies in LIES.items() for lie in lies])
def test_whatever_a_gateway_says_for_long_is_an_outage_that_passes(service, lie):
    assert one_lie(service, lie) == []


@pytest.mark.parametrize("block", range(4))
def test_every_schedule_behind_lying_gateways_ends_as_the_store_is(block):
    seeds = range(block * SCHEDULES // 4, (block + 1) * SCHEDULES // 4)
    assert {seed: wrong for seed in seeds if (wrong := schedule(seed))} == {}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule.replace(" ", "_"))
def test_adapters_without_this_rule_are_caught(mutant):
    adapters = mutant.load()
    assert any(one_lie(service, lie, adapters, all_faults=False) for service, lie in mutant.lies)
