from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag

from sync.dicom.attributes import (
    CONTENT,
    EXTRACTED,
    EXTRACTED_OF_DOCUMENTS,
    IDENTITY,
    LAST_TAG,
    first_text,
    items,
    texts,
    walk,
)

NEWER = {
    "PersonNamesToUseSequence": (0x00100011, "SQ"),
    "NameToUse": (0x00100012, "LT"),
    "ThirdPersonPronounsSequence": (0x00100014, "SQ"),
    "PronounCodeSequence": (0x00100015, "SQ"),
    "PronounComment": (0x00100016, "UT"),
    "GenderIdentitySequence": (0x00100041, "SQ"),
    "GenderIdentityCodeSequence": (0x00100044, "SQ"),
    "GenderIdentityComment": (0x00100045, "UT"),
}
"""PS3.6 of 2024, which the dictionary of the pinned pydicom does not have yet."""


def test_every_row_agrees_with_the_dictionary_of_the_standard():
    for row in (*walk((*EXTRACTED_OF_DOCUMENTS, CONTENT)), *IDENTITY):
        if row.keyword in NEWER:
            assert ((row.tag, row.vr), row.multiple) == (NEWER[row.keyword], False)
            continue
        assert (keyword_for_tag(row.tag), dictionary_VR(row.tag)) == (row.keyword, row.vr)
        assert row.multiple == (dictionary_VM(row.tag) != "1" and row.vr != "SQ")


def test_rows_of_one_level_are_unique_and_only_sequences_have_children():
    levels = [EXTRACTED, *(row.children for row in walk(EXTRACTED) if row.children)]
    for level in levels:
        assert len({row.tag for row in level}) == len(level)
    assert all((row.vr == "SQ") == bool(row.children) for row in walk(EXTRACTED))


def test_the_table_is_in_tag_order_and_knows_its_last_tag():
    tags = [row.tag for row in EXTRACTED]
    assert tags == sorted(tags)
    assert tags[-1] == LAST_TAG


def test_uids_of_identity_are_no_attributes():
    assert not {row.keyword for row in IDENTITY} & {row.keyword for row in EXTRACTED}


def test_first_text_is_the_first_value_and_none_when_there_is_nothing_to_say():
    attributes = {"Modality": ["CT", "PT"], "StudyID": [], "StationName": [" "], "Series": ["", "B"], "Rows": [512]}
    assert first_text(attributes, "Modality") == "CT"
    assert [first_text(attributes, keyword) for keyword in ("StudyID", "StationName", "Series", "Absent")] == [None] * 4
    assert first_text(attributes, "Rows") == "512"


def test_texts_leave_out_blank_values():
    assert texts({"OperatorsName": ["A^B", "", " ", "C"]}, "OperatorsName") == ("A^B", "C")
    assert texts({}, "OperatorsName") == ()


def test_items_are_those_of_a_sequence_only():
    attributes = {"ProcedureCodeSequence": [{"CodeValue": ["X"]}, {}], "Modality": ["CT"]}
    assert items(attributes, "ProcedureCodeSequence") == ({"CodeValue": ["X"]}, {})
    assert items(attributes, "Modality") == items(attributes, "Absent") == ()
