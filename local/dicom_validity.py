"""
Which elements the Azure DICOM service takes for valid; those that are not it drops from its metadata.

Source: fo-dicom 5.1.2, ``DicomValidation``; PS3.5 6.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydicom.datadict import dictionary_VM
from pydicom.tag import BaseTag

IDENTITY = (0x00080016, 0x00080018, 0x0020000D, 0x0020000E)
PATIENT_ID = 0x00100020

CODE = re.compile(r"[A-Z0-9 _]{0,16}")
_DATE = r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
_TIME = r"([01]\d|2[0-3])([0-5]\d((60|[0-5]\d)(\.\d{1,6})?)?)?"
_FORMS: Mapping[str, re.Pattern[str]] = {
    "AE": re.compile(r"[^\\\x00-\x1f\x7f]{0,16}"),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": CODE,
    "DA": re.compile(rf"({_DATE})?-?({_DATE})? *|0{{8}}"),
    "DS": re.compile(r" *[+-]?(0|[1-9]\d*|0?\.\d+|0\.\d*|[1-9]\d*\.\d*)(\.\d+)?([eE][+-]?\d+)? *"),
    "DT": re.compile(
        r"\d{4}((0[1-9]|1[0-2])((0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])([0-5]\d((60|[0-5]\d)(\.\d{1,6})?)?)?)?)?)?"
        r"([+-]\d{4})? *(-.*)?"
    ),
    "IS": re.compile(r" *[+-]?\d{1,12} *"),
    "LO": re.compile(r"[^\\\x00-\x1a\x1c-\x1f\x7f-\x9f]{0,64}"),
    "SH": re.compile(r"[^\\\x00-\x1a\x1c-\x1f\x7f-\x9f]{0,16}"),
    "TM": re.compile(rf"({_TIME})?-?({_TIME})? *"),
    "UI": re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*"),
}
_LONGEST_NAME, _MOST_COMPONENTS, _MOST_GROUPS = 64, 5, 3
_LONGEST = {"LT": 10240, "ST": 1024}


def is_valid(vr: str, tag: BaseTag, values: list[Any], content: bytes) -> bool:
    """Return whether an element keeps the rules of its VR and its multiplicity; ``content`` are its bytes."""
    if int(tag) == PATIENT_ID and not values:
        return False
    if int(tag) in IDENTITY:
        return True
    if not values:
        return True
    texts = [value for value in values if isinstance(value, str)]
    if len(values) > 1 and not _fits(tag, len(values)):
        return False
    if vr in ("DA", "TM", "DS", "IS", "AS") and b"\0" in content:
        return False
    checks: dict[str, Callable[[str], bool]] = {"PN": _is_name, "IS": _is_whole, "DS": _is_decimal, "UI": _is_uid}
    check = checks.get(vr)
    return all(not text or (check(text) if check else _has_form(vr, text)) for text in texts)


def _has_form(vr: str, text: str) -> bool:
    if vr in _LONGEST:
        return len(text) <= _LONGEST[vr]
    form = _FORMS.get(vr)
    return form is None or bool(form.fullmatch(text.rstrip("\0") if vr in ("LO", "SH", "CS", "AE") else text))


def _is_name(text: str) -> bool:
    groups = text.split("=")
    return len(groups) <= _MOST_GROUPS and all(
        len(group) <= _LONGEST_NAME and group.count("^") < _MOST_COMPONENTS for group in groups
    )


def _is_whole(text: str) -> bool:
    return bool(_FORMS["IS"].fullmatch(text)) and -(2**31) <= int(text) < 2**31


def _is_decimal(text: str) -> bool:
    longest = 16
    return len(text) <= longest and bool(_FORMS["DS"].fullmatch(text))


def _is_uid(text: str) -> bool:
    longest = 64
    return len(text) <= longest and bool(_FORMS["UI"].fullmatch(text.rstrip(" ")))


def _fits(tag: BaseTag, count: int) -> bool:
    """Return whether this number of values fits the multiplicity of the dictionary; private elements may have any."""
    try:
        least, _, most = dictionary_VM(tag).partition("-")
    except KeyError:
        return True
    if not most:
        return count == int(least)
    if most == "n":
        return count >= int(least)
    if most.endswith("n"):
        return count % int(most[:-1]) == 0
    return int(least) <= count <= int(most)
