"""
Settings: environment variables, typed, read once, refused loudly.

`MappingSettings` and `HeaderLimits` are all that ``python -m sync map`` needs; `Settings` adds what the running sync
needs. Values never change after start; white space around them is dropped, and a blank one is one that is not set. What
a setting means is said here, once: docs/settings.md is made of it.
"""

from __future__ import annotations

from sync.config.alerts import AlertSettings
from sync.config.forms import LOCAL_HOSTS, SYSTEM_SCHEMES, Uri, is_web_root
from sync.config.header import HeaderLimits
from sync.config.mapping import MappingSettings
from sync.config.section import PREFIX, Section
from sync.config.settings import STATE, Settings, sections

__all__ = [
    "LOCAL_HOSTS",
    "PREFIX",
    "STATE",
    "SYSTEM_SCHEMES",
    "AlertSettings",
    "HeaderLimits",
    "MappingSettings",
    "Section",
    "Settings",
    "Uri",
    "is_web_root",
    "sections",
]
