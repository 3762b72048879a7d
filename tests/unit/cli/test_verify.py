"""What the commands verify and export refuse before they ask anybody, and how they say what they found."""

import asyncio
import json

import pytest
from rich.progress import Progress
from typer.testing import CliRunner

from sync.cli import app, verify_all
from sync.cli.verify_all import Shown
from sync.errors import SourceGone
from sync.model import Drift, DriftKind
from sync.verify.full_scan import Plan, ScanOutcome
from tests.unit.cli.in_process import runs_on
from tests.worlds import STUDY, MemoryWorld

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def sound(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_FHIR_URL", "http://127.0.0.1:1/fhir")
    monkeypatch.setenv("AzureWebJobsStorage", "UseDevelopmentStorage=true")


@pytest.mark.parametrize(
    "arguments",
    [("--study", "not a uid"), ("--study", "1.2.3", "--sample", "5"), ("--sample", "0"), ("--max-removals", "-1")],
)
def test_a_wrong_call_of_verify_reads_nothing(arguments):
    assert RUNNER.invoke(app, ["verify", *arguments]).exit_code == 2


def test_a_wrong_setting_is_named(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_FHIR_URL", "ftp://nowhere")
    done = RUNNER.invoke(app, ["verify", "--study", "1.2.3"])
    assert (done.exit_code, "DICOM_SYNC_FHIR_URL" in done.stderr) == (2, True)


def test_an_export_into_a_folder_that_holds_something_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    done = RUNNER.invoke(app, ["export", str(tmp_path)])
    assert (done.exit_code, "not empty" in done.stderr) == (2, True)
    assert RUNNER.invoke(app, ["export", str(tmp_path / "a.txt")]).exit_code == 2


@pytest.mark.parametrize("command", ["verify", "export"])
def test_the_help_tells_examples_and_exit_codes(command):
    told = RUNNER.invoke(app, [command, "--help"]).output
    assert "Examples" in told
    assert "Exit codes" in told


def test_an_unknown_study_is_not_called_right(monkeypatch):
    world = MemoryWorld()
    runs_on(monkeypatch, verify_all, services=world.services, listing=None)
    done = RUNNER.invoke(app, ["verify", "--study", "2.25.404"])
    assert (done.exit_code, "No drift" in done.stdout, "unknown" in done.stderr) == (1, False, True)
    asyncio.run(world.arrive("a.dcm", study="2.25.404"))
    done = RUNNER.invoke(app, ["verify", "--study", "2.25.404"])
    assert (done.exit_code, "1 study compared" in done.stdout) == (0, True), done.output


def said(capsys, *, as_json):
    drift = Drift(subject="key", kind=DriftKind.STALE, resource="ImagingStudy/is-1", detail="series")
    shown = Shown(Plan(repair=True, removals=3), Progress(disable=True), as_json=as_json)
    shown.report(drift, repaired=False)
    outcome = ScanOutcome(studies=7, busy=1, kept=0, not_removed=5)
    outcome.found[DriftKind.STALE] = 1
    shown.summarise(outcome)
    return capsys.readouterr().out


def test_for_machines_each_drift_and_the_summary_is_a_line(capsys):
    drift, summary = map(json.loads, said(capsys, as_json=True).splitlines())
    assert (drift["kind"], drift["resource"], drift["state"]) == ("drift.stale", "ImagingStudy/is-1", "found")
    assert (summary["event"], summary["studies"], summary["left"]) == ("summary", 7, 1)


def test_for_people_there_is_a_table_with_what_helps_and_why_something_was_left_alone(capsys):
    told = said(capsys, as_json=False)
    assert "--repair writes the current state" in told
    assert "AzureWebJobsStorage" in told
    assert "--max-removals allows 3 in all, and the second ImagingStudies that were deleted count too" in told
    assert "Drift left: 1" in told


def test_columns_stay_apart_and_nothing_is_at_work_when_nothing_is_outstanding(capsys):
    shown = Shown(Plan(repair=True, removals=3), Progress(disable=True), as_json=False)
    shown.report(Drift(subject="key", kind=DriftKind.MISSING, resource="ImagingStudy/is-1"), repaired=True)
    shown.summarise(ScanOutcome(studies=1))
    told = capsys.readouterr().out
    assert "1 study compared, none of them outstanding." in told
    assert "repaired missing" in " ".join(told.split())


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("limit", [0, 100])
def test_a_repair_that_the_ceiling_on_removals_keeps_from_deleting_says_so(monkeypatch, as_json, limit):
    """It said that --repair removes what it had just left."""
    world = MemoryWorld(max_removals_per_hour=limit)
    asyncio.run(world.arrive("a.dcm"))
    world.create({**world.imaging_study(), "id": "a-copy"})
    runs_on(monkeypatch, verify_all, services=world.services, listing=None)
    words = ("--repair", "--study", STUDY.study_instance_uid, *(("--json",) if as_json else ()))
    done = RUNNER.invoke(app, ["verify", *words])
    assert done.exit_code == (0 if limit else 1), done.output
    if as_json:
        assert json.loads(done.stdout.splitlines()[-1])["removals_held"] is not bool(limit)
    else:
        assert ("python -m sync removals confirm" in " ".join(done.stdout.split())) is not bool(limit)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"containers": ("dicmo", "dicom")}, ["dicmo"]),
        ({"containers": ("dicom", "dicmo"), "dicom_url": "https://dicom"}, ["dicmo"]),
        ({}, []),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_configured_container_that_does_not_exist_is_named(monkeypatch, settings, told, as_json):
    done = verified_without(monkeypatch, "dicmo", ("--json",) if as_json else (), **settings)
    assert done.exit_code == (1 if told else 0)
    if as_json:
        assert json.loads(done.stdout.splitlines()[-1])["missing_containers"] == told
    else:
        assert [name for name in ("dicmo", "dicom") if f"Container {name} does not exist" in done.stdout] == told
        assert ("DICOM_SYNC_CONTAINERS" in done.stdout) is bool(told)


@pytest.mark.parametrize(
    ("settings", "words", "code"),
    [
        ({}, (), 1),
        ({"dicom_url": "https://dicom"}, (), 0),
        ({"orthanc_url": "https://orthanc"}, (), 0),
        ({"containers": ("dicom",)}, ("--fhir-only",), 0),
    ],
)
def test_the_default_container_is_missed_only_where_it_would_be_listed_and_no_service_is_the_source(
    monkeypatch, settings, words, code
):
    assert verified_without(monkeypatch, "dicom", words, **settings).exit_code == code


def verified_without(monkeypatch, missing, words, **settings):
    """Compare everything while a container does not exist."""
    world = MemoryWorld(**settings)
    inner = world.store.objects.page

    async def page(container, **asked):
        if container == missing:
            raise SourceGone("no such container")
        return await inner(container, **asked)

    monkeypatch.setattr(world.store.objects, "page", page)
    runs_on(monkeypatch, verify_all, services=world.services, listing=world.store.objects)
    return RUNNER.invoke(app, ["verify", *words])
