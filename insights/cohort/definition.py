"""The definition of a cohort as values. Unknown keys are refused, with line and column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from insights.cohort.located import Located, read_located
from insights.cohort.windows import window


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _window(value: str) -> str:
    window(value, date(2000, 1, 1))
    return value


def _day(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        raise ValueError("as_of is a day, such as 2026-06-30")
    return value


Day = Annotated[date, BeforeValidator(_day)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Words = Annotated[str, Field(min_length=1, max_length=200)]
When = Annotated[str, BeforeValidator(lambda value: _window(value) if isinstance(value, str) else value)]
Written = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),  # YAML reads a year as a number
    Field(pattern=r"^\d{4}(-\d\d(-\d\d.*)?)?$"),
]
Texts = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]


class Part(BaseModel):
    """A part of a definition: nothing unknown is in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True)


class CodeFile(Part):
    """A CSV file with the columns ``system`` and ``code``, beside the definition."""

    file: str


class CodeExpression(Part):
    """An Expression Constraint of SNOMED CT, expanded once by a terminology server into the lock file."""

    ecl: str


CodeEntry = Annotated[str, Field(pattern=r"^[^|\s]+\|[^|]+$")] | CodeFile | CodeExpression


class Coded(Part):
    """Records with a code of a set, within a window."""

    codes: str = Field(alias="in")
    when: When = "ever"


class Diagnosis(Coded):
    """Conditions; refuted ones and those entered in error never count."""

    date: Literal["onset or recorded", "onset", "recorded"] = "onset or recorded"
    provisional: bool = False


class Age(Part):
    """Completed years on the day of `as_of`."""

    over: int | None = Field(default=None, ge=0, le=150)
    under: int | None = Field(default=None, ge=0, le=150)
    at_least: int | None = Field(default=None, ge=0, le=150)
    at_most: int | None = Field(default=None, ge=0, le=150)

    @model_validator(mode="after")
    def _some(self) -> Self:
        least, most = self.bounds()
        if least == 0 and most is None and self.at_least is None:
            raise ValueError("give over, under, at_least or at_most")
        if most is not None and most < least:
            raise ValueError("no age is in these limits")
        return self

    def bounds(self) -> tuple[int, int | None]:
        """Return the minimum and the maximum of completed years."""
        least = max(0 if self.over is None else self.over + 1, self.at_least or 0)
        tops = [top for top in (None if self.under is None else self.under - 1, self.at_most) if top is not None]
        return least, min(tops, default=None)


class Study(Part):
    """Imaging studies."""

    modality: Texts | None = None
    body_site: str | None = None
    when: When = "ever"


class Measured(Coded):
    """Observations, optionally by value; units must be equal, none is converted."""

    above: float | None = None
    below: float | None = None
    unit: str | None = None

    @model_validator(mode="after")
    def _unit(self) -> Self:
        if (self.above is not None or self.below is not None) and self.unit is None:
            raise ValueError("a number needs its unit (UCUM)")
        return self


class Visit(Part):
    """Encounters."""

    kind: Texts = Field(alias="class")
    when: When = "ever"


class Criterion(Part):
    """One condition on a patient."""

    diagnosis: Diagnosis | None = None
    age: Age | None = None
    sex: Annotated[tuple[Literal["male", "female", "other", "unknown"], ...], BeforeValidator(_listed)] | None = None
    medication: Coded | None = None
    procedure: Coded | None = None
    observation: Measured | None = None
    study: Study | None = None
    encounter: Visit | None = None
    never: Criterion | None = Field(default=None, alias="not")
    either: tuple[Criterion, ...] | None = Field(default=None, alias="any", min_length=1)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("a criterion is exactly one of: " + ", ".join(KINDS))
        return self

    @property
    def kind(self) -> str:
        """Return the kind of the condition."""
        return next(iter(self.model_fields_set))

    @property
    def value(self) -> Any:
        """Return the condition."""
        return getattr(self, self.kind)


KINDS = ("diagnosis", "age", "sex", "medication", "procedure", "observation", "study", "encounter", "not", "any")


class GetCoded(Part):
    """Which records of a kind are extracted."""

    codes: str | None = Field(default=None, alias="in")
    when: When = "ever"


def _get_coded(value: Any) -> Any:
    if value == "all":
        return {}
    return {"in": value} if isinstance(value, str) else value


Wanted = Annotated[GetCoded, BeforeValidator(_get_coded)]


class Get(Part):
    """An extract about the members; not a criterion."""

    conditions: Wanted | None = None
    medications: Wanted | None = None
    procedures: Wanted | None = None
    observations: Wanted | None = None
    studies: Annotated[Study, BeforeValidator(lambda value: {} if value == "all" else value)] | None = None
    reports: Literal["of studies"] | None = None

    @model_validator(mode="after")
    def _reports(self) -> Self:
        if self.reports and self.studies is None:
            raise ValueError("reports of studies need studies")
        return self


class ExampleRecord(Part):
    """A record of an example: a code, if the kind has one, and a date."""

    code: Annotated[str, Field(pattern=r"^[^|\s]+\|[^|]+$")] | None = None
    date: Written | None = None
    status: str | None = None
    modality: str | None = None
    kind: str | None = Field(default=None, alias="class")
    value: float | None = None
    unit: str | None = None


