"""The reader of files and that of DICOM JSON say the same of every attribute, whatever text is in it."""

from __future__ import annotations

from math import isfinite
from struct import pack

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sync.config import HeaderLimits
from sync.dicom.attributes import EXTRACTED_OF_DOCUMENTS
from sync.dicom.detail import rows_in_detail
from sync.dicom.header import parse_header, read_json
from sync.dicom.header.values import KINDS, ElementKind
from sync.model import InstanceRecord
from tests.headers import dicom_file, element, identity, sequence
from tests.property import examples
from tests.unit.dicom.header.test_json_model import UIDS

LETTERS = st.sampled_from("aZ09 .^=\\\t\r\n\x00\x07\x85Äж山ﾔ\ufffd\xa0")
ROWS = [
    row
    for row in EXTRACTED_OF_DOCUMENTS
    if KINDS[row.vr.encode()] in (ElementKind.TEXT, ElementKind.CODE) and row.keyword != "SOPClassUID"
]
"""All but the class, for which a file has its meta information too."""


def _json_values(row, text: str):
    """Values as a service writes them: cut at each backslash, names by their groups."""
    parts = [text] if row.vr in ("LT", "ST", "UT", "UR") else text.split("\\")
    if row.vr != "PN":
        return parts
    groups = ("Alphabetic", "Ideographic", "Phonetic")
    return [dict(zip(groups, part.split("="), strict=False)) for part in parts]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.keyword)
@settings(max_examples=examples(40))
@given(text=st.text(LETTERS, max_size=8))
@example(text="SCHÄDEL")
@example(text="CT ABDOMEN W\\WO CONTRAST")
@example(text="  led by blanks\x07")
def test_both_readers_say_the_same(row, text):
    if row.vr == "PN":
        text = "\\".join("=".join(part.split("=")[:3]).rstrip("=") for part in text.split("\\"))
    between = element(0x00080005, "CS", "ISO_IR 192") + element(row.tag, row.vr, text.encode())
    data = dicom_file(identity(between=between))
    file = parse_header(data, size=len(data), limits=HeaderLimits())
    assert isinstance(file, InstanceRecord)
    told = read_json({**UIDS, f"{row.tag:08X}": {"vr": row.vr, "Value": _json_values(row, text)}})
    assert told.attributes.get(row.keyword) == file.attributes.get(row.keyword)
    assert told.findings == tuple(finding for finding in file.findings if finding.code != "header.disordered")


IN_DETAIL = rows_in_detail("", "full")
NESTED = [
    (path, row)
    for outer in IN_DETAIL
    for path, row in (
        *(((outer,), inner) for inner in outer.children),
        *(((outer, middle), inner) for middle in outer.children for inner in middle.children),
    )
    if KINDS[row.vr.encode()] in (ElementKind.TEXT, ElementKind.CODE)
]
"""Rows of items, and of items of items, with the sequences around them."""


def _read_both(outer_element: bytes, tag: int, json_element: dict, keyword: str):
    data = dicom_file(identity(between=element(0x00080005, "CS", "ISO_IR 192") + outer_element))
    file = parse_header(data, size=len(data), limits=HeaderLimits(), detail="full")
    assert isinstance(file, InstanceRecord)
    told = read_json({**UIDS, f"{tag:08X}": json_element}, detail="full")
    assert told.attributes.get(keyword) == file.attributes.get(keyword)
    assert told.findings == tuple(finding for finding in file.findings if finding.code != "header.disordered")
    return file.attributes.get(keyword)


@pytest.mark.parametrize(
    ("path", "row"), NESTED, ids=lambda part: part.keyword if hasattr(part, "keyword") else part[-1].keyword
)
@settings(max_examples=examples(5))
@given(text=st.text(LETTERS, max_size=8), undefined=st.booleans(), several=st.booleans())
@example(text="W\\WO \x07", undefined=True, several=True)
@example(text="Ä\x85", undefined=False, several=False)
def test_both_readers_say_the_same_inside_sequences(path, row, text, undefined, several):
    inner = element(row.tag, row.vr, text.encode())
    told = {f"{row.tag:08X}": {"vr": row.vr, "Value": _json_values(row, text)}}
    for outer in reversed(path):
        inner = sequence(outer.tag, inner, *([b""] if several else []), undefined=undefined)
        told = {f"{outer.tag:08X}": {"vr": "SQ", "Value": [told, *([{}] if several else [])]}}
    _read_both(inner, path[0].tag, told[f"{path[0].tag:08X}"], path[0].keyword)


WHOLE = {"US": ("H", 0, 2**16 - 1), "SS": ("h", -(2**15), 2**15 - 1), "UL": ("I", 0, 2**32 - 1)}
WHOLE |= {"SL": ("i", -(2**31), 2**31 - 1), "UV": ("Q", 0, 2**64 - 1), "SV": ("q", -(2**63), 2**63 - 1)}


@pytest.mark.parametrize("vr", WHOLE)
@settings(max_examples=examples(20))
@given(data=st.data())
def test_both_readers_say_the_same_of_whole_numbers(vr, data):
    form, least, most = WHOLE[vr]
    numbers = data.draw(st.lists(st.integers(least, most), max_size=3))
    raw = pack(f"<{len(numbers)}{form}", *numbers)
    said = _read_both(element(0x00200013, vr, raw), 0x00200013, {"vr": vr, "Value": numbers}, "InstanceNumber")
    assert said == numbers


@pytest.mark.parametrize("vr", ["FD", "FL"])
@settings(max_examples=examples(50))
@given(numbers=st.lists(st.floats(width=32), max_size=3))
@example(numbers=[float("nan")])
@example(numbers=[5.5, float("inf")])
def test_both_readers_say_the_same_of_fractions(vr, numbers):
    raw = pack(f"<{len(numbers)}{'d' if vr == 'FD' else 'f'}", *numbers)
    shown = numbers if all(isfinite(number) for number in numbers) else ["NaN"]
    _read_both(element(0x00189345, vr, raw), 0x00189345, {"vr": vr, "Value": shown}, "CTDIvol")


@pytest.mark.parametrize("row", [row for row in IN_DETAIL if row.vr in ("IS", "DS")], ids=lambda row: row.keyword)
@settings(max_examples=examples(20))
@given(number=st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6, allow_nan=False))
def test_numbers_in_json_are_the_text_of_a_file(row, number):
    """A service may write numbers as numbers: the text that a file holds for the same value."""
    text = str(int(number)) if float(number).is_integer() else repr(number)
    said = _read_both(element(row.tag, row.vr, text), row.tag, {"vr": row.vr, "Value": [number]}, row.keyword)
    assert said == [text]
