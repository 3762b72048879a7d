"""
Values in a comparison's rows: the request, the position of cutting, a slice's range, and its holder's position.

    request  ->  position of cutting, step by step  ->  a part per slice  ->  a position in it

`sync.walks.verification` cuts the containers' listings and compares; slices that need no listing are cut here. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from pydantic import Field

from sync.protocol.row_values import RowValue
from sync.protocol.walk_rows import Slice, WalkRow
from sync.verify.batches import RightObjects
from sync.verify.closing import DOUBLES
from sync.verify.full_scan import Plan
from sync.verify.orphans import LISTED
from sync.walks.cutting import Cut, ListingPart, ListingPlan, PartPosition
from sync.walks.key_ranges import bound

_WORTH_STUDY, _WORTH_RESOURCE = 100, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The request: a `Plan` of everything, and the containers that were configured then."""

    repair: bool
    objects: bool
    removals: int
    containers: tuple[str, ...]

    @property
    def plan(self) -> Plan:
        """The scope of the round."""
        return Plan(repair=self.repair, objects=self.objects, removals=self.removals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """
    Position of cutting: the next container and the position ``at`` in its listing, then the range, then the step.

    ``listed`` is false once a container could not be listed. ``ranges`` is 0 until it is estimated how many ``studies``
    there are. ``before`` is the number of slices before the ranges.
    """

    container: int = 0
    at: ListingPlan = field(default_factory=ListingPlan)
    listed: bool = True
    studies: int = 0
    ranges: int = 0
    range: int = 0
    step: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects(ListingPart):
    """A part of a container's listing."""

    part: Literal["objects"] = "objects"
    container: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Studies:
    """A range of study keys, first exclusive and last inclusive; ``listed``: every container could be listed."""

    part: Literal["studies"] = "studies"
    begin: Annotated[str, Field(alias="from")]
    end: Annotated[str, Field(alias="to")]
    listed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """FHIR's list of one resource type."""

    part: Literal["list"] = "list"
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Resources to remove: those of a type without a record, or second ImagingStudies."""

    part: Literal["remove"] = "remove"
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of the round."""

    part: Literal["close"] = "close"


Part = Objects | Studies | Resources | Removal | End
"""The range of a slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position(PartPosition):
    """Position of a slice's holder: ``after`` a study or subject, or at the ``link`` of a page of FHIR's list."""

    after: str = ""
    link: str | None = None
    right: RightObjects | None = None
    """For a part of a listing: the objects that it proved right."""


REQUEST: RowValue[Request] = RowValue(Request)
POSITION: RowValue[Position] = RowValue(Position)
_STAND: RowValue[Stand] = RowValue(Stand)
_PART: RowValue[Part] = RowValue(Annotated[Part, Field(discriminator="part")])


def request_of(row: WalkRow) -> Request:
    """Return the request in a walk's row."""
    return REQUEST.read(row.request, row=row.name)


def stand_of(row: WalkRow) -> Stand:
    """Return the position of cutting; the beginning, if it has not begun."""
    return _STAND.read(row.plan, row=row.name) if row.plan else Stand(listed=request_of(row).objects)


def part_of(piece: Slice) -> Part:
    """Return the range of a slice."""
    return _PART.read(piece.scope, row=piece.name)


def position_of(piece: Slice) -> Position:
    """Return the position of a slice's holder."""
    return POSITION.read(piece.at, row=piece.name)


@dataclass(frozen=True, slots=True)
class Step:
    """Position of cutting, and the slice that ends there, if one does; other fields as in `Cut`."""

    stand: Stand
    part: Part | None = None
    size: int = 0
    needs: int = 0
    last: bool = False
    more: bool = False

    @property
    def cut(self) -> Cut:
        """The same, as stored in rows."""
        scope = _PART.write(self.part) if self.part is not None else None
        return Cut(
            position=_STAND.write(self.stand),
            scope=scope,
            size=self.size,
            needs=self.needs,
            last=self.last,
            more=self.more,
        )


def cut_keys(stand: Stand) -> Iterator[Step]:
    """Cut the keys of studies into ranges of the same length, each without its first key and with its last."""
    ranges = stand.ranges
    for number in range(stand.range, ranges):
        yield Step(
            replace(stand, range=number + 1),
            Studies(begin=bound(number, ranges), end=bound(number + 1, ranges), listed=stand.listed),
            size=_WORTH_STUDY * stand.studies // ranges,
            needs=stand.before,
            more=True,
        )


def cut_rest(stand: Stand, plan: Plan, made: int) -> Iterator[Step]:
    """Cut the parts after the keys: FHIR's lists, the removals, and the end. ``made`` slices are cut before."""
    parts: list[Part] = [Removal(what=DOUBLES)] if plan.repair else []
    for resource_type in LISTED:
        parts += [Resources(what=resource_type), *([Removal(what=resource_type)] if plan.repair else [])]
    parts.append(End())
    for number in range(stand.step, len(parts)):
        part, last = parts[number], number + 1 == len(parts)
        yield Step(
            replace(stand, step=number + 1),
            part,
            size=_WORTH_RESOURCE * stand.studies if isinstance(part, Resources) else 0,
            # A resource that one step removes is no drift in the next; and the end comes last.
            needs=made if plan.repair or last else 0,
            last=last,
            more=not last,
        )
        made += 1
