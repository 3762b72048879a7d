"""Whatever a gateway answers in a service's place, nothing that is there goes, and all is right once it is over."""

import os

import pytest

from tests.simulation.gateway.lies import OF_BLOBS, OF_FHIR
from tests.simulation.gateway.schedules import one_lie, schedule

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "2000")) // 50


@pytest.mark.parametrize("lie", OF_FHIR)
def test_a_lie_of_the_gateway_before_fhir_is_an_outage_that_passes(lie):
    assert one_lie("fhir", lie) == []


@pytest.mark.parametrize("lie", OF_BLOBS)
def test_a_lie_of_the_gateway_before_the_store_is_an_outage_that_passes(lie):
    assert one_lie("blobs", lie) == []


@pytest.mark.parametrize("block", range(4))
def test_every_schedule_behind_lying_gateways_ends_as_the_store_is(block):
    seeds = range(block * SCHEDULES // 4, (block + 1) * SCHEDULES // 4)
    assert {seed: wrong for seed in seeds if (wrong := schedule(seed))} == {}
