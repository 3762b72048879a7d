"""
The parts of host.json that this host obeys: the queues' section, the route prefix and the longest run.

Names, defaults and bounds: Azure Functions, "host.json reference" and "Azure Queue storage trigger".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LARGEST_BATCH = 32
_SPAN = re.compile(r"(?:(?P<days>\d+)\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{1,2}):(?P<seconds>\d{1,2}(?:\.\d+)?)")


class HostSettingsError(Exception):
    """host.json says something that the real host would refuse; names the entry."""


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """How queues are listened to; times in seconds."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: float = 0.0
    max_polling_interval: float = 60.0
    base64: bool = True


@dataclass(frozen=True, kw_only=True)
class HostSettings:
    """host.json, read."""

    queues: QueueSettings
    route_prefix: str = "api"
    function_timeout: float = 1800.0
    """Seconds after which a run that has not ended costs the whole worker."""


def read_host_settings(app_directory: Path) -> HostSettings:
    """
    Read the host.json of an app.

    Raises
    ------
    HostSettingsError
        It is missing, not JSON, not of version 2.0, or an entry is out of bounds.
    """
    try:
        document = json.loads((app_directory / "host.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise HostSettingsError(f"host.json: {problem}") from None
    if not isinstance(document, dict) or document.get("version") != "2.0":
        raise HostSettingsError('host.json: expected {"version": "2.0", …}')
    extensions = document.get("extensions", {})
    prefix = str(extensions.get("http", {}).get("routePrefix", "api")).strip("/")
    limit = _span(document, "functionTimeout", "00:30:00", where="")
    return HostSettings(queues=_queues(extensions.get("queues", {})), route_prefix=prefix, function_timeout=limit)


def seconds(span: str) -> float:
    """
    Read a .NET time span, ``hh:mm:ss`` or ``d.hh:mm:ss``.

    Raises
    ------
    ValueError
        It is none.
    """
    match = _SPAN.fullmatch(span)
    if not match:
        raise ValueError(f"expected hh:mm:ss, got {span!r}")
    days, hours, minutes = (int(match[part] or 0) for part in ("days", "hours", "minutes"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + float(match["seconds"])


def _queues(section: Mapping[str, Any]) -> QueueSettings:
    batch_size = _whole(section, "batchSize", 16, 1, _LARGEST_BATCH)
    encoding = str(section.get("messageEncoding", "base64")).lower()
    if encoding not in ("base64", "none"):
        raise HostSettingsError("host.json: extensions.queues.messageEncoding: expected base64 or none")
    return QueueSettings(
        batch_size=batch_size,
        new_batch_threshold=_whole(section, "newBatchThreshold", max(1, batch_size // 2), 0, 1000),
        max_dequeue_count=_whole(section, "maxDequeueCount", 5, 1, 1000),
        visibility_timeout=_span(section, "visibilityTimeout", "00:00:00"),
        max_polling_interval=_span(section, "maxPollingInterval", "00:01:00"),
        base64=encoding == "base64",
    )


def _whole(section: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = section.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise HostSettingsError(f"host.json: extensions.queues.{name}: expected a number from {least} to {most}")
    return value


def _span(section: Mapping[str, Any], name: str, default: str, where: str = "extensions.queues.") -> float:
    try:
        return seconds(str(section.get(name, default)))
    except ValueError as problem:
        raise HostSettingsError(f"host.json: {where}{name}: {problem}") from None
