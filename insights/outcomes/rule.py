"""The rule of a comparison: which codes say yes and no, on images and afterwards, where, and within how many days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from insights.cohort.codes import CodeSets, read_codes
from insights.cohort.definition import Coding, Name, Part, Words, fault_of
from insights.cohort.located import Located, read_located
from insights.errors import OutcomeError


class Judged(Part):
    """The code sets that say yes and no."""

    positive: Name
    negative: Name


class Site(Part):
    """
    Codes of one site.

    Attributes
    ----------
    codes
        Codes that name no side.
    left, right
        Codes that name one; a site without these codes has no sides.
    """

    codes: Name
    left: Name | None = None
    right: Name | None = None

    @property
    def has_sides(self) -> bool:
        """Return whether the site has two sides."""
        return self.left is not None or self.right is not None


class Size(Part):
    """
    The recommended size, and the size of the implanted device, in millimetres.

    Attributes
    ----------
    said
        Codes of the Observation.
    used
        Codes of the Device's property.
    """

    said: Name
    used: Name
    within_days: int = Field(default=90, ge=0, le=3650)


class Rule(Coding):
    """
    A rule.

    Attributes
    ----------
    said, found
        Codes on images, and of outcomes.
    consent, restricted
        As in a cohort; only for models, because a reader's own patients are in the reader's care.
    """

    rule: Name
    purpose: Words | None = None
    approval: Words | None = None
    as_of: date | None = None
    said: Judged | None = None
    found: Judged | None = None
    sites: dict[Name, Site] = Field(min_length=1)
    within_days: int = Field(default=180, ge=0, le=3650)
    size: Size | None = None
    consent: Literal["required", "opt-out", "none"] = "opt-out"
    restricted: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.said is None) != (self.found is None):
            raise ValueError("said and found need each other")
        if self.said is None and self.size is None:
            raise ValueError("give said and found, or size")
        return self


@dataclass(frozen=True, slots=True)
class Prepared:
    """A rule that was read, with its codes."""

    rule: Rule
    located: Located
    codes: CodeSets


def prepare(file: Path) -> Prepared:
    """
    Read a rule and its codes.

    Raises
    ------
    OutcomeError
        ``outcome.invalid``, ``outcome.unknown_codes``, with line and column.
    CohortError
        The file is missing or not YAML, or a code set is not usable; with line and column.
    """
    located = read_located(file)
    try:
        rule = Rule.model_validate(located.value)
    except ValidationError as problem:
        path, message = fault_of(problem, located)
        raise OutcomeError(f"{located.where(path)}: {message}", code="outcome.invalid") from None
    for path, name in _named(rule):
        if name not in rule.codes:
            raise OutcomeError(
                f"{located.where(path)}: there are no codes {name!r}",
                code="outcome.unknown_codes",
                hint=f"Known: {', '.join(rule.codes) or 'none'}.",
            )
    return Prepared(rule, located, read_codes(rule, located))


def _named(rule: Rule) -> list[tuple[tuple[str | int, ...], str]]:
    parts: list[tuple[tuple[str | int, ...], Part | None]] = [
        (("said",), rule.said),
        (("found",), rule.found),
        (("size",), rule.size),
        *((("sites", name), site) for name, site in rule.sites.items()),
    ]
    return [
        ((*path, field), value)
        for path, part in parts
        if part is not None
        for field, value in part.model_dump().items()
        if isinstance(value, str)
    ]
