"""Clients as the settings say: the cloud they are in, and telemetry that cannot be exported."""

import logging

import pytest

from sync.adapters import opentelemetry
from sync.adapters.azure.tokens import ScopedCredential
from sync.bootstrap.clients import Clients
from sync.config import CLOUDS, Settings
from sync.telemetry.telemetry import Telemetry

URL = "https://fhir.hospital.example/r4"


def settings(**given):
    return Settings.model_construct(fhir_url=URL, storage_account="state", **given)


@pytest.mark.parametrize(("cloud", "suffix"), [(name, cloud.storage) for name, cloud in CLOUDS.items()])
async def test_the_state_account_is_in_its_cloud(cloud, suffix):
    clients = Clients(settings(cloud=cloud), Telemetry())
    assert clients.blobs()._service.url.rstrip("/") == f"https://state.blob.{suffix}"
    await clients.close()


async def test_a_credential_asks_for_its_own_scope_whatever_the_client_asks_for():
    class Credential:
        async def get_token(self, *scopes, **_):
            return scopes

    scoped = ScopedCredential(Credential(), CLOUDS["government"].event_grid)
    assert await scoped.get_token("https://eventgrid.azure.net/.default") == ("https://eventgrid.azure.us/.default",)


@pytest.mark.parametrize("failure", [ImportError("no exporter"), ValueError("InstrumentationKey=secret")])
async def test_telemetry_that_cannot_be_exported_keeps_nothing_from_starting(failure, monkeypatch, caplog):
    def broken(_):
        raise failure

    monkeypatch.setattr(opentelemetry, "exporting", broken)
    clients = Clients(settings(otlp_endpoint="http://collector:4318"), Telemetry())
    with caplog.at_level(logging.ERROR):
        clients.export()
    assert "telemetry.not_exported" in caplog.text
    assert "secret" not in caplog.text
    await clients.close()


async def test_an_exporter_whose_module_is_missing_keeps_nothing_from_starting(monkeypatch, caplog):
    import sys

    import sync.adapters

    monkeypatch.delattr(sync.adapters, "opentelemetry")
    monkeypatch.setitem(sys.modules, "sync.adapters.opentelemetry", None)
    clients = Clients(settings(otlp_endpoint="http://collector:4318"), Telemetry())
    with caplog.at_level(logging.ERROR):
        clients.export()
    assert "telemetry.not_exported error=ModuleNotFoundError" in caplog.text
    await clients.close()
