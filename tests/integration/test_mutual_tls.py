"""A real TLS server that wants a client certificate: we show ours, and without it nothing is asked."""

import asyncio
import contextlib
import json
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sync.adapters.http.access import Access, tls_of
from sync.adapters.http.dicom.service import DicomService
from sync.adapters.http.dicom.web import DicomWeb
from sync.adapters.http.fhir.server import HttpFhirServer
from sync.errors import FhirUnavailable, SourceUnavailable
from sync.telemetry.telemetry import Telemetry

STATEMENT = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [{"mode": "server"}]}


SAN = x509.SubjectAlternativeName.oid
_USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
_SIGNS = x509.KeyUsage(
    **dict.fromkeys((*_USES, "encipher_only", "decipher_only"), False), key_cert_sign=True, crl_sign=True
)


class Authority:
    """Issues certificates."""

    def __init__(self, name):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0), _SIGNS)

    def _signed(self, name, key, *extensions):
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=extension.oid != SAN)
        made = builder.sign(self._key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, name):
        """Return a certificate for 127.0.0.1 with its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        form = serialization.PrivateFormat.PKCS8
        private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
        return self._signed(_name(name), key, x509.BasicConstraints(ca=False, path_length=None), address) + private


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@contextlib.asynccontextmanager
async def served(ours, folder):
    """Serve a statement over TLS, to those whose certificate our authority issued; yield the URL and who came."""
    came = []
    (folder / "server.pem").write_text(ours.issue("server"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=ours.certificate)
    context.load_cert_chain(folder / "server.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await reader.readuntil(b"\r\n\r\n")
            came.append(dict(pair for (pair,) in writer.get_extra_info("peercert")["subject"])["commonName"])
            body = json.dumps(STATEMENT).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", came
    finally:
        server.close()


async def at_once(seconds):
    await asyncio.sleep(0)


def trusting(context, authority):
    """Trust the server, as the trust store of the machine would."""
    context.load_verify_locations(cadata=authority.certificate)
    return context


@pytest.fixture(scope="module")
def authority():
    return Authority("ours")


async def capabilities(url, tls):
    fhir = HttpFhirServer(url, telemetry=Telemetry(), access=Access(tls=tls), sleep=at_once)
    try:
        return await fhir.capabilities()
    finally:
        await fhir.aclose()


async def test_a_client_certificate_is_shown_in_the_handshake(authority, tmp_path):
    async with served(authority, tmp_path) as (url, came):
        tls = trusting(tls_of(authority.issue("dicom-fhir-sync"), "DICOM_SYNC_FHIR_CLIENT_CERTIFICATE"), authority)
        assert (await capabilities(url, tls)).fhir_version == "4.0.1"
        web = DicomWeb(url, setting="X", telemetry=Telemetry(), access=Access(tls=tls), sleep=at_once)
        assert await web.get("/metadata") == STATEMENT
        await web.aclose()
        assert came == ["dicom-fhir-sync"] * 2


async def test_without_the_right_certificate_there_is_an_outage_and_no_request(authority, tmp_path):
    unknown = Authority("another")
    async with served(authority, tmp_path) as (url, came):
        for tls in (
            trusting(ssl.create_default_context(), authority),
            trusting(tls_of(unknown.issue("dicom-fhir-sync"), "X"), authority),
            tls_of(authority.issue("dicom-fhir-sync"), "X"),  # which does not trust the server
        ):
            with pytest.raises(FhirUnavailable):
                await capabilities(url, tls)
            web = DicomWeb(url, setting="X", telemetry=Telemetry(), access=Access(tls=tls), sleep=at_once)
            with pytest.raises(SourceUnavailable):
                await DicomService(web, url).page()
            await web.aclose()
        assert came == []
