"""
Checks all settings at once: lists every one that is missing, wrong, contradictory, insecure or unknown.

`sync.config` stops at the first fault, because a process must not start with one. An operator wants to see all of them.
Nothing here repeats a value: settings hold secrets.
"""

from __future__ import annotations

import difflib
import enum
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from sync.config import (
    EVALUATED_EVERY,
    PREFIX,
    STATE,
    MappingSettings,
    Section,
    Settings,
    Uri,
    is_local,
    is_web_root,
    sections,
)
from sync.config.access import NEEDED, OPTIONAL
from sync.errors import ConfigError

_SECRETS = ("accountkey=", "sharedaccesssignature=", "sharedaccesskey=", "sig=")
_SOUND: Mapping[str, Any] = {
    "fhir_url": "https://fhir.invalid",
    "storage": "AccountName=sound;AccountKey=c291bmQ=",
    "storage_account": "sound",
    "max_wait": 3600.0,
    "orthanc_user": "sound",
    "orthanc_password": "sound",
    "webhook_key": "sound",
    "token_url": "https://sound.invalid/token",
    "client_id": "sound",
    "client_secret": "sound",
    "private_key": "/sound",
    "token": "sound",
    "user": "sound",
    "password": "sound",
}
"""Stand in for what is missing or wrong where the default would be neither, so that the rest is judged too."""

_FREE_OF_PATIENT_DATA = frozenset({"OTEL_EXPORTER_OTLP_ENDPOINT"})
"""Addresses that plain http may go to: collectors often stand in the same cluster and take nothing else."""

_SECRET_BY_NATURE = frozenset({f"{PREFIX}ALERT_WEBHOOK"})
"""Addresses that hold a key, because their services accept no other proof."""

USELESS_WITHOUT: Mapping[str, str] = {
    f"{PREFIX}EVENTS_KEY": f"{PREFIX}EVENTS_TOPIC",
    f"{PREFIX}EVENTS_UIDS": f"{PREFIX}EVENTS_TOPIC",
    f"{PREFIX}ORTHANC_USER": f"{PREFIX}ORTHANC_URL",
    f"{PREFIX}ORTHANC_PASSWORD": f"{PREFIX}ORTHANC_URL",
    f"{PREFIX}RECONCILE_REPAIR": f"{PREFIX}RECONCILE_STUDIES_PER_MINUTE",
    f"{PREFIX}ALERT_WEBHOOK_SHAPE": f"{PREFIX}ALERT_WEBHOOK",
    f"{PREFIX}ALERT_WEBHOOK_KEY": f"{PREFIX}ALERT_WEBHOOK",
    f"{PREFIX}DICOM_AUTH": f"{PREFIX}DICOM_URL",
    f"{PREFIX}DICOM_HEADERS": f"{PREFIX}DICOM_URL",
    f"{PREFIX}DICOM_CLIENT_CERTIFICATE": f"{PREFIX}DICOM_URL",
}
"""Settings that do nothing while the other is empty, or 0: setting them alone is a mistake."""

_FEEDS = "AzureWebJobs.read_feeds.Disabled"
FEED_TIMERS: Mapping[str, str] = {
    f"{PREFIX}DICOM_URL": _FEEDS,
    f"{PREFIX}ORTHANC_URL": _FEEDS,
}
"""Setting of a feed -> setting that switches its timer off, as the templates do where there is no feed at all."""

_SWITCH = re.compile(r"(?i)AzureWebJobs(?P<mark>\.|__|_)(?P<function>\w+?)(?P=mark)Disabled")
"""The host reads dots, and single underscores where a name may hold no dots; double underscores it does not read."""

_HOURS = 24

_INSTRUMENTATION_KEY = re.compile(r"(?i)(?:^|;)InstrumentationKey=[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:;|$)")

_OF_INSIGHTS = f"{PREFIX}MINIMUM_CELL"
"""Setting of the commands of `insights`, which import this package and are never imported by it."""

S = TypeVar("S", bound=Section)


