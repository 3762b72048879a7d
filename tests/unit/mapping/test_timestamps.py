import pytest

from sync.mapping.timestamps import Keywords, fhir_date, fhir_datetime, instant, instant_key
from sync.mapping.values import Findings

STUDY = Keywords(date="StudyDate", time="StudyTime")


def timestamp(day="20240117", clock="101530", offset=None, zone=""):
    findings = Findings()
    said = {k: [v] for k, v in zip(STUDY, (day, clock, offset), strict=True) if v is not None}
    return fhir_datetime(said, STUDY, zone, findings), [(f.keyword, f.code) for f in findings.all()]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("20240229", "2024-02-29"),
        ("2024.02.29", "2024-02-29"),
        ("1897", "1897"),
        ("189705", "1897-05"),
        ("18970501 ", "1897-05-01"),
    ],
)
def test_dates_are_read_whole_partial_and_in_the_old_form(raw, expected):
    findings = Findings()
    assert fhir_date(raw, "PatientBirthDate", findings) == expected
    assert findings.all() == ()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("20230229", "date.impossible"),
        ("202313", "date.impossible"),
        ("0000", "date.impossible"),
        ("00000000", "date.impossible"),
        ("2024-02-29", "date.invalid"),
        ("yesterday", "date.invalid"),
        ("20240117-20240118", "date.invalid"),
        ("٢٠٢٤٠١١٧", "date.invalid"),
    ],
)
def test_days_of_no_calendar_are_left_out_with_a_finding(raw, code):
    findings = Findings()
    assert fhir_date(raw, "PatientBirthDate", findings) is None
    assert [f.code for f in findings.all()] == [code]


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("10", "10:00:00"),
        ("1015", "10:15:00"),
        ("101530", "10:15:30"),
        ("101530.1", "10:15:30.1"),
        ("101530.123456", "10:15:30.123456"),
        ("10:15:30", "10:15:30"),
    ],
)
def test_times_are_filled_up_and_keep_their_fraction(clock, expected):
    assert timestamp(clock=clock, offset="+0100") == (f"2024-01-17T{expected}+01:00", [])


@pytest.mark.parametrize("clock", ["24", "1060", "101561", "noon", "101530.1234567", "1", "10153"])
def test_a_time_that_is_none_leaves_the_date(clock):
    assert timestamp(clock=clock, offset="+0100") == ("2024-01-17", [("StudyTime", "time.invalid")])


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ("+0530", "+05:30"),
        ("-0400", "-04:00"),
        ("UTC-04:00", "-04:00"),
        ("utc+01:00", "+01:00"),
        ("+14:00", "+14:00"),
        ("-1200", "-12:00"),
        ("-0000", "+00:00"),
        ("-0030", "-00:30"),
    ],
)
def test_the_offset_of_the_file_is_used_in_every_form_that_files_have(offset, expected):
    assert timestamp(offset=offset, zone="Europe/Berlin") == (f"2024-01-17T10:15:30{expected}", [])


@pytest.mark.parametrize("offset", ["+1401", "-1230", "+0160", "0100", "Z", "MEZ"])
def test_an_offset_that_is_none_is_ignored_with_a_finding(offset):
    assert timestamp(offset=offset, zone="Europe/Berlin") == (
        "2024-01-17T10:15:30+01:00",
        [("TimezoneOffsetFromUTC", "offset.invalid")],
    )


def test_without_any_offset_there_is_no_time():
    assert timestamp() == ("2024-01-17", [("StudyTime", "time.no_offset")])


@pytest.mark.parametrize(
    ("day", "clock", "expected"),
    [
        ("20240331", "015959", "2024-03-31T01:59:59+01:00"),
        ("20240331", "030000", "2024-03-31T03:00:00+02:00"),
        ("20241027", "015959", "2024-10-27T01:59:59+02:00"),
        ("20241027", "030000", "2024-10-27T03:00:00+01:00"),
    ],
)
def test_the_configured_zone_is_right_on_both_sides_of_a_change_of_clocks(day, clock, expected):
    assert timestamp(day, clock, zone="Europe/Berlin") == (expected, [])


@pytest.mark.parametrize(
    ("day", "clock"), [("20240331", "023000"), ("20241027", "023000"), ("18800101", "1200"), ("0001", "")]
)
def test_an_hour_that_a_zone_skips_repeats_or_keeps_by_the_sun_has_no_offset(day, clock):
    written, _ = timestamp(day, clock, zone="Europe/Berlin")
    assert "T" not in written


def test_the_first_day_of_the_calendar_does_not_overflow():
    assert timestamp("00010101", "0000", zone="Pacific/Kiritimati")[0].startswith("0001-01-01")
    assert instant_key("0001-01-01T00:00:00+14:00")


@pytest.mark.parametrize(("clock", "shown"), [("235960", "23:59:59"), ("235960.5", "23:59:59.5")])
def test_a_leap_second_becomes_the_second_before_it(clock, shown):
    assert timestamp(clock=clock, offset="+0000") == (f"2024-01-17T{shown}+00:00", [("StudyTime", "time.leap_second")])


@pytest.mark.parametrize(("day", "offset"), [("00010101", "+0100"), ("99991231", "-0100")])
def test_a_moment_outside_the_years_of_utc_is_a_date_only(day, offset):
    clock = "000000" if offset.startswith("+") else "235959"
    shown = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    assert timestamp(day, clock, offset) == (shown, [("StudyTime", "time.out_of_range")])


@pytest.mark.parametrize(
    ("fraction", "shown"), [(".123400", ".1234"), (".000000", ""), ("", ""), (".5", ".5"), (".050", ".05")]
)
def test_an_instant_has_no_trailing_zeros_in_its_fraction(fraction, shown):
    assert instant(f"2024-01-17T10:15:30{fraction}+01:00") == f"2024-01-17T10:15:30{shown}+01:00"


def test_a_bare_date_is_no_instant():
    assert instant("2024-01-17") is None
    assert instant(None) is None


def test_a_time_without_a_date_says_nothing():
    assert timestamp(day=None) == (None, [])
    assert timestamp(day="20230229") == (None, [("StudyDate", "date.impossible")])


def test_a_partial_date_takes_no_time():
    assert timestamp(day="2024", offset="+0100") == ("2024", [])


def test_moments_sort_by_instant_whatever_their_offset():
    early, late, bare = "2024-01-17T10:00:00+02:00", "2024-01-17T09:30:00+00:00", "2024-01-17"
    assert sorted([bare, late, early], key=instant_key) == [early, late, bare]
    assert instant_key("2016-12-31T23:59:60+00:00") < instant_key("2017-01-01T00:00:00+00:00")
