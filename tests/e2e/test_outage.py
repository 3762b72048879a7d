"""
A FHIR server that is down, that refuses one study, or that another machine answers for.

Nothing is lost, nothing is removed, and only what FHIR itself refuses becomes a dead letter.
"""

import contextlib
from itertools import cycle

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


@pytest.mark.usefixtures("repaired")
def test_a_host_killed_while_a_gateway_answers_for_fhir_loses_and_removes_nothing(fragile_world, faulty_fhir, place):
    world, known = fragile_world, fragile_world.letters().keys()
    whole, deleted, late = STUDIES
    for number in (whole, deleted):
        world.upload(place.name(str(number)), place.file(number))
    world.settle()
    before = world.postponed()
    page = b"<html><body>Application Gateway</body></html>"
    lies = cycle(Answer(status, page, "text/html") for status in (404, 200, 502))
    faulty_fhir.fault = lambda method, path, body: next(lies)
    world.upload(place.name("added"), place.file(whole, 1, 1))
    world.upload(place.name(str(late)), place.file(late))
    world.delete(place.name(str(deleted)))
    until(lambda: world.postponed() - before >= len(STUDIES), "every study met the gateway")
    killed = world.host_pid()
    world.kill_host()
    until(lambda: world.host_pid() != killed, "the host is started again")
    met = world.postponed()
    until(lambda: world.postponed() > met, "the new host met the gateway, too")
    faulty_fhir.fault = None
    world.settle(240)
    expected = expected_studies([place.file(whole), place.file(whole, 1, 1), place.file(late)])
    assert not differences(expected, [world.study(place.study(number)) for number in (whole, late)])
    assert world.study(place.study(deleted)) is None
    assert world.letters().keys() == known
