"""Deletion of what others may refer to, on each FHIR service."""

from dataclasses import replace

import pytest

from sync.projection.deletion import delete_unreferenced
from tests.contract.fhir_resources import mapped, put
from tests.contract.test_fhir_references import fhir, observation, of, report  # noqa: F401 - a fixture
from tests.worlds import MemoryWorld


@pytest.fixture
def s(fhir):  # noqa: F811
    return replace(MemoryWorld().services, fhir=fhir)


async def there(s, *resources):
    return [held is not None for held in await s.fhir.read_all(list(map(of, resources)))]


async def test_a_patient_goes_only_without_its_study(s):
    made = mapped()
    await s.fhir.transact(made.writes)
    assert await delete_unreferenced([of(made.patient)], s) == [of(made.patient)]
    assert await there(s, made.patient, made.study) == [True, True]
    assert await delete_unreferenced([of(made.study)], s) == []
    assert await delete_unreferenced([of(made.patient)], s) == []
    assert await there(s, made.patient, made.study) == [False, False]


async def test_what_goes_together_may_refer_to_each_other(s):
    one, other = observation(), observation()
    said = report(one, other)
    await s.fhir.transact([put(resource) for resource in (one, other, said)])
    assert await delete_unreferenced(list(map(of, (said, one, other))), s) == []
    assert await there(s, one, other, said) == [False, False, False]


async def test_what_others_refer_to_stays_with_all_that_it_refers_to(s):
    one, other, third = observation(), observation(), observation()
    said = report(one)
    theirs = observation(focus=[{"reference": of(said)}])
    await s.fhir.transact([put(resource) for resource in (one, other, third, said, theirs)])
    assert await delete_unreferenced(list(map(of, (said, one, other))), s) == [of(said), of(one)]
    assert await there(s, said, one, other, theirs) == [True, True, False, True]
