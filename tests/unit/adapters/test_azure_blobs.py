"""What Blob Storage says beside the bytes: a copy that has not ended, an entry that is only a folder."""

import pytest

from sync.adapters.azure.blobs import _check_whole
from sync.errors import SourceGone, SourceUnavailable
from sync.model import ObjectRef

FILE = ObjectRef(account="a", container="dicom", name="ct/1.dcm")
FOLDER = ObjectRef(account="a", container="dicom", name="ct/")


@pytest.mark.parametrize("size", [0, 10])
def test_a_copy_that_is_under_way_is_waited_for(size):
    with pytest.raises(SourceUnavailable) as caught:
        _check_whole(FILE, size, copy_status="pending")
    assert caught.value.code == "source.copying"


@pytest.mark.parametrize("status", [None, "success", "failed", "aborted"])
def test_a_copy_that_has_ended_is_final(status):
    _check_whole(FILE, 10, copy_status=status)


@pytest.mark.parametrize(
    ("ref", "metadata"), [(FILE, {"hdi_isfolder": "true"}), (FILE, {"Hdi_IsFolder": "True"}), (FOLDER, {})]
)
def test_a_folder_marker_is_no_object(ref, metadata):
    with pytest.raises(SourceGone):
        _check_whole(ref, 0, metadata=metadata)


@pytest.mark.parametrize(
    ("ref", "metadata", "size"), [(FILE, {"hdi_isfolder": "true"}, 1), (FILE, {}, 0), (FOLDER, {}, 1)]
)
def test_what_has_content_or_no_mark_is_an_object(ref, metadata, size):
    _check_whole(ref, size, metadata=metadata)
