"""The searches of the page *Put it to use*, asked of a real server: each finds what it is for and nothing beside it."""

import re

import pytest

from tests import reports
from tests.e2e.conftest import Place
from tests.e2e.files import uid
from tests.e2e.running import ROOT, World, until
from tests.worlds import PATIENT_SYSTEM, dicom

SEARCHES = re.findall(r"^GET (\S+)$", (ROOT / "docs" / "use.md").read_text("utf-8"), re.MULTILINE)

ALL_OF_ADA = {"Ada", "chest", "chest later", "dose", "dose later", "nodule", "nodule later", "report", "report later"}

ANSWERS = [
    ("ImagingStudy?modality=CT&bodysite", {"chest", "chest later", "chest of another", "Ada", "Ivo"}),
    ("Patient?gender=female", {"Eve"}),
    ("Observation?code-value-quantity", {"nodule", "nodule later"}),
    ("Observation?component-code-value-quantity", {"dose"}),
    ("ImagingStudy?modality=CT&bodysite", {"chest of another", "Ivo"}),
    ("ImagingStudy?patient=", {"chest", "chest later"}),
    ("DiagnosticReport?patient=", {"report", "report later"}),
    ("Observation?patient=", {"dose", "dose later", "nodule", "nodule later"}),
    ("Patient/PATIENT/$everything", ALL_OF_ADA),
    ("ImagingStudy?patient:Patient.identifier=", {"chest", "chest later"}),
    ("Observation?derived-from=", {"nodule"}),
    ("DiagnosticReport?patient=", {"report"}),
    ("Observation?identifier=", {"nodule", "nodule later"}),
]
"""How each search of the page begins, in its order, and what of our hospital it finds."""

PEOPLE = {"Ada": ("F", "19620214"), "Ivo": ("M", "19551105"), "Eve": ("F", "19480301")}
STUDIES = {
    "chest": ("Ada", "CT", "CHEST", "20260102"),
    "chest later": ("Ada", "CT", "CHEST", "20260901"),
    "chest of another": ("Ivo", "CT", "CHEST", "20260102"),
    "abdomen": ("Ivo", "CT", "ABDOMEN", "20260102"),
    "head": ("Eve", "MR", "HEAD", "20260102"),
}


class Hospital:
    """A few people with studies, doses and measurements, in a world where others are too."""

    def __init__(self, world: World, place: Place) -> None:
        self.world, self.place = world, place

    def arrive(self) -> None:
        for study in STUDIES:
            self._upload(study, "image", dicom, Modality=STUDIES[study][1], BodyPartExamined=STUDIES[study][2])
        for study, dlp in (("chest", "412.5"), ("chest later", "12.5")):
            self._upload(study, "dose", reports.ct_dose, dlp=dlp)
            self._upload(study, "nodule", reports.measurements)
            self._upload(study, "report", reports.text_report)
        until(lambda: all(self.world.study(self._uid(study)) for study in STUDIES), "all studies are in FHIR")
        self.world.settle()

    def _upload(self, study, kind, make, **attributes):
        person, _, _, date = STUDIES[study]
        sex, born = PEOPLE[person]
        uids = {"study": self._uid(study), "series": self._uid(study, kind), "sop": self._uid(study, kind, 1)}
        about = {"PatientID": self.number(person), "PatientSex": sex, "PatientBirthDate": born, "StudyDate": date}
        self.world.upload(self.place.name(f"{study} {kind}"), make(**uids, **about, **attributes))

    def number(self, person):
        return f"{person}-{self.place.token}"

    def _uid(self, *parts):
        return uid(self.place.token, *parts)

    def references(self):
        """Return how we call each resource, by its reference."""
        called = {}
        for study, (person, *_) in STUDIES.items():
            held = self.world.study(self._uid(study))
            called |= {f"ImagingStudy/{held['id']}": study, held["subject"]["reference"]: person}
            later = study.removeprefix("chest")
            for kind, what, name in (
                ("Observation", "dose", "dose"),
                ("Observation", "nodule", "nodule"),
                ("DiagnosticReport", "report", "report"),
            ):
                asked = f"{kind}?identifier=urn:dicom:uid|urn:oid:{self._uid(study, what, 1)}"
                called |= dict.fromkeys(matching(self.world, asked), name + later)
        return called

    def filled(self, search, called):
        by_name = {name: reference for reference, name in called.items()}
        search = search.replace("ImagingStudy/STUDY", by_name["chest"]).replace("TRACKING-UID", "2.25.4711")
        search = search.replace("Patient/PATIENT", by_name["Ada"]).replace("PATIENT", by_name["Ada"])
        return search.replace("SYSTEM", PATIENT_SYSTEM).replace("NUMBER", self.number("Ada"))


def matching(world, search):
    """Return the references of what a search finds."""
    return [f"{one['resourceType']}/{one['id']}" for one in world.search(search)]


@pytest.fixture(scope="module")
def asked(hapi_world):
    hospital = Hospital(hapi_world, Place())
    hospital.arrive()
    return hospital, hospital.references()


@pytest.mark.parametrize(("search", "answer"), list(zip(SEARCHES, ANSWERS, strict=True)), ids=range(len(SEARCHES)))
def test_a_search_of_the_page_finds_what_it_is_for(asked, search, answer):
    hospital, called = asked
    begins, expected = answer
    assert search.startswith(begins)
    names = [
        called[reference]
        for reference in matching(hospital.world, hospital.filled(search, called))
        if reference in called
    ]
    assert set(names) == expected
