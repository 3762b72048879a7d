"""Real files, all at once: the wheel's, and a collection beside the repository where there is one."""

import random
import re
from collections import Counter

import pytest

from sync.config import HeaderLimits, MappingSettings
from sync.dicom.header import read_file
from sync.mapping.bundle import build_bundle
from sync.mapping.resource import canonical
from sync.model import LedgerRow, ObjectRef
from tests.headers import not_in_quick_check, real_files

pytestmark = [not_in_quick_check, pytest.mark.no_cover]

SETTINGS = [
    MappingSettings(),
    MappingSettings(
        timezone="Europe/Berlin", dicomweb_url="https://pacs.example/dw", patient_other_names=True, detail="full"
    ),
]


@pytest.fixture(scope="module")
def studies():
    """Rows of every instance, by study."""
    rows_of = {}
    for path in real_files():
        inspection = read_file(path, HeaderLimits(), "full")
        if inspection.record is not None:
            key = ObjectRef(account="file", container="", name=str(path)).key
            rows_of.setdefault(inspection.record.study, []).append(
                LedgerRow(object_key=key, record=inspection.record, order=inspection.order)
            )
    return rows_of


@pytest.fixture(scope="module", params=SETTINGS, ids=["defaults", "configured"])
def mapped(request, studies):
    return {study: build_bundle(study, rows, request.param) for study, rows in studies.items()}


def leaves(value, path=""):
    assert value not in (None, "", [], {}), path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


def resources(mapped):
    return [entry["resource"] for bundle, _ in mapped.values() for entry in bundle["entry"]]


def test_every_instance_is_in_a_bundle(studies, mapped):
    expected = {record for rows in studies.values() for record in {row.record.sop_instance_uid for row in rows}}
    shown = Counter(
        instance["uid"]
        for resource in resources(mapped)
        for series in resource.get("series", [])
        for instance in series["instance"]
    )
    assert len(expected) > 80
    assert set(shown) == expected


def test_every_system_is_an_absolute_uri_and_nothing_is_empty(mapped):
    systems = {value for one in resources(mapped) for path, value in leaves(one) if path.endswith(".system")}
    assert {system for system in systems if not re.fullmatch(r"(https?://|urn:)\S+", system)} == set()


def test_no_time_is_without_an_offset(mapped):
    timestamps = [
        value
        for one in resources(mapped)
        for path, value in leaves(one)
        if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value)
    ]
    assert [timestamp for timestamp in timestamps if not re.search(r"(Z|[+-]\d\d:\d\d)$", timestamp)] == []


def test_shuffled_and_doubled_rows_make_the_same_bytes(studies):
    rng = random.Random(7)
    for study, rows in studies.items():
        again = rng.sample(rows, len(rows)) + rng.sample(rows, min(3, len(rows)))
        assert canonical(build_bundle(study, rows, SETTINGS[1])[0]) == canonical(
            build_bundle(study, again, SETTINGS[1])[0]
        )


def test_no_finding_lacks_its_attribute(mapped):
    findings = [finding for _, several in mapped.values() for finding in several]
    assert findings
    assert all(re.fullmatch(r"[A-Z]\w+", finding.keyword) and finding.action for finding in findings)
