"""
Radiopharmaceuticals of PET and nuclear medicine: (0054,0016) and the scale of the images -> parts of an extension.

The dose of PET is in becquerels, that of nuclear medicine in megabecquerels (PS3.3 C.8.9.2, C.8.4.10).
The time from administration to acquisition is not an attribute: it is calculated from both times.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from sync.config import MappingSettings
from sync.dicom.attributes import first_text, items
from sync.mapping.agreement import Witnesses
from sync.mapping.codes import concepts
from sync.mapping.identifiers import first_item
from sync.mapping.terminology import UCUM
from sync.mapping.values import Findings, code, decimal, filled, one_text, ucum_quantity
from sync.model import Attributes, Resource

_SEQUENCE = "RadiopharmaceuticalInformationSequence"
_UNITS = {
    "1CM": "/cm",
    "BQML": "Bq/ml",
    "CM2": "cm2",
    "CM2ML": "cm2/ml",
    "CNTS": "{counts}",
    "CPS": "{counts}/s",
    "GML": "g/ml",
    "MGMINML": "mg/min/ml",
    "MLG": "ml/g",
    "MLMING": "ml/min/g",
    "MLMINML": "ml/min/ml",
    "MLML": "ml/ml",
    "NONE": "1",
    "PCNT": "%",
    "PROPCNTS": "{propcounts}",
    "PROPCPS": "{propcounts}/s",
    "UMOLMINML": "umol/min/ml",
    "UMOLML": "umol/ml",
}
"""PS3.16 CID 84, by the terms of (0054,1001)."""

_DATE_TIME = re.compile(r"(\d{8})(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?\d*([+-]\d{4})?", re.ASCII)
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(?:\.(\d{1,6}))?", re.ASCII)
_DAY = timedelta(days=1)
_LONGEST = timedelta(days=30)
"""Maximum time from administration to acquisition: even for late imaging, ten half-lives pass sooner."""


def tracer(witnesses: Witnesses, modality: str, settings: MappingSettings, findings: Findings) -> list[Resource]:
    """
    Return the parts of the extension, 0..n: agent, nuclide, dose, half-life, time since administration, unit of pixels.

    Parameters
    ----------
    modality
        ``PT`` or ``NM``.
    """
    stated = items(witnesses.majority(_SEQUENCE), _SEQUENCE)
    if len(stated) > 1:
        findings.note(_SEQUENCE, "value.multiple", "first value used")
    given: Attributes = stated[0] if stated else {}
    is_pet = modality == "PT"
    dose = ("Becquerel", "Bq") if is_pet else ("Megabecquerel", "MBq")
    parts = [
        _part("radiopharmaceutical", _agent(given, settings, findings)),
        _part("radionuclide", _coded(given, "RadionuclideCodeSequence", settings, findings)),
        _quantity("radionuclideTotalDose", given, "RadionuclideTotalDose", dose, findings),
        _quantity("radionuclideHalfLife", given, "RadionuclideHalfLife", ("Seconds", "s"), findings),
        _exposure("tracerExposureTime" if is_pet else "tracerexposuretime", witnesses, given),
        _part("units", _scale(witnesses, findings)),
        *([] if is_pet else _windows(witnesses, findings)),
    ]
    return [part for part in parts if part]


def _part(name: str, value: Resource | None) -> Resource | None:
    return {"url": name, "valueCodeableConcept": value} if value else None


def _agent(given: Attributes, settings: MappingSettings, findings: Findings) -> Resource | None:
    coded = _coded(given, "RadiopharmaceuticalCodeSequence", settings, findings)
    named = one_text(given, "Radiopharmaceutical", findings)
    return coded or ({"text": named} if named else None)


def _coded(given: Attributes, keyword: str, settings: MappingSettings, findings: Findings) -> Resource | None:
    return next(iter(concepts(items(given, keyword), keyword, settings, findings)), None)


def _quantity(name: str, given: Attributes, keyword: str, unit: tuple[str, str], findings: Findings) -> Resource | None:
    stated = first_text(given, keyword)
    if stated is None:
        return None
    quantity = ucum_quantity(stated, keyword, *unit, findings)
    return {"url": name, "valueQuantity": quantity} if quantity else None


def _scale(witnesses: Witnesses, findings: Findings) -> Resource | None:
    """Return the unit of the pixels, (0054,1001), else (0028,1054), in UCUM."""
    for keyword in ("Units", "RescaleType"):
        stated = code(first_text(witnesses.majority(keyword), keyword), keyword, findings)
        if stated:
            unit = _UNITS.get(stated.upper())
            if unit is None:
                findings.note(keyword, "unit.unknown", "shown without code")
            return filled({"coding": [{"system": UCUM, "code": unit}] if unit else None, "text": stated})
    return None


def _windows(witnesses: Witnesses, findings: Findings) -> list[Resource]:
    """Return the mean energy of each window, in keV: (0054,0012), half-way between its limits."""
    keyword = "EnergyWindowInformationSequence"
    made = []
    for window in items(witnesses.majority(keyword), keyword):
        limits = first_item(window, "EnergyWindowRangeSequence")
        stated = [first_text(limits, f"EnergyWindow{end}Limit") for end in ("Lower", "Upper")]
        numbers = [decimal(limit) for limit in stated if limit]
        if len(numbers) == len(stated) and None not in numbers:
            mean = decimal(repr(sum(number for number in numbers if number is not None) / len(numbers)))
            quantity = {"value": mean, "unit": "kiloelectronvolt", "system": UCUM, "code": "keV"}
            made.append({"url": "energyWindowMean", "valueQuantity": quantity})
        elif numbers:
            findings.note(keyword, "measurement.invalid", "left out")
    return made


def _exposure(name: str, witnesses: Witnesses, given: Attributes) -> Resource | None:
    """Return the seconds from administration to the earliest acquisition of the series; None if either is unknown."""
    spans = [
        span
        for one in witnesses.distinct("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime")
        if (span := _between(given, one)) is not None
    ]
    if not spans:
        return None
    seconds = decimal(repr(min(spans).total_seconds()))
    return {"url": name, "valueQuantity": {"value": seconds, "unit": "Seconds", "system": UCUM, "code": "s"}}


def _between(given: Attributes, acquired: Attributes) -> timedelta | None:
    """
    Time from administration to acquisition.

    Timestamps with dates are subtracted if both or neither state an offset from UTC; without dates, the acquisition is
    taken as the first such time after administration.
    """
    began, began_offset = _moment(first_text(given, "RadiopharmaceuticalStartDateTime"))
    stated = first_text(acquired, "AcquisitionDateTime")
    joined = f"{first_text(acquired, 'AcquisitionDate') or ''}{first_text(acquired, 'AcquisitionTime') or ''}"
    at, at_offset = _moment(stated or joined.replace(":", ""))
    if began and at and began_offset == at_offset:
        span = at - began
        return span if timedelta(0) <= span <= _LONGEST else None
    start = _clock(first_text(given, "RadiopharmaceuticalStartTime"))
    clock = _clock(first_text(acquired, "AcquisitionTime"))
    return None if start is None or clock is None or began else (clock - start) % _DAY


def _moment(stated: str | None) -> tuple[datetime | None, str | None]:
    match = _DATE_TIME.fullmatch((stated or "").strip())
    if match is None:
        return None, None
    day, *clock, offset = match.groups()
    try:
        midnight = datetime.strptime(day, "%Y%m%d")  # noqa: DTZ007 -- compared with its like only
        return midnight + _span(clock), offset
    except (ValueError, OverflowError):
        return None, None


def _clock(stated: str | None) -> timedelta | None:
    match = _TIME.fullmatch((stated or "").strip())
    return _span(match.groups()) if match else None


def _span(parts: Sequence[str | None]) -> timedelta:
    hours, minutes, seconds, fraction = parts
    micros = int((fraction or "").ljust(6, "0"))
    return timedelta(hours=int(hours or 0), minutes=int(minutes or 0), seconds=int(seconds or 0), microseconds=micros)
