"""Where blobs are: an Endpoint for each container, and an address for each instance, by setting."""

from dataclasses import replace

import pytest

from sync.config import MappingSettings
from sync.dicom.inspect import ledger_row_of
from sync.mapping.imaging_study import build_study
from sync.mapping.validation import validated
from sync.model import ObjectRef
from tests.mapping_rows import STUDY, row
from tests.worlds import MemoryWorld, dicom

ROOT = "https://images.blob.core.windows.net"
NAMED = MappingSettings(blob_url=ROOT, blob_names=True)


def stored(number=1, container="dicom", name="a/1.dcm", **more):
    source = ObjectRef(account="images", container=container, name=name)
    return replace(row(number, key=f"{container}/{name}", **more), source=source)


def addresses(built):
    instances = [instance for series in built.imaging_study["series"] for instance in series["instance"]]
    return [extension["valueUrl"] for instance in instances for extension in instance.get("extension", ())]


def test_each_container_has_one_endpoint_beside_that_of_viewers():
    rows = [stored(1), stored(2, name="a/2.dcm"), stored(3, container="second")]
    built = build_study(STUDY, rows, MappingSettings(blob_url=f"{ROOT}/", dicomweb_url="https://pacs.example/dw"))
    assert [endpoint["address"] for endpoint in built.shared] == [
        "https://pacs.example/dw",
        f"{ROOT}/dicom",
        f"{ROOT}/second",
    ]
    assert [reference["reference"] for reference in built.imaging_study["endpoint"]] == [
        f"Endpoint/{resource['id']}" for resource in built.shared
    ]
    assert built.containers[0]["connectionType"]["code"] == "azure-blob"
    assert addresses(built) == []


def test_an_instance_names_every_blob_that_holds_it():
    rows = [stored(1, name="b/Müller 1#.dcm"), stored(1, name="a/1.dcm"), stored(2, name="c")]
    built = build_study(STUDY, rows, NAMED)
    expected = [f"{ROOT}/dicom/a/1.dcm", f"{ROOT}/dicom/b/M%C3%BCller%201%23.dcm", f"{ROOT}/dicom/c"]
    assert addresses(built) == expected
    assert build_study(STUDY, rows[::-1], NAMED) == built
    assert validated({**built.imaging_study, "subject": {"display": "X"}})


def test_an_instance_in_two_series_names_the_blob_of_each():
    rows = [stored(1, name="one", series="1.2.1"), stored(1, name="two", series="1.2.2")]
    assert addresses(build_study(STUDY, rows, NAMED)) == [f"{ROOT}/dicom/one", f"{ROOT}/dicom/two"]


@pytest.mark.parametrize("settings", [MappingSettings(), MappingSettings(blob_names=True)])
def test_without_an_address_nothing_is_said(settings):
    built = build_study(STUDY, [stored()], settings)
    assert built.shared == ()
    assert addresses(built) == []
    assert "endpoint" not in built.imaging_study


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, None),
        ({"blob_url": ROOT}, ("dicom", "")),
        ({"blob_url": ROOT, "blob_names": True}, ("dicom", "a/1.dcm")),
    ],
)
def test_the_ledger_keeps_no_more_than_is_told(settings, kept):
    services = MemoryWorld(**settings).services
    source = ledger_row_of(
        ObjectRef(account="memory", container="dicom", name="a/1.dcm"), row().record, "", services
    ).source
    assert (source and (source.container, source.name)) == kept


async def test_the_address_goes_with_the_object():
    world = MemoryWorld(blob_url=ROOT, blob_names=True)
    for name in ("a/1.dcm", "b/1.dcm"):
        await world.arrive(name, dicom())
    assert len(urls_in(world)) == 2
    before = world.versions()
    await world.replay()
    assert world.versions() == before
    await world.go("a/1.dcm")
    assert urls_in(world) == [f"{ROOT}/dicom/b/1.dcm"]


def urls_in(world):
    study = world.imaging_study()
    return [extension["valueUrl"] for extension in study["series"][0]["instance"][0]["extension"]]
