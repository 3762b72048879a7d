"""DICOM files of the patients of a clinical world: a real CT header, re-identified, without pixel data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from local.clinical_world import Person
from local.samples import Measurement, reidentified, uid_of

_SEX = {"female": "F", "male": "M"}


def imaging(world: Iterable[Person]) -> Iterator[Measurement]:
    """Yield one CT instance for each person who had a CT; the same person gives the same bytes."""
    for person in world:
        if person.ct is None:
            continue
        day = person.ct.strftime("%Y%m%d")
        yield reidentified(
            f"clinical/{person.patient_id}.dcm",
            uids=(
                uid_of("clinical", person.number),
                uid_of("clinical", person.number, 1),
                uid_of("clinical", person.number, 1, 1),
            ),
            PatientID=person.patient_id,
            PatientName=f"Synthetic^P{person.number:06}",
            PatientSex=_SEX[person.sex],
            PatientBirthDate=person.born.replace("-", "") if len(person.born) == len("1970-01-01") else "",
            StudyDate=day,
            SeriesDate=day,
            ContentDate=day,
            AcquisitionDate=day,
            AccessionNumber=person.accession,
            Modality="CT",
        )
