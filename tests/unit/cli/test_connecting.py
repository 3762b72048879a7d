"""A command that concludes something from FHIR asks first whether FHIR is there, and touches nothing if it is not."""

import os

import pytest
import typer

from sync.cli import connecting
from sync.cli.reporting import EXIT_UNAVAILABLE, EXIT_USAGE
from sync.config import Settings
from sync.errors import FhirUnavailable


class Running:
    closed = False

    async def capabilities(self):
        raise FhirUnavailable("a web page", code="fhir.not_fhir")

    async def close(self):
        self.closed = True


@pytest.fixture
def running(monkeypatch):
    made, asked = Running(), []

    async def start(settings, *, command=False):
        asked.append(command)
        return made

    monkeypatch.setattr("sync.bootstrap.start", start)
    settings = Settings(fhir_url="https://fhir.example", AzureWebJobsStorage="UseDevelopmentStorage=true")
    monkeypatch.setattr("sync.config.Settings.load", lambda: settings)
    made.asked = asked
    return made


def test_at_an_address_that_is_no_fhir_service_nothing_is_begun(running, capsys):
    begun = []

    async def work(_):
        begun.append(True)

    with pytest.raises(typer.Exit) as ended:
        connecting.with_services(work, writes_fhir=True)
    assert (ended.value.exit_code, begun, running.closed) == (EXIT_UNAVAILABLE, [], True)
    assert "fhir.not_fhir: a web page (https://fhir.example)" in capsys.readouterr().err


def test_without_any_setting_it_says_where_settings_come_from(monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith(("DICOM_SYNC_", "AzureWebJobs"))]:
        monkeypatch.delenv(name)
    with pytest.raises(typer.Exit) as ended:
        connecting.with_services(None)
    assert ended.value.exit_code == EXIT_USAGE
    assert ". .local/world.env" in capsys.readouterr().err


def test_what_needs_no_fhir_does_not_ask_and_every_command_says_that_it_is_one(running):
    async def work(_):
        return 5

    assert connecting.with_services(work) == 5
    assert running.asked == [True]
