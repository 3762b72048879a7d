"""DICOM_SYNC_INSTANCES: which studies list their instances, in any order and after any change."""

import itertools

import pytest

from sync.config import MappingSettings
from sync.mapping.bundle import build_bundle
from sync.mapping.imaging_study import build_study
from sync.mapping.resource import study_id
from sync.model import DriftKind
from sync.projection.dry_run import dry_run_study
from tests.mapping_rows import SETTINGS, STUDY, row
from tests.unit.verify.test_full_scan import kinds
from tests.worlds import STUDY as STUDY_OF_WORLD
from tests.worlds import MemoryWorld, ehr_study

ROWS = [row(number, series=f"1.2.{number % 2}", SeriesNumber=[str(number % 2)]) for number in range(1, 6)]


def without_list(study):
    series = [{name: value for name, value in one.items() if name != "instance"} for one in study["series"]]
    return {**study, "series": series}


def listed(study):
    return sorted(instance["uid"] for series in study["series"] for instance in series.get("instance", ()))


@pytest.mark.parametrize(("value", "lists"), [("all", True), ("series", False), ("5", True), ("4", False), (1, False)])
def test_only_the_list_is_left_out(value, lists):
    full = build_study(STUDY, ROWS, SETTINGS)
    built = build_study(STUDY, ROWS, MappingSettings(instances=value))
    assert len(listed(full.imaging_study)) == 5
    assert built.imaging_study == (full.imaging_study if lists else without_list(full.imaging_study))
    assert (built.shared, built.patient, built.series, built.instances) == (full.shared, full.patient, 2, 5)
    assert [one["numberOfInstances"] for one in built.imaging_study["series"]] == [2, 3]


def test_instances_are_counted_as_the_study_counts_them():
    """A copy of an instance is none more; one that two series claim is one in each."""
    copy, twice = row(1, series="1.2.1", key="copy", SeriesNumber=["1"]), row(1, series="1.2.9")
    for rows, limit in ([*ROWS, copy], 5), ([*ROWS, twice], 6):
        at, below = (build_study(STUDY, rows, MappingSettings(instances=n)).imaging_study for n in (limit, limit - 1))
        assert at["numberOfInstances"] == below["numberOfInstances"] == limit
        assert (len(listed(at)), len(listed(below))) == (limit, 0)


def test_an_attribute_that_is_not_written_makes_no_finding():
    rows = [row(1, InstanceNumber=["x"])]
    assert build_study(STUDY, rows, SETTINGS).findings
    assert not build_study(STUDY, rows, MappingSettings(instances="series")).findings


@pytest.mark.parametrize("detail", ["none", "full"])
def test_a_study_without_list_is_allowed_and_names_no_blob(detail):
    chosen = MappingSettings(instances=2, detail=detail, blob_url="https://a.example", blob_names=True)
    assert "object-url" not in str(build_bundle(STUDY, ROWS, chosen))


async def test_a_study_crosses_the_number_in_either_direction_in_any_order():
    """The end depends on what is there, never on the way; each step writes once and a replay nothing."""
    ends = {}
    for order in itertools.permutations((1, 2, 3)):
        w = MemoryWorld(instances=2)
        for number in order:
            await w.arrive(str(number), sop=f"2.25.10{number}")
        over = w.imaging_study()
        assert (over["numberOfInstances"], listed(over)) == (3, [])
        for number in order:
            await w.go(str(number))
            await w.replay()
            left = w.imaging_study()
            assert left is None or len(listed(left)) == left["numberOfInstances"]
            if left is not None and left["numberOfInstances"] == 1:
                ends.setdefault(order[-1], []).append(left["series"])
        assert w.imaging_study() is None
    assert all(one == series[0] for series in ends.values() for one in series)


async def test_what_we_listed_goes_and_what_others_wrote_stays():
    w = MemoryWorld(instances=2)
    await w.arrive("1", sop="2.25.101")
    w.edit("ImagingStudy", study_id(STUDY_OF_WORLD), note=[{"text": "seen"}])
    await w.arrive("2", sop="2.25.102")
    assert len(listed(w.imaging_study())) == 2
    await w.arrive("3", sop="2.25.103")
    assert (listed(w.imaging_study()), w.imaging_study()["note"]) == ([], [{"text": "seen"}])
    versions = w.versions()
    await w.replay()
    assert w.versions() == versions
    assert await kinds(w) == {}
    await w.go("2")
    assert listed(w.imaging_study()) == ["2.25.101", "2.25.103"]


async def test_an_adopted_study_loses_the_list_that_we_wrote():
    w = MemoryWorld(instances=1)
    w.create(ehr_study("ris-7", note=[{"text": "seen"}]))
    await w.arrive("1", sop="2.25.101")
    assert listed(w.server.peek("ImagingStudy", "ris-7")) == ["2.25.101"]
    await w.arrive("2", sop="2.25.102")
    adopted = w.server.peek("ImagingStudy", "ris-7")
    assert (listed(adopted), adopted["numberOfInstances"], adopted["note"]) == ([], 2, [{"text": "seen"}])


@pytest.mark.parametrize(("before", "after", "lists"), [("all", "series", 0), ("series", "all", 2), (1, 2, 2)])
async def test_a_new_value_makes_known_studies_stale_and_a_repair_writes_them_once(before, after, lists):
    w = MemoryWorld(instances=before)
    for number in (1, 2):
        await w.arrive(str(number), sop=f"2.25.10{number}")
    assert await kinds(w) == {}
    w.services = w.process(instances=after)
    [write] = (await dry_run_study(STUDY_OF_WORLD, w.services)).writes
    assert (write.resource_type, len(listed(write.resource))) == ("ImagingStudy", lists)
    assert await kinds(w) == {DriftKind.STALE: 1}
    written = w.versions()["ImagingStudy", study_id(STUDY_OF_WORLD)]
    await kinds(w, repair=True)
    assert len(listed(w.imaging_study())) == lists
    assert w.versions()["ImagingStudy", study_id(STUDY_OF_WORLD)] == written + 1
    assert await kinds(w) == {}


async def test_a_list_that_another_system_writes_is_drift_and_goes():
    w = MemoryWorld(instances="series")
    await w.arrive("1", sop="2.25.101")
    [series] = w.imaging_study()["series"]
    theirs = {"uid": "2.25.101", "sopClass": {"code": "urn:oid:1.2"}}
    w.edit("ImagingStudy", study_id(STUDY_OF_WORLD), series=[{**series, "instance": [theirs]}])
    assert await kinds(w) == {DriftKind.FOREIGN_MODIFIED: 1}
    await kinds(w, repair=True)
    assert listed(w.imaging_study()) == []
