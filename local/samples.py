"""
Sample studies, and the FHIR resources that the sync must make of them.

Real files that the pydicom wheel carries (discs with several studies of several series, and single objects of unusual
kinds: RT, SR, SEG, ECG, names in Arabic and Korean, one instance sent twice), a generated CT study of four series, and
a few files that must be rejected. The expectation is computed from the files themselves by pydicom, so that it owes
nothing to the code under test. The generated study is the same on every machine.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pydicom
import pydicom.data
from pydicom.dataset import Dataset

_WHEEL = Path(pydicom.data.__file__).parent

_DISCS = ("77654033", "98892001", "98892003", "TINY_ALPHA/PT000000")

_SINGLES = (
    "test_files/rtplan.dcm",
    "test_files/rtstruct.dcm",
    "test_files/rtdose.dcm",
    "test_files/liver_1frame.dcm",
    "test_files/waveform_ecg.dcm",
    "test_files/test-SR.dcm",
    "test_files/MR_small_bigendian.dcm",
    "test_files/image_dfl.dcm",
    "test_files/CT_small.dcm",
    "test_files/examples_palette.dcm",
    "charset_files/chrArab.dcm",
    "charset_files/chrGreek.dcm",
    "charset_files/chrH31.dcm",
    "charset_files/chrI2.dcm",
    "charset_files/chrFren.dcm",
    "charset_files/chrFrenMulti.dcm",  # the instance of chrFren.dcm once more
)

_SERIES = ("Localizer", "Arterial phase", "Portal venous phase", "Delayed phase")
_INSTANCES_A_SERIES = 30


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity in a file: UIDs, and Patient ID with its issuer, empty when there is none."""

    study: str
    series: str
    sop: str
    patient: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    One blob to upload.

    Exactly one of `identity` and `rejected_as` is set: the latter is the error code of its dead letter.
    """

    name: str
    content: bytes
    identity: Identity | None = None
    rejected_as: str | None = None


@dataclass(frozen=True, slots=True)
class Studies:
    """Studies with their series and instances; an instance that sits in two files counts once."""

    studies: Mapping[str, Mapping[str, frozenset[str]]]
    """Study UID -> series UID -> SOP Instance UIDs."""

    @property
    def series(self) -> int:
        """Series of all studies."""
        return sum(len(series) for series in self.studies.values())

    @property
    def instances(self) -> int:
        """Instances of all series."""
        return sum(len(sops) for series in self.studies.values() for sops in series.values())


@dataclass(frozen=True, slots=True)
class Expectation(Studies):
    """The expected content of FHIR and of the dead letters at the end."""

    patients: int
    rejected: Mapping[str, int]
    """Error code -> files."""


def expectation(samples: Iterable[Measurement]) -> Expectation:
    """Compute the expected counts from the samples; a Patient is a Patient ID, or a study that has none."""
    studies: dict[str, dict[str, set[str]]] = {}
    patients: set[str] = set()
    rejected: Counter[str] = Counter()
    for sample in samples:
        if one := sample.identity:
            studies.setdefault(one.study, {}).setdefault(one.series, set()).add(one.sop)
            patients.add(one.patient or one.study)
        elif sample.rejected_as:
            rejected[sample.rejected_as] += 1
    frozen = {study: {uid: frozenset(sops) for uid, sops in series.items()} for study, series in studies.items()}
    return Expectation(frozen, len(patients), dict(rejected))


def samples() -> Iterator[Measurement]:
    """Yield all samples: those of discs, single ones, the generated study, those to be rejected."""
    yield from _disc_samples()
    yield from (_real(f"single/{Path(path).name}", _WHEEL / path) for path in _SINGLES)
    yield from generated_study("sample-ct", _SERIES, _INSTANCES_A_SERIES)
    yield from _rejected_samples()


def generated_study(seed: str, series: Iterable[str], instances: int) -> Iterator[Measurement]:
    """
    Yield a CT study: a real header without pixel data, with UIDs made from the seed.

    Parameters
    ----------
    seed
        Names the study: equal seeds give equal bytes.
    series
        Series Descriptions, one per series.
    instances
        Instances of each series.
    """
    for number, description in enumerate(series, start=1):
        for position in range(1, instances + 1):
            header = pydicom.dcmread(io.BytesIO(_ct_header()))
            header.PatientID, header.PatientName = f"SAMPLE-{seed}", "Sample^Generated"
            header.StudyInstanceUID = uid_of(seed)
            header.SeriesInstanceUID = uid_of(seed, number)
            header.SOPInstanceUID = uid_of(seed, number, position)
            header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
            header.SeriesNumber, header.InstanceNumber = number, position
            header.SeriesDescription = description
            yield _sample(f"ct/{seed}/{number}/{position:04}.dcm", _bytes_of(header))


def reidentified(name: str, *, uids: tuple[str, str, str], **attributes: str) -> Measurement:
    """
    Return a real CT header with another identity.

    Parameters
    ----------
    uids
        Of study, series and instance.
    attributes
        Values by keyword, written as they are.
    """
    header = pydicom.dcmread(io.BytesIO(_ct_header()))
    header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID = uids
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    return _sample(name, _bytes_of(header))


def uid_of(*parts: object) -> str:
    """Return a UID of the form ``2.25.<number>`` (PS3.5 B.2), always the same for the same parts."""
    return f"2.25.{int(hashlib.sha256(repr(parts).encode()).hexdigest()[:32], 16)}"


def _disc_samples() -> Iterator[Measurement]:
    root = _WHEEL / "test_files" / "dicomdirtests"
    for disc in _DISCS:
        files = sorted(path for path in (root / disc).rglob("*") if path.is_file())
        yield from (_real(f"discs/{path.relative_to(root).as_posix()}", path) for path in files)


def _rejected_samples() -> Iterator[Measurement]:
    whole = (_WHEEL / "test_files" / "CT_small.dcm").read_bytes()
    disc = _WHEEL / "test_files" / "dicomdirtests" / "DICOMDIR"
    yield Measurement("discs/DICOMDIR", disc.read_bytes(), rejected_as="header.dicomdir")
    yield Measurement(
        "notes/read me.txt", b"Scans of this week, see the folders.\n" * 20, rejected_as="header.not_dicom"
    )
    yield Measurement("single/cut short.dcm", whole[:1500], rejected_as="header.truncated")
    yield Measurement("single/empty.dcm", b"", rejected_as="header.not_dicom")
    nameless = pydicom.dcmread(io.BytesIO(_ct_header()))
    del nameless.StudyInstanceUID
    yield Measurement("single/without study.dcm", _bytes_of(nameless), rejected_as="header.missing_identity")


def _real(name: str, path: Path) -> Measurement:
    return _sample(name, path.read_bytes())


def _sample(name: str, content: bytes) -> Measurement:
    header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, force=True)  # some have no preamble
    number, issuer = (str(header.get(keyword) or "").strip() for keyword in ("PatientID", "IssuerOfPatientID"))
    patient = f"{issuer}|{number}" if number else ""
    uids = header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID
    return Measurement(name, content, Identity(str(uids[0]), str(uids[1]), str(uids[2]), patient))


@cache
def _ct_header() -> bytes:
    """Return the header of a real CT image, public elements only."""
    header = pydicom.dcmread(_WHEEL / "test_files" / "CT_small.dcm", stop_before_pixels=True)
    header.remove_private_tags()
    return _bytes_of(header)


def _bytes_of(header: Dataset) -> bytes:
    out = io.BytesIO()
    header.save_as(out)
    return out.getvalue()


def write_samples(folder: Path) -> int:
    """Write the files that the demo uploads into a folder, under the same names; return how many."""
    count = 0
    for sample in samples():
        path = folder / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.content)
        count += 1
    return count
