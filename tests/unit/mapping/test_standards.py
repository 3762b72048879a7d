"""The long tables against those that pydicom makes from the standard."""

import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

from sync.mapping.standards import body_parts, snomed_ct_of_rt


def test_snomed_rt_is_translated_as_pydicom_does():
    assert snomed_ct_of_rt() == mapping["SRT"], "run: scripts/snomed-table"


def test_every_body_part_has_a_code_that_dicom_knows():
    known = {code for meanings in concepts["SCT"].values() for code in meanings}
    orphans = {term for term, part in body_parts().items() if part.code not in known}
    assert orphans == {"LOWERTRUNK", "UPPERTRUNK"}
    assert len(body_parts()) == 317
    assert all(term == term.upper().strip() and len(term) <= 16 and part.meaning for term, part in body_parts().items())


@pytest.mark.parametrize(
    ("term", "code"),
    [
        ("CHEST", "43799004"),
        ("HEAD", "69536005"),
        ("ABDOMEN", "818981001"),
        ("PELVIS", "816092008"),
        ("BRAIN", "12738006"),
        ("KNEE", "72696002"),
        ("BREAST", "76752008"),
        ("LSPINE", "122496007"),
        ("CSPINE", "122494005"),
        ("HEART", "80891009"),
        ("CHESTABDPELVIS", "416775004"),
        ("WHOLEBODY", "38266002"),
    ],
)
def test_body_parts_have_the_codes_of_annex_l(term, code):
    assert body_parts()[term].code == code
