"""
Whatever is wrong with the settings, `config check` names the setting, says what to do, tells no secret and never fails.

Settings come from the table of the code, and how one may be broken from its type and form; so a new setting is tried
without a word here, and a new form has to say how it is broken.
"""

import contextlib
import os
import re
import typing

import pytest
from annotated_types import Ge, Gt, Le
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BeforeValidator
from typer.testing import CliRunner

from insights.settings import InsightsSettings
from sync.cli import app
from sync.config import Settings
from sync.config.check import USELESS_WITHOUT, RemarkSeverity, all_variables, remarks
from sync.errors import ConfigError
from tests.property import examples

VARIABLES = all_variables()
SOUND = {
    "AzureWebJobsStorage__accountName": "state",
    "DICOM_SYNC_FHIR_URL": "https://fhir.example/r4",
    "DICOM_SYNC_TIMEZONE": "Europe/Berlin",
    "DICOM_SYNC_PATIENT_SYSTEM": "https://hospital.example/patients",
    "DICOM_SYNC_ORTHANC_URL": "https://orthanc.example",
    "DICOM_SYNC_ORTHANC_USER": "orthanc",
    "DICOM_SYNC_ORTHANC_PASSWORD": "orthanc",
    "DICOM_SYNC_EVENTS_TOPIC": "https://topic.example/api/events",
    "DICOM_SYNC_ALERT_WEBHOOK": "https://hooks.example/?sig=anything",
    "DICOM_SYNC_ALERT_WEBHOOK_SHAPE": "pagerduty",
    "DICOM_SYNC_ALERT_WEBHOOK_KEY": "0123456789abcdef",
}
SECRET = "c2VjcmV0LW9mLXRoZS1ob3NwaXRhbA=="
MARK = re.escape(SECRET[:12])

ADVISES = re.compile(
    r"expected|should|is missing|use |remove|turn |is not set|leave it out|there is no setting|contain|finite"
)
"""Something that one can do, in each remark."""

printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
words = st.sampled_from(["much", "-", "1e", "0x10", "1,5", "five s", SECRET])
not_a_host = st.sampled_from(
    ["https://", "https:///r4", "https://[::1", "https://host:port", "https://host:0", "//host"]
)
with_keys = st.sampled_from(
    ["https://user:{}@host.example", "https://host.example/?sig={}", "https://host.example/#{}"]
)
no_url = st.one_of(
    not_a_host,
    with_keys.map(lambda form: form.format(SECRET)),
    printable.map(lambda text: f"ftp://{SECRET}{text}"),
    st.just(f"{SECRET} in clear"),
)
plain_http = st.sampled_from(
    ["http://fhir.example/r4", "HTTP://10.0.0.7:8080", "http://localhost.example", "http://[fe80::1]"]
)
no_uri = st.sampled_from(["hospital", "ftp://hospital", f"urn:{SECRET} ", "https://ä.example"]).map(
    lambda text: f"{text} x"
)
no_connection = st.sampled_from(
    [SECRET, f"AccountKey={SECRET}", "AccountName=state", "AccountName=a;AccountKey=no key", ";;;", "BlobEndpoint=x;y"]
)
no_json = st.sampled_from(
    ["[]", "{", '"A"', "null", "{'A': 'urn:a'}", f'{{"A": "{SECRET}"}}', '{"A": 5}', '{"A": null}']
)

