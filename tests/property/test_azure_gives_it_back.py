"""
Whatever time or number a file holds, what is read again from Azure's FHIR service equals what was written to it.

The service's serializer as `sync.testing.azure_values` has it, and its own as the program `fhir-check` has it.
"""

from __future__ import annotations

import json
from decimal import Decimal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sync.config import HeaderLimits, MappingSettings
from sync.dicom.header import parse_header
from sync.mapping.bundle import build_bundle
from sync.mapping.ownership import differs
from sync.model import FhirWrite, InstanceRecord, LedgerRow, ObjectKey
from sync.testing.azure_values import as_azure_keeps
from tests.fhir_check import needed, problems_of
from tests.property import asks_a_program, examples
from tests.property.test_azure_takes_it import ONLY_MAKE
from tests.reports import ct_dose, measurements
from tests.worlds import dicom

YEARS = st.one_of(st.integers(1, 9999), st.sampled_from([1, 2, 1582, 1900, 9998, 9999]))
DAYS = st.builds("{:04}{:02}{:02}".format, YEARS, st.integers(1, 12), st.integers(1, 31))
FRACTIONS = st.one_of(st.just(""), st.text("0123456789", min_size=1, max_size=6).map(".".__add__))
TIMES = st.builds("{:02}{:02}{:02}{}".format, st.integers(0, 23), st.integers(0, 59), st.integers(0, 60), FRACTIONS)
OFFSETS = st.builds("{}{:02}{}".format, st.sampled_from("+-"), st.integers(0, 14), st.sampled_from(["00", "30", "45"]))
ZONES = st.sampled_from(["", "Europe/Berlin", "Pacific/Apia", "Africa/Monrovia", "Etc/GMT+12", "America/Caracas"])
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: f"{value:.9G}"),
    st.decimals(-(10**6), 10**6, places=6).map(lambda value: str(value)[:16]),
    st.sampled_from(
        ["0", "-0", "1.500000", "1E17", "9.99E17", "1E18", "1E-18", "1E-30", "12345678901234.5", "+7", "1.0"]
    ),
)
MADE = st.tuples(st.sampled_from(["image", "measured", "dose"]), DAYS, TIMES, OFFSETS, NUMBERS, ZONES)


def bundle_of(made):
    """Make the file, read it as the sync does and map it."""
    kind, day, time, offset, number, zone = made
    when = {f"{what}Date": day for what in ("Study", "Series", "Content", "PatientBirth")}
    when |= {f"{what}Time": time for what in ("Study", "Series", "Content", "PatientBirth")}
    when |= {"TimezoneOffsetFromUTC": offset}
    if kind == "image":
        content = dicom(**when)
    else:
        content = measurements(**when) if kind == "measured" else ct_dose(number, **when)
    record = parse_header(content, size=len(content), limits=HeaderLimits())
    assert isinstance(record, InstanceRecord)
    row = LedgerRow(object_key=ObjectKey("p", "r"), record=record, order="")
    return build_bundle(record.study, [row], MappingSettings(timezone=zone))[0]


def resources_of(bundle):
    return [entry["resource"] for entry in bundle["entry"]]


@settings(max_examples=examples(80), deadline=None)
@given(MADE)
@example(("measured", "20161231", "235960.500000", "+0000", "1", ""))
@example(("dose", "00010101", "000000", "+1400", "1E18", ""))
@example(("image", "99991231", "235959.999999", "-1200", "1", ""))
def test_it_is_taken_and_read_again_equal(made):
    for resource in resources_of(bundle_of(made)):
        write = FhirWrite(resource_type=resource["resourceType"], resource_id=resource["id"], resource=resource)
        [kept] = as_azure_keeps([write])
        assert kept.resource == resource, "its spelling changes on the way"
        read_again = json.loads(json.dumps(kept.resource), parse_float=lambda text: float(Decimal(text)))
        assert not differs(read_again, resource)


@asks_a_program
def test_its_own_serializer_takes_all_and_changes_nothing():
    tool, bundles = needed(), []

    @ONLY_MAKE
    @given(MADE)
    def make(made):
        bundles.append(bundle_of(made))

    make()
    problems = [problem for problem in problems_of(bundles, tool) if problem.matters_to_azure]
    assert problems == []
