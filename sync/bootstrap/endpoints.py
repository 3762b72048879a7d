"""
Where the services of a storage account are, and which account an address is of; in every Azure cloud.

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
    Return the address of a service of the state account, where an identity is used.

    The setting of that service; else that of another one with the service's name in its place; else by the account's
    name, in the cloud that is set.

    Raises
    ------
    ConfigError
        The settings name other services by addresses that do not tell this one's.
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
        What Azure's client makes of it: right for connection strings, None for addresses that it does not know.

    Raises
    ------
    ConfigError
        The address is of an own domain, which does not tell the account.
    """
    parts = urlsplit(url)
    if match := _ACCOUNT_HOST.fullmatch(parts.hostname or ""):
        return match["account"]
    if account:
        return account
    raise ConfigError(setting, "expected the account's own address, such as https://account.blob.core.windows.net")
