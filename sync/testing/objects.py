"""
A store of objects in memory.

Actions of the outside world (put, delete), which tests call, are plain methods; the sync's own are coroutines of ports.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sync.adapters.clocks import SystemClock
from sync.errors import ForeignSource, SourceChanged, SourceGone, StaleToken
from sync.model import Chunk, ListedObject, ObjectRef, Page
from sync.ports import Clock, ObjectListing, ObjectSource

_etags = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _Blob:
    data: bytes
    etag: str
    last_modified: datetime


class MemoryObjects(ObjectSource, ObjectListing):
    """A store of objects; tests put and delete them."""

    def __init__(
        self, clock: Clock | None = None, *, account: str = "memory", containers: Sequence[str] = ("dicom",)
    ) -> None:
        self._clock = clock or SystemClock()
        self._account = account
        self._containers = tuple(containers)
        self._blobs: dict[ObjectRef, _Blob] = {}

    def ref(self, name: str) -> ObjectRef:
        """Return the reference of a name in the first container."""
        return ObjectRef(account=self._account, container=self._containers[0], name=name)

    def refs(self) -> list[ObjectRef]:
        """Return every object that is there now."""
        return list(self._blobs)

    def put(self, ref: ObjectRef, data: bytes) -> str:
        """Create or overwrite an object; return its new ETag."""
        etag = f"0x{next(_etags):X}"
        self._blobs[ref] = _Blob(data, etag, self._clock.now())
        return etag

    def delete(self, ref: ObjectRef) -> None:
        """Delete an object; a missing one is fine."""
        self._blobs.pop(ref, None)

    async def read(self, ref: ObjectRef, *, start: int, length: int, etag: str | None = None) -> Chunk:
        """Read a range; see `sync.ports.ObjectSource`. `ForeignSource` when account or container are others."""
        if ref.account != self._account or ref.container not in self._containers:
            raise ForeignSource("the account or container is not configured")
        blob = self._blobs.get(ref)
        if blob is None:
            raise SourceGone("no such object")
        if etag is not None and etag != blob.etag:
            raise SourceChanged("the object has another ETag now")
        data = blob.data[start : start + length]
        return Chunk(data=data, etag=blob.etag, size=len(blob.data), last_modified=blob.last_modified)

    async def etag(self, ref: ObjectRef) -> str:
        """Return the object's ETag."""
        return (await self.read(ref, start=0, length=0)).etag

    async def page(self, container: str, *, prefix: str = "", token: str | None = None, size: int = 1000) -> Page:
        """List a container; see `sync.ports.ObjectListing`. The token is the name that the next page begins with."""
        if container not in self._containers:
            raise ForeignSource("the container is not configured")
        names = sorted(ref.name for ref in self._blobs if ref.container == container and ref.name.startswith(prefix))
        if token is not None and not token.startswith(prefix):
            raise StaleToken("the token is of another listing")
        remaining = [name for name in names if token is None or name >= token]
        listed = tuple(
            self._listed(ObjectRef(account=self._account, container=container, name=n)) for n in remaining[:size]
        )
        return Page(objects=listed, token=remaining[size] if len(remaining) > size else None)

    def _listed(self, ref: ObjectRef) -> ListedObject:
        blob = self._blobs[ref]
        return ListedObject(object=ref, etag=blob.etag, size=len(blob.data), last_modified=blob.last_modified)
