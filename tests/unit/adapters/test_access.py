"""What requests carry: tokens are asked for rarely and safely, and no secret shows anywhere."""

import asyncio
import base64
import ssl
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sync.adapters.http.access import (
    ASSERTION_TYPE,
    Access,
    ClientCredentials,
    SharedSecret,
    SignedAssertion,
    StaticToken,
    tls_of,
)
from sync.adapters.http.fhir.server import HttpFhirServer
from sync.errors import ConfigError, FhirUnavailable, SourceUnavailable
from sync.telemetry.telemetry import Telemetry

SECRET = "s3cr3t+/ %&="
TOKEN_URL = "https://login.example/token"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256, P384, P521 = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))


def pem(key):
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


class Issuer:
    """An authorization server: answers in turn, the last for ever, and keeps what was asked."""

    def __init__(self, *answers, client=None, **more):
        self.answers = list(answers) or [httpx.Response(200, json={"access_token": "t1", "expires_in": 600})]
        self.requests, self.time = [], 0.0
        self.tokens = ClientCredentials(
            TOKEN_URL,
            client or SharedSecret("the client", SECRET),
            transport=httpx.MockTransport(self._answer),
            now=lambda: self.time,
            **more,
        )

    def _answer(self, request):
        self.requests.append(request)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def form(self, index=0):
        return {name: values[0] for name, values in parse_qs(self.requests[index].content.decode()).items()}


def issued(token, **more):
    return httpx.Response(200, json={"access_token": token, "token_type": "bearer", **more})


async def test_a_client_proves_itself_by_its_secret_and_asks_for_its_scope():
    issuer = Issuer(scope="system/*.cruds")
    assert await issuer.tokens.token() == "t1"
    kind, _, login = issuer.requests[0].headers["Authorization"].partition(" ")
    assert (kind, base64.b64decode(login)) == ("Basic", b"the%20client:s3cr3t%2B%2F%20%25%26%3D")
    assert issuer.form() == {"grant_type": "client_credentials", "scope": "system/*.cruds"}


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSA, "RS384"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
    ],
)
async def test_a_client_proves_itself_by_an_assertion_as_smart_asks_for(key, algorithm):
    issuer = Issuer(client=SignedAssertion("the client", TOKEN_URL, pem(key), key_id="k1"))
    await issuer.tokens.token()
    form = issuer.form()
    assert (form["grant_type"], form["client_assertion_type"]) == ("client_credentials", ASSERTION_TYPE)
    assert "Authorization" not in issuer.requests[0].headers
    assertion = form["client_assertion"]
    header = jwt.get_unverified_header(assertion)
    assert (header["alg"], header["kid"], header["typ"]) == (algorithm, "k1", "JWT")
    claims = jwt.decode(assertion, key.public_key(), algorithms=[algorithm], audience=TOKEN_URL)
    assert (claims["iss"], claims["sub"]) == ("the client", "the client")
    assert 0 < claims["exp"] - datetime.now(UTC).timestamp() <= 300


async def test_no_two_assertions_have_the_same_id():
    client = SignedAssertion("c", TOKEN_URL, pem(RSA))
    ids = {
        jwt.decode(client.proof()[1]["client_assertion"], options={"verify_signature": False})["jti"] for _ in range(9)
    }
    assert len(ids) == 9


async def test_a_token_is_kept_until_shortly_before_its_end_and_concurrent_callers_share_a_request():
    issuer = Issuer(issued("t1", expires_in=600), issued("t2", expires_in=600))
    assert set(await asyncio.gather(*(issuer.tokens.token() for _ in range(20)))) == {"t1"}
    issuer.time = 539
    assert await issuer.tokens.token() == "t1"
    issuer.time = 541
    assert await issuer.tokens.token() == "t2"
    assert len(issuer.requests) == 2


async def test_a_refused_token_is_asked_for_anew_once_for_all_who_were_refused():
    issuer = Issuer(issued("t1"), issued("t2"))
    await issuer.tokens.token()
    issuer.time = 100
    assert set(await asyncio.gather(*(issuer.tokens.token(refresh=True) for _ in range(9)))) == {"t2"}
    assert len(issuer.requests) == 2


