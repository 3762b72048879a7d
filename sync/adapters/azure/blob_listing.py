"""
A page of a blob listing: requested through the library, read here.

    the library's request (sign-in, retries, logging)  ->  its XML tree of the answer  ->  the five fields we use

The library builds a model of seventy fields for each blob, which costs more than everything else that a walk does with
a known object (ADR 0051). Its listing of names builds no such model, and keeps the parsed answer where a hook of the
request finds it. Source: Azure "List Blobs" (response body, ``Encoded`` names since version 2021-02-12,
``ResourceType`` since 2020-10-02).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz
from functools import lru_cache
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from azure.core.pipeline.policies import ContentDecodePolicy
from azure.storage.blob.aio import ContainerClient

_YES, _NO = ("true", "1"), ("false", "0", None)

_DIRECTORY = "directory"
"""``ResourceType`` of a directory, in accounts with a hierarchical namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedBlob:
    """A blob in a listing: the ETag as the listing spells it, empty if it has none."""

    name: str
    etag: str
    size: int
    last_modified: datetime
    metadata: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobPage:
    """Blobs of one answer, their container, and the marker of the next answer if there is one."""

    container: str | None
    blobs: tuple[ListedBlob, ...]
    marker: str | None


async def list_blobs(client: ContainerClient, *, prefix: str, marker: str | None, size: int) -> BlobPage:
    """
    Request a page of a container's blobs, with their metadata. One request, not counting the library's retries.

    Raises
    ------
    ValueError
        The answer is not a page of blobs.
    AzureError
        The service did not answer, or refused.
    """
    answers: list[Any] = []
    names = client.list_blob_names(
        name_starts_with=prefix or None, include=["metadata"], results_per_page=size, raw_response_hook=answers.append
    )
    await anext(names.by_page(continuation_token=marker))
    # The last one: the library retried the earlier answers.
    return parse_page(answers[-1].context[ContentDecodePolicy.CONTEXT_NAME])


def parse_page(root: Element) -> BlobPage:
    """
    Read an answer; unused fields, directories, and prefixes of a listing by folders are ignored.

    Raises
    ------
    ValueError
        The answer is not a list of blobs, or a blob lacks its name, size or time, or has one of them twice.
    """
    if root.tag != "EnumerationResults":
        raise ValueError("no listing")
    parts = _fields(root)
    if "Blobs" not in parts:
        raise ValueError("a listing without its list")
    return BlobPage(
        container=root.get("ContainerName"),
        blobs=tuple(filter(None, (_blob(element) for element in parts["Blobs"] if element.tag == "Blob"))),
        marker=_text(parts, "NextMarker") or None,
    )


def _blob(element: Element) -> ListedBlob | None:
    """Return the blob; None for a directory, which may lack fields that every blob has."""
    parts = _fields(element)
    properties = _fields(parts["Properties"]) if "Properties" in parts else {}
    if _text(properties, "ResourceType") == _DIRECTORY:
        return None
    return ListedBlob(
        name=_name(parts.get("Name")),
        etag=_text(properties, "Etag"),
        size=int(_text(properties, "Content-Length")),
        last_modified=_time(_text(properties, "Last-Modified")),
        metadata={entry.tag: entry.text for entry in parts.get("Metadata", ())},
    )


def _fields(element: Element) -> dict[str, Element]:
    fields = {child.tag: child for child in element}
    if len(fields) != len(element):
        raise ValueError("a field is there twice")
    return fields


def _text(fields: Mapping[str, Element], tag: str) -> str:
    return (fields[tag].text or "") if tag in fields else ""


def _name(element: Element | None) -> str:
    """Return the name; a name that XML cannot hold is percent-encoded and marked ``Encoded``."""
    if element is None or not element.text:
        raise ValueError("a blob without a name")
    encoded, name = element.get("Encoded"), element.text
    if encoded in _NO:
        return name
    if encoded not in _YES:
        raise ValueError("a name that is encoded in no known way")
    return unquote(name)


@lru_cache(maxsize=1024)
def _time(text: str) -> datetime:
    """Parse a date of RFC 1123. Cached, because uploads come in bursts: many blobs have the same second."""
    parsed = parsedate_tz(text)
    if parsed is None:
        raise ValueError("no date")
    return datetime(*parsed[:6], tzinfo=timezone(timedelta(seconds=parsed[9] or 0))).astimezone(UTC)