BROKEN = {
    "_web_root": no_url | plain_http,
    "_given": st.just(" "),
    "_without_version": st.nothing(),
    "_viewer": st.sampled_from(
        ["https://viewer.example/v", "javascript:{study}", "{study}", "https://u@x/{study}", SECRET]
    ),
    "_topic": no_url | plain_http,
    "_webhook": st.sampled_from(["https://", f"https://user:{SECRET}@x", f"{SECRET} x", "https://h:p/"]) | plain_http,
    "_absolute_uri": no_uri,
    "_json_object": no_json,
    "_time_zone": st.sampled_from(["Mars/Olympus", "../etc", "UTC+1", "\u0130", SECRET]),
    "_account": st.sampled_from(["Account", "ab", "a" * 25, "a-b", f"x;AccountKey={SECRET}"]),
    "_source": no_connection | st.sampled_from([f"https://a.example?sig={SECRET}", "http://a.example"]),
    "_connection_string": no_connection,
    "_containers": st.sampled_from([",", "Dicom", "a,b", "dicom;more", "dicom,--", SECRET]),
    "_comma_list": st.nothing(),
    "_container": st.sampled_from(["Dicom", "ab", "a" * 64, "a--b", SECRET]),
    "_no_blanks": st.just("our own numbers"),
    "_user": st.just(f"user:{SECRET}"),
    "_service_uri": no_url | plain_http,
    "_secure_url": no_url | plain_http,
    "_one_line": st.sampled_from([f"{SECRET} {SECRET}", f"{SECRET}\u00e4", "two words"]),
    "_scope": st.sampled_from([f'"{SECRET}"', f"{SECRET}\u00e4"]),
    "_pem_or_file": st.sampled_from([SECRET, f"relative/{SECRET}", "key.pem"]),
    "_header_object": st.sampled_from(
        ["[]", SECRET, '{"Authorization": "x"}', '{"a b": "x"}', '{"x": "\u00e4"}', '{"x": 1}']
    ),
    "_plain_key": st.sampled_from([f"{SECRET} ", "a b", "ä", "k" * 101]).map(lambda text: f"{text} x"),
    "_patient_ids": st.just("UNKNOWN," + "X" * 65),
    "_access_key": st.sampled_from(["no key", "abc", f"{SECRET}="]),
    "_instance_list": st.sampled_from(["0", "-1", "1.5", "some", "all,series", "1" * 10, "\u0661", SECRET]),
}
"""How a text of each form is broken."""

ANY_TEXT = {
    "DICOM_SYNC_DICOM_PASSWORD",
    "DICOM_SYNC_FHIR_PASSWORD",
    "DICOM_SYNC_ORTHANC_PASSWORD",
    "WEBSITE_AUTH_ENABLED",
}
"""Settings that nothing can be wrong with by themselves: a password, and what App Service says."""

ELSEWHERE = {
    "APPLICATIONINSIGHTS_CONNECTION_STRING": st.sampled_from(
        ["InstrumentationKey=", SECRET, "http://[", f"x={SECRET}"]
    ),
    "OTEL_EXPORTER_OTLP_ENDPOINT": no_url,
}
"""Settings of no form, which the check alone judges."""


def broken(variable):
    """Values that are wrong for a setting, by its type and form."""
    info = VARIABLES[variable]
    if variable in ELSEWHERE:
        return ELSEWHERE[variable]
    if info.annotation is bool:
        return words | st.just("2")
    if typing.get_origin(info.annotation) is typing.Literal:
        return words | printable.filter(
            lambda text: text.strip() and text.strip() not in typing.get_args(info.annotation)
        )
    if info.annotation in (int, float):
        return words | st.just("nan") | beyond(info)
    validators = [validator for validator in info.metadata if isinstance(validator, AfterValidator | BeforeValidator)]
    assert validators, f"say in ELSEWHERE or ANY_TEXT what may be wrong with {variable}"
    return st.one_of([BROKEN[validator.func.__name__] for validator in validators])


def beyond(info):
    """Numbers outside of the bounds."""
    values = []
    for bound in info.metadata:
        if isinstance(bound, Ge):
            values += [bound.ge - 1]
        if isinstance(bound, Gt):
            values += [bound.gt, bound.gt - 0.5]
        if isinstance(bound, Le):
            values += [bound.le + 1, 10**30]
    return st.sampled_from([str(value) for value in values])


