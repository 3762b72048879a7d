"""
CT studies of any size, in memory, in no time: one real header, patched for each instance.

A seed and a number of instances go in, the files of one study in one folder come out, and what each of them says, so
that the baseline need not read files. The header is a CT image's that the pydicom wheel carries, public elements only;
its UIDs, Patient ID and numbers are written once as placeholders of fixed width, whose bytes are then replaced. Equal
seeds give equal bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pydicom
import pydicom.data

_CT = Path(pydicom.data.__file__).parent / "test_files" / "CT_small.dcm"

SERIES = 4
"""Series of a study; its instances are dealt out to them in turn."""

_UID_DIGITS = 35
_PLACES = {
    "study": b"2.25." + b"1" * _UID_DIGITS,
    "series": b"2.25." + b"2" * _UID_DIGITS,
    "sop": b"2.25." + b"3" * _UID_DIGITS,
    "patient": b"PATIENT-000000000000",
    "series_number": b"00000004",
    "number": b"00000005",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """The attributes of one file that the baseline's mapping reads."""

    study: str
    series: str
    sop: str
    patient: str
    series_number: int
    number: int
    sop_class: str = "1.2.840.10008.5.1.4.1.1.2"
    modality: str = "CT"
    accession: str = "ACC-1"
    study_description: str = "Abdomen, three phases"
    series_description: str = "Arterial phase"
    date: str = "2004-01-19"
    time: str = "07:27:30"
    family: str = "Bench"
    given: str = "Generated"
    gender: str = "other"
    birth_date: str = "1970-01-01"


@dataclass(frozen=True, slots=True)
class Study:
    """One study: its UID and its instances."""

    uid: str
    instances: tuple[Instance, ...]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield blob name and content of each instance, all in one folder."""
        folder = self.uid.rpartition(".")[2]
        for instance in self.instances:
            yield f"{folder}/{instance.series_number}-{instance.number:06}.dcm", _file(instance)


def study(seed: str, instances: int) -> Study:
    """Make a study of ``instances`` instances."""
    uid, patient = _uid(seed), f"PATIENT-{_digits(seed, 'patient', 12)}"
    made = (
        Instance(
            study=uid,
            series=_uid(seed, position % SERIES),
            sop=_uid(seed, position % SERIES, position),
            patient=patient,
            series_number=position % SERIES + 1,
            number=position // SERIES + 1,
        )
        for position in range(instances)
    )
    return Study(uid, tuple(made))


def _uid(*parts: object) -> str:
    return f"2.25.{_digits(*parts, _UID_DIGITS)}"


def _digits(*parts: object) -> str:
    """Return decimal digits that follow from the parts; the last part says how many."""
    *what, count = parts
    width = int(str(count))
    number = int(hashlib.sha256(repr(what).encode()).hexdigest(), 16)
    return str(10 ** (width - 1) + number % (9 * 10 ** (width - 1)))


def _file(instance: Instance) -> bytes:
    content = bytearray(_template())
    values = {
        "study": instance.study,
        "series": instance.series,
        "sop": instance.sop,
        "patient": instance.patient,
        "series_number": f"{instance.series_number:08}",
        "number": f"{instance.number:08}",
    }
    for name, places in _offsets().items():
        value = values[name].encode()
        for place in places:
            content[place : place + len(value)] = value
    return bytes(content)


@cache
def _offsets() -> dict[str, tuple[int, ...]]:
    """Return where each placeholder is; the SOP Instance UID is there twice."""
    template = _template()
    places_of = {}
    for name, placeholder in _PLACES.items():
        places = [start for start in range(len(template)) if template.startswith(placeholder, start)]
        if len(places) != (2 if name == "sop" else 1):
            raise ValueError(f"placeholder {name} is there {len(places)} times")
        places_of[name] = tuple(places)
    return places_of


@cache
def _template() -> bytes:
    header = pydicom.dcmread(_CT, stop_before_pixels=True)
    header.remove_private_tags()
    like = study("template", 1).instances[0]
    header.StudyInstanceUID, header.SeriesInstanceUID = _PLACES["study"].decode(), _PLACES["series"].decode()
    header.SOPInstanceUID = _PLACES["sop"].decode()
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.PatientID, header.PatientName = _PLACES["patient"].decode(), f"{like.family}^{like.given}"
    header.PatientBirthDate, header.AccessionNumber = like.birth_date.replace("-", ""), like.accession
    header.StudyDescription, header.SeriesDescription = like.study_description, like.series_description
    header.SeriesNumber, header.InstanceNumber = _PLACES["series_number"].decode(), _PLACES["number"].decode()
    out = io.BytesIO()
    header.save_as(out)
    return out.getvalue()
