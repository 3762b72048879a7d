"""
The form that the text of a setting must have.

Each type here takes the text as it was typed, drops what people copy along, and refuses it by a ValueError that says
what was expected, never what was found: settings hold secrets.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

_URI_CHARACTERS = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")
"""RFC 3986: what a URI may hold; FHIR servers refuse the rest, one study at a time."""

SYSTEM_SCHEMES = ("http://", "https://", "urn:")
"""How the URI of an identifier or code system may begin; FHIR validators take others for references."""

NEW_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")
"""How a container may be named. Source: Azure Storage, "Naming and referencing containers, blobs, and metadata"."""

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})+|(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)")


_LONGEST_PATIENT_ID = 64
"""PS3.5 6.2, characters of a value of VR LO."""


def _absolute_uri(value: str) -> str:
    if value and not (value.startswith(SYSTEM_SCHEMES) and _URI_CHARACTERS.fullmatch(value)):
        raise ValueError("expected a URI such as https://hospital.example/patient-ids or urn:oid:2.16.840.1.113883")
    return value


def _web_root(value: str) -> str:
    if value and not is_web_root(value):
        raise ValueError("expected an http(s) URL without user name, query or fragment")
    return value.rstrip("/")


def _viewer(value: str) -> str:
    if value == "none":
        return value
    without = value.replace("{study}", "1")
    try:
        parts = urlsplit(without)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        sound = False
    if value and ("{study}" not in value or not sound or not _URI_CHARACTERS.fullmatch(without)):
        raise ValueError("expected an http(s) URL with {study} where the Study Instance UID goes, or none")
    return value


def is_web_root(value: str) -> bool:
    """Return whether the value is an http(s) URL of a host, with nothing but a path behind it."""
    try:
        parts = urlsplit(value)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number, an invalid IPv6 address
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in ("http", "https") and named and plain and bool(_URI_CHARACTERS.fullmatch(value))


def is_local(address: str) -> bool:
    """Return whether the URL is on this machine: there, and nowhere else, it may be plain http without a credential."""
    try:
        return urlsplit(address).hostname in _LOCAL_HOSTS
    except ValueError:  # an invalid IPv6 address
        return False


def _access_key(value: str) -> str:
    if value and not _BASE64.fullmatch(value):
        raise ValueError("expected an access key of the topic, which is base64")
    return value


def _topic(value: str) -> str:
    if not value:
        return value
    url = _web_root(value)
    if not url.startswith("https:") and not is_local(url):
        raise ValueError("expected the https URL of an Event Grid topic (http only on this machine)")
    return url


def _webhook(value: str) -> str:
    """Pass an address with a query too: that is where the secret of most webhooks is."""
    root = value.partition("#")[0].partition("?")[0]
    local = root.startswith("http://") and is_web_root(root) and is_local(root)
    if value and not (
        (local or (root.startswith("https://") and is_web_root(root))) and _URI_CHARACTERS.fullmatch(value)
    ):
        raise ValueError("expected an https URL (http only on this machine) without user name")
    return value


def _plain_key(value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", value):
        raise ValueError("expected letters and digits only")
    return value


def _given(value: str) -> str:
    if not value:
        raise ValueError("expected an http(s) URL, got nothing")
    return value


def _without_version(value: str) -> str:
    """Drop the version of the API, which people copy along."""
    return re.sub(r"/v\d+$", "", value)


def _secure_url(value: str) -> str:
    """Take an address to which secrets go, so never over plain http to another machine."""
    url = _web_root(value)
    if url and not url.startswith("https:") and not is_local(url):
        raise ValueError("expected an https URL (http only on this machine)")
    return value


def _one_line(value: str) -> str:
    if not all(" " < character <= "~" for character in value):
        raise ValueError("expected printable ASCII characters without blanks")
    return value


def _scope(value: str) -> str:
    if not all(" " <= character <= "~" and character not in '"\\' for character in value):
        raise ValueError("expected names of scopes or audiences, separated by blanks")
    return value


def _pem_or_file(value: str) -> str:
    """Take PEM text, whose line ends may be written as backslash and n in a setting of one line; or a path."""
    if "-----BEGIN" in value:
        return value.replace("\\n", "\n")
    if value and not (re.match(r"/|[A-Za-z]:[/\\]", value) and value.isprintable()):
        raise ValueError("expected PEM text, or the absolute path of a file")
    return value


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADERS_OF_OURS = frozenset(
    {"accept", "authorization", "connection", "content-length", "content-type", "host", "prefer", "transfer-encoding"}
)


def _header_object(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        headers = json.loads(value)
    except (ValueError, RecursionError):
        headers = None
    sound = isinstance(headers, dict) and all(_is_header(name, text) for name, text in headers.items())
    if not sound:
        raise ValueError('expected a JSON object of headers that the sync does not set itself: {"X-Api-Key": "..."}')
    return headers


def _is_header(name: str, text: Any) -> bool:
    ours = name.lower() in _HEADERS_OF_OURS or not _HEADER_NAME.fullmatch(name)
    return not ours and isinstance(text, str) and text.isascii() and text.isprintable()


def _user(value: str) -> str:
    if ":" in value:
        raise ValueError("expected a user name; HTTP basic authentication allows no colon in one")
    return value


def _connection_string(value: str) -> str:
    if value and not _is_connection_string(value):
        raise ValueError("expected a connection string of a storage account, such as AccountName=…;AccountKey=…")
    return value


def _is_connection_string(value: str) -> bool:
    """Return whether Azure's clients can read the connection string: they fail at start or at the first request."""
    parts = {name.lower(): part for name, _, part in (part.partition("=") for part in value.rstrip(";").split(";"))}
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        return True
    account = parts.get("accountname", "")
    key = account and _BASE64.fullmatch(parts.get("accountkey", ""))
    place = account or any(parts.get(f"{service}endpoint") for service in ("blob", "queue", "table"))
    return bool(key or (place and parts.get("sharedaccesssignature")))


