"""Manifests of exports have one JSON in all versions: processes read what others wrote, and so do importers."""

import json

import pytest

from sync.errors import StoreUnavailable
from sync.model.exports import (
    BucketRange,
    Manifest,
    NdjsonFile,
    PartManifest,
    SharedFile,
    joined,
    json_of,
    read_manifest,
)

FILE = NdjsonFile(name="ImagingStudy-000001-0001-ab.ndjson", kind="ImagingStudy", count=4, size=3956, sha256="ab")
HELD = SharedFile(name="shared-000001-cd.ndjson", sha256="cd", buckets={0: BucketRange(0, 432, "ef")})
COUNTS = {"resources": {"ImagingStudy": 4}, "left_out": {"adopted": 1}}
BEGINNING = (
    '{"format": "dicom-fhir-sync export 1", "files": [{"name": "ImagingStudy-000001-0001-ab.ndjson", '
    '"type": "ImagingStudy", "count": 4, "bytes": 3956, "sha256": "ab"}], "resources": {"ImagingStudy": 4}, '
    '"left_out": {"adopted": 1}'
)


@pytest.mark.parametrize(
    ("manifest", "content"),
    [
        (Manifest(files=(FILE,), **COUNTS), BEGINNING + "}"),
        (
            PartManifest(files=(FILE,), studies=5, shared=HELD, **COUNTS),
            BEGINNING + ', "studies": 5, "shared": {"name": "shared-000001-cd.ndjson", "sha256": "cd", '
            '"buckets": {"0": [0, 432, "ef"]}}}',
        ),
        (Manifest(), '{"format": "dicom-fhir-sync export 1", "files": [], "resources": {}, "left_out": {}}'),
    ],
    ids=["export", "part", "empty"],
)
def test_a_manifest_is_written_and_read_as_ever(manifest, content):
    assert json.dumps(json_of(manifest)) == content
    assert read_manifest(content.encode(), type(manifest)) == manifest


@pytest.mark.parametrize("content", [b"", b"[]", BEGINNING.encode(), b'{"format": "dicom-fhir-sync export 2"}'])
def test_what_is_no_manifest_is_refused_and_not_told(content):
    with pytest.raises(StoreUnavailable) as refused:
        read_manifest(content, Manifest)
    assert (refused.value.code, "ImagingStudy" in str(refused.value)) == ("store.garbled", False)


def test_parts_are_joined_in_the_order_of_their_files_whatever_theirs():
    other = NdjsonFile(name="Endpoint-1.ndjson", kind="Endpoint", count=1, size=9, sha256="0")
    one, two = Manifest(files=(FILE,), **COUNTS), Manifest(files=(other,), resources={"Endpoint": 1})
    whole = Manifest(files=(other, FILE), resources={"Endpoint": 1, "ImagingStudy": 4}, left_out={"adopted": 1})
    for manifests in ([one, two], [two, one]):
        assert joined(manifests) == whole
        assert list(joined(manifests).resources) == ["Endpoint", "ImagingStudy"]
