"""
The Device that made a series: one resource per scanner, shared by all its studies.

It is built only from the attributes that form its id, so that every study builds the same bytes, in any order.
Attributes that change over a scanner's life (station name, software) are shown on the series, or not at all.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sync.dicom.attributes import texts
from sync.mapping.agreement import Witnesses
from sync.mapping.identifiers import first_item
from sync.mapping.resource import device_id
from sync.mapping.terminology import DICOM_UID_SYSTEM
from sync.mapping.validation import validated
from sync.mapping.values import Findings, filled, first, one_text, text, uid
from sync.model import Resource

_IDENTITY = ("DeviceUID", "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "UDISequence")
_UDI_SERIAL = re.compile(r"\(21\)\S|/S\S|=,\S")
_GTIN = re.compile(r"\(01\)(\d{14})(?!\d)")
_PLACEHOLDER = re.compile(r"[\W_0]*|unknown|none|n/?a|not specified", re.IGNORECASE)


class Equipment(NamedTuple):
    """The equipment of a series: its performer's reference, and the Device, if the scanner can be identified."""

    reference: Resource
    device: Resource | None = None


def equipment(witnesses: Witnesses, findings: Findings) -> Equipment | None:
    """
    Return the equipment that made a series; None when no instance names any.

    A Device needs a UID (0018,1002), a UDI (0018,100A) with a serial number, or a serial number (0018,1000) with
    manufacturer or model: otherwise the same resource would represent many scanners, or every study would create its
    own. Without these, the series names the equipment by display only.

    Raises
    ------
    InvalidResource
        A defect of the mapping; no value of an attribute can cause it.
    """
    attributes = witnesses.agree(*_IDENTITY)
    maker, model = (one_text(attributes, keyword, findings) for keyword in ("Manufacturer", "ManufacturerModelName"))
    station = one_text(witnesses.agree("StationName"), "StationName", findings)
    shown = " ".join(part for part in (maker, model, f"({station})" if station else None) if part)
    versions = _versions(witnesses, findings)
    shown = ", version ".join(part for part in (shown, versions) if part) if shown else ""
    udi = one_text(first_item(attributes, "UDISequence"), "UniqueDeviceIdentifier", findings)
    device_uid, serial = _uid(first(attributes, "DeviceUID", findings), findings), _serial(attributes, findings)
    if device_uid or (serial and (maker or model)) or _names_one_device(udi):
        device = _device(device_uid, maker, model, serial, udi)
        reference = {"reference": f"Device/{device['id']}", "type": "Device", "display": shown or None}
        return Equipment(filled(reference), device)
    return Equipment({"type": "Device", "display": shown}) if shown else None


def algorithm_device(name: str, version: str | None) -> Resource:
    """
    Return the R4 *Device* of an algorithm (PS3.16 TID 4019): one for each name and version, shared by all studies.

    The same name and version always give the same bytes, whichever report they come from.
    """
    return filled(
        {
            "resourceType": "Device",
            "id": device_id("algorithm", name, version or ""),
            "deviceName": [{"name": name, "type": "model-name"}],
            "version": [{"value": version}] if version else None,
        }
    )


def _uid(stated: str | None, findings: Findings) -> str | None:
    valid = uid(stated)
    if stated is not None and valid is None:
        findings.note("DeviceUID", "uid.unusable", "omitted")
    return valid


def _serial(attributes: Resource, findings: Findings) -> str | None:
    """Return (0018,1000), unless it is a vendor's placeholder."""
    serial = one_text(attributes, "DeviceSerialNumber", findings)
    if serial is None or not _PLACEHOLDER.fullmatch(serial):
        return serial
    findings.note("DeviceSerialNumber", "device.placeholder", "omitted")
    return None


def _versions(witnesses: Witnesses, findings: Findings) -> str | None:
    """Return (0018,1020), which is shown on the series, because software changes over a scanner's life."""
    keyword = "SoftwareVersions"
    values = texts(witnesses.agree(keyword), keyword)
    shown = [text(value, keyword, findings) for value in values]
    return ", ".join(dict.fromkeys(word for word in shown if word)) or None


def _names_one_device(udi: str | None) -> bool:
    """Return whether a UDI contains a serial number: GS1 (21), HIBCC ``/S``, ICCBBA ``=,``."""
    return udi is not None and _UDI_SERIAL.search(udi) is not None


def _udi_carrier(udi: str | None) -> list[Resource]:
    """Return ``Device.udiCarrier``: the human-readable UDI; for GS1 also the device identifier, the GTIN after (01)."""
    if udi is None:
        return []
    gtin = _GTIN.match(udi)
    issuer = "http://hl7.org/fhir/NamingSystem/gs1-di" if gtin else None
    return [filled({"deviceIdentifier": gtin[1] if gtin else None, "issuer": issuer, "carrierHRF": udi})]


def _device(
    device_uid: str | None, maker: str | None, model: str | None, serial: str | None, udi: str | None
) -> Resource:
    """Return the R4 *Device* of the equipment (PS3.3 C.7.5.1)."""
    identity = (device_uid or "", maker or "", model or "", serial or "")
    return validated(
        filled(
            {
                "resourceType": "Device",
                "id": device_id(*identity, udi) if udi else device_id(*identity),
                "identifier": [{"system": DICOM_UID_SYSTEM, "value": f"urn:oid:{device_uid}"}] if device_uid else None,
                "udiCarrier": _udi_carrier(udi),
                "manufacturer": maker,
                "serialNumber": serial,
                "deviceName": [{"name": model, "type": "model-name"}] if model else None,
            }
        )
    )
