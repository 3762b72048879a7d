"""A wrong setting is refused by its own name, and no secret is ever repeated."""

import dataclasses
import os
import traceback

import pytest

from sync.config import AlertSettings, DicomAccess, FhirAccess, HeaderLimits, MappingSettings, Settings
from sync.errors import ConfigError

SECRET = "bm90LXJlYWxseS1hLXNlY3JldA=="
SOUND = {
    "AzureWebJobsStorage": f"AccountName=state;AccountKey={SECRET}",
    "DICOM_SYNC_FHIR_URL": "https://fhir.example/r4/",
}


@pytest.fixture(autouse=True)
def only_sound_settings(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith(("DICOM_SYNC_", "AZUREWEBJOBSSTORAGE")):
            monkeypatch.delenv(name)
    for name, value in SOUND.items():
        monkeypatch.setenv(name, value)


def refusal():
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    return caught.value


def test_the_version_of_a_dicom_services_api_is_dropped(monkeypatch):
    for url in ("https://ws-svc.dicom.azurehealthcareapis.com/v2/", "https://ws-svc.dicom.azurehealthcareapis.com/v1"):
        monkeypatch.setenv("DICOM_SYNC_DICOM_URL", url)
        assert Settings.load().dicom_url == "https://ws-svc.dicom.azurehealthcareapis.com"


def test_sound_settings_are_taken_and_roots_lose_their_last_slash():
    assert Settings.load().fhir_url == "https://fhir.example/r4"
    assert Settings.load().containers == ("dicom",)


WRONG = [
    ("DICOM_SYNC_TIMEZONE", "Mars/Olympus"),
    ("DICOM_SYNC_TIMEZONE", "../etc"),
    ("DICOM_SYNC_DICOMWEB_URL", "pacs.example"),
    ("DICOM_SYNC_DETAIL", "everything"),
    *(("DICOM_SYNC_INSTANCES", wrong) for wrong in ("none", "0", "-1", "5.5", "true", "1e3", "9999999999")),
    ("DICOM_SYNC_BLOB_URL", "images.blob.core.windows.net"),
    ("DICOM_SYNC_BLOB_NAMES", "perhaps"),
    ("DICOM_SYNC_VIEWER_URL", "https://viewer.example/study"),
    ("DICOM_SYNC_VIEWER_URL", "javascript:{study}"),
    ("DICOM_SYNC_OPERATORS", "everybody"),
    ("DICOM_SYNC_CLOUD", "germany"),
    ("DICOM_SYNC_STATE_ACCOUNT", "No-Account"),
    ("DICOM_SYNC_FHIR_CONCURRENCY", "0"),
    ("DICOM_SYNC_STUDY_HISTORY_KEPT_DAYS", "0"),
    ("DICOM_SYNC_DEAD_LETTER_AFTER_SECONDS", "-1"),
    ("DICOM_SYNC_DICOM_URL", "pacs.example"),
    ("DICOM_SYNC_ORTHANC_URL", "http://orthanc:orthanc@localhost:8042"),
    ("DICOM_SYNC_ORTHANC_USER", "a:b"),
    ("DICOM_SYNC_EVENTS_TOPIC", "topic.example"),
    ("DICOM_SYNC_EVENTS_TOPIC", "http://topic.example/api/events"),
    ("DICOM_SYNC_EVENTS_UIDS", "some"),
    ("DICOM_SYNC_UNDELIVERED_EVENTS", "NO CONTAINER"),
    ("DICOM_SYNC_EVENTS_KEY", "no key"),
    ("DICOM_SYNC_ISSUERS", "HOSP=https://hospital.example"),
    ("DICOM_SYNC_ISSUERS", '["HOSP"]'),
    ("DICOM_SYNC_ISSUERS", '{"HOSP": "not a uri"}'),
    ("DICOM_SYNC_ISSUERS", '{"HOSP": 5}'),
    ("DICOM_SYNC_CODING_SCHEMES", "{"),
    ("DICOM_SYNC_PATIENT_SYSTEM", "hospital"),
    ("DICOM_SYNC_ACCESSION_SYSTEM", "hospital"),
    ("DICOM_SYNC_CAST_PATIENT_SYSTEM", "our own numbers"),
    ("DICOM_SYNC_PLACER_SYSTEM", "hospital"),
    ("DICOM_SYNC_FILLER_SYSTEM", "hospital"),
    ("DICOM_SYNC_PATIENT_OTHER_NAMES", "perhaps"),
    ("DICOM_SYNC_PATIENT_SPECIES", "perhaps"),
    ("DICOM_SYNC_PATIENT_RESPONSIBLE_PERSON", "perhaps"),
    ("DICOM_SYNC_ADMISSION_SYSTEM", "admissions"),
    ("DICOM_SYNC_STUDY_ID_SYSTEM", "hospital"),
    ("DICOM_SYNC_FHIR_URL", "fhir.example"),
    ("DICOM_SYNC_FHIR_URL", "ftp://fhir.example"),
    ("DICOM_SYNC_FHIR_URL", "https://user:word@fhir.example"),
    ("DICOM_SYNC_FHIR_URL", "https://fhir.example:port/r4"),
    ("DICOM_SYNC_FHIR_URL", "https://fhir.example/r4?tenant=1"),
    ("DICOM_SYNC_FHIR_URL", "http://[fhir"),
    ("DICOM_SYNC_PATIENT_POLICY", "guess"),
    ("DICOM_SYNC_PLACEHOLDER_PATIENT_IDS", "UNKNOWN," + "X" * 65),
    ("DICOM_SYNC_DICOM_HEADER", "sometimes"),
    ("DICOM_SYNC_CONTAINERS", " , "),
    ("DICOM_SYNC_CONTAINERS", "dicom,Scans"),
    ("DICOM_SYNC_QUIET_PERIOD", "five"),
    ("DICOM_SYNC_QUIET_PERIOD", "-1"),
    ("DICOM_SYNC_QUIET_PERIOD", "nan"),
    ("DICOM_SYNC_SHORTEST_QUIET_PERIOD_SECONDS", "-1"),
    ("DICOM_SYNC_MAX_WAIT", "3601"),
    ("DICOM_SYNC_MAX_WAIT", "4"),
    ("DICOM_SYNC_LONGEST_WAIT_SECONDS", "0"),
    ("DICOM_SYNC_DELIVERY_BUDGET_SECONDS", "541"),
    ("DICOM_SYNC_ALERT_STUCK_DELIVERIES", "-1"),
    ("DICOM_SYNC_FHIR_BUNDLE_ENTRIES", "501"),
    ("DICOM_SYNC_MAX_REMOVALS_PER_HOUR", "-1"),
    ("DICOM_SYNC_MAX_REMOVAL_SHARE_PERCENT", "101"),
    ("DICOM_SYNC_ALERT_HELD_REMOVALS", "-1"),
    ("DICOM_SYNC_RECONCILE_STUDIES_PER_MINUTE", "-1"),
    ("DICOM_SYNC_RECONCILE_REPAIR", "perhaps"),
    ("DICOM_SYNC_TIMELINE", "perhaps"),
    ("DICOM_SYNC_INBOX", "perhaps"),
    ("DICOM_SYNC_METRICS_INTERVAL_SECONDS", "0.1"),
    ("DICOM_SYNC_METRICS_BY_MINUTE_KEPT_HOURS", "1"),
    ("DICOM_SYNC_METRICS_BY_HOUR_KEPT_DAYS", "for ever"),
    ("DICOM_SYNC_SOURCE", "http://account.blob.core.windows.net"),
    ("DICOM_SYNC_SOURCE", "https://account.blob.core.windows.net?sv=1&sig=2"),
    ("AzureWebJobsStorage__accountName", "Not_An_Account"),
    *(
        (f"AzureWebJobsStorage__{service}ServiceUri", f"http://state.{service}.core.windows.net")
        for service in ("blob", "queue", "table")
    ),
    ("AzureWebJobsStorage", "AccountName=state"),
    ("AzureWebJobsStorage", "AccountName=state;AccountKey=no key"),
    ("DICOM_SYNC_ALERT", '{"lag": 3}'),
    ("DICOM_SYNC_ALERT_LAG_SECONDS", "0"),
    ("DICOM_SYNC_ALERT_QUEUE_AGE_SECONDS", "0"),
    ("DICOM_SYNC_ALERT_FHIR_FAILING", "-1"),
    ("DICOM_SYNC_ALERT_FHIR_THROTTLING", "often"),
    ("DICOM_SYNC_ALERT_ACCESS", "-1"),
    ("DICOM_SYNC_ALERT_DEAD_LETTERS", "-1"),
    ("DICOM_SYNC_ALERT_POISON", "-1"),
    ("DICOM_SYNC_ALERT_DEFECT", "-1"),
    ("DICOM_SYNC_ALERT_FEED_LAG_SECONDS", "0"),
    ("DICOM_SYNC_ALERT_MISSING_EVENTS_SECONDS", "0"),
    ("DICOM_SYNC_ALERT_DRIFT", "-1"),
    ("DICOM_SYNC_ALERT_TIMER_FAILING_SECONDS", "0"),
    ("DICOM_SYNC_ALERT_STOPPED_SECONDS", "0"),
    ("DICOM_SYNC_ALERT_CLEAR_AFTER_SECONDS", "3601"),
    ("DICOM_SYNC_ALERT_WEBHOOK", "http://hooks.example/secret"),
    ("DICOM_SYNC_ALERT_WEBHOOK", "https://user:word@hooks.example"),
    ("DICOM_SYNC_ALERT_WEBHOOK_SHAPE", "fax"),
    ("DICOM_SYNC_ALERT_WEBHOOK_KEY", "not a key"),
    ("DICOM_SYNC_ALERT_TIMER_FAILING_SECONDS", "0"),
    ("DICOM_SYNC_FHIR_ACCESS", '{"auth": "none"}'),
    ("DICOM_SYNC_DICOM_ACCESS", '{"auth": "none"}'),
    *(
        (f"DICOM_SYNC_{service}_{name}", value)
        for service in ("FHIR", "DICOM")
        for name, value in (
            ("AUTH", "kerberos"),
            ("AUDIENCE", '"x"'),
            ("TOKEN_URL", "http://login.example/token"),
            ("CLIENT_ID", "two words"),
            ("CLIENT_SECRET", "two words"),
            ("SCOPE", "\u00e4"),
            ("PRIVATE_KEY", "relative.pem"),
            ("KEY_ID", "two words"),
            ("TOKEN", "two words"),
            ("USER", "a:b"),
            ("CLIENT_CERTIFICATE", "relative.pem"),
            ("HEADERS", '{"Authorization": "x"}'),
        )
    ),
    ("DICOM_SYNC_HEADER", '{"max_depth": 3}'),
    ("DICOM_SYNC_HEADER_FIRST_READ_BYTES", "511"),
    ("DICOM_SYNC_HEADER_MAX_BYTES", "32 MiB"),
    ("DICOM_SYNC_HEADER_MAX_INFLATED_BYTES", "0"),
    ("DICOM_SYNC_HEADER_MAX_DEPTH", "0"),
    ("DICOM_SYNC_HEADER_MAX_ELEMENTS", "many"),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name}={value}" for name, value in WRONG])
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    refused = refusal()
    assert refused.setting == name
    assert str(refused).startswith(f"{name}: ")
    assert refused.expected


def test_every_setting_that_can_be_wrong_is_tried():
    access = {*FhirAccess.variables(), *DicomAccess.variables()}
    every = {*Settings.variables(), *HeaderLimits.variables(), *AlertSettings.variables(), *access}
    assert every - {name for name, _ in WRONG} == {
        "DICOM_SYNC_ORTHANC_PASSWORD",  # any text may be one
        "DICOM_SYNC_FHIR_PASSWORD",
        "DICOM_SYNC_DICOM_PASSWORD",
        "APPLICATIONINSIGHTS_CONNECTION_STRING",  # platforms set these two: the sync goes on without an exporter
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "WEBSITE_AUTH_ENABLED",  # App Service sets it: whatever it holds, the sync goes on
    }


@pytest.mark.parametrize(("given", "missing"), [("USER", "PASSWORD"), ("PASSWORD", "USER")])
def test_of_a_user_and_a_password_the_one_that_is_missing_is_named(monkeypatch, given, missing):
    monkeypatch.setenv(f"DICOM_SYNC_ORTHANC_{given}", "orthanc")
    assert refusal().setting == f"DICOM_SYNC_ORTHANC_{missing}"


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_is_required_is_named_when_it_is_missing_or_blank(monkeypatch, name, value):
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    refused = refusal()
    assert refused.setting == name
    assert "is missing" in refused.expected


def test_an_empty_fhir_service_is_refused_however_it_is_given():
    with pytest.raises(ConfigError) as caught:
        Settings.load(fhir_url="")
    assert caught.value.setting == "DICOM_SYNC_FHIR_URL"


def test_an_account_name_does_instead_of_a_connection_string(monkeypatch):
    monkeypatch.setenv("AzureWebJobsStorage", " ")
    monkeypatch.setenv("AzureWebJobsStorage__accountName", "state")
    settings = Settings.load()
    assert (settings.storage, settings.storage_account) == ("", "state")


def test_blank_values_are_as_if_unset(monkeypatch):
    unset = Settings.load()
    for name in ({*Settings.variables(), *HeaderLimits.variables(), *AlertSettings.variables()}) - SOUND.keys():
        monkeypatch.setenv(name, " ")
    assert Settings.load() == unset


def test_white_space_around_values_is_dropped(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_TIMEZONE", " Europe/Berlin\n")
    monkeypatch.setenv("DICOM_SYNC_CONTAINERS", " scans , dicom ")
    settings = Settings.load()
    assert (settings.timezone, settings.containers) == ("Europe/Berlin", ("scans", "dicom"))


def test_json_settings_become_mappings(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_ISSUERS", '{"HOSP": "https://hospital.example/ids"}')
    assert MappingSettings.load().issuers == {"HOSP": "https://hospital.example/ids"}


def test_the_limits_of_headers_are_read(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_HEADER_MAX_DEPTH", "3")
    assert Settings.load().header.max_depth == 3


def test_an_unknown_policy_is_told_which_there_are(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_PATIENT_POLICY", "guess")
    assert "link-or-create" in refusal().expected


def test_waits_that_do_not_fit_together_name_each_other(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_QUIET_PERIOD", "60")
    refused = refusal()
    assert refused.setting == "DICOM_SYNC_MAX_WAIT"
    assert "DICOM_SYNC_QUIET_PERIOD" in refused.expected


def test_connection_strings_are_never_shown(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_SOURCE", SOUND["AzureWebJobsStorage"])
    settings = Settings.load()
    assert SECRET not in repr(settings) + str(settings)


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[name for name, _ in WRONG])
def test_no_refusal_repeats_a_value_or_a_secret(monkeypatch, name, value):
    monkeypatch.setenv("DICOM_SYNC_SOURCE", SOUND["AzureWebJobsStorage"])
    monkeypatch.setenv(name, f"{value}#{SECRET}")
    assert SECRET not in "".join(traceback.format_exception(refusal()))


def test_settings_cannot_be_changed():
    with pytest.raises((ValueError, dataclasses.FrozenInstanceError)):
        Settings.load().quiet_period = 1


def test_pagerduty_needs_its_key(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_ALERT_WEBHOOK", "https://events.pagerduty.com/v2/enqueue")
    monkeypatch.setenv("DICOM_SYNC_ALERT_WEBHOOK_SHAPE", "pagerduty")
    assert refusal().setting == "DICOM_SYNC_ALERT_WEBHOOK_KEY"
    monkeypatch.setenv("DICOM_SYNC_ALERT_WEBHOOK_KEY", "k")
    assert Settings.load().alert.webhook_key == "k"
