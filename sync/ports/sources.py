"""Stores of DICOM objects: files, DICOM services, and the feeds of their changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from sync.model import (
    Chunk,
    FeedSegment,
    InstanceMetadata,
    ObjectRef,
    Page,
    StudyRef,
)


class ObjectSource(Protocol):
    """The store of DICOM objects."""

    async def read(self, ref: ObjectRef, *, start: int, length: int, etag: str | None = None) -> Chunk:
        """
        Read bytes ``start`` to ``start + length``; a range past the end is cut short, an empty object gives no bytes.

        Raises
        ------
        SourceGone
            The object, or its container, does not exist.
        SourceChanged
            ``etag`` was given and the object has another one now.
        SourceUnavailable
            The store did not answer.
        """
        ...

    async def etag(self, ref: ObjectRef) -> str:
        """
        Return the object's ETag, without quotes, and none of its bytes.

        Raises
        ------
        SourceGone, SourceUnavailable
            See `read`.
        """
        ...


class ObjectListing(Protocol):
    """What is in a container, page by page."""

    async def page(self, container: str, *, prefix: str = "", token: str | None = None, size: int = 1000) -> Page:
        """
        Return the next objects whose names begin with ``prefix``, in the order of their names.

        Folders that a store keeps as objects of their own are left out; a page may be empty though others follow.

        Parameters
        ----------
        token
            Of the page before, None for the first one. It stays good for as long as the container is there.
        size
            Objects of a page at most; at least 1.

        Raises
        ------
        SourceGone
            There is no such container.
        ForeignSource
            It is not among the configured ones.
        StaleToken
            The store no longer takes the token: begin again.
        SourceUnavailable
            The store did not answer.
        """
        ...


class BlobFeed(Protocol):
    """The change feed of the account of the DICOM files: every change of its blobs, in segments of about an hour."""

    def segments(self, start: datetime, end: datetime) -> AsyncIterator[FeedSegment]:
        """
        Iterate over the segments that begin from ``start`` on and before ``end``, in order, as far as they may be read.

        Raises
        ------
        FeedMissing
            The account has no change feed.
        FeedMalformed
            It is not as documented.
        SourceUnavailable
            The store did not answer.
        """
        ...

    def records(self, segment: FeedSegment) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """
        Iterate over the records of a segment, some at a time; those of a finished one always in the same portions.

        Raises
        ------
        FeedMalformed, SourceUnavailable
            As `segments`.
        """
        ...


class InstanceSource(Protocol):
    """
    A DICOM service: it tells the attributes of its instances as DICOM JSON. `Services.instances` holds ours by account.

    Its objects are named as `sync.model.ObjectRef`: ``account`` is the service, ``container`` the data partition (empty
    where there is none), ``name`` what the service calls the instance.
    """

    @property
    def account(self) -> str:
        """What `ObjectRef.account` of its instances is."""
        ...

    async def metadata(self, ref: ObjectRef) -> InstanceMetadata:
        """
        Return what the service says of the instance now.

        Raises
        ------
        SourceGone
            There is no such instance.
        SourceUnavailable
            The service did not answer, refused us, or answered what is no DICOM JSON.
        """
        ...

    def objects_of(self, study: StudyRef) -> AsyncIterator[ObjectRef]:
        """
        Iterate over the instances that the service holds of a study now, in no particular order; none is fine.

        Raises
        ------
        StudyUnlisted
            At the end: it has more, which it cannot name.
        SourceUnavailable
            See `metadata`.
        """
        ...


@runtime_checkable
class RetrievableSource(InstanceSource, Protocol):
    """
    A DICOM service whose metadata leave out what it takes for invalid, and which gives the instances themselves.

    An attribute that its metadata lack may still be in the file: Azure's service drops it and warns only the sender.
    """

    def content(self, ref: ObjectRef) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """
        Return the bytes of the instance from its beginning, as they are stored; leaving the block ends the transfer.

        Raises
        ------
        SourceGone
            There is no such instance.
        SourceUnavailable
            The service did not answer, or refused us.
        """
        ...


class ChangeFeed(Protocol):
    """
    What happened to the instances of a DICOM service, in order: the feed of Azure's, version 2.

    ``state`` and metadata of an entry say what the instance is *now*, when the page is read, not what the entry did.
    """

    @property
    def account(self) -> str:
        """What `ObjectRef.account` of its instances is."""
        ...

    async def page(
        self, *, start: str = "", end: str = "", offset: int = 0, limit: int = 200, metadata: bool = True
    ) -> Sequence[Any]:
        """
        Return entries of a window of time, by timestamp and sequence, as the service sent them: nothing is checked.

        Parameters
        ----------
        start
            First timestamp, ISO 8601 with an offset; empty: from the beginning.
        end
            First timestamp that is no longer wanted; empty: to the end.
        offset
            Entries of the window to skip.
        limit
            Entries to return at most, up to 200.
        metadata
            Whether the entries carry the metadata of their instances.

        Raises
        ------
        SourceUnavailable
            The service did not answer, refused us, or answered no list.
        """
        ...


class OrthancServer(InstanceSource, Protocol):
    """An Orthanc: besides metadata it tells what was stored, and what it holds."""

    async def changes(self, since: int, limit: int) -> Any:
        """
        Return the changes after a sequence number as the server sent them: nothing is checked.

        Raises
        ------
        SourceUnavailable
            The server did not answer, or refused us.
        """
        ...

    async def count(self) -> int | None:
        """Return how many instances it holds; None when it does not say. Raises like `changes`."""
        ...

    def held(self) -> AsyncIterator[ObjectRef]:
        """Iterate over all its instances, in no particular order. Raises like `changes`."""
        ...

    def ref(self, instance: str) -> ObjectRef:
        """Return the reference of an instance by Orthanc's own id; ValueError when it can be none."""
        ...
