"""The samples are what they say: our own reader agrees with pydicom about each of them."""

import pytest

from local.samples import expectation, generated_study, samples
from sync.config import HeaderLimits
from sync.dicom.header import read_file

SAMPLES = list(samples())
LIMITS = HeaderLimits()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_header_reader_finds_what_is_expected(sample, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(sample.content)
    inspection = read_file(path, LIMITS)
    if sample.identity is None:
        assert inspection.record is None
        assert inspection.problem.code == sample.rejected_as
    else:
        record = inspection.record
        uids = (record.study.study_instance_uid, record.series_instance_uid, record.sop_instance_uid)
        assert uids == (sample.identity.study, sample.identity.series, sample.identity.sop)


def test_there_are_several_studies_of_several_series_and_instances():
    expected = expectation(SAMPLES)
    assert len(expected.studies) >= 15
    assert sum(len(series) > 1 for series in expected.studies.values()) >= 4
    assert expected.instances >= 200
    assert len(expected.rejected) == 4


def test_names_are_unique_and_one_instance_sits_in_two_files():
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES)
    identities = [sample.identity.sop for sample in SAMPLES if sample.identity]
    assert len(identities) == expectation(SAMPLES).instances + 1


def test_generated_studies_are_the_same_every_time():
    assert list(generated_study("a", ["x"], 3)) == list(generated_study("a", ["x"], 3))
    one, other = (next(iter(generated_study(seed, ["x"], 1))) for seed in "ab")
    assert one.identity.study != other.identity.study
