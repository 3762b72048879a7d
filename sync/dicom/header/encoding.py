"""
Detects the encoding of a data set from its bytes: byte order, and elements with or without a VR (PS3.5 7.1).

Some writers declare one encoding and use another, so the first element of each data set and item decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

_LITTLE_DELIMITERS = b"\xfe\xff"

LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""VRs with a 32-bit length after two reserved bytes (PS3.5 Table 7.1-1)."""
BLANK_VR = b"  "
"""Some writers leave the VR blank, with a length of 16 bits behind it."""
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
VRS = SHORT_VRS | LONG_VRS
"""All VRs (PS3.5 Table 6.2-1)."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """Byte order and VR form of a data set; the structs read element headers: group, element, VR, length."""

    implicit: bool
    big_endian: bool
    plain: Struct
    explicit: Struct
    long: Struct

    @classmethod
    def of(cls, *, implicit: bool, big_endian: bool) -> Encoding:
        """Build the structs of a byte order once."""
        order = ">" if big_endian else "<"
        return cls(implicit, big_endian, Struct(order + "HHI"), Struct(order + "HH2sH"), Struct(order + "I"))


IMPLICIT_LITTLE = Encoding.of(implicit=True, big_endian=False)
EXPLICIT_LITTLE = Encoding.of(implicit=False, big_endian=False)
EXPLICIT_BIG = Encoding.of(implicit=False, big_endian=True)
_IMPLICIT_BIG = Encoding.of(implicit=True, big_endian=True)


def is_vr(text: bytes) -> bool:
    """Return whether two bytes can be a VR: capital letters. A length with these bytes would be over 16 KiB."""
    return len(text) == 2 and 0x40 < text[0] < 0x5B and 0x40 < text[1] < 0x5B  # noqa: PLR2004 -- letters


def encoding_at(data: bytes, position: int, declared: Encoding, *, in_item: bool) -> Encoding:
    """
    Return the encoding that the first element of the data set at ``position`` shows.

    Writers mix encodings, and items of UN sequences are always implicit (PS3.5 6.2.2). Items below implicit ones are
    never explicit.
    """
    vr = data[position + 4 : position + 6]
    if len(vr) < 2 or (in_item and declared.implicit):  # noqa: PLR2004 -- a VR is two bytes
        return declared
    if is_vr(vr):
        return EXPLICIT_BIG if declared.big_endian else EXPLICIT_LITTLE
    return _IMPLICIT_BIG if declared.big_endian else IMPLICIT_LITTLE


def items_encoding(data: bytes, position: int, declared: Encoding) -> Encoding:
    """
    Return the encoding of the items that start at ``position``.

    Items of a UN sequence are little endian even in a big-endian data set (PS3.5 6.2.2, Note 4).
    """
    if declared.big_endian and data[position : position + 2] == _LITTLE_DELIMITERS:
        return EXPLICIT_LITTLE
    return declared
