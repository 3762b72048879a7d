"""
Reads the answers of a FHIR service: statuses become our errors, bodies resources, whatever they contain.

Texts of the service never leave this package: see `sync.adapters.http.fhir.outcomes`.

Only an OperationOutcome is the service's own refusal, and only a Bundle its own answer to a search or a transaction (R4
http.html 3.1.0.1.4, "Servers SHOULD return an OperationOutcome"; HAPI and Azure always do). Any other answer, 404
included, comes from a gateway or a firewall and is a transient outage.

Source: FHIR R4 http.html (transaction, conditional requests), search.html 3.1.1.1.9 (paging).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from sync.adapters.http.fhir.outcomes import is_own, issues_of
from sync.adapters.http.remote import GONE
from sync.errors import FhirConflict, FhirRejected, FhirUnavailable, ForeignLink, Throttled
from sync.model import FhirWrite, Resource
from sync.model.elements import part, parts

BundleType = Literal["searchset", "history", "batch-response", "transaction-response"]
"""Types of the Bundles that answer our requests."""

_ETAG = re.compile(r'^(?:W/)?"?([^"]*)"?$')
_ADDRESS = re.compile(r"(?:^|/)([A-Za-z]+)/([A-Za-z0-9.-]{1,64})$")
_ESCAPED = re.compile(r"([\\,|$])")
_CONFLICTS = (409, 412)
_STAMPED = frozenset({"resourceType", "id", "meta"})
"""Elements of a resource version that has no content."""
_DENIED = (401, 403)

GATEWAY = (
    "A gateway, proxy or firewall answered instead of the FHIR service: check the network path; if there is none in "
    "between, correct DICOM_SYNC_FHIR_URL. Studies wait, and continue automatically once the service answers."
)
BODY_REFUSED = (
    "A gateway or firewall before the FHIR service refuses a body of this size: raise its limit, or set "
    "DICOM_SYNC_INSTANCES so that large studies do not list their instances. Retries are automatic."
)
FIREWALL = (
    "A firewall (WAF) or gateway before the FHIR service refused this request: exclude the service's paths from its "
    "rules on bodies. If there is none, give the function's identity the role FHIR Data Writer. Retries are "
    "automatic."
)
DEPENDENCY = "Another entry of the same transaction failed and the FHIR service cancelled this one; it is tried again."

_FOREIGN_HINTS: Mapping[int, str] = {413: BODY_REFUSED, 403: FIREWALL}


def is_gone(response: httpx.Response) -> bool:
    """Return whether the FHIR service itself says that the resource does not exist or was deleted."""
    return response.status_code in GONE and is_own(response)


def resource_in(entry: Mapping[str, Any]) -> Resource | None:
    """
    Return the resource in one entry of a batch's answer; None if it does not exist.

    Raises
    ------
    FhirUnavailable
        The entry succeeded without a resource; other statuses as in `raise_for`.
    """
    response = part(entry, "response")
    status = _status(response)
    if status in GONE:
        return None
    raise_for(status, response.get("outcome"))
    resource = dict(part(entry, "resource"))
    if not resource:
        raise FhirUnavailable("an entry answered without its resource", code="fhir.garbled", hint=GATEWAY)
    return resource


def one_resource(body: Mapping[str, Any] | None, resource_type: str, resource_id: str) -> Resource | None:
    """
    Return the resource that was requested by its id; None if there is none.

    Raises
    ------
    FhirUnavailable
        The answer is another resource: it is not the service's own, or answers were mixed up.
    """
    if body is None:
        return None
    if (body.get("resourceType"), body.get("id")) != (resource_type, resource_id):
        raise FhirUnavailable("the answer is not the resource that was asked for", code="fhir.garbled", hint=GATEWAY)
    return dict(body)


def _status(response: Mapping[str, Any]) -> int:
    digits = str(response.get("status") or "")[:3]
    return int(digits) if digits.isdecimal() else 0


def is_cancelled(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry failed only because another one of its transaction did (424)."""
    return _status(part(entry, "response")) == httpx.codes.FAILED_DEPENDENCY


def version_of(write: FhirWrite, response: Mapping[str, Any]) -> str | None:
    """Check one entry of a transaction's answer, and return the version: not every server's transactions are atomic."""
    status = _status(response)
    if write.resource is None:
        if status not in GONE:
            raise_for(status, response.get("outcome"))
        return None
    raise_for(status, response.get("outcome"), [write])
    etag = _ETAG.match(str(response.get("etag") or ""))
    if etag and etag[1]:
        return etag[1]
    history = str(response.get("location") or "").partition("/_history/")[2]
    return history or None


