"""
The drill of docs/disaster-recovery.md on two local worlds: a region is lost, and another is filled from the files.

The second world starts with an empty state account and an empty FHIR server; the files are there as a replica has them:
no event ever names them.
"""

from collections.abc import Iterator

import pytest

from sync.mapping.resource import canonical
from tests.e2e.commands import sync
from tests.e2e.conftest import SOON, Place
from tests.e2e.running import World, until, up

STUDIES, INSTANCES = 3, 2
TYPES = ("Patient", "Device", "Endpoint", "ImagingStudy")


@pytest.fixture
def second_region() -> Iterator[World]:
    """A world that no event reaches: in a replica nothing is uploaded."""
    with up("embedded", "--lose-events", "1", **SOON) as world:
        yield world


def resources(world: World) -> dict[str, bytes]:
    """Return all of FHIR, without what servers stamp."""
    kept = [one for kind in TYPES for one in world.all(kind)]
    return {f"{one['resourceType']}/{one['id']}": canonical({**one, "meta": _meta(one)}) for one in kept}


def _meta(one: dict) -> dict:
    return {key: one["meta"][key] for key in ("profile", "security", "tag") if key in one.get("meta", {})}


def test_a_lost_region_is_rebuilt_from_the_files_under_the_same_ids(second_region):
    place = Place()
    files = {
        place.name(f"{study}-{number}"): place.file(study, 1, number, patient=f"{place.patient}-{study % 2}")
        for study in range(STUDIES)
        for number in range(1, INSTANCES + 1)
    }
    with up("embedded", **SOON) as first_region:
        for name, content in files.items():
            first_region.upload(name, content)
        until(lambda: len(first_region.all("ImagingStudy")) == STUDIES, "all studies are in FHIR", 90)
        first_region.settle()
        before = resources(first_region)
    assert len(before) > STUDIES

    for name, content in files.items():
        second_region.upload(name, content)
    assert resources(second_region) == {}

    filled = sync(second_region, "backfill")
    assert filled.code == 0, filled.out + filled.err
    until(lambda: len(second_region.all("ImagingStudy")) == STUDIES, "the backfill is in FHIR", 90)
    second_region.settle()
    compared = sync(second_region, "verify", "--json")
    assert compared.code == 0, compared.out + compared.err
    assert resources(second_region) == before

    again = second_region.versions()
    assert sync(second_region, "backfill").code == 0
    second_region.settle()
    assert second_region.versions() == again
