"""Whatever JSON a server sends as metadata, it becomes a record or `UnreadableObject`."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.dicom.attributes import CONTENT, EXTRACTED_OF_DOCUMENTS, REPORT_CLASSES, walk
from sync.dicom.header import read_json
from sync.errors import UnreadableObject
from sync.model import InstanceRecord
from tests.unit.dicom.header.test_json_model import UIDS

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ANYTHING = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)
TAGS = st.sampled_from([f"{row.tag:08X}" for row in walk((*EXTRACTED_OF_DOCUMENTS, CONTENT))])
ELEMENTS = st.fixed_dictionaries(
    {},
    optional={
        "vr": st.sampled_from(["PN", "SQ", "UN", "IS", "US", "??", 5]) | ANYTHING,
        "Value": st.lists(st.dictionaries(TAGS | st.just("Alphabetic"), ANYTHING, max_size=2) | ANYTHING, max_size=2)
        | ANYTHING,
        "InlineBinary": ANYTHING,
        "BulkDataURI": ANYTHING,
    },
)


REPORT = {"00080016": {"vr": "UI", "Value": [min(REPORT_CLASSES)]}}


@given(st.dictionaries(TAGS, ELEMENTS | ANYTHING, max_size=3), st.sampled_from([{}, REPORT]))
def test_any_elements_become_a_record_that_is_json(elements, of_class):
    record = read_json({**elements, **UIDS, **of_class})
    assert isinstance(record, InstanceRecord)
    json.dumps(record.attributes, allow_nan=False).encode("utf-8")


@given(ANYTHING)
def test_any_json_at_all_is_read_or_refused(dataset):
    with pytest.raises(UnreadableObject):
        read_json(dataset)
