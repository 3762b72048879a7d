"""Dates as intervals: SQL against a count of days."""

import calendar
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from insights.cohort.days import completed_years, first_day, inside, last_day
from insights.cohort.windows import back, window
from insights.views.reader import connect

AS_OF = date(2026, 6, 30)
CONNECTION = connect()
DAYS = st.dates(date(2020, 1, 1), date(2027, 12, 31))
WRITTEN = DAYS.flatmap(lambda day: st.sampled_from([day.isoformat()[:size] for size in (4, 7, 10)]))
WINDOWS = st.sampled_from(
    [
        "last 2 years",
        "last 18 months",
        "last 90 days",
        "last 3 weeks",
        "since 2024-02-29",
        "before 2025-01-01",
        "2024-01-31 to 2025-02-28",
    ]
)


def meant(written):
    """Every day that a date can mean."""
    numbers = [int(part) for part in written.split("-")]
    if len(numbers) == 1:
        first, last = date(*numbers, 1, 1), date(*numbers, 12, 31)
    elif len(numbers) == 2:
        first, last = date(*numbers, 1), date(*numbers, calendar.monthrange(*numbers)[1])
    else:
        first = last = date(*numbers)
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def asked(sql):
    return CONNECTION.execute(f"SELECT {sql}").fetchone()[0]


@given(WRITTEN, WINDOWS)
def test_a_date_is_inside_outside_or_cannot_be_decided(written, words):
    span = window(words, AS_OF)
    within = {(span.start is None or day >= span.start) and day <= span.end for day in meant(written)}
    expected = within.pop() if len(within) == 1 else None
    assert asked(inside(span, first_day(f"'{written}'"), last_day(f"'{written}'"))) is expected


@given(st.dates(date(1900, 1, 1), date(2030, 12, 31)), DAYS)
def test_completed_years_are_birthdays_passed(born, at):
    birthdays = 0
    for year in range(born.year + 1, at.year + 1):
        leap_day = (born.month, born.day) == (2, 29) and not calendar.isleap(year)
        birthday = date(year, 3, 1) if leap_day else date(year, born.month, born.day)
        birthdays += birthday <= at
    if at >= born:
        assert asked(completed_years(f"DATE '{born}'", at)) == birthdays


@given(DAYS, st.integers(1, 60))
def test_months_back_never_leave_the_month(day, months):
    there = back(day, months, "month")
    assert (day.year - there.year) * 12 + day.month - there.month == months
    assert there.day == min(day.day, calendar.monthrange(there.year, there.month)[1])


def test_what_is_no_date_cannot_be_decided():
    for text in ("", "soon", "2024-13", "2024-02-30"):
        assert asked(inside(window("last 2 years", AS_OF), first_day(f"'{text}'"), last_day(f"'{text}'"))) is None
