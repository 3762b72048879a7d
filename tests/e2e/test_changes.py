"""Uploads, deletions and overwrites, seen from FHIR."""

import random

import pytest

from tests.e2e.arrivals import Script, play
from tests.e2e.files import differences, expected_studies
from tests.e2e.running import World, until, up

MOST_REQUESTS = 5
"""FHIR requests for a study that came in one burst."""


EACH = pytest.mark.parametrize(
    "world", [pytest.param("embedded", marks=pytest.mark.long), "embedded_azure", "hapi"], indirect=True
)
"""For what servers do in their own ways: HAPI refuses to delete what others refer to, Azure never does."""


@pytest.fixture(params=["embedded"])
def world(request: pytest.FixtureRequest) -> World:
    return request.getfixturevalue(f"{request.param}_world")


def arrive(world, place, files, studies=(1,)):
    """Upload files, by name, and wait until FHIR holds them and nothing else of these studies."""
    for name, content in files.items():
        world.upload(place.name(name), content)
    holds(world, place, files.values(), studies)


def holds(world, place, contents, studies=(1,)):
    """Wait until the studies are in FHIR as these files say, those without files not at all."""
    expected = expected_studies(contents)

    def right():
        held = [world.study(place.study(number)) for number in studies]
        return not differences(expected, [one for one in held if one is not None])

    until(right, "the studies are as the files say", 40)


@EACH
def test_deletions_take_the_instance_then_the_series_then_the_study_then_the_patient(world, place):
    files = {"a": place.file(1, 1, 1), "b": place.file(1, 1, 2), "c": place.file(1, 2, 1)}
    arrive(world, place, files)
    patient = world.study(place.study())["subject"]["reference"]
    for name in ("a", "b", "c"):
        assert world.read(patient) is not None
        world.delete(place.name(name))
        del files[name]
        holds(world, place, files.values())
    until(lambda: world.read(patient) is None, "the Patient that we created is gone")


def test_a_study_can_be_asked_for(world, place):
    arrive(world, place, {"a": place.file(1, 1, 1, StudyDate="20240231")})
    until(lambda: world.api.get(f"studies/{place.study()}").json()["state"] == "synced", "the study is synced")
    told = world.api.get(f"studies/{place.study()}").json()
    assert told["fhir"]["reference"] == f"ImagingStudy/{world.study(place.study())['id']}"
    assert told["findings"]["by_code"]["date.impossible"]["attributes"] == {"StudyDate": ["omitted"]}
    unknown = world.api.get(f"studies/{place.study()}", params={"partition": "other"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "study.unknown")


def test_overwriting_a_blob_with_another_instance_or_study_moves_it(world, place):
    files = {"a": place.file(1, 1, 1), "b": place.file(1, 1, 2)}
    arrive(world, place, files, (1, 2))
    files["b"] = place.file(1, 2, 3)
    arrive(world, place, files, (1, 2))
    files["b"] = place.file(2, 1, 1)
    arrive(world, place, files, (1, 2))
    files["a"] = place.file(2, 1, 2)
    arrive(world, place, files, (1, 2))
    assert world.study(place.study(1)) is None


def test_an_instance_in_two_blobs_survives_the_loss_of_one(world, place):
    arrive(world, place, {"a": place.file(), "b": place.file()})
    version = world.study(place.study())["meta"]["versionId"]
    world.delete(place.name("a"))
    world.settle()
    assert world.study(place.study())["meta"]["versionId"] == version
    world.delete(place.name("b"))
    holds(world, place, [])


def test_a_blob_overwritten_by_rubbish_and_repaired_leaves_no_trace(world, place):
    name = place.name("a")
    arrive(world, place, {"a": place.file()})
    world.upload(name, b"no DICOM at all")
    holds(world, place, [])
    world.settle()
    assert world.letters()[world.subject(name)][0] == "header.not_dicom"
    arrive(world, place, {"a": place.file()})
    assert world.subject(name) not in world.letters()


def test_a_rejected_blob_that_is_deleted_takes_its_dead_letter_along(world, place):
    name = place.name("a")
    world.upload(name, b"no DICOM at all")
    until(lambda: world.subject(name) in world.letters(), "the dead letter is there")
    world.delete(name)
    until(lambda: world.subject(name) not in world.letters(), "the dead letter is gone")


@EACH
def test_a_patient_stays_while_another_study_has_it(world, place):
    arrive(world, place, {"a": place.file(1), "b": place.file(2)}, (1, 2))
    patient = world.study(place.study(1))["subject"]["reference"]
    assert world.study(place.study(2))["subject"]["reference"] == patient
    world.delete(place.name("a"))
    holds(world, place, [place.file(2)], (1, 2))
    world.settle()
    assert world.read(patient) is not None


@pytest.mark.parametrize("order", [("ours", "theirs", "theirs too"), ("theirs", "theirs too", "ours")])
def test_a_study_with_two_patient_ids_gets_the_majority_s_in_any_order(world, place, order):
    other = f"{place.patient}-other"
    files = {
        "ours": place.file(1, 1, 1),
        "theirs": place.file(1, 1, 2, patient=other),
        "theirs too": place.file(1, 1, 3, patient=other),
    }
    for name in order:
        arrive(world, place, {name: files[name]} | _uploaded_before(files, order, name))
    world.settle()
    subject = world.study(place.study())["subject"]["reference"]
    assert [one["value"] for one in world.read(subject)["identifier"]] == [other]
    values = [one["value"] for patient in world.all("Patient") for one in patient.get("identifier", [])]
    assert place.patient not in values, "the loser's Patient stayed"


def _uploaded_before(files, order, name):
    return {one: files[one] for one in order[: order.index(name)]}


def test_a_burst_of_three_hundred_instances_costs_a_handful_of_fhir_requests(place):
    files = {f"{n:03}": place.file(1, n % 3, n) for n in range(300)}
    # With the settings as they come: the quiet period of the other worlds is shorter than a slow machine's upload.
    # A slow machine pauses for a second, which may end the study once; how that is counted, the simulation shows.
    settings = {
        "DICOM_SYNC_SHORTEST_QUIET_PERIOD_SECONDS": "5",
        "DICOM_SYNC_RECONCILE_STUDIES_PER_MINUTE": "0",  # its comparison asks FHIR, too
    }
    with up("embedded", **settings) as world:
        before = world.requests()
        play(world, [Script(place.name(name), (content,)) for name, content in files.items()], random.Random(3))
        world.settle()
        used = world.requests() - before
        assert not differences(expected_studies(files.values()), [world.study(place.study())])
    assert used <= MOST_REQUESTS, f"{used} requests for one study"


def test_a_file_uploaded_again_while_its_study_is_outstanding_is_in_fhir_once(world, place):
    for _ in range(3):
        world.upload(place.name("a"), place.file())
    holds(world, place, [place.file()])
    world.settle()
    assert world.study(place.study())["numberOfInstances"] == 1