def raise_for(status: int, response: httpx.Response | Any, writes: Sequence[FhirWrite] = ()) -> None:
    """
    Raise our error for the status of an answer or of one of its entries, unless it is a success.

    Parameters
    ----------
    response
        The answer, or the OperationOutcome of the entry.
    writes
        The writes that were sent: an update of a version expects the resource to exist.

    Raises
    ------
    FhirConflict
        409, 412, or 404 and 410 where a version was to be updated.
    FhirRejected
        Other statuses from 400 on, with codes and element paths of the issues.
    Throttled, FhirUnavailable
        429; every other status, and every refusal that is not the service's own.
    """
    if httpx.codes.is_success(status):
        return
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise Throttled(str(status))
    if status == httpx.codes.FAILED_DEPENDENCY:
        raise FhirUnavailable(str(status), hint=DEPENDENCY)
    foreign = isinstance(response, httpx.Response) and not is_own(response)
    if foreign and status < httpx.codes.INTERNAL_SERVER_ERROR and status != httpx.codes.REQUEST_TIMEOUT:
        raise FhirUnavailable(str(status), code="fhir.gateway", hint=_FOREIGN_HINTS.get(status, GATEWAY))
    if status in _CONFLICTS:
        raise FhirConflict(str(status))
    if status in GONE and any(write.if_match for write in writes):
        raise FhirConflict(f"{status}: what was to be updated is gone")
    if httpx.codes.is_client_error(status) and status != httpx.codes.REQUEST_TIMEOUT:
        raise FhirRejected(f"{status} {issues_of(response)}".strip())
    raise FhirUnavailable(f"status {status}")


