"""The address of the service that failed, from the settings; for people, without credentials."""

from __future__ import annotations

from sync.config.settings import Settings

_AZURITE = "http://127.0.0.1:10001, http://127.0.0.1:10002"
"""Queues and tables of the storage emulator. Source: Azurite, "HTTP and HTTPS URLs"."""


def address_of(code: str, settings: Settings) -> str:
    """
    Return the address of the service that the first part of a code names; empty if there are several.

    Parameters
    ----------
    code
        Of a failure, such as ``fhir.unavailable``.
    """
    match code.partition(".")[0]:
        case "fhir":
            return settings.fhir_url
        case "events":
            return settings.events_topic
        case "store":
            return _state_account(settings)
        case _:
            return ""


def _state_account(settings: Settings) -> str:
    """Return the addresses of queues and tables, or the account's name where an identity finds them by it."""
    if not settings.storage:
        return ", ".join(filter(None, (settings.storage_queue_uri, settings.storage_table_uri))) or settings.state
    given = (part.partition("=") for part in settings.storage.split(";"))
    parts = {name.strip().lower(): value for name, _, value in given}
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        return _AZURITE
    suffix = parts.get("endpointsuffix", "core.windows.net")
    named = parts.get("accountname", "")
    urls = (
        parts.get(f"{service}endpoint") or (named and f"https://{named}.{service}.{suffix}")
        for service in ("queue", "table")
    )
    return ", ".join(dict.fromkeys(filter(None, urls)))
