"""A demo in which nothing arrives says so, and fails."""

import json
import sys
from pathlib import Path

from local.clinical_imaging import imaging
from local.clinical_world import BLOCK, people
from local.demo import Demonstration
from local.samples import expectation, samples
from local.world import Plan, world
from tests.integration.stand_ins.up import host


async def test_what_did_not_arrive_is_told_and_fails_the_demo(capsys):
    async with world(Plan(host=host), sys.stderr.write) as running:
        status = await Demonstration(once=True, log=Path("some.log"), deadline=0.5).run(running)
        addresses = running.addresses
    out, err = capsys.readouterr()
    files = [*samples(), *imaging(people(BLOCK))]
    expected = expectation(files)
    summary = json.loads(out.splitlines()[-1])
    assert status == 1
    assert (summary["complete"], summary["studies"], summary["files"]) == (False, 0, len(files))
    assert summary["problems"][0] == f"not in FHIR: {len(expected.studies)} of {len(expected.studies)} studies"
    assert summary["addresses"]["fhir"] == addresses.fhir
    assert "Not everything arrived" in err
    assert "some.log" in err