def _source(value: str) -> str:
    """Refuse any value but a connection string or an https URL: with an identity, Azure accepts no http."""
    if value and not (_is_connection_string(value) or (is_web_root(value) and value.startswith("https:"))):
        raise ValueError("expected a connection string, or the https URL of an account's blob service")
    return value


def _service_uri(value: str) -> str:
    """Take the address of one service of an account; with an identity, Azure takes nothing but https."""
    if value and not (is_web_root(value) and value.startswith("https:")):
        raise ValueError("expected the https URL of one service of the account, without a key")
    return value.rstrip("/")


def _account(value: str) -> str:
    if value and not _ACCOUNT.fullmatch(value):
        raise ValueError("expected the name of a storage account: 3 to 24 lower-case letters and digits")
    return value


def _containers(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or not all(map(_is_container, names)):
        raise ValueError("expected names of containers, separated by commas")
    return names


def _no_blanks(value: str) -> str:
    if len(value.split()) > 1:
        raise ValueError("expected an identifier system, which has no blanks, or none, or issuer")
    return value


def _is_container(name: str) -> bool:
    """Whether a container may have this name; Azure itself gives two others."""
    return name in {"$root", "$web"} or NEW_CONTAINER.fullmatch(name) is not None


def _container(name: str) -> str:
    if not _is_container(name):
        raise ValueError("expected the name of a container")
    return name


def _time_zone(value: str) -> str:
    if value:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as problem:
            raise ValueError("expected an IANA time zone such as Europe/Berlin") from problem
    return value


def _comma_list(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _patient_ids(values: tuple[str, ...]) -> tuple[str, ...]:
    if any(len(value) > _LONGEST_PATIENT_ID for value in values):
        raise ValueError(f"expected Patient IDs of at most {_LONGEST_PATIENT_ID} characters, separated by commas")
    return values


def _instance_list(value: Any) -> Any:
    """Take a word as it is, and digits as a number."""
    if value in ("all", "series"):
        return value
    whole = isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value))
    number = 0 if isinstance(value, bool) or not whole else int(value)
    if number < 1:
        raise ValueError("expected all, series, or the number of instances up to which a study lists them")
    return number


def _json_object(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        document = json.loads(value)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        form = '{"HOSPITAL": "https://hospital.example/patient-ids"}'
        raise ValueError(f"expected a JSON object such as {form}")  # noqa: TRY004 -- pydantic wants ValueError
    return document


InstanceList = Annotated[Literal["all", "series"] | int, BeforeValidator(_instance_list)]

Uri = Annotated[str, AfterValidator(_absolute_uri)]
UrisByName = Annotated[dict[str, Uri], NoDecode, BeforeValidator(_json_object)]
IdentifierSystem = Annotated[str, AfterValidator(_no_blanks)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]

WebRoot = Annotated[str, AfterValidator(_web_root)]
Viewer = Annotated[str, AfterValidator(_viewer)]
GivenRoot = Annotated[WebRoot, AfterValidator(_given)]
RootWithoutVersion = Annotated[WebRoot, AfterValidator(_without_version)]
Topic = Annotated[str, AfterValidator(_topic)]
Webhook = Annotated[str, AfterValidator(_webhook)]

ServiceUri = Annotated[str, AfterValidator(_service_uri)]
Account = Annotated[str, AfterValidator(_account)]
ConnectionString = Annotated[str, AfterValidator(_connection_string)]
Source = Annotated[str, AfterValidator(_source)]
Container = Annotated[str, AfterValidator(_container)]
Containers = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_list), AfterValidator(_containers)]

PatientIds = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_list), AfterValidator(_patient_ids)]

SecureUrl = Annotated[str, AfterValidator(_secure_url)]
OneLine = Annotated[str, AfterValidator(_one_line)]
Scope = Annotated[str, AfterValidator(_scope)]
PemOrFile = Annotated[str, AfterValidator(_pem_or_file)]
Headers = Annotated[dict[str, str], NoDecode, BeforeValidator(_header_object)]
User = Annotated[str, AfterValidator(_user)]
PlainKey = Annotated[str, AfterValidator(_plain_key)]
AccessKey = Annotated[str, AfterValidator(_access_key)]
