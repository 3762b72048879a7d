"""Who may act over HTTP; whatever the headers hold, nothing is raised but a refusal."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.config import Settings
from sync.errors import AccessRefused
from sync.operators.access import OPERATOR_HEADER, Caller, caller_of, operator_of

READER = Caller()


def settings(operators, sign_in="True", **more):
    return Settings(
        fhir_url="http://localhost/fhir",
        storage="UseDevelopmentStorage=true",
        operators=operators,
        sign_in=sign_in,
        **more,
    )


NONE, KEY, ENTRA = (settings(mode) for mode in ("none", "key", "entra"))


def principal(*claims, **more):
    document = {"auth_typ": "aad", "claims": [{"typ": kind, "val": value} for kind, value in claims], **more}
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(document).encode()).decode()}


JANE = ("preferred_username", "jane@hospital.example")


def test_by_default_no_one_may_act():
    assert Settings.model_fields["operators"].default == "none"
    everything = {OPERATOR_HEADER: "Jane"} | principal(JANE, ("roles", "operator"))
    assert caller_of(everything, NONE) == READER
    with pytest.raises(AccessRefused) as refused:
        operator_of(everything, NONE)
    assert refused.value.code == "access.not_operator"


def test_with_key_the_holder_may_act_and_says_who_it_is():
    assert caller_of({}, KEY) == Caller(kind="key", may_operate=True)
    assert caller_of({OPERATOR_HEADER.lower(): "Jane"}, KEY).name == "Jane"
    assert caller_of({}, KEY, says="Joe").name == "Joe"
    assert caller_of({OPERATOR_HEADER: "Jane"}, KEY, says="Joe").name == "Jane"


def test_with_key_a_claimed_role_means_nothing():
    assert caller_of(principal(JANE, ("roles", "operator")), KEY).kind == "key"


@pytest.mark.parametrize("kind", ["roles", "role", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"])
def test_with_entra_the_role_makes_an_operator(kind):
    caller = operator_of(principal(JANE, ("roles", "reader"), (kind, "operator")), ENTRA)
    assert caller == Caller(kind="person", name="jane@hospital.example", may_operate=True)


def test_with_entra_an_application_is_named_by_its_id():
    assert caller_of(principal(("appid", "11-22"), ("roles", "operator")), ENTRA).name == "11-22"


OASIS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"


@pytest.mark.parametrize("kind", ["preferred_username", f"{OASIS}/upn", f"{OASIS}/name", f"{OASIS}/emailaddress"])
def test_with_entra_a_person_is_named_by_the_sign_in_name_under_each_of_its_names(kind):
    said = principal((f"{OASIS}/nameidentifier", "x"), ("name", "Jane Doe"), (kind, "jane@hospital.example"))
    assert caller_of(said, ENTRA).name == "jane@hospital.example"


@pytest.mark.parametrize(
    ("said", "acts"),
    [("True", True), ("true", True), (None, False), ("", False), ("False", False), ("1", False), ("yes", False)],
)
def test_with_entra_a_role_counts_only_where_app_service_says_that_it_signs_people_in(monkeypatch, said, acts):
    """A container without App Service in front of it lets a holder of the key send any principal."""
    if said is None:
        monkeypatch.delenv("WEBSITE_AUTH_ENABLED", raising=False)
    else:
        monkeypatch.setenv("WEBSITE_AUTH_ENABLED", said)
    loaded = Settings.load(fhir_url="http://localhost/fhir", storage="UseDevelopmentStorage=true", operators="entra")
    forged = principal(JANE, ("roles", "operator"))
    assert caller_of(forged, loaded).may_operate is acts
    if not acts:
        with pytest.raises(AccessRefused):
            operator_of(forged, loaded)


@pytest.mark.parametrize(
    "claim", [("roles", "Operator"), ("groups", "operator"), ("roles", "operators"), ("scp", "operator")]
)
def test_with_entra_nothing_else_makes_an_operator(claim):
    caller = caller_of(principal(JANE, claim), ENTRA)
    assert (caller.kind, caller.may_operate) == ("person", False)


def test_with_entra_neither_a_name_nor_a_role_can_be_said_aside():
    assert caller_of({OPERATOR_HEADER: "Jane"}, ENTRA, says="Jane") == READER


HOSTILE = [
    "",
    "{}",
    "é",
    "A" * 70_000,
    base64.b64encode(b"\xff\xfe").decode(),
    *(
        base64.b64encode(text.encode()).decode()
        for text in (
            "[",
            "null",
            "[" * 20_000,
            '{"claims": 5}',
            '{"claims": [5, null, {"typ": 1, "val": "operator"}, {"typ": "roles", "val": ["operator"]}]}',
        )
    ),
]


@pytest.mark.parametrize("header", HOSTILE)
def test_a_hostile_principal_is_a_reader(header):
    assert caller_of({"x-ms-client-principal": header}, ENTRA) == READER


@given(
    st.dictionaries(
        st.sampled_from(["Host", "Origin", "Sec-Fetch-Site", "X-MS-CLIENT-PRINCIPAL", OPERATOR_HEADER]), st.text()
    )
)
def test_no_header_makes_it_raise(headers):
    for access in (NONE, KEY, ENTRA):
        caller = caller_of(headers, access, says=headers.get("Host", ""))
        assert caller.name.isprintable()
        assert len(caller.name) <= 100
        with contextlib.suppress(AccessRefused):
            operator_of(headers, access)


def test_a_name_is_one_printable_line():
    assert caller_of({OPERATOR_HEADER: " Ja\n\x1b[31mne\u202e " + "x" * 4000}, KEY).name == ("Ja[31mne " + "x" * 91)


OURS = {"Host": "sync.example:7071"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://sync.example:7071"},
        {"Origin": "https://SYNC.example:7071"},
    ],
)
def test_our_own_pages_and_programs_may_act(headers):
    assert operator_of(OURS | headers, KEY).may_operate


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": ""},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://sync.example:7071"},
        {"Origin": "https://evil.example"},
        {"Origin": "https://sync.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "https://["},
    ],
)
def test_pages_of_others_may_not(headers):
    with pytest.raises(AccessRefused) as refused:
        operator_of(OURS | headers, KEY)
    assert refused.value.code == "access.cross_site"


def test_an_origin_is_refused_when_there_is_no_host_to_compare():
    with pytest.raises(AccessRefused):
        operator_of({"Origin": "null"}, KEY)
