"""The reader of files and that of DICOM JSON say the same of every attribute, whatever text is in it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sync.config import HeaderLimits
from sync.dicom.attributes import EXTRACTED_OF_DOCUMENTS
from sync.dicom.header import parse_header, read_json
from sync.dicom.header.values import KINDS, Kind
from sync.model import InstanceRecord
from tests.headers import dicom_file, element, identity
from tests.unit.dicom.header.test_json_model import UIDS

LETTERS = st.sampled_from("aZ09 .^=\\\t\r\n\x00\x07\x85Äж山ﾔ\ufffd\xa0")
ROWS = [
    row
    for row in EXTRACTED_OF_DOCUMENTS
    if KINDS[row.vr.encode()] in (Kind.TEXT, Kind.CODE) and row.keyword != "SOPClassUID"
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
@settings(max_examples=40)
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
    assert told.findings == tuple(each for each in file.findings if each.code != "header.disordered")
