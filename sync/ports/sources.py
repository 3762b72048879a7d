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
    """Lists a container, page by page."""

    async def page(self, container: str, *, prefix: str = "", token: str | None = None, size: int = 1000) -> Page:
        """
        Return the next objects whose names begin with ``prefix``, in the order of their names.

        Folders that a store keeps as objects of their own are left out; a page may be empty though others follow.

        Parameters
        ----------
        token
            ``token`` of the previous page, None for the first one. It stays valid as long as the container exists.
        size
            Maximum number of objects on a page; at least 1.

        Raises
        ------
        SourceGone
            The container does not exist.
        ForeignSource
            It is not among the configured ones.
        StaleToken
            The store no longer accepts the token: start the listing again.
        SourceUnavailable
            The store did not answer.
        """
        ...


class BlobFeed(Protocol):
    """The change feed of the account of the DICOM files: every change of its blobs, in segments of about an hour."""

    def segments(self, start: datetime, end: datetime) -> AsyncIterator[FeedSegment]:
        """
        Iterate, in order, over the readable segments that begin at or after ``start`` and before ``end``.

        Raises
        ------
        FeedMissing
            The account has no change feed.
        FeedMalformed
            The feed does not have the documented form.
        SourceUnavailable
            The store did not answer.
        """
        ...

    def records(self, segment: FeedSegment) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """
        Iterate over the records of a segment in portions; a finished segment always gives the same portions.

        Raises
        ------
        FeedMalformed, SourceUnavailable
            As `segments`.
        """
        ...


class InstanceSource(Protocol):
    """
    A DICOM service that returns attributes of its instances as DICOM JSON. `Services.instances` holds ours by account.

    An `ObjectRef` names its objects: ``account`` is the service, ``container`` the data partition (empty without any),
    ``name`` the service's own name of the instance.
    """

    @property
    def account(self) -> str:
        """Return the `ObjectRef.account` of the service's instances."""
        ...

    async def metadata(self, ref: ObjectRef) -> InstanceMetadata:
        """
        Return the present metadata of the instance.

        Raises
        ------
        SourceGone
            There is no such instance.
        SourceUnavailable
            The service did not answer, refused us, or answered with something other than DICOM JSON.
        """
        ...

    def objects_of(self, study: StudyRef) -> AsyncIterator[ObjectRef]:
        """
        Iterate over the instances of a study that the service holds now, in no particular order; there may be none.

        Raises
        ------
        StudyUnlisted
            Raised at the end: the service holds more instances, which it cannot name.
        SourceUnavailable
            See `metadata`.
        """
        ...


@runtime_checkable
class RetrievableSource(InstanceSource, Protocol):
    """
    A DICOM service that omits attributes it considers invalid from the metadata, and returns whole instances.

    An attribute that its metadata lack may still be in the file: Azure's service drops it and warns only the sender.
    """

    def content(self, ref: ObjectRef) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """
        Return the stored bytes of the instance from its beginning; leaving the block ends the transfer.

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
    The change feed of a DICOM service, in order; in the form of Azure's change feed, version 2.

    ``state`` and metadata of an entry describe the instance when the page is read, not the change itself.
    """

    @property
    def account(self) -> str:
        """Return the `ObjectRef.account` of the server's instances."""
        ...

    async def page(
        self, *, start: str = "", end: str = "", offset: int = 0, limit: int = 200, metadata: bool = True
    ) -> Sequence[Any]:
        """
        Return the entries of a time window, by timestamp and sequence, as the service sent them: nothing is validated.

        Parameters
        ----------
        start
            First timestamp, ISO 8601 with an offset; empty: from the beginning.
        end
            Exclusive end of the window, ISO 8601 with an offset; empty: to the end.
        offset
            Entries of the window to skip.
        limit
            Maximum number of entries to return, up to 200.
        metadata
            Whether the entries carry the metadata of their instances.

        Raises
        ------
        SourceUnavailable
            The service did not answer, refused us, or did not answer with a list.
        """
        ...


class OrthancServer(InstanceSource, Protocol):
    """An Orthanc server: besides metadata, it lists its changes and its instances."""

    async def changes(self, since: int, limit: int) -> Any:
        """
        Return the changes after a sequence number as the server sent them: nothing is validated.

        Raises
        ------
        SourceUnavailable
            The server did not answer, or refused us.
        """
        ...

    async def count(self) -> int | None:
        """Return the number of instances on the server; None when it does not say. Raises like `changes`."""
        ...

    def held(self) -> AsyncIterator[ObjectRef]:
        """Iterate over all instances of the server, in no particular order. Raises like `changes`."""
        ...

    def ref(self, instance: str) -> ObjectRef:
        """Return the reference of an instance by Orthanc's own id; ValueError when the text cannot be such an id."""
        ...
