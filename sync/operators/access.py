"""
Determines who calls an HTTP function, and whether they may change data. Pure: headers and settings in, `Caller` out.

    headers ──> caller_of ──> Caller(kind, name, may_operate)        for pages: show the buttons or not
            ──> operator_of ──> Caller, or AccessRefused             for everything that acts

The host checks the function key before this code runs. With ``DICOM_SYNC_OPERATORS`` = ``none`` no caller may act; with
``key`` the key is enough, and callers state their own name; with ``entra`` App Service authentication states it, in a
header that the front end sets and removes from incoming requests. Without such a front end, as in a container or a pod,
the header proves nothing: any holder of the key could send it. So the role counts only if App Service sets
``WEBSITE_AUTH_ENABLED=True``; unset means no.

Any site can make a browser send us requests with its session, or with the key in the address of a page. So a request
that acts must come from our own pages, or not from a browser: see `operator_of`.

Sources: Azure App Service, "Work with user identities in Azure App Service authentication" (client principal) and
"Environment variables and app settings" (``WEBSITE_AUTH_*``); W3C "Fetch Metadata Request Headers"; RFC 6454 (Origin).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from sync.config import Settings
from sync.errors import AccessRefused

OPERATOR_HEADER = "X-DICOM-Sync-Operator"
"""Header in which a holder of the key states a name; recorded with the action."""

ROLE = "operator"
"""App role, in the claims of type ``roles``, whose members may act in mode ``entra``."""

_PRINCIPAL_HEADER = "x-ms-client-principal"
_LONGEST_PRINCIPAL = 64 * 1024
_LONGEST_NAME = 100
_ROLE_CLAIMS = frozenset({"roles", "role", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"})
_CLAIMS_2005 = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
_NAME_CLAIMS = (
    "preferred_username",
    "upn",
    f"{_CLAIMS_2005}/upn",
    f"{_CLAIMS_2005}/name",
    f"{_CLAIMS_2005}/emailaddress",
    "name",
    "appid",
    "azp",
)
"""
The first of these claims that is present names the caller; an application has only the last two.

App Service gives some claims longer names than the token does, and which ones depends on its setting
``WEBSITE_AUTH_USE_LEGACY_CLAIMS``; ``preferred_username`` and ``name`` keep theirs.
"""

_OUR_OWN = frozenset({"same-origin", "none"})

Kind = Literal["reader", "key", "person"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """
    The caller: a reader, the holder of the key, or a person (or application) that signed in.

    ``name`` is printable and at most 100 characters; empty when the caller did not say.
    """

    kind: Kind = "reader"
    name: str = ""
    may_operate: bool = False


def caller_of(headers: Mapping[str, str], settings: Settings, *, says: str = "") -> Caller:
    """
    Return the caller. Never raises, whatever the headers hold: unintelligible headers give a reader.

    Parameters
    ----------
    headers
        Of the request; the case of their names does not matter.
    says
        The name that the caller states in a field of a form or body; in mode ``key`` the header `OPERATOR_HEADER` wins.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    if settings.operators == "key":
        return Caller(kind="key", name=_name(lowered.get(OPERATOR_HEADER.lower(), "") or says), may_operate=True)
    if settings.operators == "entra" and settings.signs_in:
        return _signed_in(lowered.get(_PRINCIPAL_HEADER, ""))
    return Caller()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A person that App Service signed in, with the app roles; ``name`` as in `Caller`."""

    name: str
    roles: frozenset[str]


def signed_in(headers: Mapping[str, str], settings: Settings) -> SignedIn | None:
    """Return who is signed in; None unless App Service vouches for the headers. Never raises."""
    if not settings.signs_in:
        return None
    values = {name.lower(): value for name, value in headers.items()}
    claims = list(_claims(values.get(_PRINCIPAL_HEADER, "")))
    if not claims:
        return None
    named = dict(reversed(claims))
    name = next((named[kind] for kind in _NAME_CLAIMS if named.get(kind)), "")
    return SignedIn(name=_name(name), roles=frozenset(value for kind, value in claims if kind in _ROLE_CLAIMS))


def operator_of(headers: Mapping[str, str], settings: Settings, *, says: str = "") -> Caller:
    """
    Return the caller of a function that acts.

    Parameters
    ----------
    headers, says
        As for `caller_of`. ``Host`` must be among the headers for browsers that send no Fetch Metadata.

    Raises
    ------
    AccessRefused
        ``access.cross_site``: a browser sends this for a page that is not ours. ``access.not_operator``: the caller may
        only read.
    """
    if not is_same_site(headers):
        hint = "Act from the dashboard itself, or without a browser."
        raise AccessRefused("the request comes from another site", code="access.cross_site", hint=hint)
    caller = caller_of(headers, settings, says=says)
    refuse_readers(caller, settings)
    return caller


def refuse_readers(caller: Caller, settings: Settings) -> None:
    """Raise `AccessRefused` when the caller may only read."""
    if not caller.may_operate:
        raise AccessRefused(f"operators: {settings.operators}")


def is_same_site(named: Mapping[str, str]) -> bool:
    """
    Return whether the request was sent by a page of ours, not by another site.

    Every current browser states where a request comes from, and no page can forge that. Older browsers, and those that
    use plain HTTP to another machine, send an ``Origin`` with every POST; programs send neither.
    """
    headers = {name.lower(): value for name, value in named.items()}
    if (site := headers.get("sec-fetch-site")) is not None:
        return site.strip().lower() in _OUR_OWN
    if (origin := headers.get("origin")) is None:
        return True
    try:
        return urlsplit(origin.strip()).netloc.lower() == headers.get("host", "").strip().lower() != ""
    except ValueError:
        return False


def _signed_in(header: str) -> Caller:
    claims = list(_claims(header))
    if not claims:
        return Caller()
    named = dict(reversed(claims))
    name = next((named[kind] for kind in _NAME_CLAIMS if named.get(kind)), "")
    may_operate = any(kind in _ROLE_CLAIMS and value == ROLE for kind, value in claims)
    return Caller(kind="person", name=_name(name), may_operate=may_operate)


def _claims(header: str) -> Iterator[tuple[str, str]]:
    """Yield type and value of each claim; nothing when the header does not have App Service's form."""
    if len(header) > _LONGEST_PRINCIPAL:
        return
    try:
        principal: Any = json.loads(base64.b64decode(header, validate=True))
    except (ValueError, RecursionError):
        return
    claims = principal.get("claims") if isinstance(principal, dict) else None
    for claim in claims if isinstance(claims, list) else []:
        kind, value = (claim.get("typ"), claim.get("val")) if isinstance(claim, dict) else (None, None)
        if isinstance(kind, str) and isinstance(value, str):
            yield kind, value


def _name(text: str) -> str:
    """Return a name that can be shown and logged: one line, without characters that change the writing direction."""
    return "".join(character for character in text if character.isprintable()).strip()[:_LONGEST_NAME]
