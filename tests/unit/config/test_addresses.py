"""Where a failing service is, for people: the address, and never a credential."""

import pytest

from sync.config import Settings, address_of

KEY = "c2VjcmV0"
ACCOUNT = f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={KEY}"


@pytest.mark.parametrize(
    ("storage", "address"),
    [
        (ACCOUNT, "https://acct.queue.core.windows.net, https://acct.table.core.windows.net"),
        (
            f"{ACCOUNT};EndpointSuffix=core.chinacloudapi.cn",
            "https://acct.queue.core.chinacloudapi.cn, https://acct.table.core.chinacloudapi.cn",
        ),
        (
            f"{ACCOUNT};TableEndpoint=http://127.0.0.1:9/acct",
            "https://acct.queue.core.windows.net, http://127.0.0.1:9/acct",
        ),
        (f"TableEndpoint=https://own.example/;SharedAccessSignature=sig={KEY}", "https://own.example/"),
        ("UseDevelopmentStorage=true", "http://127.0.0.1:10001, http://127.0.0.1:10002"),
    ],
)
def test_the_state_account_is_named_without_its_key(storage, address):
    settings = Settings(fhir_url="https://fhir.example", AzureWebJobsStorage=storage)
    assert address_of("store.unavailable", settings) == address
    assert KEY not in address


def test_an_account_of_an_identity_is_named():
    settings = Settings(fhir_url="https://fhir.example", AzureWebJobsStorage__accountName="acct")
    assert address_of("store.forbidden", settings) == "acct"


def test_each_service_has_its_own_and_what_several_may_have_has_none():
    settings = Settings(
        fhir_url="https://fhir.example", AzureWebJobsStorage=ACCOUNT, events_topic="https://topic.example"
    )
    codes = ("fhir.unavailable", "events.unavailable", "source.unavailable", "")
    assert [address_of(code, settings) for code in codes] == ["https://fhir.example", "https://topic.example", "", ""]