def object_of(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object in an answer; `FhirUnavailable` if it is not an object."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise FhirUnavailable("the answer is no JSON object", code="fhir.garbled", hint=GATEWAY)
    return body


def entries_of(response: httpx.Response, kind: BundleType, *, expected: int | None = None) -> list[dict[str, Any]]:
    """
    Return the entries of a Bundle of a type; exactly ``expected`` entries if each answers one request.

    Raises
    ------
    FhirUnavailable
        The answer is not such a Bundle, or has the wrong number of entries.
    """
    entries = _listed(_bundle_of(object_of(response), kind), "entry")
    if expected is not None and len(entries) != expected:
        raise FhirUnavailable(f"{len(entries)} entries answered {expected}", code="fhir.garbled", hint=GATEWAY)
    return entries


def _listed(bundle: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the entries or links of a Bundle; `FhirUnavailable` if they are no list: that does not mean "none"."""
    listed = bundle.get(name)
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise FhirUnavailable("a list in a Bundle is something else", code="fhir.garbled", hint=GATEWAY)
    return listed


def searchset_in(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """
    Return the searchset in one entry of a batch's answer; empty if the server does not know the search.

    None if the service does not permit the search (401, 403): its result is unknown.

    Raises
    ------
    Throttled, FhirUnavailable
        The entry's failure is transient, or it has no searchset, which does not prove that nothing matches.
    """
    response = part(entry, "response")
    status = _status(response)
    try:
        raise_for(status, response.get("outcome"))
    except (FhirConflict, FhirRejected):
        return refused_searchset(status)
    return searchset_of(part(entry, "resource"))


def refused_searchset(status: int) -> Mapping[str, Any] | None:
    """Return the result of a refused search: no match; None (unknown) if we may not search there (401, 403)."""
    return None if status in _DENIED else {}


def searchset_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the searchset in an answer; `FhirUnavailable` if it is not one: that does not prove "no match"."""
    return _bundle_of(body, "searchset")


def _bundle_of(body: Mapping[str, Any], kind: BundleType) -> Mapping[str, Any]:
    """Return the Bundle of this type (R4 ``Bundle.type``, 1..1), which says what its entries answer."""
    if (body.get("resourceType"), body.get("type")) != ("Bundle", kind):
        raise FhirUnavailable(f"the answer is no Bundle of type {kind}", code="fhir.garbled", hint=GATEWAY)
    return body


def resources_in(bundle: Mapping[str, Any]) -> list[Resource]:
    """Return the matches of a searchset, of whatever type; `FhirUnavailable` if its entries are no list."""
    matches = [_resource_of(entry) for entry in _listed(bundle, "entry") if _mode(entry) == "match"]
    return [resource for resource in matches if resource]


def matches(response: httpx.Response, resource_type: str) -> list[Resource]:
    """
    Return the resources of a type that a search found.

    Raises
    ------
    FhirUnavailable
        The answer is no searchset, or has matches of another type: it answers another request.
    """
    resources = [_resource_of(entry) for entry in entries_of(response, "searchset") if _mode(entry) == "match"]
    if {resource.get("resourceType") for resource in resources if resource} - {resource_type, "OperationOutcome"}:
        raise FhirUnavailable("a search answered with another type", code="fhir.garbled", hint=GATEWAY)
    return [resource for resource in resources if resource.get("resourceType") == resource_type]


def last_body(response: httpx.Response, resource_type: str) -> Resource | None:
    """
    Return the resource of a history's latest version that has one; None when no version has.

    A deletion is a version too. On most servers it has no resource; on Azure's, the resource has only its type and id
    (microsoft/fhir-server, ``DeletionService.CreateSoftDeletedWrapper``) and would be an empty resource if written
    back. Source: FHIR R4 http.html, history: the latest version comes first.
    """
    for entry in entries_of(response, "history"):
        resource = _resource_of(entry)
        is_deletion = part(entry, "request").get("method") == "DELETE" or not resource.keys() - _STAMPED
        if resource.get("resourceType") == resource_type and not is_deletion:
            return resource
    return None


def _resource_of(entry: Mapping[str, Any]) -> Resource:
    """Return an entry's resource; if it lacks its id, the id is taken from ``fullUrl``."""
    resource = dict(part(entry, "resource"))
    address = _ADDRESS.search(str(entry.get("fullUrl") or ""))
    if resource and not resource.get("id") and address and address[1] == resource.get("resourceType"):
        resource["id"] = address[2]
    return resource


def carries(resource: Resource, system: str | None, value: str) -> bool:
    """
    Return whether a resource carries exactly this identifier; of any system when it is None.

    A search may find other identifiers too: microsoft/fhir-server indexes tokens as Windows-1252 with ``?`` for every
    other character, and other servers ignore case.
    """
    return any(
        identifier.get("value") == value and system in (None, identifier.get("system", ""))
        for identifier in parts(resource, "identifier")
    )


def escape_token(token: str) -> str:
    r"""Escape a search token (R4 search.html, 3.1.1.4.0.1): ``\``, ``,``, ``|`` and ``$``."""
    return _ESCAPED.sub(r"\\\1", token)


def following(response: httpx.Response, base: str, resource_type: str) -> str | None:
    """Link to the next page of an answer; see `next_link`."""
    return next_link(object_of(response), base, resource_type)


def next_link(bundle: Mapping[str, Any], base: str, resource_type: str) -> str | None:
    """
    Link to the next page, relative to the base URL; None after the last.

    Only path and query of a link are used, never its host. A service behind a gateway often names its internal host, so
    a link with a matching path is requested below our own base URL, and no request is ever sent elsewhere.

    Raises
    ------
    ForeignLink
        The link's path is neither below ours nor that of a search: it gets no request, and no token.
    FhirUnavailable
        The links are no list: a page without a next one must not look like the last.
    """
    urls = [link.get("url") for link in _listed(bundle, "link") if link.get("relation") == "next"]
    if not urls:
        return None
    try:
        target, home = urlsplit(urljoin(f"{base}/", str(urls[0]))), urlsplit(base)
        path = _below(target, home, resource_type)
    except ValueError:
        raise ForeignLink("the next page has no readable address") from None
    if path is None:
        raise ForeignLink("the next page is outside the base URL")
    return f"{path}?{target.query}"


def _below(target: SplitResult, home: SplitResult, resource_type: str) -> str | None:
    """
    Return the path of a link below our base URL; None when it fits nowhere there.

    A gateway may change the path too: ``https://gateway/hospital/fhir`` for ``http://internal:8080/fhir``. A link of a
    search then still ends like our own URLs: in the searched type or in the last segment of our base URL.
    """
    segments = target.path.rstrip("/").split("/")
    if target.scheme not in ("http", "https") or target.port == 0 or ".." in segments:
        return None
    if target.path == home.path or target.path.startswith(f"{home.path}/"):
        return target.path[len(home.path) :]
    if _is_same_origin(target, home) or not target.query:
        return None
    if segments[-1] == resource_type:
        return f"/{resource_type}"
    return "" if segments[-1] == home.path.rpartition("/")[2] else None


def _is_same_origin(one: SplitResult, other: SplitResult) -> bool:
    def origin(url: SplitResult) -> tuple[str, str | None, int | None]:
        return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)

    return origin(one) == origin(other)


def _mode(entry: Mapping[str, Any]) -> str:
    return str(part(entry, "search").get("mode") or "match")
