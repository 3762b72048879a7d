"""Values that stand for a patient, files that are full of them, and a search for them in whatever the sync says."""

import base64
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from tests.e2e.files import made, uid

NAME, PATIENT, BIRTH, BLOB = "Zzyzx^Quillon", "QX77SENTINEL", "19371203", "quillon_zzyzx_head"
OTHERS = {
    "OtherPatientNames": "Wexforth^Ilse",
    "PatientAddress": "7 Sentinelstrasse",
    "PatientComments": "sentinelcomment",
    "StudyDescription": "sentineldescription",
    "AccessionNumber": "SENTINELACC",
    "ReferringPhysicianName": "Physentinel^Doc",
    "InstitutionName": "Sentinel General",
    "StudyTime": "SENTINELTIME",
    "PatientAge": "SENTINELAGE",
}
"""Some are such that no writer should write them: what a library says of a wrong value must not get out either."""

STUDIES = {
    what: uid("sentinel", what)
    for what in ("good", "bad date", "refused", "faulted", "ambiguous", "down", "nonsense", "defect", "poison")
}

WORDS = ("Zzyzx", "Quillon", PATIENT, BIRTH, "1937-12-03", "193712", "Wexforth", "Sentinel", BLOB, *STUDIES.values())


def file_of(what: str, *, patient: str | None = None, birth: str = BIRTH) -> bytes:
    """Return an instance of one of `STUDIES`, of a patient of its own unless one is given."""
    study = STUDIES[what]
    return made(
        study,
        f"{study}.1",
        f"{study}.1.1",
        patient=patient or patient_of(what),
        PatientName=NAME,
        PatientBirthDate=birth,
        **OTHERS,
    )


def patient_of(what: str) -> str:
    """Return the Patient ID of a study's patient."""
    return f"{PATIENT}-{sorted(STUDIES).index(what)}"


def blob(name: str) -> str:
    """Return a blob name that names the patient, with what URLs escape."""
    return f"{BLOB} {PATIENT}/{name} Zzyzx.dcm"


def found_in(text: str) -> list[str]:
    """Return the words that are in a text: as they are, escaped for URLs, or in base64, in any case."""
    folded = text.casefold()
    return sorted({word for word in WORDS if word.casefold() in folded or any(form in text for form in _forms(word))})


def found_in_all(texts: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return name of the place -> words found there; places without any are left out."""
    leaks = {place: found_in("\n".join(said)) for place, said in texts.items()}
    return {place: words for place, words in leaks.items() if words}


def _forms(word: str) -> list[str]:
    """Return the word escaped for URLs, and what its base64 has in common wherever it stands, at all three offsets."""
    data = word.encode()
    encoded = [base64.b64encode(b"\0" * offset + data).decode() for offset in range(3)]
    ends = [(offset + len(data)) * 4 // 3 for offset in range(3)]
    return [quote(word, safe=""), *(encoded[offset][(0, 2, 3)[offset] : ends[offset]] for offset in range(3))]
