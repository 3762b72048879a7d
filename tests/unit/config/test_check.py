"""Every setting that is wrong is named, all of them at once, and no value is ever repeated."""

import os

import pytest
from typer.testing import CliRunner

from sync.cli import app
from sync.config.check import FEED_TIMERS, RemarkSeverity, remarks

SECRET = "bm90LXJlYWxseS1hLXNlY3JldA=="
SOUND = {
    "AzureWebJobsStorage__accountName": "state",
    "DICOM_SYNC_FHIR_URL": "https://fhir.example/r4",
    "DICOM_SYNC_TIMEZONE": "Europe/Berlin",
    "DICOM_SYNC_PATIENT_SYSTEM": "https://hospital.example/patients",
}


@pytest.fixture(autouse=True)
def only_sound_settings(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith(("DICOM_SYNC_", "AZUREWEBJOBSSTORAGE", "WEBSITE_")):
            monkeypatch.delenv(name)
    for name, value in SOUND.items():
        monkeypatch.setenv(name, value)


def named(severity=None):
    return {remark.setting for remark in remarks() if severity in (None, remark.severity)}


def test_of_sound_settings_there_is_nothing_to_say():
    assert remarks() == ()


def test_all_that_is_wrong_is_named_at_once(monkeypatch):
    wrong = {
        "DICOM_SYNC_FHIR_URL": "fhir",
        "DICOM_SYNC_TIMEZONE": "Mars/Olympus",
        "DICOM_SYNC_ISSUERS": "[]",
        "DICOM_SYNC_HEADER_MAX_DEPTH": "0",
        "DICOM_SYNC_HEADER_MAX_BYTES": "much",
        "DICOM_SYNC_QUIET_PERIOD": "-1",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    assert named(RemarkSeverity.WRONG) == set(wrong)


def test_what_is_missing_is_named_and_the_rest_is_judged_all_the_same(monkeypatch):
    monkeypatch.delenv("DICOM_SYNC_FHIR_URL")
    monkeypatch.delenv("AzureWebJobsStorage__accountName")
    monkeypatch.setenv("DICOM_SYNC_CONTAINERS", "NOT A CONTAINER")
    assert named(RemarkSeverity.WRONG) == {"DICOM_SYNC_FHIR_URL", "AzureWebJobsStorage", "DICOM_SYNC_CONTAINERS"}


def test_addresses_of_telemetry_that_are_some_need_no_remark(monkeypatch):
    key = "00000000-0000-0000-0000-000000000001"
    azure = f"InstrumentationKey={key};IngestionEndpoint=https://westeurope-1.in.applicationinsights.azure.com/"
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", azure)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.monitoring:4318")
    assert remarks() == ()


def test_settings_that_contradict_each_other_are_named(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_QUIET_PERIOD", "100")
    monkeypatch.setenv("AzureWebJobsStorage", "UseDevelopmentStorage=true")
    assert named(RemarkSeverity.WRONG) == {"DICOM_SYNC_MAX_WAIT", "AzureWebJobsStorage__accountName"}


def test_a_misspelt_name_is_named_with_the_one_that_was_meant(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_TIMEZON", "Europe/Berlin")
    (remark,) = remarks()
    assert remark.setting == "DICOM_SYNC_TIMEZON"
    assert "DICOM_SYNC_TIMEZONE" in remark.text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DICOM_SYNC_FHIR_URL", "http://fhir.example/r4"),
        ("DICOM_SYNC_DICOMWEB_URL", "http://pacs.example/wado"),
        ("DICOM_SYNC_SOURCE", f"AccountName=images;AccountKey={SECRET}"),
        ("DICOM_SYNC_SOURCE", f"BlobEndpoint=https://images.example;SharedAccessSignature=sig={SECRET}"),
    ],
)
def test_keys_and_plain_http_are_insecure(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    assert named(RemarkSeverity.INSECURE) == {variable}


@pytest.mark.parametrize("value", ["http://localhost:8080/fhir", "http://127.0.0.1/fhir", "http://[::1]:80/fhir"])
def test_plain_http_on_this_machine_is_fine(monkeypatch, value):
    monkeypatch.setenv("DICOM_SYNC_FHIR_URL", value)
    assert remarks() == ()


def test_defaults_that_suit_no_site_are_advised_against(monkeypatch):
    monkeypatch.delenv("DICOM_SYNC_TIMEZONE")
    monkeypatch.setenv("DICOM_SYNC_PATIENT_SYSTEM", " ")
    assert named(RemarkSeverity.ADVICE) == {"DICOM_SYNC_TIMEZONE", "DICOM_SYNC_PATIENT_SYSTEM"}
    assert CliRunner().invoke(app, ["config", "check"]).exit_code == 0


def test_the_command_names_what_is_wrong_and_repeats_no_value(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_SOURCE", f"AccountName=images;AccountKey={SECRET}")
    monkeypatch.setenv("DICOM_SYNC_TIMEZONE", SECRET)
    for arguments in (["config", "check"], ["config", "check", "--json"], ["config", "check", "--connect"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1
        assert "DICOM_SYNC_TIMEZONE" in result.output
        assert "DICOM_SYNC_SOURCE" in result.output
        assert SECRET not in result.output


@pytest.mark.parametrize("switch", ["AzureWebJobs.read_feeds.Disabled", "AzureWebJobs_read_feeds_Disabled"])
def test_a_feed_whose_timer_is_switched_off_is_named_by_its_switch(monkeypatch, switch):
    monkeypatch.setenv(switch, "True")
    assert remarks() == ()
    for name, value in (("URL", "https://orthanc.example"), ("USER", "sync"), ("PASSWORD", "p")):
        monkeypatch.setenv(f"DICOM_SYNC_ORTHANC_{name}", value)
    assert named(RemarkSeverity.WRONG) == {switch}
    monkeypatch.setenv(switch, "false")
    assert named(RemarkSeverity.WRONG) == set()


def test_both_forms_of_a_switch_are_known_and_each_is_named(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_DICOM_URL", "https://dicom.example")
    switch = FEED_TIMERS["DICOM_SYNC_DICOM_URL"]
    for form in (switch, switch.replace(".", "_")):
        monkeypatch.setenv(form, "1")
    assert named(RemarkSeverity.WRONG) == {"AzureWebJobs.read_feeds.Disabled", "AzureWebJobs_read_feeds_Disabled"}


def test_one_switch_hides_both_feeds_and_each_is_named(monkeypatch):
    monkeypatch.setenv("AzureWebJobs_read_feeds_Disabled", "true")
    for name, value in (("URL", "https://orthanc.example"), ("USER", "sync"), ("PASSWORD", "p")):
        monkeypatch.setenv(f"DICOM_SYNC_ORTHANC_{name}", value)
    monkeypatch.setenv("DICOM_SYNC_DICOM_URL", "https://dicom.example")
    hidden = [remark.text for remark in remarks() if remark.severity is RemarkSeverity.WRONG]
    assert len(hidden) == 2
    assert {name for name in FEED_TIMERS for text in hidden if name in text} == set(FEED_TIMERS)


@pytest.mark.parametrize("function", ["read_feeds", "tick"])
@pytest.mark.parametrize("value", ["true", "false"])
def test_a_switch_in_a_form_that_the_host_does_not_read_is_named(monkeypatch, function, value):
    monkeypatch.setenv(f"AzureWebJobs__{function}__Disabled", value)
    assert named(RemarkSeverity.WRONG) == {f"AzureWebJobs__{function}__Disabled"}


def test_switches_of_other_functions_are_left_alone(monkeypatch):
    monkeypatch.setenv("AzureWebJobs_tick_Disabled", "true")
    monkeypatch.setenv("AzureWebJobs.evaluate_alerts.Disabled", "true")
    assert remarks() == ()
