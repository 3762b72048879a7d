"""Hundreds of real files come, go and change at once; FHIR holds exactly those that remain, on each server."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import reports
from tests.e2e.arrivals import Arrived, Before, Script, play, remaining, scripts_of
from tests.e2e.files import errors
from tests.e2e.running import World
from tests.headers import real_files

KINDS = ("ImagingStudy", "Patient", "Device", "Observation", "DiagnosticReport", "DocumentReference")


EACH_NTH = {"embedded_azure": 4, "hapi": 4}
"""
How many of the files a server gets, where not all: the plain embedded one tries all files, these two the server.

What becomes of each file is held without a server too; all of them, come and gone, are four minutes of HAPI's work.
"""

FEWER = {"embedded_azure": 7, "hapi": 7}
"""The same where tests that are ``long`` are left out."""

FIRST = {"embedded_azure": 3}
"""The file that a server begins with, where not the first: then it gets others than the next server."""


@pytest.fixture(scope="module", params=[pytest.param("embedded", marks=pytest.mark.long), "embedded_azure", "hapi"])
def server(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def world(server: str, request: pytest.FixtureRequest) -> World:
    return request.getfixturevalue(f"{server}_world")


def made_reports() -> list[bytes]:
    """Three of each kind, so that chance cannot delete all of one: few real reports are free to use."""
    kinds = (reports.ct_dose, reports.measurements, reports.text_report)
    return [
        kind(sop=f"2.25.77{number}{copy}", study=f"2.25.88{number}{copy}")
        for number, kind in enumerate(kinds)
        for copy in range(3)
    ]


@pytest.fixture(scope="module")
def arrived(server: str, world: World, pytestconfig: pytest.Config) -> Arrived:
    """Real files at hand, after the world says that it is done with them."""
    before, rng = Before.of(world), random.Random(20260102)
    each_nth = EACH_NTH | (FEWER if "not long" in pytestconfig.getoption("markexpr") else {})
    files = real_files()[FIRST.get(server, 0) :: each_nth.get(server, 1)]
    scripts = scripts_of(files, "many", rng, made_reports())
    play(world, scripts, rng)
    world.settle(240)
    return Arrived(world, before, remaining(scripts))


def test_fhir_holds_exactly_the_files_that_remain_and_dead_letters_every_other(arrived):
    arrived.check()


def test_every_dead_letter_says_what_to_do(arrived):
    groups = arrived.world.api.get("dead-letters").json()["by_code"]
    assert len(groups) >= 3
    assert all(group["hint"] for group in groups.values())


AMBIGUOUS = 12
"""Resources of the studies whose instances are in several blobs with different content."""


def test_the_same_bytes_again_make_no_new_version(arrived):
    before = arrived.world.versions()
    play(arrived.world, [Script(name, (content,)) for name, content in arrived.blobs.items()], random.Random(2))
    arrived.world.settle(240)
    after = arrived.world.versions()
    changed = sum(after[key] != before[key] for key in before.keys() & after.keys())
    # Some blobs of the corpus hold one instance with different content: the one that was sent last counts, so sending
    # them again in another order may change their few resources, and no others.
    assert before.keys() == after.keys(), "resources came or went"
    assert changed <= AMBIGUOUS, "resources got new versions"


def test_hapi_finds_no_error_in_any_resource(hapi_world, arrived):
    resources = [one for kind in KINDS for one in arrived.world.all(kind)]
    with ThreadPoolExecutor(2) as pool:
        problems = [
            problem for several in pool.map(lambda one: errors(hapi_world.fhir, one), resources) for problem in several
        ]
    assert len(resources) > 50
    assert {one["resourceType"] for one in resources} == set(KINDS)
    assert not problems, f"{len(problems)} errors, such as {sorted(set(problems))[:8]}"


def test_nothing_is_left_when_all_files_are_deleted(arrived):
    arrived.world.delete_all("many/")
    arrived.world.settle(240)
    Arrived(arrived.world, arrived.before, {}).check()
