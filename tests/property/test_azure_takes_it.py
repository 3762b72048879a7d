"""Whatever an attribute holds, Azure's FHIR server takes what the mapping makes of it, and gives it back as it was."""

from collections import Counter

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sync.config import MappingSettings
from sync.mapping.bundle import build_bundle
from tests.fhir_check import needed, problems_of
from tests.mapping_rows import STUDY, row
from tests.property import asks_a_program, examples
from tests.property.test_mapping_totality import ATTRIBUTES, SETTINGS, instance
from tests.property.test_report_totality import MAPPING, REPORTS

ONLY_MAKE = settings(max_examples=examples(100), deadline=None, database=None, phases=[Phase.generate])

DAYS = st.sampled_from(["00010101", "99991231", "20161231", "20240229", "0001", "9999", "999912", "2024.01.17"])
TIMES = st.sampled_from(["000000", "235959", "235960", "235960.999999", "101530.100000", "101530.000000", "12", "1015"])
OFFSETS = st.sampled_from(["+0000", "-0000", "+1400", "-1200", "+0545", "UTC-04:00", "x"])
TIMED = st.fixed_dictionaries(
    {"SOPClassUID": st.sampled_from([["1.2.840.10008.5.1.4.1.1.88.33"], ["1.2.840.10008.5.1.4.1.1.2"]])},
    optional={
        **{f"{what}Date": DAYS.map(lambda value: [value]) for what in ("Study", "Series", "Content", "PatientBirth")},
        **{f"{what}Time": TIMES.map(lambda value: [value]) for what in ("Study", "Series", "Content", "PatientBirth")},
        "TimezoneOffsetFromUTC": OFFSETS.map(lambda value: [value]),
    },
)
ZONES = st.sampled_from(["", "Europe/Berlin", "Pacific/Kiritimati", "Etc/GMT+12"])


def any_attributes(keep):
    @ONLY_MAKE
    @given(st.lists(ATTRIBUTES, min_size=1, max_size=3), SETTINGS)
    def made(said, mapping):
        rows = [instance(number, attributes) for number, attributes in enumerate(said)]
        keep(build_bundle(STUDY, rows, mapping)[0])

    made()


def any_reports(keep):
    @ONLY_MAKE
    @given(st.lists(REPORTS, min_size=1, max_size=3))
    def made(reports):
        rows = [row(number, key=str(number), **said) for number, said in enumerate(reports, 1)]
        keep(build_bundle(STUDY, rows, MAPPING)[0])

    made()


def any_times(keep):
    @ONLY_MAKE
    @given(st.lists(TIMED, min_size=1, max_size=3), ZONES)
    def made(said, zone):
        rows = [row(number, key=str(number), **attributes) for number, attributes in enumerate(said, 1)]
        keep(build_bundle(STUDY, rows, MappingSettings(timezone=zone))[0])

    made()


@asks_a_program
@pytest.mark.parametrize("make", [any_attributes, any_reports, any_times], ids=lambda make: make.__name__)
def test_nothing_that_the_mapping_makes_is_refused_mistaken_or_changed(make):
    tool, bundles = needed(), []
    make(bundles.append)
    problems = [problem for problem in problems_of(bundles, tool) if problem.matters_to_azure]
    kinds = Counter((problem.check, problem.path, problem.message[:80]) for problem in problems)
    assert not kinds, f"of {len(bundles)} bundles: {kinds.most_common(10)}"


def test_the_program_would_notice():
    observation = {"resourceType": "Observation", "id": "a", "status": "final", "code": {"text": "x"}}
    wrong = [
        {**observation, "effectiveDateTime": "2016-12-31T23:59:60Z"},
        {**observation, "issued": "2024-01-17T10:15:30.100+01:00"},
        {**observation, "valueQuantity": {"value": 10**18}},
    ]
    problems = problems_of(wrong, needed())
    assert {problem.line for problem in problems if problem.matters_to_azure} == {1, 2, 3}
