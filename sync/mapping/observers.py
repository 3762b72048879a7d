"""
Observers (TID 1001-1004) and algorithms (TID 4019) of a report.

People and scanners are logical references, because a name identifies neither. Name and version do identify an
algorithm, so it gets a Device: all results of one version can be searched for and compared with the outcome.
"""

from __future__ import annotations

from collections.abc import Sequence

from sync.mapping.content import concept, descendants, exact_texts_of, named, texts_of
from sync.mapping.device import algorithm_device
from sync.mapping.source import Source, dicom_uid
from sync.mapping.values import filled, one_text, uid
from sync.model import Attributes, Resource

_ALGORITHM = (concept("DCM:111001"), concept("DCM:111003"))
_DEVICE_NAMES = (concept("DCM:121014"), concept("DCM:121015"), concept("DCM:121013"))
_DEVICE_UID = concept("DCM:121012")
_PERSON = concept("DCM:121008")


def algorithm_of(holder: Attributes, source: Source) -> Resource | None:
    """Return the reference to an algorithm, by name and version (TID 4019); None when the items name none."""
    name, version = (texts_of(holder, name_code, source)[:1] for name_code in _ALGORITHM)
    if not name:
        return None
    device = _device_of(holder, source)
    reference = f"Device/{device['id']}" if device else None
    return filled({"reference": reference, "type": "Device", "display": " ".join([*name, *version])})


def _device_of(holder: Attributes, source: Source) -> Resource | None:
    """Return the algorithm's Device, if its name and version are unaltered: else it would be another algorithm's."""
    name, version = (exact_texts_of(holder, name_code, source)[:1] for name_code in _ALGORITHM)
    if not name or len(version) < len(named(holder, _ALGORITHM[1])[:1]):
        return None
    return algorithm_device(name[0], next(iter(version), None))


def algorithms(root: Attributes, source: Source) -> list[Resource]:
    """Return the Devices of every algorithm that the report names anywhere, 0..n, each once, by id."""
    devices: dict[str, Resource] = {}
    for holder in (root, *(item for _, item in descendants(root))):
        device = _device_of(holder, source)
        if device is not None:
            devices[device["id"]] = device
    return [devices[key] for key in sorted(devices)]


def device_of(root: Attributes, source: Source) -> Resource | None:
    """Return the device observer (TID 1004), else the equipment that made the object."""
    shown = [text for name_code in _DEVICE_NAMES for text in texts_of(root, name_code, source)[:1]]
    if not shown:
        stated = [one_text(root, keyword, source.findings) for keyword in ("Manufacturer", "ManufacturerModelName")]
        shown = [label for label in stated if label]
    identity = next(iter(filter(None, map(uid, texts_of(root, _DEVICE_UID, source)))), None)
    identifier = dicom_uid(identity) if identity else None
    if not shown and identifier is None:
        return None
    return filled({"type": "Device", "identifier": identifier, "display": " ".join(shown) or None})


def people_of(root: Attributes, source: Source) -> Sequence[Resource]:
    """Return the person observers (TID 1003), by name."""
    names = texts_of(root, _PERSON, source)
    return [{"type": "Practitioner", "display": name} for name in dict.fromkeys(names)]