class Example(Part):
    """A tiny patient, and whether the definition takes it in."""

    name: Words
    expect: Literal["in", "out", "undecided"]
    born: Written | None = None
    sex: Literal["male", "female", "other", "unknown"] | None = None
    diagnoses: tuple[ExampleRecord, ...] = ()
    medications: tuple[ExampleRecord, ...] = ()
    procedures: tuple[ExampleRecord, ...] = ()
    observations: tuple[ExampleRecord, ...] = ()
    studies: tuple[ExampleRecord, ...] = ()
    encounters: tuple[ExampleRecord, ...] = ()


class Coding(Part):
    """Base of cohorts and rules: named sets of codes."""

    codes: dict[Name, Annotated[tuple[CodeEntry, ...], Field(min_length=1)]] = {}


class Definition(Coding):
    """
    The criteria of a cohort, and the extracts about its members.

    Attributes
    ----------
    consent
        ``required``: an active permit; ``opt-out``: no active deny; ``none``: not inspected.
    restricted
        Whether patients and records that are labelled R or V are included.
    """

    cohort: Name
    purpose: Words | None = None
    approval: Words | None = None
    as_of: Day | None = None
    who: tuple[Criterion, ...] = Field(min_length=1)
    get: Get = Get()
    consent: Literal["required", "opt-out", "none"] = "opt-out"
    restricted: bool = False
    tests: tuple[Example, ...] = ()


def read_definition(file: Path) -> tuple[Definition, Located]:
    """
    Read the definition of a cohort.

    Raises
    ------
    CohortError
        ``cohort.no_file``, ``cohort.yaml``, ``cohort.invalid``, ``cohort.unknown_codes``: each with line and column.
    """
    located = read_located(file)
    return parse_definition(located), located


def parse_definition(located: Located) -> Definition:
    """Check the content of a file; see `read_definition`."""
    try:
        definition = Definition.model_validate(located.value)
    except ValidationError as problem:
        raise first_fault(problem, located) from None
    check_names(named_codes(definition), definition.codes, located)
    return definition


def check_names(named: Iterable[tuple[tuple[str | int, ...], str]], known: Iterable[str], located: Located) -> None:
    """Refuse the first name of a code set that is not defined; see `read_definition`."""
    names = tuple(known)
    for path, name in named:
        if name not in names:
            hint = f"Known: {', '.join(names) or 'none'}."
            raise located.error(path, f"there are no codes {name!r}", "cohort.unknown_codes", hint)


def named_codes(definition: Definition) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the names of the code sets in use, each with the path of its use."""
    named: list[tuple[tuple[str | int, ...], str]] = []
    for number, criterion in enumerate(definition.who):
        _names(criterion, ("who", number), named)
    for kind in ("conditions", "medications", "procedures", "observations", "studies"):
        wanted = getattr(definition.get, kind)
        for field, key in (("codes", "in"), ("body_site", "body_site")):
            name = getattr(wanted, field, None)
            if name is not None:
                named.append((("get", kind, key), name))
    return named


def _names(criterion: Criterion, path: tuple[str | int, ...], named: list[tuple[tuple[str | int, ...], str]]) -> None:
    if criterion.never is not None:
        _names(criterion.never, (*path, "not"), named)
    elif criterion.either is not None:
        for number, inner in enumerate(criterion.either):
            _names(inner, (*path, "any", number), named)
    else:
        for field, key in (("codes", "in"), ("body_site", "body_site")):
            name = getattr(criterion.value, field, None)
            if name is not None:
                named.append(((*path, criterion.kind, key), name))


def first_fault(problem: ValidationError, located: Located) -> Exception:
    """Return the error of a definition that is not valid; see `fault_of`."""
    path, text = fault_of(problem, located)
    return located.error(path, text, "cohort.invalid")


_WORDS = {
    "date_from_datetime_parsing": "this is no day, such as 2026-06-30",
    "finite_number": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_type": "a whole number is needed",
    "float_parsing": "a number is needed",
    "float_type": "a number is needed",
    "greater_than_equal": "this number is too small",
    "less_than_equal": "this number is too large",
    "dict_type": "fields are needed, such as name: value",
    "list_type": "a list is needed, such as [a, b]",
    "model_type": "fields are needed, such as name: value",
    "string_type": "a text is needed",
    "too_short": "this is empty: at least one entry is needed",
    "tuple_type": "a list is needed, such as [a, b]",
}
"""Texts for the authors of definitions, in place of pydantic's texts for programmers, by kind of fault."""


def fault_of(problem: ValidationError, located: Located) -> tuple[tuple[str | int, ...], str]:
    """Return place and text of the fault deepest in the file: for a choice, the branch that the author meant."""
    faults = problem.errors(include_input=False, include_url=False, include_context=False)
    fault = max(faults, key=lambda fault: len(_path(fault["loc"], located)))
    path = _path(fault["loc"], located)
    text = _WORDS.get(fault["type"], str(fault["msg"]).removeprefix("Value error, "))
    if fault["type"] == "extra_forbidden":
        text = f"there is no field {str(fault['loc'][-1])!r} here"
    if fault["type"] == "missing":
        text = f"{fault['loc'][-1]!s} is missing"
    return path, text


def _path(loc: Sequence[str | int], located: Located) -> tuple[str | int, ...]:
    """Return the part of a fault's location that is in the file; pydantic adds the names of branches."""
    path: tuple[str | int, ...] = ()
    for step in loc:
        if (*path, step) in located.places:
            path = (*path, step)
    return path
