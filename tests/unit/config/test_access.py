"""Settings of access: what belongs together, what is never sent in the clear, and that nothing shows a secret."""

from contextlib import AsyncExitStack

import pytest

from sync.bootstrap.access import access_of, wants_identity
from sync.bootstrap.clients import Clients
from sync.config import DicomAccess, FhirAccess, Settings
from sync.config.check import remarks
from sync.errors import ConfigError, FhirUnavailable
from sync.telemetry.telemetry import Telemetry

SECRET = "s3cr3t"
MODES = {
    "client-credentials": {"TOKEN_URL": "https://login.example/t", "CLIENT_ID": "c", "CLIENT_SECRET": SECRET},
    "private-key-jwt": {"TOKEN_URL": "https://login.example/t", "CLIENT_ID": "c", "PRIVATE_KEY": f"/{SECRET}"},
    "bearer": {"TOKEN": SECRET},
    "basic": {"USER": "u", "PASSWORD": SECRET},
}


@pytest.fixture(autouse=True)
def sound(monkeypatch):
    monkeypatch.setenv("AzureWebJobsStorage", "UseDevelopmentStorage=true")
    monkeypatch.setenv("DICOM_SYNC_FHIR_URL", "https://fhir.example")
    return monkeypatch


def given(monkeypatch, service, mode, **more):
    for name, value in {"AUTH": mode, **MODES.get(mode, {}), **more}.items():
        monkeypatch.setenv(f"DICOM_SYNC_{service}_{name}", value)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("service", ["FHIR", "DICOM"])
def test_each_mode_names_what_it_lacks(monkeypatch, service, mode):
    for missing in MODES[mode]:
        with monkeypatch.context() as patch:
            given(patch, service, mode)
            patch.delenv(f"DICOM_SYNC_{service}_{missing}")
            with pytest.raises(ConfigError) as caught:
                Settings.load()
            assert caught.value.setting == f"DICOM_SYNC_{service}_{missing}"


@pytest.mark.parametrize("mode", MODES)
def test_no_secret_is_shown(monkeypatch, mode):
    given(monkeypatch, "FHIR", mode, HEADERS=f'{{"X-Key": "{SECRET}"}}')
    settings = Settings.load()
    assert settings.fhir_access.auth == mode
    assert SECRET not in repr(settings) + str(settings) + repr(remarks())


@pytest.mark.parametrize("mode", [*MODES, "entra"])
@pytest.mark.parametrize("service", ["FHIR", "DICOM"])
def test_no_credential_goes_over_plain_http_to_another_machine(monkeypatch, service, mode):
    given(monkeypatch, service, mode)
    monkeypatch.setenv(f"DICOM_SYNC_{service}_URL", "http://10.0.0.7/x")
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    assert caught.value.setting == f"DICOM_SYNC_{service}_AUTH"
    monkeypatch.setenv(f"DICOM_SYNC_{service}_URL", "http://localhost:8080/x")
    Settings.load()


def test_neither_do_the_headers_of_a_gateway(monkeypatch):
    given(monkeypatch, "FHIR", "none", HEADERS='{"X-Key": "k"}')
    monkeypatch.setenv("DICOM_SYNC_FHIR_URL", "http://10.0.0.7/x")
    with pytest.raises(ConfigError):
        Settings.load()


@pytest.mark.parametrize("url", ["http://login.example/token", "ftp://x", "https://u:p@login.example/t"])
def test_a_token_endpoint_is_https(monkeypatch, url):
    given(monkeypatch, "FHIR", "client-credentials", TOKEN_URL=url)
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    assert caught.value.setting == "DICOM_SYNC_FHIR_TOKEN_URL"


@pytest.mark.parametrize(
    ("url", "auth", "wanted"),
    [
        ("https://fhir.example", "auto", True),
        ("http://fhir.example", "auto", False),
        ("http://localhost/fhir", "auto", False),
        ("https://localhost/fhir", "auto", False),
        ("https://fhir.example", "none", False),
        ("https://fhir.example", "entra", True),
        ("", "entra", False),
    ],
)
def test_the_identity_is_used_where_it_is_asked_for_and_by_itself_over_https_only(url, auth, wanted):
    assert wants_identity(url, FhirAccess(auth=auth)) is wanted


async def test_entra_asks_for_the_audience_that_is_set():
    asked = []

    class Credential:
        async def get_token(self, scope, **_):
            asked.append(scope)
            return type("Token", (), {"token": "t"})

    async with AsyncExitStack() as closing:
        for access in (FhirAccess(), FhirAccess(auth="entra", audience="api://of-our-own/")):
            made = access_of(
                "https://fhir.example",
                access,
                Credential(),
                closing,
                audience="https://fhir.example",
                failure=FhirUnavailable,
            )
            await made.tokens.token()
    assert asked == ["https://fhir.example/.default", "api://of-our-own/.default"]


def test_what_the_mode_does_not_read_is_named(monkeypatch):
    given(monkeypatch, "FHIR", "bearer", CLIENT_SECRET=SECRET)
    texts = {remark.setting: remark.text for remark in remarks()}
    assert "DICOM_SYNC_FHIR_AUTH is client-credentials" in texts["DICOM_SYNC_FHIR_CLIENT_SECRET"]


def test_pem_text_may_have_its_line_ends_written_out():
    key = "-----BEGIN PRIVATE KEY-----\\nabc\\n-----END PRIVATE KEY-----"
    assert DicomAccess(private_key=key).private_key.splitlines()[1] == "abc"


@pytest.mark.parametrize("mode", ["none", "bearer", "basic", "client-credentials"])
async def test_no_azure_identity_is_made_where_none_is_used(monkeypatch, mode):
    given(monkeypatch, "FHIR", mode)
    clients = Clients(Settings.load(), Telemetry())
    assert clients._credential is None
    clients.fhir()
    await clients.close()