@pytest.mark.parametrize("life", [0, -5, None, "600", True, float("1e-9"), []])
async def test_a_life_that_is_none_does_not_cost_a_request_each(life):
    issuer = Issuer(issued("t1", expires_in=life))
    await issuer.tokens.token()
    issuer.time = 20
    await issuer.tokens.token()
    assert len(issuer.requests) == 1


REFUSED = [httpx.Response(status, json={"error": "invalid_client", "hint": SECRET}) for status in (400, 401, 403)]
OUTAGES = [
    httpx.Response(500, text=SECRET),
    httpx.Response(429),
    httpx.Response(302, headers={"Location": "https://evil.example"}),
    httpx.Response(200, text=f"<html>{SECRET}</html>"),
    httpx.Response(200, json=[]),
    httpx.Response(200, json={"access_token": ""}),
    httpx.Response(200, json={"access_token": "two words"}),
    httpx.Response(200, json={"access_token": "line\r\nX-Evil: 1"}),
    httpx.Response(200, json={"access_token": 5}),
    httpx.ConnectError(SECRET),
]


@pytest.mark.parametrize(
    ("answer", "end"), [*((a, "forbidden") for a in REFUSED), *((a, "unavailable") for a in OUTAGES)]
)
@pytest.mark.parametrize("failure", [FhirUnavailable, SourceUnavailable])
async def test_without_a_token_it_is_an_outage_of_the_service_and_tells_no_secret(answer, end, failure, caplog):
    with pytest.raises(failure) as caught:
        await Issuer(answer, failure=failure).tokens.token()
    assert caught.value.code == f"{failure.code.partition('.')[0]}.{end}"
    shown = f"{caught.value!r} {caught.value} {caught.value.hint} {caught.value.__cause__} {caplog.text}"
    assert SECRET not in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize(
    "key",
    [
        "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----",
        "/no/such/file",
        pem(P521),
    ],
)
def test_a_key_that_cannot_sign_is_a_wrong_setting_that_is_not_shown(key):
    with pytest.raises(ConfigError) as caught:
        SignedAssertion("c", TOKEN_URL, key, setting="DICOM_SYNC_FHIR_PRIVATE_KEY")
    assert caught.value.setting == "DICOM_SYNC_FHIR_PRIVATE_KEY"
    assert key not in str(caught.value)


def certificate(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sync")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
    signed = built.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def test_a_client_certificate_is_taken_as_text_or_file(tmp_path):
    both = certificate(RSA) + pem(RSA)
    path = tmp_path / "client.pem"
    path.write_text(both)
    assert isinstance(tls_of(both, "X"), ssl.SSLContext)
    assert tls_of(str(path), "X").verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("broken", [certificate(RSA), pem(RSA), "/no/such/file", "-----BEGIN x"])
def test_a_certificate_without_its_key_is_a_wrong_setting(broken):
    with pytest.raises(ConfigError):
        tls_of(broken, "DICOM_SYNC_FHIR_CLIENT_CERTIFICATE")


@pytest.mark.parametrize(
    ("access", "header", "value"),
    [
        (Access(tokens=StaticToken(SECRET)), "Authorization", f"Bearer {SECRET}"),
        (Access(login=("u", "p")), "Authorization", "Basic dTpw"),
        (Access(headers={"X-Gateway-Key": SECRET}), "X-Gateway-Key", SECRET),
        (Access(), "Authorization", None),
    ],
)
async def test_requests_carry_what_the_service_asks_for(access, header, value):
    asked = []

    def answer(request):
        asked.append(request)
        return httpx.Response(200, json={"resourceType": "Patient", "id": "1"})

    fhir = HttpFhirServer(
        "https://fhir.example", telemetry=Telemetry(), access=access, transport=httpx.MockTransport(answer)
    )
    await fhir.read("Patient", "1")
    assert asked[0].headers.get(header) == value
    assert SECRET not in repr(access)
