"""The rule: similarity, followed events and compared treatments. Errors name line and column."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from insights.cohort.definition import (
    CodeEntry,
    Criterion,
    Day,
    Definition,
    Name,
    Part,
    check_names,
    first_fault,
    named_codes,
)
from insights.cohort.located import Located, read_located

_SPAN = re.compile(r"^(\d{1,4}) (day|week|month|year)s?$")
_DAYS = {"day": 1.0, "week": 7.0, "month": 365.25 / 12, "year": 365.25}
_MOST_POINTS = 120
"""Points of a curve."""


class Span(Part):
    """A span of time, such as ``3 months``; a month is a twelfth of 365.25 days."""

    count: int
    unit: Literal["day", "week", "month", "year"]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        written = _SPAN.match(" ".join(str(value).split()))
        if written is None:
            raise ValueError("a span is N days, weeks, months or years")
        return {"count": int(written.group(1)), "unit": written.group(2)}

    @property
    def days(self) -> float:
        """Return the span in days."""
        return self.count * _DAYS[self.unit]

    def times(self, number: int) -> str:
        """Return a multiple of the span in words."""
        return f"{number * self.count} {self.unit}s"


class AgeCaliper(Part):
    """Completed years on the day of the diagnosis."""

    within: int = Field(ge=0, le=100)


class SizeCaliper(Part):
    """
    Size of the lesion: the largest one measured near the diagnosis.

    Attributes
    ----------
    within
        Allowed difference in per cent of the patient's size.
    near
        Maximum distance from the diagnosis, before or after.
    """

    codes: str = Field(alias="in")
    unit: str
    within: float = Field(gt=0, le=100)
    near: Span = Span(count=90, unit="day")

    @model_validator(mode="before")
    @classmethod
    def _per_cent(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("within"), str):
            return {**value, "within": value["within"].removesuffix("%").strip()}
        return value


class Like(Part):
    """The attributes that are compared with the patient's."""

    sex: Literal["same"] | None = None
    age: AgeCaliper | None = None
    lesion: SizeCaliper | None = None


class Coded(Part):
    """Records of one kind with the codes of a set."""

    diagnosis: str | None = None
    procedure: str | None = None
    medication: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of diagnosis, procedure, medication")
        return self

    @property
    def kind(self) -> str:
        """Return the kind of the records."""
        return next(iter(self.model_fields_set))

    @property
    def codes(self) -> str:
        """Return the name of the codes."""
        return str(getattr(self, self.kind))


Event = Literal["death"] | Coded


class Follow(Part):
    """
    The events to follow.

    Attributes
    ----------
    event
        The first of these events ends the time.
    landmark
        Treatments that started by then are compared, and time starts then: otherwise people who died before they could
        be treated would count against no treatment.
    """

    event: Annotated[
        tuple[Event, ...], BeforeValidator(lambda value: value if isinstance(value, list) else [value])
    ] = ("death",)
    landmark: Span = Span(count=90, unit="day")
    every: Span = Span(count=6, unit="month")
    until: Span = Span(count=5, unit="year")

    @model_validator(mode="after")
    def _points(self) -> Self:
        if self.every.count == 0 or self.until.days / self.every.days > _MOST_POINTS:
            raise ValueError(f"a curve has {_MOST_POINTS} points at most: choose every and until so")
        return self

    @property
    def death(self) -> bool:
        """Return whether death is an event."""
        return "death" in self.event

    @property
    def points(self) -> int:
        """Return the number of points of a curve after the first."""
        return int(self.until.days / self.every.days + 1e-9)


class Rule(Part):
    """
    Defines which people are similar to a patient, and the report about them.

    Attributes
    ----------
    who
        Criteria as in a cohort; the first is the diagnosis at which time starts.
    like
        Attributes that are compared with the patient's.
    treatments
        Treatments by name; people are grouped by the treatments that they had.
    """

    similar: Name
    as_of: Day | None = None
    codes: dict[Name, Annotated[tuple[CodeEntry, ...], Field(min_length=1)]] = Field(default_factory=dict)
    who: tuple[Criterion, ...] = Field(min_length=1)
    like: Like = Like()
    treatments: dict[Name, Coded] = Field(min_length=1, max_length=6)
    follow: Follow = Follow()
    consent: Literal["required", "opt-out", "none"] = "opt-out"
    restricted: bool = False

    @model_validator(mode="after")
    def _clock(self) -> Self:
        if self.who[0].kind != "diagnosis":
            raise ValueError("the first criterion of who is the diagnosis at which the clock starts")
        return self

    def definition(self) -> Definition:
        """Return the rule's criteria as a cohort."""
        return Definition(
            cohort=self.similar,
            as_of=self.as_of,
            codes=self.codes,
            who=self.who,
            consent=self.consent,
            restricted=self.restricted,
        )


def read_rule(file: Path) -> tuple[Rule, Located]:
    """
    Read a rule.

    Raises
    ------
    CohortError
        ``cohort.no_file``, ``cohort.yaml``, ``cohort.invalid``, ``cohort.unknown_codes``: each with line and column.
    """
    located = read_located(file)
    try:
        rule = Rule.model_validate(located.value)
    except ValidationError as problem:
        raise first_fault(problem, located) from None
    check_names([*named_codes(rule.definition()), *_named(rule)], rule.codes, located)
    return rule, located


def _named(rule: Rule) -> list[tuple[tuple[str | int, ...], str]]:
    named: list[tuple[tuple[str | int, ...], str]] = []
    if rule.like.lesion is not None:
        named.append((("like", "lesion", "in"), rule.like.lesion.codes))
    named += [(("treatments", name, treatment.kind), treatment.codes) for name, treatment in rule.treatments.items()]
    for number, event in enumerate(rule.follow.event):
        if isinstance(event, Coded):
            named.append((("follow", "event", number, event.kind), event.codes))
            named.append((("follow", "event", event.kind), event.codes))
    return named
