"""
Maps each image's pixel attributes to an extension of ``series.instance``, if DICOM_SYNC_DETAIL is ``full``.

Source: MII *Modul Bildgebung*, ``instanz-details``; PS3.3 C.7.6.1, C.7.6.3, 10.7.1.3.
"""

from __future__ import annotations

from sync.dicom.attributes import SHARED_GROUPS, first_text, items, texts
from sync.mapping import mii
from sync.mapping.values import Findings, code, filled, ucum_quantity
from sync.model import Attributes, Resource

_YES_NO = {"YES": True, "NO": False}


def image_details(attributes: Attributes, findings: Findings) -> list[Resource]:
    """Return the extension with spacing, thickness, type and burned-in annotation of one image, 0..1."""
    measures = _measures(attributes)
    # (0028,0030) is the distance of rows, then of columns (PS3.3 10.7.1.3): first Y, then X
    spacing = texts(measures, "PixelSpacing") or texts(attributes, "PixelSpacing")
    rows, columns = spacing if len(spacing) == 2 else (None, None)  # noqa: PLR2004 -- its VM
    thickness = first_text(attributes, "SliceThickness") or first_text(measures, "SliceThickness")
    parts = [
        _millimetres("pixelSpacingX", columns, "PixelSpacing", findings),
        _millimetres("pixelSpacingY", rows, "PixelSpacing", findings),
        _millimetres("sliceThickness", thickness, "SliceThickness", findings),
        _image_type(attributes, findings),
    ]
    burned = _YES_NO.get((first_text(attributes, "BurnedInAnnotation") or "").strip().upper())
    parts.append({"url": "burnedInAnnotation", "valueBoolean": burned} if burned is not None else None)
    stated = [part for part in parts if part]
    return [{"url": mii.INSTANCE_DETAILS, "extension": stated}] if stated else []


def _measures(attributes: Attributes) -> Attributes:
    for group in items(attributes, SHARED_GROUPS.keyword):
        for measures in items(group, "PixelMeasuresSequence"):
            return measures
    return {}


def _millimetres(name: str, stated: str | None, keyword: str, findings: Findings) -> Resource | None:
    if stated is None:
        return None
    quantity = ucum_quantity(stated, keyword, "millimeter", "mm", findings)
    return {"url": name, "valueQuantity": quantity} if quantity else None


def _image_type(attributes: Attributes, findings: Findings) -> Resource | None:
    """Return all values of (0008,0008) as text, and coded where the code system has them."""
    values = [value for stated in texts(attributes, "ImageType") if (value := code(stated, "ImageType", findings))]
    if not values:
        return None
    types = dict.fromkeys(value for value in values if value in mii.IMAGE_TYPES)
    codings = [{"system": mii.IMAGE_TYPES[value], "code": value} for value in types]
    return {"url": "imageType", "valueCodeableConcept": filled({"coding": codings, "text": "\\".join(values)})}
