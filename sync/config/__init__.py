"""
Settings: environment variables, typed, read once, refused loudly.

`MappingSettings` and `HeaderLimits` are all that ``python -m sync map`` needs; `Settings` adds what the running sync
needs. Values never change after start; white space around them is dropped, and a blank one is one that is not set. What
a setting means is said here, once: docs/settings.md is made of it.
"""

from __future__ import annotations

from sync.config.access import AccessSettings, DicomAccess, FhirAccess
from sync.config.addresses import address_of
from sync.config.alerts import EVALUATED_EVERY, AlertSettings
from sync.config.clouds import CLOUDS, HEALTH_HOSTS, Cloud
from sync.config.forms import SYSTEM_SCHEMES, Uri, is_local, is_web_root
from sync.config.header import HeaderLimits
from sync.config.mapping import Detail, MappingSettings, includes
from sync.config.section import PREFIX, Section
from sync.config.settings import STATE, Settings, sections, state_settings

__all__ = [
    "CLOUDS",
    "EVALUATED_EVERY",
    "HEALTH_HOSTS",
    "PREFIX",
    "STATE",
    "SYSTEM_SCHEMES",
    "AccessSettings",
    "AlertSettings",
    "Cloud",
    "Detail",
    "DicomAccess",
    "FhirAccess",
    "HeaderLimits",
    "MappingSettings",
    "Section",
    "Settings",
    "Uri",
    "address_of",
    "includes",
    "is_local",
    "is_web_root",
    "sections",
    "state_settings",
]
