"""DICOM files made byte by byte, so that tests can also make what no writer would write; and the real ones at hand."""

import hashlib
import os
import zlib
from functools import cache
from pathlib import Path
from struct import pack

import pydicom.data
import pytest

LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
UNDEFINED = 0xFFFFFFFF

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

STUDY, SERIES, SOP = "2.25.11", "2.25.22", "2.25.33"

WHEEL = Path(pydicom.data.__file__).parent
CORPUS = Path(os.environ.get("DICOM_CORPUS") or Path(__file__).parents[2] / "shared" / "data" / "dicom")
"""More real files, with a MANIFEST.tsv, where the machine has them; no part of the repository."""


not_in_quick_check = pytest.mark.skipif(
    bool(os.environ.get("QUICK_CHECK")), reason="the quick check leaves comparisons of all real files to make test"
)
"""A test that reads hundreds of files."""


def whole_corpus(test):
    """
    Mark a test that reads hundreds of files in several ways, and takes many seconds; as `not_in_quick_check`.

    Its coverage is not measured: it would take twice as long, to run lines that smaller tests run too.
    """
    return pytest.mark.no_cover(not_in_quick_check(test))


def wheel_files() -> list[Path]:
    """Every file that the pydicom wheel carries for tests, DICOM or not."""
    folders = (WHEEL / "test_files", WHEEL / "charset_files", WHEEL / "palettes")
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


@cache
def real_files() -> tuple[Path, ...]:
    """The wheel's files, and those of the corpus where there is one; one file of each content."""
    files = wheel_files() + sorted(path for path in CORPUS.rglob("*") if path.is_file())
    return tuple({hashlib.sha256(path.read_bytes()).digest(): path for path in reversed(files)}.values())[::-1]


def wheel_file(name: str) -> bytes:
    (path,) = (path for path in wheel_files() if path.name == name)
    return path.read_bytes()


def element(tag: int, vr: str, value: bytes | str, *, implicit=False, big=False, length: int | None = None) -> bytes:
    """One data element; text is padded to an even length, ``length`` lies about the length."""
    if isinstance(value, str):
        value = value.encode("latin-1")
        value += b"" if len(value) % 2 == 0 else (b"\0" if vr == "UI" else b" ")
    order = ">" if big else "<"
    size = len(value) if length is None else length
    head = pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return head + pack(order + "I", size) + value
    if vr in LONG:
        return head + vr.encode() + b"\0\0" + pack(order + "I", size) + value
    return head + vr.encode() + pack(order + "H", size) + value


def sequence(tag: int, *items: bytes, vr="SQ", undefined=True, implicit=False, big=False) -> bytes:
    """One sequence of ready-made items, lengths defined or not."""
    order = ">" if big else "<"
    parts = []
    for item in items:
        parts += [pack(order + "HHI", 0xFFFE, 0xE000, UNDEFINED if undefined else len(item)), item]
        parts += [pack(order + "HHI", 0xFFFE, 0xE00D, 0)] if undefined else []
    parts += [pack(order + "HHI", 0xFFFE, 0xE0DD, 0)] if undefined else []
    return element(tag, vr, b"".join(parts), implicit=implicit, big=big, length=UNDEFINED if undefined else None)


def meta(transfer_syntax: str | None = EXPLICIT, sop_class: str = "1.2.840.10008.5.1.4.1.1.2") -> bytes:
    """File meta information without preamble."""
    body = element(0x00020002, "UI", sop_class)
    if transfer_syntax is not None:
        body += element(0x00020010, "UI", transfer_syntax)
    return element(0x00020000, "UL", pack("<I", len(body))) + body


def identity(*, study=STUDY, series=SERIES, sop=SOP, between=b"", **form) -> bytes:
    """The three UIDs with ``between`` in the middle; a UID that is None is left out."""
    parts = [element(0x00080018, "UI", sop, **form)] if sop is not None else []
    parts.append(between)
    parts += [element(0x0020000D, "UI", study, **form)] if study is not None else []
    parts += [element(0x0020000E, "UI", series, **form)] if series is not None else []
    return b"".join(parts)


PIXELS = element(0x7FE00010, "OW", b"\1\2\3\4")


def dicom_file(dataset: bytes, transfer_syntax: str | None = EXPLICIT, **of_meta: str) -> bytes:
    """Preamble, prefix, meta information and a data set."""
    return bytes(128) + b"DICM" + meta(transfer_syntax, **of_meta) + dataset


def deflate(dataset: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(dataset) + packer.flush()
