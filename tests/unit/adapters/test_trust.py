"""The authorities that are trusted are read once in a process; a client certificate stays with its service."""

import ssl

from sync.adapters.http.access import Access
from sync.adapters.http.fhir.remote import FhirRemote
from sync.adapters.http.trust import trusted
from sync.adapters.http.webhook import Webhook
from sync.telemetry.telemetry import Telemetry


def context_of(client):
    return client._client._transport._pool._ssl_context


def server(**more):
    return FhirRemote("https://fhir.example/r4", telemetry=Telemetry(), **more)


def test_all_services_share_what_is_trusted():
    contexts = {context_of(client) for client in (server(), server(), Webhook("https://hooks.example"))}
    assert contexts == {trusted()}


def test_servers_have_to_prove_who_they_are():
    assert (trusted().verify_mode, trusted().check_hostname) == (ssl.CERT_REQUIRED, True)
    assert trusted().get_ca_certs()


def test_a_client_certificate_is_shown_to_its_own_service_only():
    own = ssl.create_default_context()
    assert context_of(server(access=Access(tls=own))) is own
    assert context_of(server()) is not own