@pytest.fixture(autouse=True, scope="module")
def nothing_of_ours():
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper() in {setting.upper() for setting in VARIABLES} or name.upper().startswith("DICOM_SYNC_"):
                patch.delenv(name)
        yield


@contextlib.contextmanager
def environment(changed):
    """Have sound settings with something changed; None takes one away."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**SOUND, **changed}.items():
            if value is not None:
                patch.setenv(name, value)
        yield


def names(remark, variable):
    return re.search(rf"\b{variable}\b", f"{remark.setting} {remark.text}") is not None


def test_of_the_sound_settings_there_is_nothing_to_say():
    with environment({}):
        assert remarks() == ()


def test_every_form_says_how_it_is_broken():
    used = {
        validator.func.__name__
        for info in VARIABLES.values()
        for validator in info.metadata
        if hasattr(validator, "func")
    }
    assert BROKEN.keys() == used


@pytest.mark.parametrize("variable", sorted(VARIABLES.keys() - ANY_TEXT))
def test_one_that_is_broken_is_named_with_what_to_do_and_no_other_is_blamed(variable):
    tried = []

    @given(broken(variable))
    @settings(max_examples=examples(12), deadline=None)
    def holds(value):
        tried.append(value)
        with environment({variable: value}):
            told = remarks()
        assert [remark.text for remark in told if not names(remark, variable)] == [], "another setting is blamed"
        assert told
        assert [remark.text for remark in told if not ADVISES.search(remark.text)] == []
        assert not any(re.search(MARK, remark.text) for remark in told)

    holds()
    with environment({variable: tried[-1]}):
        advice = all(remark.severity is RemarkSeverity.ADVICE for remark in remarks())
        told = CliRunner().invoke(app, ["config", "check"])
    assert (told.exit_code, variable in told.output) == (0 if advice else 1, True)
    assert re.search(MARK, told.output) is None


@given(st.data())
@settings(max_examples=examples(150), deadline=None)
def test_several_that_are_broken_are_all_named_at_once(data):
    variables = data.draw(
        st.lists(st.sampled_from(sorted(VARIABLES.keys() - ANY_TEXT)), min_size=2, max_size=5, unique=True)
    )
    with environment({variable: data.draw(broken(variable)) for variable in variables}):
        told = remarks()
    assert [setting for setting in variables if not any(names(remark, setting) for remark in told)] == []


@given(
    st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.one_of(printable, words, no_url, st.just("")), max_size=12)
)
@settings(max_examples=examples(150), deadline=None)
def test_whatever_is_set_the_check_never_fails_and_agrees_with_the_start(changed):
    with environment(changed):
        told = remarks()
        assert not any(re.search(MARK, f"{remark.setting} {remark.text}") for remark in told)
        refused = refusal()
    wrong = [remark for remark in told if remark.severity is RemarkSeverity.WRONG]
    assert refused is None or any(names(remark, refused.setting) for remark in wrong)


def refusal():
    """Why the sync would not start, if it would not."""
    try:
        Settings.load()
    except ConfigError as refused:
        return refused
    return None


@pytest.mark.parametrize("name", ["DICOM_SYNC_FHIR_URL", "AzureWebJobsStorage__accountName", "DICOM_SYNC_ORTHANC_USER"])
@pytest.mark.parametrize("value", [None, "", " \t"])
def test_what_is_needed_and_missing_is_named(name, value):
    with environment({name: value}):
        (remark,) = remarks()
    assert names(remark, name.partition("__")[0])
    assert "is missing" in remark.text


@pytest.mark.parametrize(("variable", "other"), USELESS_WITHOUT.items())
def test_one_that_does_nothing_without_another_is_named_with_it(variable, other):
    useful = {
        "DICOM_SYNC_EVENTS_UIDS": "true",
        "DICOM_SYNC_RECONCILE_REPAIR": "true",
        "DICOM_SYNC_EVENTS_KEY": "a2V5",
        "DICOM_SYNC_DICOM_AUTH": "none",
        "DICOM_SYNC_DICOM_HEADERS": '{"X-Key": "k"}',
        "DICOM_SYNC_DICOM_CLIENT_CERTIFICATE": "/client.pem",
    }
    beside = (
        {"DICOM_SYNC_ORTHANC_USER": "orthanc", "DICOM_SYNC_ORTHANC_PASSWORD": "orthanc"} if "ORTHANC" in other else {}
    )
    without = {other: "0" if VARIABLES[other].annotation is int else None}
    given = {variable: useful.get(variable, SOUND.get(variable))}
    with environment({**beside, **given, **without}):
        wrong = [remark for remark in remarks() if remark.severity is RemarkSeverity.WRONG]
    assert any(remark.setting == variable and names(remark, other) for remark in wrong)


CONTRADICTIONS = [
    ({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}, "AzureWebJobsStorage__accountName", "AzureWebJobsStorage"),
    ({"DICOM_SYNC_QUIET_PERIOD": "100"}, "DICOM_SYNC_MAX_WAIT", "DICOM_SYNC_QUIET_PERIOD"),
    ({"DICOM_SYNC_MAX_WAIT": "300"}, "DICOM_SYNC_ALERT_LAG_SECONDS", "DICOM_SYNC_MAX_WAIT"),
    (
        {"DICOM_SYNC_ALERT_STOPPED_SECONDS": "30"},
        "DICOM_SYNC_ALERT_STOPPED_SECONDS",
        "DICOM_SYNC_ALERT_STOPPED_SECONDS",
    ),
    (
        {"DICOM_SYNC_HEADER_FIRST_READ_BYTES": "2000", "DICOM_SYNC_HEADER_MAX_BYTES": "1999"},
        "DICOM_SYNC_HEADER_FIRST_READ_BYTES",
        "DICOM_SYNC_HEADER_MAX_BYTES",
    ),
    (
        {"DICOM_SYNC_METRICS_BY_MINUTE_KEPT_HOURS": "48", "DICOM_SYNC_METRICS_BY_HOUR_KEPT_DAYS": "1"},
        "DICOM_SYNC_METRICS_BY_MINUTE_KEPT_HOURS",
        "DICOM_SYNC_METRICS_BY_HOUR_KEPT_DAYS",
    ),
    (
        {"DICOM_SYNC_CAST_PATIENT_SYSTEM": "none", "DICOM_SYNC_PATIENT_POLICY": "reference-only"},
        "DICOM_SYNC_CAST_PATIENT_SYSTEM",
        "DICOM_SYNC_PATIENT_POLICY",
    ),
    (
        {"DICOM_SYNC_INSTANCES": "series", "DICOM_SYNC_BLOB_NAMES": "true"},
        "DICOM_SYNC_BLOB_NAMES",
        "DICOM_SYNC_INSTANCES",
    ),
    ({"DICOM_SYNC_INSTANCES": "series", "DICOM_SYNC_DETAIL": "full"}, "DICOM_SYNC_DETAIL", "DICOM_SYNC_INSTANCES"),
    ({"DICOM_SYNC_ALERT_WEBHOOK_SHAPE": "slack"}, "DICOM_SYNC_ALERT_WEBHOOK_KEY", "DICOM_SYNC_ALERT_WEBHOOK_SHAPE"),
    ({"DICOM_SYNC_ALERT_WEBHOOK_KEY": None}, "DICOM_SYNC_ALERT_WEBHOOK_KEY", "DICOM_SYNC_ALERT_WEBHOOK_KEY"),
    (
        {"DICOM_SYNC_OPERATORS": "entra", "WEBSITE_AUTH_ENABLED": "False"},
        "DICOM_SYNC_OPERATORS",
        "DICOM_SYNC_OPERATORS",
    ),
    ({"DICOM_SYNC_OPERATORS": "entra"}, "DICOM_SYNC_OPERATORS", "DICOM_SYNC_OPERATORS"),
]


@pytest.mark.parametrize(
    ("changed", "setting", "other"), CONTRADICTIONS, ids=[contradiction[1] for contradiction in CONTRADICTIONS]
)
def test_two_that_contradict_each_other_are_named_together(changed, setting, other):
    with environment(changed):
        (remark,) = remarks()
    assert remark.setting == setting
    assert names(remark, other)


INSECURE = [
    ("AzureWebJobsStorage", f"AccountName=state;AccountKey={SECRET}"),
    ("AzureWebJobsStorage", f"DefaultEndpointsProtocol=http;AccountName=state;AccountKey={SECRET}"),
    ("DICOM_SYNC_SOURCE", f"AccountName=images;AccountKey={SECRET}"),
    ("DICOM_SYNC_SOURCE", f"BlobEndpoint=http://images.example;SharedAccessSignature=sig={SECRET}"),
    ("DICOM_SYNC_EVENTS_KEY", SECRET),
    ("DICOM_SYNC_FHIR_URL", "http://fhir.example"),
    ("DICOM_SYNC_DICOM_URL", "http://dicom.example/v2"),
    ("DICOM_SYNC_ORTHANC_URL", "http://orthanc:8042"),
    ("DICOM_SYNC_DICOMWEB_URL", "http://pacs.example/wado"),
]


@pytest.mark.parametrize(("variable", "value"), INSECURE)
def test_keys_and_plain_http_to_other_machines_are_insecure(variable, value):
    alone = {"AzureWebJobsStorage__accountName": None} if variable == "AzureWebJobsStorage" else {}
    with environment({**alone, variable: value}):
        told = remarks()
    assert {(remark.setting, remark.severity) for remark in told} == {(variable, RemarkSeverity.INSECURE)}
    assert ("http:" in value or "Protocol=http;" in value) == any("plain http" in remark.text for remark in told)


def test_the_emulator_on_this_machine_is_no_open_door():
    ends = ";".join(f"{service}Endpoint=http://127.0.0.1:1/devstoreaccount1" for service in ("Blob", "Queue", "Table"))
    emulator = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={SECRET};{ends}"
    with environment({"AzureWebJobsStorage__accountName": None, "AzureWebJobsStorage": emulator}):
        assert remarks() == ()


@pytest.mark.parametrize("system", ["http://hospital.example/ids", "https://hospital.example/ids", "urn:oid:1.2.3"])
def test_the_uri_of_a_system_of_identifiers_is_no_address_that_is_called(system):
    with environment({"DICOM_SYNC_PATIENT_SYSTEM": system, "DICOM_SYNC_ISSUERS": f'{{"A": "{system}"}}'}):
        assert remarks() == ()


@given(st.text(min_size=1, max_size=20))
@settings(max_examples=examples(60), deadline=None)
def test_an_unknown_name_is_named_and_no_character_of_it_does_harm(name):
    assume("DICOM_SYNC_" + name.upper() not in {setting.upper() for setting in VARIABLES})
    with environment({}):
        (remark,) = remarks({"DICOM_SYNC_" + name: SECRET})
    assert "there is no setting" in remark.text


@pytest.mark.parametrize("variable", sorted(InsightsSettings.variables().keys() - VARIABLES.keys()))
def test_a_setting_of_insights_is_known_and_is_named_where_it_is_misspelt(variable):
    with environment({variable: "20"}):
        assert remarks() == ()
    with environment({f"{variable}S": "20"}):
        (remark,) = remarks()
    assert names(remark, variable)


def test_a_hostile_name_is_shown_without_its_characters(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_\x1b[31m\udcff\n", "x")
    with environment({}):
        told = CliRunner().invoke(app, ["config", "check"])
    assert told.exit_code == 1
    assert r"DICOM_SYNC_\x1b[31m\udcff\n" in told.output
