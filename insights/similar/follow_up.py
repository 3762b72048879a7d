"""Turns dates into times: who is followed from the landmark on, for how long, and why others are excluded. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from insights.similar.rule import Follow
from insights.statistics import Survival

BLUR = 31
"""Days that a date may leave open and still be replaced by its middle: a month may, a year may not."""

Why = Literal["undecided", "before", "unseen"]
"""Reasons to exclude a person: dates leave it open, or the event or the last contact was before the landmark."""


@dataclass(frozen=True, slots=True)
class Span:
    """The days that a date can mean; both None if there is no date."""

    first: date | None
    last: date | None

    @property
    def absent(self) -> bool:
        """Return whether there is no date."""
        return self.first is None or self.last is None

    @property
    def middle(self) -> date | None:
        """Return the day in the middle; None if there is no date, or it leaves more than `BLUR` days open."""
        if self.first is None or self.last is None or (self.last - self.first).days >= BLUR:
            return None
        return self.first + (self.last - self.first) // 2


@dataclass(frozen=True, slots=True)
class Course:
    """
    The facts about a similar person.

    Attributes
    ----------
    dead
        Whether the person is known to be dead, without a date.
    contact
        Day of the latest record.
    treatments
        Whether each treatment was given; None if its date leaves open whether it started in time.
    """

    diagnosis: Span
    event: Span
    death: Span
    dead: bool
    contact: date | None
    sex: str | None
    age: int | None
    size: float | None
    treatments: tuple[bool | None, ...]


@dataclass(frozen=True, slots=True)
class Followed:
    """A person who is followed, from the landmark on; times in days."""

    survival: Survival
    treatments: tuple[bool, ...]
    sex: str | None
    age: int | None
    size: float | None
    year: int


def follow_up(course: Course, follow: Follow, as_of: date) -> Followed | Why:
    """
    Return a person's time from the landmark on, or the reason for exclusion.

    Notes
    -----
    A person without an event is censored at the last record, at the end of the data or after `until`, whichever is
    first; or at death, if death is no event.
    """
    diagnosed = course.diagnosis.middle
    treatments = [treatment for treatment in course.treatments if treatment is not None]
    undated_death = course.dead and course.event.absent
    blurred = any(not end.absent and end.middle is None for end in (course.event, course.death))
    if diagnosed is None or undated_death or blurred or len(treatments) < len(course.treatments):
        return "undecided"
    start = diagnosed + timedelta(days=round(follow.landmark.days))
    event, death = course.event.middle, course.death.middle
    ends = [as_of, course.contact or diagnosed]
    if death is not None and death <= as_of:
        ends = [death]
    if event is not None and event < start:
        return "before"
    if event is None and min(ends) < start:
        return "unseen"
    time = ((event or min(ends)) - start).days
    seen = event is not None and time <= follow.until.days
    survival = Survival(min(float(time), follow.until.days), event=seen)
    return Followed(survival, tuple(treatments), course.sex, course.age, course.size, diagnosed.year)
