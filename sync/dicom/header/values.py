"""
Values of the extracted attributes (PS3.5 6.2): spans in, plain data out, in the shape of `sync.model.Attributes`.

Text stays as in the file; the mapping interprets it. Plain ASCII, by far the most common case, takes a shortcut without
pydicom's tables. An unreadable value becomes a finding and never fails the object.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any, Literal

from sync.config import Detail
from sync.dicom.attributes import DOCUMENT_CLASSES, Extracted
from sync.dicom.detail import groups_in_detail, rows_in_detail
from sync.dicom.header.encoding import VRS, Encoding
from sync.dicom.header.identity import SPOILS, Notes
from sync.dicom.header.structure import ByteSpan, ElementWalk, Malformed, Short
from sync.dicom.header.text import DEFAULT, ESCAPE, Charset, Flaw, without_controls

SPECIFIC_CHARACTER_SET = 0x00080005

_LONGEST_CHARSET = 256
PADDING = " \0"
_RESETS = b"\\\r\n\t\f"
_NAME_RESETS = _RESETS + b"^="
BEYOND_ASCII = ("code.beyond_ascii", "read as text")


LONGEST_VALUE = 16 * 1024
LARGEST_RECORD = 128 * 1024
"""Bytes; real attributes stay far below, and a ledger row must fit into a table row (1 MiB, 64 KiB a cell)."""


class ElementKind(enum.Enum):
    """How the values of a VR are read."""

    SEQUENCE = enum.auto()
    TEXT = enum.auto()
    """Text in the specific character set."""
    CODE = enum.auto()
    """Text in the default repertoire."""
    INTEGER = enum.auto()
    REAL = enum.auto()


KINDS = (
    {b"SQ": ElementKind.SEQUENCE}
    | dict.fromkeys(b"SH LO PN UC LT ST UT".split(), ElementKind.TEXT)
    | dict.fromkeys(b"AE AS CS DA DS DT IS TM UI UR".split(), ElementKind.CODE)
    | dict.fromkeys(b"US SS UL SL UV SV".split(), ElementKind.INTEGER)
    | dict.fromkeys(b"FL FD".split(), ElementKind.REAL)
)
SINGLE = frozenset((b"LT", b"ST", b"UT", b"UR"))
"""VRs in which backslashes and leading blanks are text."""
_WHOLE = frozenset(b"SH LO PN UC LT ST UT UR UI".split())
_WHOLE_CODES = frozenset({"UniversalEntityIDType"})
"""Values that are not cut at a backslash if only one is allowed: a part would mean something else, or be another id."""
INTEGERS = {
    b"US": (2, False),
    b"SS": (2, True),
    b"UL": (4, False),
    b"SL": (4, True),
    b"UV": (8, False),
    b"SV": (8, True),
}
_BINARY = (ElementKind.INTEGER, ElementKind.REAL)
_LARGEST_SINGLE = 3.4e38
_REALS = {b"FL": ("f", 4), b"FD": ("d", 8)}
MALFORMED: Flaw = ("value.malformed", "omitted")


@dataclass(frozen=True, slots=True)
class Row:
    """
    A row of the table, prepared for lookup: VR as bytes, children by tag.

    ``whole`` values are never cut at a backslash; of a ``distinct`` sequence, equal items are kept once.
    """

    keyword: str
    vr: bytes
    children: Mapping[int, Row]
    whole: bool
    distinct: bool = False


def by_tag(rows: tuple[Extracted, ...]) -> dict[int, Row]:
    """Make rows ready for lookup by tag."""
    return {row.tag: _made_ready(row) for row in rows}


def _made_ready(row: Extracted) -> Row:
    children = by_tag(row.children)
    vr = row.vr.encode("ascii")
    whole = not row.multiple and (vr in _WHOLE or row.keyword in _WHOLE_CODES)
    ready = Row(row.keyword, vr, children, whole, row.distinct)
    if row.recursive:
        children[row.tag] = ready
    return ready


@cache
def _made_rows(sop_class: str, detail: Detail) -> Mapping[int, Row]:
    return by_tag(rows_in_detail(sop_class, detail))


def rows_of(sop_class: str, detail: Detail = "none") -> Mapping[int, Row]:
    """Return the rows of the attributes that are read from the header of an instance of that SOP class."""
    return _made_rows(sop_class if sop_class in DOCUMENT_CLASSES else "", detail)


@cache
def group_rows(detail: Detail = "none") -> tuple[tuple[int, Mapping[int, Row]], ...]:
    """Return the functional groups that are read from multi-frame images, in tag order, each with its row."""
    return tuple((group.tag, by_tag((group,))) for group in groups_in_detail(detail))


def reals(vr: bytes, raw: bytes, *, big_endian: bool = False) -> list[float] | None:
    """Return the numbers of a binary value (PS3.5 6.2, FL and FD); None for a broken length, NaN or infinity."""
    form, size = _REALS[vr]
    if len(raw) % size:
        return None
    numbers = struct.unpack(f"{'>' if big_endian else '<'}{len(raw) // size}{form}", raw)
    return shortest(vr, numbers)


def shortest(vr: bytes, numbers: Sequence[float]) -> list[float] | None:
    """Return finite numbers, those of single precision with the fewest digits that identify them, such as 0.1."""
    if not all(isfinite(number) for number in numbers):
        return None
    return [_of_single(number) for number in numbers] if vr == b"FL" else [float(number) for number in numbers]


def _of_single(number: float) -> float:
    try:
        packed = struct.pack("<f", number)
    except OverflowError:
        return float(number)
    for digits in range(6, 10):
        candidate = float(f"{number:.{digits}g}")
        if abs(candidate) < _LARGEST_SINGLE and struct.pack("<f", candidate) == packed:
            return candidate
    return float(number)


def can_stand_for(vr: bytes, expected: bytes) -> bool:
    """Return whether values of another VR can be read for the expected one: no sequence, no binary number for text."""
    if vr not in KINDS or (vr == b"SQ") != (expected == b"SQ"):
        return False
    return vr not in _REALS or expected in _REALS


def delimiters_of(vr: bytes) -> bytes:
    """Return the characters after which a value returns to its initial character set (PS3.5 6.1.2.5.3)."""
    return _NAME_RESETS if vr == b"PN" else _RESETS


class Values(Notes):
    """Converts decoded text to values, by the rules that both readers share."""

    __slots__ = ()

    def parts(self, row: Row, vr: bytes, text: str) -> list[Any]:
        """Split into values, without padding; a value of nothing but padding is empty."""
        single = vr in SINGLE
        text = text.rstrip(PADDING) if single else text.strip(PADDING)
        if not text.isprintable():
            printable = without_controls(text)
            if printable != text:
                self.find(row.keyword, ("text.control", "dropped"))
                text = printable.rstrip(PADDING) if single else printable.strip(PADDING)
            if row.keyword in SPOILS and not text.isprintable():
                self.spoil(row.keyword)
        if not text:
            return []
        if single or row.whole or "\\" not in text:
            return [text]
        values = [part.strip(PADDING) for part in text.split("\\")]
        return values if any(values) else []


@dataclass(slots=True)
class Reader(Values):
    """
    Reads the values of one object; meanwhile ``findings`` grows and ``room`` shrinks.

    ``full`` is set if a value did not fit; ``longest`` is the maximum size of one value.
    """

    data: bytes
    walk: ElementWalk
    room: int = LARGEST_RECORD
    longest: int = LONGEST_VALUE
    full: bool = False

    def attributes(
        self,
        spans: Mapping[int, ByteSpan],
        rows: Mapping[int, Row],
        encoding: Encoding,
        inherited: Charset = DEFAULT,
        depth: int = 1,
    ) -> dict[str, list[Any]]:
        """
        Read the spans that have a row; ``depth`` is that of the sequences among them.

        Items inherit the character set of the enclosing data set or item, unless they have their own (PS3.3
        C.12.1.1.2).
        """
        charset = self._charset(spans, inherited)
        outer, self.spoiled = self.spoiled, None
        values = {}
        for tag, span in spans.items():
            row = rows.get(tag)
            if row is not None:
                read = self._values(row, span, encoding, charset, depth)
                if read is not None:
                    values[row.keyword] = read
        if self.spoiled is None:  # the usual case; function calls dominate the cost of items
            self.spoiled, self.spoiled_item = outer, False
        else:
            self.leave(values, outer)
        return values

    def _charset(self, spans: Mapping[int, ByteSpan], inherited: Charset) -> Charset:
        span = spans.get(SPECIFIC_CHARACTER_SET)
        if span is None:
            return inherited
        charset = Charset.of(self.data[span.start : min(span.stop, span.start + _LONGEST_CHARSET)])
        if charset.flaw:
            self.find("SpecificCharacterSet", charset.flaw)
        return charset

    def _values(self, row: Row, span: ByteSpan, encoding: Encoding, charset: Charset, depth: int) -> list[Any] | None:
        vr, start, stop = span
        if vr != row.vr:
            effective = self._effective_vr(row, vr)
            if effective is None:
                return None
            vr = effective
        if vr != b"SQ" and not self._takes(row, stop - start):
            return None
        kind = KINDS[vr]
        if kind is ElementKind.SEQUENCE:
            return self._items(row, span, encoding, charset, depth)
        raw = self.data[start:stop]
        if not raw:
            return []
        if kind in _BINARY:
            return self._numbers(row, vr, raw, encoding)
        if raw.isascii() and ESCAPE not in raw:
            text = raw.decode("ascii")
        else:
            text = self._decode(row, vr, raw, charset)
            if kind is ElementKind.CODE:
                self.find(row.keyword, BEYOND_ASCII)
        return self.parts(row, vr, text)

    def _effective_vr(self, row: Row, vr: bytes) -> bytes | None:
        """Return the file's VR if its values can be read for the expected VR; else None."""
        if vr in (b"", b"UN") or vr not in VRS:
            return row.vr
        if can_stand_for(vr, row.vr):
            return vr
        self.find(row.keyword, ("vr.unexpected", "omitted"))
        return None

    def _items(self, row: Row, span: ByteSpan, encoding: Encoding, charset: Charset, depth: int) -> list[Any] | None:
        tags = {SPECIFIC_CHARACTER_SET, *row.children}
        try:
            elements = self.walk.items(span, encoding, tags, depth)
        except (Malformed, Short):
            self.find(row.keyword, ("sequence.malformed", "omitted"))
            return None
        if row.distinct:
            elements = self._distinct(elements)
        if not self._takes(row, 8 * len(elements)):
            return None
        items = []
        for spans, inner in elements:
            items.append(self.attributes(spans, row.children, inner, charset, depth + 1))
            if self.spoiled_item:
                self.spoil(row.keyword)
        return items

    def _distinct(
        self, elements: Sequence[tuple[dict[int, ByteSpan], Encoding]]
    ) -> list[tuple[dict[int, ByteSpan], Encoding]]:
        """Remove duplicates among the items, by their bytes, and empty ones, in the order of the file."""
        kept: dict[tuple[tuple[int, bytes], ...], tuple[dict[int, ByteSpan], Encoding]] = {}
        for spans, encoding in elements:
            if spans:
                content = tuple((tag, self.data[span.start : span.stop]) for tag, span in sorted(spans.items()))
                kept.setdefault(content, (spans, encoding))
        return list(kept.values())

    def _numbers(self, row: Row, vr: bytes, raw: bytes, encoding: Encoding) -> list[Any] | None:
        if vr in _REALS:
            numbers = reals(vr, raw, big_endian=encoding.big_endian)
            if numbers is None:
                self.find(row.keyword, MALFORMED)
            return numbers
        size, signed = INTEGERS[vr]
        if len(raw) % size:
            self.find(row.keyword, ("value.length", "omitted"))
            return None
        order: Literal["big", "little"] = "big" if encoding.big_endian else "little"
        return [int.from_bytes(raw[place : place + size], order, signed=signed) for place in range(0, len(raw), size)]

    def _decode(self, row: Row, vr: bytes, raw: bytes, charset: Charset) -> str:
        text, flaw = charset.decode(raw, delimiters_of(vr))
        if flaw:
            self.find(row.keyword, flaw)
        elif (not charset.trusted and not raw.isascii()) or (ESCAPE in raw and not charset.extended):
            self.spoil(row.keyword)
        return text

    def _takes(self, row: Row, size: int) -> bool:
        if size > self.longest or size > self.room:
            self.full = self.full or size > self.room
            self.find(row.keyword, ("value.too_long", "omitted"))
            return False
        self.room -= size
        return True
