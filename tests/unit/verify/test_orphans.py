"""Listed resources are taken as they come: a server may leave out what was not asked for, and more."""

import pytest

from sync.verify.orphans import check_orphan, study_of
from tests.worlds import MemoryWorld


@pytest.mark.parametrize(
    "listed",
    [
        {},
        {"resourceType": "ImagingStudy"},
        {"resourceType": "ImagingStudy", "id": None},
        {"resourceType": "Patient", "id": "pt-1"},
        {"id": f"is-{'0' * 40}"},
    ],
)
async def test_a_resource_without_a_usable_id_or_type_is_no_orphan(listed):
    assert await check_orphan(listed, MemoryWorld().services) == []


@pytest.mark.parametrize("identifier", [None, 7, "x", [None], ["x"], [{}], [{"value": None}], [{"value": "urn:oid:1"}]])
def test_a_study_with_odd_identifiers_names_no_study(identifier):
    assert study_of({"resourceType": "ImagingStudy", "id": f"is-{'0' * 40}", "identifier": identifier}) is None
