"""A FHIR server that is down, or refuses one study: nothing is lost, and only what it refuses becomes a dead letter."""

import contextlib

import pytest

from tests.e2e.faulty_fhir import Answer
from tests.e2e.files import differences, expected_studies
from tests.e2e.running import until

STUDIES = (1, 2, 3)


@pytest.fixture
def repaired(faulty_fhir):
    """Whatever a test breaks is repaired after it."""
    yield
    faulty_fhir.fault = None
    with contextlib.suppress(OSError):
        if faulty_fhir._server is None:
            faulty_fhir.plug_in()


@pytest.mark.usefixtures("repaired")
def test_what_comes_while_fhir_is_down_is_there_when_it_is_back(fragile_world, faulty_fhir, place):
    world, known = fragile_world, fragile_world.letters().keys()
    world.settle()
    before = world.postponed()
    files = {place.name(f"{s}/{i}"): place.file(s, 1, i) for s in STUDIES for i in range(4)}
    bad = place.name("bad")
    faulty_fhir.fault = lambda method, path, body: Answer(503, b"")
    for name, content in (files | {bad: b"no DICOM at all"}).items():
        world.upload(name, content)
    until(lambda: world.postponed() - before >= len(STUDIES), "every study met the failure")
    faulty_fhir.unplug()
    until(lambda: world.postponed() - before > len(STUDIES), "a study was tried while FHIR is down")
    said = world.status()
    assert (said["idle"], said["dirty_studies"]) == (False, len(STUDIES))
    faulty_fhir.fault = None
    faulty_fhir.plug_in()
    world.settle()
    assert not differences(expected_studies(files.values()), [world.study(place.study(s)) for s in STUDIES])
    assert world.letters().keys() - known == {world.subject(bad)}


@pytest.mark.usefixtures("repaired")
def test_a_study_that_fhir_refuses_is_dead_lettered_and_the_others_go_on(fragile_world, faulty_fhir, place):
    world, known = fragile_world, fragile_world.letters().keys()
    refused = place.study(1)

    def fault(method: str, path: str, body: bytes) -> Answer | None:
        return Answer(422, b'{"resourceType": "OperationOutcome"}') if refused.encode() in body else None

    faulty_fhir.fault = fault
    for number in STUDIES:
        world.upload(place.name(str(number)), place.file(number))
    world.settle()
    letters = {s: code for s, (code, _) in world.letters().items() if s not in known}
    assert list(letters.values()) == ["fhir.rejected"]
    assert [world.study(place.study(number)) is None for number in STUDIES] == [True, False, False]
    faulty_fhir.fault = None
    world.upload(place.name("another"), place.file(1, 1, 2))
    world.settle()
    assert not differences(expected_studies([place.file(1), place.file(1, 1, 2)]), [world.study(refused)])
    assert world.letters().keys() == known
