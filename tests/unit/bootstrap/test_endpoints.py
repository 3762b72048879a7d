"""Addresses of storage in every cloud: which account they are of, and where the state's services are."""

import pytest

from sync.bootstrap.clients import Clients
from sync.bootstrap.endpoints import account_of, state_url
from sync.config import Settings
from sync.errors import ConfigError
from sync.telemetry.telemetry import Telemetry


@pytest.mark.parametrize(
    "host",
    [
        "acct.blob.core.windows.net",
        "acct.blob.core.usgovcloudapi.net",
        "acct.blob.core.chinacloudapi.cn",
        "acct.z12.blob.storage.azure.net",
        "acct.z1.dfs.storage.azure.net",
        "acct.privatelink.blob.core.windows.net",
        "acct-secondary.blob.core.windows.net",
        "acct.dfs.core.windows.net",
    ],
)
def test_an_address_tells_its_account(host):
    assert account_of(f"https://{host}/", None, "X") == "acct"


def test_an_own_domain_does_not_tell_the_account_unless_the_client_knows_it():
    assert account_of("http://127.0.0.1:10000/devstoreaccount1", "devstoreaccount1", "X") == "devstoreaccount1"
    with pytest.raises(ConfigError) as caught:
        account_of("https://images.hospital.example", None, "DICOM_SYNC_SOURCE")
    assert caught.value.setting == "DICOM_SYNC_SOURCE"


def settings(monkeypatch, **services):
    monkeypatch.setenv("DICOM_SYNC_FHIR_URL", "http://localhost/fhir")
    monkeypatch.delenv("AzureWebJobsStorage", raising=False)
    for name, url in services.items():
        monkeypatch.setenv(f"AzureWebJobsStorage__{name}", url)
    return Settings.load()


@pytest.mark.parametrize(
    ("given", "queue", "table"),
    [
        ({"accountName": "state"}, "https://state.queue.core.windows.net", "https://state.table.core.windows.net"),
        (
            {"queueServiceUri": "https://state.queue.core.usgovcloudapi.net"},
            "https://state.queue.core.usgovcloudapi.net",
            "https://state.table.core.usgovcloudapi.net",
        ),
        (
            {"queueServiceUri": "https://state.z7.queue.storage.azure.net/"},
            "https://state.z7.queue.storage.azure.net",
            "https://state.z7.table.storage.azure.net",
        ),
        (
            {"accountName": "state", "queueServiceUri": "https://q.example", "tableServiceUri": "https://t.example"},
            "https://q.example",
            "https://t.example",
        ),
    ],
)
def test_each_service_of_the_state_is_where_its_setting_or_a_sibling_says(monkeypatch, given, queue, table):
    given_settings = settings(monkeypatch, **given)
    assert (state_url(given_settings, "queue"), state_url(given_settings, "table")) == (queue, table)


def test_a_service_that_no_setting_tells_is_named(monkeypatch):
    given_settings = settings(monkeypatch, queueServiceUri="https://q.example")
    with pytest.raises(ConfigError) as caught:
        state_url(given_settings, "table")
    assert caught.value.setting == "AzureWebJobsStorage__tableServiceUri"


async def test_the_account_of_dicom_files_with_dns_zone_endpoints_is_known_by_its_name(monkeypatch):
    monkeypatch.setenv("DICOM_SYNC_SOURCE", "https://images.z12.blob.storage.azure.net")
    clients = Clients(settings(monkeypatch, accountName="state"), Telemetry())
    assert clients.blobs().account == "images"
    await clients.close()