class RemarkSeverity(enum.Enum):
    """How bad it is; the first two keep the sync from being right."""

    WRONG = "wrong"
    INSECURE = "insecure"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A remark about one setting: the name of its variable, the fault and the remedy; never its value."""

    setting: str
    severity: RemarkSeverity
    text: str


def remarks(environment: Mapping[str, str] | None = None) -> tuple[Remark, ...]:
    """
    Return the remarks on the settings in the environment.

    Parameters
    ----------
    environment
        Variables by name, to look for unknown names; the process's own by default. Values are always those
        of the process.

    Returns
    -------
    tuple
        The worst first, then by setting. Empty: nothing to say.
    """
    settings, wrong = _judged()
    environment = os.environ if environment is None else environment
    findings = [*wrong, *_unknown(environment), *_asleep(settings, environment)]
    faulty = {remark.setting for remark in wrong}
    findings += [remark for remark in _second_thoughts(settings) if not any(_concerns(remark, name) for name in faulty)]
    order = list(RemarkSeverity)
    return tuple(sorted(set(findings), key=lambda remark: (order.index(remark.severity), remark.setting, remark.text)))


def _concerns(remark: Remark, variable: str) -> bool:
    """Return whether a remark is about a setting, or about another beside it."""
    return re.search(rf"\b{variable}\b", f"{remark.setting} {remark.text}") is not None


def _second_thoughts(settings: Settings) -> Iterator[Remark]:
    """Judge settings that are right each by itself."""
    yield from _open_doors(settings)
    yield from _useless(settings)
    yield from _contradictions(settings)
    yield from _unwise(settings)
    yield from _worth_setting(settings)
    yield from _unheard(settings)


def _judged() -> tuple[Settings, list[Remark]]:
    """Load all settings with wrong values replaced, and return the faults."""
    findings: list[Remark] = []
    replaced: dict[str, Any] = {}
    for name, section in sections().items():
        replaced[name], faults = _load(section, {})
        findings += faults
    settings, faults = _load(Settings, replaced)
    return settings, findings + faults


def _load(section: type[S], replaced: dict[str, Any]) -> tuple[S, list[Remark]]:
    """Try again and again, each time with what was wrong replaced by something sound, until all faults are named."""
    findings: list[Remark] = []
    for _ in section.model_fields:
        try:
            return section(**replaced), findings
        except ValidationError as problem:
            faults = {str(error["loc"][0]): section.expected(error) for error in problem.errors(include_input=False)}
        except ConfigError as problem:
            faults = {problem.setting: problem.expected}
        for place, expected in faults.items():
            field = _field(section, place)
            findings.append(Remark(setting=section.variable(field), severity=RemarkSeverity.WRONG, text=expected))
            replaced = {**replaced, field: _sound(section, field)}
    return cast("S", section.model_construct(**replaced)), findings


def _field(settings: type[Section], place: str) -> str:
    """Return the field that a fault speaks of, by its own name, its alias, or the variable."""
    for name in settings.model_fields:
        if place in (name, settings.variable(name)):
            return name
    return place


def _sound(settings: type[Section], field: str) -> Any:
    if field in _SOUND:
        return _SOUND[field]
    info = settings.model_fields.get(field)
    return info.get_default(call_default_factory=True, validated_data={}) if info is not None else None


def _unknown(environment: Mapping[str, str]) -> Iterator[Remark]:
    variables = {name.upper(): name for name in (*all_variables(), _OF_INSIGHTS)}
    for name in environment:
        if name.upper().startswith(PREFIX) and name.upper() not in variables:
            near = difflib.get_close_matches(name.upper(), variables, n=1)
            hint = f"; {variables[near[0]]} is one" if near else ""
            yield Remark(setting=name, severity=RemarkSeverity.WRONG, text=f"there is no setting of this name{hint}")


def _asleep(settings: Settings, environment: Mapping[str, str]) -> Iterator[Remark]:
    """Name feeds that are set but whose timers are switched off, and switches in a form that the host ignores."""
    values = _values(settings)
    for name, value in environment.items():
        switch = _SWITCH.fullmatch(name)
        if switch is None:
            continue
        if switch["mark"] == "__":
            text = f"the host does not read this form: use AzureWebJobs_{switch['function']}_Disabled"
            yield Remark(setting=name, severity=RemarkSeverity.WRONG, text=text)
            continue
        for variable, known in FEED_TIMERS.items():
            hides = known.split(".")[1] == switch["function"].lower() and value.strip().lower() in {"true", "1"}
            if hides and values[variable][0]:
                text = f"disables the feed of {variable}: set this to false, or remove {variable}"
                yield Remark(setting=name, severity=RemarkSeverity.WRONG, text=text)


def all_variables() -> dict[str, FieldInfo]:
    """Return every field of every section by the name of its variable."""
    variables = {
        name: info for name, info in Settings.variables().items() if info.annotation not in sections().values()
    }
    for section in sections().values():
        variables |= section.variables()
    return variables


def _values(settings: Settings) -> dict[str, tuple[Any, FieldInfo]]:
    """Return the value of every setting, those of sections too, by the name of its variable."""
    values: dict[str, tuple[Any, FieldInfo]] = {}
    for owner in (settings, *(getattr(settings, name) for name in sections())):
        for name, info in type(owner).model_fields.items():
            if name not in sections():
                values[owner.variable(name)] = getattr(owner, name), info
    return values


def _open_doors(settings: Settings) -> Iterator[Remark]:
    """Name plain http to another machine, and keys where an identity would do."""
    for variable, (value, info) in _values(settings).items():
        if not isinstance(value, str) or _names_a_system(info):
            continue
        if variable not in _FREE_OF_PATIENT_DATA and any(_is_open(address) for address in _addresses(value)):
            text = "is plain http: patient data would cross the network in the clear; use https"
            yield Remark(setting=variable, severity=RemarkSeverity.INSECURE, text=text)
        if variable not in _SECRET_BY_NATURE and _holds_secret(value):
            text = "holds a key; use a managed identity and switch shared keys off"
            yield Remark(setting=variable, severity=RemarkSeverity.INSECURE, text=text)
    if settings.events_key and not is_local(settings.events_topic):
        text = "is a key; leave it out, and give the identity the role EventGrid Data Sender"
        yield Remark(setting=Settings.variable("events_key"), severity=RemarkSeverity.INSECURE, text=text)


def _names_a_system(info: FieldInfo) -> bool:
    """Return whether a setting is the URI of a system of identifiers: a name, never an address to request."""
    return any(marker in info.metadata for marker in get_args(Uri)[1:])


def _addresses(value: str) -> Iterator[str]:
    """Give the addresses that a setting holds: itself, or those in a connection string."""
    parts = [part.partition("=") for part in value.split(";")]
    if value.lower().startswith("http"):
        yield value
        return
    endpoints = [address for name, _, address in parts if name.lower().endswith("endpoint")]
    if any((name.lower(), text.lower()) == ("defaultendpointsprotocol", "http") for name, _, text in parts):
        endpoints = endpoints or ["http://the-account-in-azure"]
    yield from endpoints


def _is_open(address: str) -> bool:
    return address.lower().startswith("http://") and not is_local(address)


def _holds_secret(value: str) -> bool:
    lowered = value.lower()
    local = "devstoreaccount1" in lowered or "usedevelopmentstorage" in lowered
    return not local and any(mark in lowered for mark in _SECRETS)


def _useless(settings: Settings) -> Iterator[Remark]:
    values = _values(settings)
    for variable, needed in USELESS_WITHOUT.items():
        value, info = values[variable]
        if value != info.get_default(call_default_factory=True, validated_data={}) and not values[needed][0]:
            text = f"has no effect without {needed}: set that, or remove this"
            yield Remark(setting=variable, severity=RemarkSeverity.WRONG, text=text)


def _contradictions(settings: Settings) -> Iterator[Remark]:
    for access in (settings.fhir_access, settings.dicom_access):
        for name in access.unread():
            modes = [mode for mode in NEEDED if name in (*NEEDED[mode], *OPTIONAL.get(mode, ()))]
            text = f"has no effect unless {access.variable('auth')} is {' or '.join(modes)}: set that, or remove this"
            yield Remark(setting=access.variable(name), severity=RemarkSeverity.WRONG, text=text)
    if settings.storage and settings.state:
        text = f"is set beside {STATE}, which wins: remove one of them"
        yield Remark(setting=f"{STATE}__accountName", severity=RemarkSeverity.WRONG, text=text)
    if settings.operators == "entra" and not settings.signs_in:
        text = "is entra, but App Service authentication is not on, so no one may act: turn it on"
        yield Remark(setting=Settings.variable("operators"), severity=RemarkSeverity.WRONG, text=text)
    if settings.header.first_read_bytes > settings.header.max_bytes:
        text = f"expected at most {PREFIX}HEADER_MAX_BYTES"
        yield Remark(setting=f"{PREFIX}HEADER_FIRST_READ_BYTES", severity=RemarkSeverity.WRONG, text=text)
    if settings.cast_patient_system and settings.patient_policy == "reference-only":
        text = (
            f"has no effect while {PREFIX}PATIENT_POLICY is reference-only, which searches for no Patient: remove one"
        )
        yield Remark(setting=Settings.variable("cast_patient_system"), severity=RemarkSeverity.WRONG, text=text)
    if settings.instances == "series" and settings.blob_names:
        text = f"has no effect while {PREFIX}INSTANCES is series, which lists no instances: remove one of them"
        yield Remark(setting=f"{PREFIX}BLOB_NAMES", severity=RemarkSeverity.WRONG, text=text)
    if settings.alert.webhook_key and settings.alert.webhook and settings.alert.webhook_shape != "pagerduty":
        text = f"has no effect unless {PREFIX}ALERT_WEBHOOK_SHAPE is pagerduty: set that, or remove this"
        yield Remark(setting=f"{PREFIX}ALERT_WEBHOOK_KEY", severity=RemarkSeverity.WRONG, text=text)


def _unwise(settings: Settings) -> Iterator[Remark]:
    """Name limits that would be passed while all is well."""
    if settings.alert.lag_seconds <= settings.max_wait:
        text = f"expected more than {PREFIX}MAX_WAIT, otherwise a study that is still growing raises the alert"
        yield Remark(setting=f"{PREFIX}ALERT_LAG_SECONDS", severity=RemarkSeverity.ADVICE, text=text)
    if settings.alert.stopped_seconds <= EVALUATED_EVERY:
        text = f"expected more than {EVALUATED_EVERY:g}: alerts are evaluated this often, so this one stays active"
        yield Remark(setting=f"{PREFIX}ALERT_STOPPED_SECONDS", severity=RemarkSeverity.ADVICE, text=text)
    if settings.instances == "series" and settings.detail == "full":
        text = f"body has the same effect while {PREFIX}INSTANCES is series: full adds only details of instances"
        yield Remark(setting=f"{PREFIX}DETAIL", severity=RemarkSeverity.ADVICE, text=text)
    if settings.metrics_by_minute_kept_hours > settings.metrics_by_hour_kept_days * _HOURS:
        text = f"expected at most {PREFIX}METRICS_BY_HOUR_KEPT_DAYS (in days): hourly rows outlive rows by the minute"
        yield Remark(
            setting=Settings.variable("metrics_by_minute_kept_hours"), severity=RemarkSeverity.ADVICE, text=text
        )


def _worth_setting(settings: MappingSettings) -> Iterator[Remark]:
    """Name settings whose default no site should keep."""
    if not settings.timezone:
        text = "is not set: times of scanners that state no offset become dates"
        yield Remark(setting=f"{PREFIX}TIMEZONE", severity=RemarkSeverity.ADVICE, text=text)
    if settings.patient_system == MappingSettings.model_fields["patient_system"].default:
        text = "is not set: a Patient that the EHR made is found only if its identifiers carry the same system"
        yield Remark(setting=f"{PREFIX}PATIENT_SYSTEM", severity=RemarkSeverity.ADVICE, text=text)


def _unheard(settings: Settings) -> Iterator[Remark]:
    """Name telemetry targets that cannot be exported to; the sync continues without them and logs nothing else."""
    key = _INSTRUMENTATION_KEY.search(settings.insights_connection)
    if settings.insights_connection and not key:
        text = "nothing is exported there: expected a connection string, InstrumentationKey=…;IngestionEndpoint=…"
        yield Remark(setting=Settings.variable("insights_connection"), severity=RemarkSeverity.ADVICE, text=text)
    if settings.otlp_endpoint and not is_web_root(settings.otlp_endpoint):
        text = "nothing is exported there: expected an http(s) URL such as http://collector:4318"
        yield Remark(setting=Settings.variable("otlp_endpoint"), severity=RemarkSeverity.ADVICE, text=text)
