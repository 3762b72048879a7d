"""Azurite's access log tells which requests changed blobs."""

import pytest

from local.access_log import BatchDone, BlobChange, Happened, parse_line


def line(method, path, status):
    return f'127.0.0.1 - - [22/Nov/2026:04:01:36 +0000] "{method} /devstoreaccount1{path} HTTP/1.1" {status} -\n'


@pytest.mark.parametrize(
    ("method", "path", "status", "api"),
    [
        ("PUT", "/dicom/a.dcm", 201, "PutBlob"),
        ("PUT", "/dicom/a.dcm?se=2026-11-22T05%3A07%3A37Z&sp=cw&sig=UY7%3D", 201, "PutBlob"),
        ("PUT", "/dicom/a.dcm?comp=blocklist", 201, "PutBlockList"),
        ("PUT", "/dicom/a.dcm", 202, "CopyBlob"),
    ],
)
def test_writes_of_a_whole_blob_create_it(method, path, status, api):
    assert parse_line(line(method, path, status)) == BlobChange("dicom", "a.dcm", Happened.CREATED, api)


def test_a_delete_deletes():
    assert parse_line(line("DELETE", "/dicom/a/b.dcm", 202)) == BlobChange(
        "dicom", "a/b.dcm", Happened.DELETED, "DeleteBlob"
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/dicom/a.dcm", 200),
        ("HEAD", "/dicom/a.dcm", 200),
        ("PUT", "/dicom?restype=container", 201),
        ("DELETE", "/dicom?restype=container", 202),
        ("PUT", "/dicom/a.dcm", 409),
        ("PUT", "/dicom/a.dcm", 501),
        ("DELETE", "/dicom/a.dcm", 404),
        ("DELETE", "/dicom/a.dcm?snapshot=2026-11-22T04:07:36.4890000Z", 202),
        ("PUT", "/dicom/a.dcm?comp=block&blockid=TURBeA%3D%3D", 201),
        ("PUT", "/dicom/a.dcm?comp=appendblock", 201),
        ("PUT", "/dicom/a.dcm?comp=page", 201),
        ("PUT", "/dicom/a.dcm?comp=metadata", 200),
        ("PUT", "/dicom/a.dcm?comp=lease", 201),
        ("PUT", "/dicom/a.dcm?comp=snapshot", 201),
        ("PUT", "/dicom/a.dcm?comp=tags", 204),
        ("POST", "/objects/messages?messagettl=-1", 201),
        ("POST", "/$batch", 202),
        ("PUT", "/locators(PartitionKey='a',RowKey='b')", 204),
    ],
)
def test_everything_else_is_no_change(method, path, status):
    assert parse_line(line(method, path, status)) is None


def test_lines_of_other_accounts_and_other_text_are_no_change():
    assert parse_line('x "PUT /other/dicom/a HTTP/1.1" 201 -\n') is None
    assert parse_line("Azurite Blob service is closing...\n") is None


def test_names_are_decoded_as_paths_not_as_forms():
    change = parse_line(line("PUT", "/dicom/%C3%BC%20/%C3%A4%2Bb+%25%27%22/x%5Cy%3F.dcm", 201))
    assert change == BlobChange("dicom", "ü /ä+b+%'\"/x/y?.dcm", Happened.CREATED, "PutBlob")


def test_slashes_at_the_end_and_doubled_belong_to_the_name():
    assert parse_line(line("PUT", "/dicom/a//b/", 201)) == BlobChange("dicom", "a//b/", Happened.CREATED, "PutBlob")


def test_an_answer_that_the_client_did_not_wait_for_leaves_the_outcome_open():
    assert parse_line(line("PUT", "/dicom/a", "-")) == BlobChange("dicom", "a", Happened.UNKNOWN, "PutBlob")
    assert parse_line(line("DELETE", "/dicom/a", "-")) == BlobChange("dicom", "a", Happened.UNKNOWN, "DeleteBlob")


@pytest.mark.parametrize(("path", "container"), [("/dicom?restype=container&comp=batch", "dicom"), ("?comp=batch", "")])
def test_a_batch_names_its_container_only(path, container):
    assert parse_line(line("POST", path, 202)) == BatchDone(container)
