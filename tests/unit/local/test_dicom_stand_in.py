"""
The stand-in takes, drops and writes what the open-source DICOM service does, byte for byte.

And an instance becomes the same FHIR however it is read.
"""

from __future__ import annotations

import csv
import json
import warnings

import pytest

from local.dicom_metadata import Refused, Stored, encode, stored
from sync.adapters.http.dicom.web import parse_json
from sync.config import HeaderLimits, MappingSettings
from sync.dicom.header import parse_header
from sync.dicom.inspect import inspect_object
from sync.dicom.instance_names import instance_ref
from sync.errors import UnreadableObject
from sync.mapping.bundle import build_bundle
from sync.mapping.resource import canonical
from sync.model import InstanceRecord, LedgerRow, ObjectKey
from sync.testing.dicom import id_of
from tests.dicom_services import FeedWorld
from tests.dicomweb import FOLDER, Known, known_files, needs_dicomweb
from tests.headers import whole_corpus

OTHERWISE = {
    "shared/dicomParser/IM00001.fragmented_no_bot_jpeg_baseline.50.dcm": "private elements behind encapsulated frames",
    "shared/pydicom/test_files/SC_rgb_jpeg.dcm": "refused for its frames, which are not looked at here",
    "shared/pydicom/test_files/rtplan_truncated.dcm": "a sequence that is cut: it keeps none of its items",
    "made/vr-blank.dcm": "elements behind a blank VR",
    "made/vr-unknown.dcm": "elements behind an unknown VR",
}
"""Files of which the stand-in makes something else, and why."""

UNKNOWABLE = {
    "dropped by the service",
    "letters lost by the service",
    "lost by the service",
    "precision lost by the service",
}
MUST_BE_READ = {
    "PatientID",
    "Modality",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "AccessionNumber",
}
"""Attributes of type 1 and 2."""


_MADE: dict[str, Stored | None] = {}


def made_of(known: Known) -> Stored | None:
    """What the stand-in keeps of a file, worked out once; None when it is refused."""
    if known.name not in _MADE:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                _MADE[known.name] = stored(known.content)
            except Refused:
                _MADE[known.name] = None
    return _MADE[known.name]


@needs_dicomweb
@whole_corpus
def test_it_writes_the_metadata_of_the_service_byte_for_byte():
    compared, differing = 0, []
    for known in known_files():
        if known.metadata is None or known.name in OTHERWISE:
            continue
        made = made_of(known)
        compared += 1
        if made is None or encode([made.metadata]) != known.metadata:
            differing.append(known.name)
    assert compared >= 120
    assert differing == []


@needs_dicomweb
@whole_corpus
def test_it_takes_refuses_and_cannot_give_what_the_service_does():
    differing = []
    for known in known_files():
        if known.name in OTHERWISE:
            continue
        made = made_of(known)
        status = made.status if made else 409
        readable = made is None or made.readable
        in_feed = made is None or (made.readable and made.in_feed)
        said = known.status
        if (str(status), readable, in_feed) != (
            said["http"],
            "cannot be read back" not in said["metadata"],
            not said["in_feed"].startswith("no:"),
        ):
            differing.append(known.name)
    assert differing == []


@needs_dicomweb
@pytest.mark.parametrize("name", ["change-feed-v2.json", "change-feed-v2-without-metadata.json"])
async def test_entries_of_its_feed_have_the_form_of_the_service(name):
    world = FeedWorld()
    world.service._names_default = True
    theirs = json.loads((FOLDER / name).read_bytes())
    metadata = next((entry["metadata"] for entry in theirs if "metadata" in entry), None)
    world.service.store(metadata or json.loads((FOLDER / "made" / "at.dcm.json").read_bytes())[0])
    ours = (await world.service.page(metadata=metadata is not None))[0]
    assert list(ours) == [key for key in theirs[0] if key != "filePath"]
    assert len(ours["timestamp"]) == len(theirs[0]["timestamp"])


@needs_dicomweb
@whole_corpus
async def test_the_same_fhir_comes_of_an_instance_however_it_is_read():
    with (FOLDER / "differences.tsv").open(encoding="utf-8") as table:
        lost = {row["path"] for row in csv.DictReader(table, delimiter="\t") if row["kind"] in UNKNOWABLE}
    compared, by_setting = 0, {"always": set(), "when-needed": set(), "never": set()}
    worlds = {setting: FeedWorld(dicom_header=setting) for setting in by_setting}
    for known in known_files():
        made = made_of(known)
        file = _of_file(known.content)
        if made is None or file is None:
            continue
        expected = None
        compared += 1
        for setting, differing in by_setting.items():
            record = await _of_service(worlds[setting], known.content, made, known.metadata)
            if record != file:  # equal records make equal bytes
                expected = expected or _fhir(file)
                if _fhir(record) != expected:
                    differing.add(known.name)
            if setting == "when-needed":
                values = [(_plain(record, keyword), _plain(file, keyword)) for keyword in MUST_BE_READ]
                assert all(theirs == ours or not ours for theirs, ours in values), known.name
    assert compared >= 120
    assert by_setting["always"] == set()
    assert by_setting["when-needed"] < by_setting["never"]
    assert by_setting["when-needed"] <= lost


def _plain(record: InstanceRecord, keyword: str) -> list[str]:
    """Forget the empty groups at the end of a name."""
    return [str(value).rstrip("=") for value in record.attributes.get(keyword, ())]


def _of_file(content: bytes) -> InstanceRecord | None:
    try:
        record = parse_header(content, size=len(content), limits=HeaderLimits())
    except UnreadableObject:
        return None
    return record if isinstance(record, InstanceRecord) else None


async def _of_service(world: FeedWorld, content: bytes, made: Stored, metadata: bytes | None) -> InstanceRecord:
    """Read an instance of a service that says of it what the real one does."""
    told = parse_json(metadata if metadata is not None else encode([made.metadata]))[0]
    instance = id_of(
        {tag: {"Value": [str(told[tag]["Value"][0]).strip()]} for tag in ("0020000D", "0020000E", "00080018")}
    )
    world.service.instances = {instance: (1, told)}
    world.service.contents = {instance: content}
    world.service.unreadable = set() if made.readable else {instance}
    ref = instance_ref(world.service.account, "", *instance[1:])
    inspection = await inspect_object(ref, world.services)
    assert inspection.record is not None
    return inspection.record


def _fhir(record: InstanceRecord) -> bytes:
    row = LedgerRow(object_key=ObjectKey("p", "r"), record=record, order="")
    return canonical(build_bundle(record.study, [row], MappingSettings())[0])
