"""The demo's verdict is right: the samples as mapped count as complete, and every kind of loss is reported."""

import json
import subprocess
import sys

import httpx
import pytest

from local.readback import differences, read_back
from local.samples import Identity, Measurement, expectation, samples

SAMPLES = list(samples())
EXPECTED = expectation(SAMPLES)


@pytest.fixture(scope="module")
def filled(fhir_embedded, tmp_path_factory):
    """A FHIR server that holds the samples, by way of ``python -m sync map``."""
    folder = tmp_path_factory.mktemp("samples")
    for sample in SAMPLES:
        path = folder / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.content)
    mapped = subprocess.run([sys.executable, "-m", "sync", "map", str(folder)], capture_output=True, check=False)
    for line in mapped.stdout.splitlines():
        answer = httpx.post(fhir_embedded, json=json.loads(line), timeout=60).raise_for_status().json()
        assert all(entry["response"]["status"].startswith("2") for entry in answer["entry"])
    return fhir_embedded


async def test_mapped_samples_are_read_back_as_complete(filled):
    held = await read_back(filled, EXPECTED)
    assert (len(held.studies), held.series, held.instances) == (
        len(EXPECTED.studies),
        EXPECTED.series,
        EXPECTED.instances,
    )
    assert differences(EXPECTED, held, EXPECTED.rejected) == []


async def test_missing_studies_wrong_instances_patients_and_dead_letters_are_told(filled):
    fuller = expectation([*SAMPLES, Measurement("more", b"", Identity("1.2", "1.3", "1.4", "another person"))])
    held = await read_back(filled, fuller)
    assert differences(fuller, held, {}) == [
        f"not in FHIR: 1 of {len(fuller.studies)} studies",
        f"{EXPECTED.patients} patients instead of {fuller.patients}",
        f"dead letters by code are {{}} instead of {dict(EXPECTED.rejected)}",
    ]


async def test_a_study_with_other_instances_is_told(filled):
    less = expectation(SAMPLES[1:])
    held = await read_back(filled, less)
    assert differences(less, held, less.rejected) == ["other series or instances than their files: 1 study"]
