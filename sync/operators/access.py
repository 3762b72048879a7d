"""
Who calls an HTTP function, and whether they may change anything. Pure: headers and settings in, a `Caller` out.

    headers ──> caller_of ──> Caller(kind, name, may_operate)        for pages: show the buttons or not
            ──> operator_of ──> Caller, or AccessRefused             for everything that acts

The host has checked the function key before we run; here is what comes on top. With ``DICOM_SYNC_OPERATORS`` = ``none``
no one may act; with ``key`` the key is enough, and the caller says who it is; with ``entra`` App Service authentication
says it, in a header that the front end sets and that it removes from requests that bring one of their own. Where no
such front end stands before us the header proves nothing: any holder of the key could send it, and a container or a pod
gets no front end. So the role counts only where App Service says ``WEBSITE_AUTH_ENABLED=True``; unset means no.

A browser carries its session, or the key that stands in the address of its page, to us from any site that asks it to.
So whatever acts must come from our own pages, or from no browser at all: see `operator_of`.

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
"""By which a holder of the key says who acts; kept with what was done."""

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
The first of these that is there names the caller; an application has only the last two.

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
    Return the caller. Whatever the headers hold, it never raises: what cannot be understood gives a reader.

    Parameters
    ----------
    headers
        Of the request; the case of their names does not matter.
    says
        Who the caller says it is, in a field of a form or body; in mode ``key`` the header `OPERATOR_HEADER` wins.
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
    """Return who is signed in; None unless App Service vouches for it, whatever the headers hold. Never raises."""
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
        only look.
    """
    if not is_same_site(headers):
        hint = "Act from the dashboard itself, or without a browser."
        raise AccessRefused("the request comes from another site", code="access.cross_site", hint=hint)
    caller = caller_of(headers, settings, says=says)
    refuse_readers(caller, settings)
    return caller


def refuse_readers(caller: Caller, settings: Settings) -> None:
    """Raise `AccessRefused` when the caller may only look."""
    if not caller.may_operate:
        raise AccessRefused(f"operators: {settings.operators}")


def is_same_site(named: Mapping[str, str]) -> bool:
    """
    Whether the request was sent by a page of ours, not by another site.

    Every browser of today says where a request comes from, and no page can make it lie. Older ones, and those that
    speak plain HTTP to another machine, send an ``Origin`` with every POST; programs send neither.
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
    """Yield type and value of each claim; nothing when the header is not what App Service sends."""
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
    """Return what can be shown and logged of a name: one line, nothing that turns the writing direction."""
    return "".join(character for character in text if character.isprintable()).strip()[:_LONGEST_NAME]
