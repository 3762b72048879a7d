"""
Derives the addresses of a storage account's services, and the account of an address, in every Azure cloud.

    https://acct.blob.core.windows.net          other clouds have other suffixes
    https://acct.z12.blob.storage.azure.net     an account with DNS zone endpoints
    http://127.0.0.1:10000/devstoreaccount1     Azurite: the account is in the path

Sources: Azure "Storage account overview" (endpoints); Azure Functions, "Connecting to host storage with an identity"
(``AzureWebJobsStorage__blobServiceUri`` and its siblings).
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from sync.config import CLOUDS, STATE, Settings
from sync.errors import ConfigError

Service = Literal["blob", "queue", "table"]

_ACCOUNT_HOST = re.compile(r"(?P<account>[a-z0-9]{3,24})(?:-secondary)?\.(?:[a-z0-9-]+\.)*?(?:blob|dfs)\.[a-z0-9.-]+")


def state_url(settings: Settings, service: Service) -> str:
    """
    Return the address of a service of the state account, for access by identity.

    It is the setting of that service; else another service's address with the name replaced; else it is built from the
    account's name, in the configured cloud.

    Raises
    ------
    ConfigError
        The settings name other services by addresses from which this one cannot be derived.
    """
    urls = {
        "blob": settings.storage_blob_uri,
        "queue": settings.storage_queue_uri,
        "table": settings.storage_table_uri,
    }
    if urls[service]:
        return urls[service]
    for configured, url in urls.items():
        if url:
            sibling = re.sub(rf"^(https://[^/]*?)\.{configured}\.", rf"\1.{service}.", url)
            if sibling == url:
                raise ConfigError(f"{STATE}__{service}ServiceUri", "is missing, and its siblings do not tell it")
            return sibling
    return f"https://{settings.state}.{service}.{CLOUDS[settings.cloud].storage}"


def account_of(url: str, account: str | None, setting: str) -> str:
    """
    Return the name of the account of a blob service, as events name it.

    Parameters
    ----------
    account
        The account that Azure's client derives: right for connection strings, None for addresses that it does not know.

    Raises
    ------
    ConfigError
        The address is a custom domain, which does not name the account.
    """
    parts = urlsplit(url)
    if match := _ACCOUNT_HOST.fullmatch(parts.hostname or ""):
        return match["account"]
    if account:
        return account
    raise ConfigError(setting, "expected the account's own address, such as https://account.blob.core.windows.net")
