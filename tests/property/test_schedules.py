"""A timer's schedule means what its fields say: the first later second at which all six match."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from local.host.timers import Schedule

# Hours, days and months stay open or near, so that counting second by second ends soon.
BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
IN_EVERY_MONTH = 28


@st.composite
def fields(draw: st.DrawFn, index: int) -> tuple[str, frozenset[int]]:
    """A field's text and the values it allows."""
    low, high = BOUNDS[index]
    form = draw(st.sampled_from(["any", "list", "range", "step"] if index < 2 else ["any", "any", "range"]))
    most = min(high, IN_EVERY_MONTH) if index == 3 else high
    first = draw(st.integers(low, most))
    last = draw(st.integers(first, most))
    if form == "list":
        values = draw(st.sets(st.integers(low, high), min_size=1, max_size=3))
        return ",".join(map(str, sorted(values))), frozenset(values)
    if form == "range":
        return f"{first}-{last}", frozenset(range(first, last + 1))
    step = draw(st.integers(2, 20)) if form == "step" else 1
    return f"*/{step}" if form == "step" else "*", frozenset(range(low, high + 1, step))


schedules = st.tuples(*(fields(index) for index in range(6)))
timestamps = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)).map(lambda when: when.replace(tzinfo=UTC))  # noqa: DTZ001


def matches(when: datetime, allowed: list[frozenset[int]]) -> bool:
    day_of_week = (when.weekday() + 1) % 7
    values = (when.second, when.minute, when.hour, when.day, when.month, day_of_week)
    return all(value in choices for value, choices in zip(values, allowed, strict=True))


def first_match(after: datetime, allowed: list[frozenset[int]]) -> datetime:
    """Find it the slow way: skip what cannot match as a whole, count the rest."""
    when = after.replace(microsecond=0) + timedelta(seconds=1)
    minutes, hours = allowed[1:3]
    everything = [frozenset(range(60)), frozenset(range(60)), frozenset(range(24))]
    while not matches(when, allowed):
        if not matches(when, [*everything, *allowed[3:]]):
            when = when.replace(hour=0, minute=0, second=0) + timedelta(days=1)
        elif when.hour not in hours:
            when = when.replace(minute=0, second=0) + timedelta(hours=1)
        elif when.minute not in minutes:
            when = when.replace(second=0) + timedelta(minutes=1)
        else:
            when += timedelta(seconds=1)
    return when


@given(schedules, timestamps)
def test_the_next_time_is_the_first_later_second_at_which_every_field_matches(
    schedule: tuple[tuple[str, frozenset[int]], ...], after: datetime
) -> None:
    text, allowed = " ".join(field[0] for field in schedule), [field[1] for field in schedule]
    assert Schedule(text).next(after) == first_match(after, allowed)
