"""
Values in the rows of replays: the position of cutting, a slice's range and its holder's position, by source.

    blobs      segments of the change feed, or parts of the containers' listings
    DICOM      windows of time, read in portions
    Orthanc    deleted instances, then ranges of the numbers of changes
    a study    all of it

``route`` says how changes are found. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from sync.model.timestamps import Timestamp
from sync.protocol.row_values import RowValue
from sync.protocol.walk_rows import Slice, WalkRow
from sync.walks.cutting import ListingPart, ListingPlan

FEED, LISTING, STUDY = "feed", "listing", "study"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Segments of a feed, or a time window: from the first time until before the second; None: open-ended."""

    route: Literal["feed"] = "feed"
    begin: Annotated[Timestamp, Field(alias="from")]
    end: Annotated[Timestamp | None, Field(alias="to")]


HOURS: RowValue[Hours] = RowValue(Hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobFeedPlan:
    """
    The slice of the blobs' change feed that is being filled.

    It begins at ``begin`` and has ``size`` segments up to ``last``; ``seen`` counts those of all slices.
    """

    route: Literal["feed"] = "feed"
    begin: Annotated[Timestamp | None, Field(alias="from")] = None
    last: Timestamp | None = None
    size: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobListingPlan:
    """The container that is being cut, and where; empty before the first."""

    route: Literal["listing"] = "listing"
    container: str = ""
    inner: ListingPlan = field(default_factory=ListingPlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobListing(ListingPart):
    """A part of a container's listing; of none, where the last container does not exist."""

    route: Literal["listing"] = "listing"
    container: str | None


BLOB_PLAN: RowValue[BlobFeedPlan | BlobListingPlan] = RowValue(
    Annotated[BlobFeedPlan | BlobListingPlan, Field(discriminator="route")]
)
BLOB_PART: RowValue[Hours | BlobListing] = RowValue(Annotated[Hours | BlobListing, Field(discriminator="route")])


def blob_part_of(piece: Slice) -> Hours | BlobListing:
    """Return the range of a slice of a replay of blobs."""
    return BLOB_PART.read(piece.scope, row=piece.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsPlan:
    """When the next window of a DICOM service's feed begins, and how many windows were cut."""

    route: Literal["feed"] = "feed"
    begin: Annotated[Timestamp | None, Field(alias="from")] = None
    made: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Portions:
    """How many portions of a window are done, and whether it is over."""

    portions: int = 0
    over: bool = False


WINDOWS_PLAN: RowValue[WindowsPlan] = RowValue(WindowsPlan)
PORTIONS: RowValue[Portions] = RowValue(Portions)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumbersPlan:
    """
    The slice of an Orthanc's changes that is being filled.

    It begins after number ``begin`` and has ``size`` changes up to ``since``; ``seen`` counts those of all slices.
    """

    route: Literal["feed"] = "feed"
    begin: Annotated[int, Field(alias="from")] = 0
    since: int = 0
    size: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Changes after a number and up to another one; None: open-ended."""

    route: Literal["feed"] = "feed"
    begin: Annotated[int, Field(alias="from")]
    end: Annotated[int | None, Field(alias="to")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """Instances that the server no longer holds."""

    route: Literal["feed"] = "feed"
    deleted: Literal[True]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrthancPosition:
    """The number of the last change that is done; or how often reading the deletions was attempted."""

    since: int | None = None
    tries: int = 0


NUMBERS_PLAN: RowValue[NumbersPlan] = RowValue(NumbersPlan)
ORTHANC_PART: RowValue[Deleted | Numbers] = RowValue(Deleted | Numbers)
ORTHANC_POSITION: RowValue[OrthancPosition] = RowValue(OrthancPosition)


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeStudy:
    """All of a study."""

    route: Literal["study"] = "study"


WHOLE_STUDY: RowValue[WholeStudy] = RowValue(WholeStudy)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Fields that the plans of all sources share."""

    route: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Where parts of all sources begin: at a time, after a number, or in a container."""

    begin: Annotated[str | int | None, Field(alias="from")] = None
    container: str | None = None


_PLAN: RowValue[_Plan] = RowValue(_Plan)
_PART: RowValue[_Part] = RowValue(_Part)


def route_of(row: WalkRow) -> str | None:
    """Return how the changes of a replay are found; None until that is known."""
    return _PLAN.read(row.plan, row=row.name).route


def began_at(piece: Slice) -> str | None:
    """Return the time, number or container where a slice begins, as text."""
    part = _PART.read(piece.scope, row=piece.name)
    return str(part.begin) if part.begin is not None else part.container
