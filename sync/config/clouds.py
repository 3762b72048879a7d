"""
The clouds of Azure: the addresses and token scopes of their services.

Source: Azure, "Compare Azure Government and global Azure", "Azure China endpoints"; storage takes tokens of
``https://storage.azure.com`` in every cloud. Where tokens are issued, azure-identity reads from
``AZURE_AUTHORITY_HOST``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One cloud."""

    storage: str
    """Suffix of storage accounts, as in ``account.blob.<suffix>``."""
    event_grid: str
    """Scope of tokens for Event Grid topics."""
    dicom: str
    """Audience of tokens for DICOM services of Azure Health Data Services."""
    health: str
    """Suffix of the hosts of Azure Health Data Services."""


CloudName = Literal["public", "government", "china"]

CLOUDS: Mapping[CloudName, Cloud] = {
    "public": Cloud(
        storage="core.windows.net",
        event_grid="https://eventgrid.azure.net/.default",
        dicom="https://dicom.healthcareapis.azure.com",
        health="azurehealthcareapis.com",
    ),
    "government": Cloud(
        storage="core.usgovcloudapi.net",
        event_grid="https://eventgrid.azure.us/.default",
        dicom="https://dicom.healthcareapis.azure.us",
        health="azurehealthcareapis.us",
    ),
    "china": Cloud(
        storage="core.chinacloudapi.cn",
        event_grid="https://eventgrid.azure.cn/.default",
        dicom="https://dicom.healthcareapis.azure.cn",
        health="azurehealthcareapis.cn",
    ),
}

HEALTH_HOSTS = tuple(f".{cloud.health}" for cloud in CLOUDS.values())
"""How hosts of Azure Health Data Services end, in any cloud."""
