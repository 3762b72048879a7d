"""
The two requests that the Event Grid stand-in makes for every upload, made cheaply.

The Azure SDK spends more than a millisecond of processor time on a request, several times what these take otherwise;
on a small machine that would slow down what is being measured. They are signed once, by a shared access signature for
the whole life of the emulator's account. Everything rarer goes through the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, Services, generate_account_sas
from azure.storage.queue import QueueServiceClient
from yarl import URL

from sync.adapters.no_answer import cause_of

_LIFE = timedelta(days=365)
_GONE = 404
_REFUSED = 400


class RefusedError(Exception):
    """The storage refused or did not answer; the text holds the status or the kind of failure, no name."""


class StorageClient:
    """
    Inspects blobs and sends messages; an asynchronous context manager.

    Parameters
    ----------
    connection_string
        The storage account; it must hold the account key.
    queue_name
        Where messages go.
    """

    def __init__(self, connection_string: str, queue_name: str) -> None:
        blobs = BlobServiceClient.from_connection_string(connection_string)
        queues = QueueServiceClient.from_connection_string(connection_string)
        signature = generate_account_sas(
            account_name=str(blobs.account_name),
            account_key=blobs.credential.account_key,
            resource_types=ResourceTypes(object=True),
            permission=AccountSasPermissions(read=True, add=True),
            expiry=datetime.now(UTC) + _LIFE,
            services=Services(blob=True, queue=True),
        )
        self._blobs, self._signature = blobs.url.rstrip("/"), signature
        self._messages = URL(f"{queues.url.rstrip('/')}/{queue_name}/messages?messagettl=-1&{signature}", encoded=True)

    async def __aenter__(self) -> Self:
        """Open the connections."""
        self._session = aiohttp.ClientSession(headers={"x-ms-version": "2021-12-02"}, raise_for_status=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._session.close()

    async def properties(self, container: str, name: str) -> dict[str, Any] | None:
        """
        Return the properties of a blob for an event, as it is now; None if it is gone.

        Raises
        ------
        RefusedError
            The storage did not say.
        """
        address = f"{self._blobs}/{quote(container, safe='$')}/{quote(name)}?{self._signature}"
        headers = await self._ask("HEAD", URL(address, encoded=True))
        return (
            None
            if headers is None
            else {
                "eTag": headers["ETag"].strip('"'),
                "contentType": headers["Content-Type"],
                "contentLength": int(headers["Content-Length"]),
                "blobType": headers["x-ms-blob-type"],
            }
        )

    async def send(self, content: str) -> None:
        """
        Put a message into the queue, without an expiry.

        Parameters
        ----------
        content
            Text that needs no escaping in XML, such as base64.

        Raises
        ------
        RefusedError
            It is not in the queue, or that is unknown.
        """
        body = f"<QueueMessage><MessageText>{content}</MessageText></QueueMessage>"
        if await self._ask("POST", self._messages, body) is None:
            raise RefusedError("the queue does not exist")

    async def _ask(self, method: str, url: URL, body: str | None = None) -> Mapping[str, str] | None:
        """Return the answer's headers, or None for 404."""
        try:
            async with self._session.request(method, url, data=body) as answer:
                if answer.status == _GONE:
                    return None
                if answer.status >= _REFUSED:
                    raise RefusedError(f"status {answer.status}")
                return answer.headers
        except (TimeoutError, aiohttp.ClientError) as problem:
            raise RefusedError(cause_of(problem) or "no answer") from problem
