"""A search for the instances of a study tells what the DICOM service of Azure tells, element by element."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from aiohttp import web

from local.dicom_service import StandIn, keep
from tests.dicom_services import instance, uid
from tests.dicomweb import FOLDER, known_files, needs_dicomweb
from tests.unit.local.test_dicom_stand_in import made_of

TOLD = ["00080018", "00080060", "00081090", "0020000E", "00400244"]
"""PS3.18 10.6 as version 2 of the service's API has it: SOP Instance UID, Modality, Manufacturer's Model Name, Series
Instance UID, Performed Procedure Step Start Date."""

STEP_DAY = {"00400244": {"vr": "DA", "Value": ["20260102"]}}
MODEL = {"00081090": {"vr": "LO", "Value": ["Model 1"]}}
EMPTY_MODEL = {"00081090": {"vr": "LO"}}


@asynccontextmanager
async def served(stand_in: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    runner = web.AppRunner(stand_in.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}/v2") as http:
        yield http
    await runner.cleanup()


@needs_dicomweb
async def test_the_answer_for_a_real_study_is_that_of_the_service_byte_for_byte():
    theirs = (FOLDER / "qido-v2-instances-of-study.json").read_bytes()
    sops = [hit["00080018"]["Value"][0] for hit in json.loads(theirs)]
    stand_in = StandIn()
    for known in known_files():
        if known.metadata and json.loads(known.metadata)[0]["00080018"]["Value"][0] in sops:
            keep(stand_in.service, made_of(known), known.content)
    assert {held.sop for held in stand_in.service.instances} == set(sops)
    [study] = {held.study for held in stand_in.service.instances}
    async with served(stand_in) as http:
        answer = await http.get(f"/studies/{study}/instances")
    assert answer.headers["Content-Type"].startswith("application/dicom+json")
    assert answer.content == theirs.strip()


@needs_dicomweb
async def test_whatever_is_stored_a_hit_tells_those_elements_as_the_metadata_have_them_and_no_others():
    stand_in, metadata = StandIn(), {}
    for known in known_files():
        if known.metadata is not None:
            [dataset] = json.loads(known.metadata)
            if stand_in.service.store(dataset):
                metadata[dataset["00080018"]["Value"][0]] = dataset
    studies = {held.study for held in stand_in.service.instances}
    told = 0
    async with served(stand_in) as http:
        for study in studies:
            for hit in (await http.get(f"/studies/{study}/instances", params={"limit": 200})).json():
                whole = metadata[hit["00080018"]["Value"][0]]
                assert hit == {tag: whole[tag] for tag in TOLD if tag in whole}
                told += 1
    assert told == len(metadata)
    assert told > len(studies) > 1


@pytest.mark.parametrize(
    ("more", "tags"),
    [
        ({}, TOLD[:2] + TOLD[3:4]),
        (STEP_DAY | MODEL, TOLD),
        (EMPTY_MODEL, TOLD[:4]),
        ({"00101010": {"vr": "AS", "Value": ["030Y"]}}, TOLD[:2] + TOLD[3:4]),
    ],
    ids=["least", "all", "empty", "other"],
)
async def test_absent_elements_are_left_out_and_empty_ones_have_no_value(more, tags):
    stand_in = StandIn()
    stand_in.service.store(instance(1, 1) | more)
    async with served(stand_in) as http:
        [hit] = (await http.get(f"/studies/{uid(1)}/instances")).json()
    assert list(hit) == tags
    assert ("Value" in hit.get("00081090", {})) == (more is not EMPTY_MODEL and "00081090" in more)


async def test_a_study_that_is_not_there_is_204_in_every_partition():
    stand_in = StandIn()
    stand_in.service.store(instance(1, 1), "second")
    async with served(stand_in) as http:
        assert (await http.get(f"/studies/{uid(1)}/instances")).status_code == 204
        assert (await http.get(f"/partitions/second/studies/{uid(1)}/instances")).status_code == 200
        assert (await http.get(f"/partitions/second/studies/{uid(1)}/instances?offset=1")).status_code == 204
        assert (await http.get(f"/partitions/second/studies/{uid(2)}/instances")).status_code == 204
