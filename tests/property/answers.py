"""
Answers that no healthy service gives, and some that it does: what an adapter may get from its transport.

An answer is the service's own, its own and spoiled by the way, or of something else altogether; `Given.own` is whether
anything in it may count as the service's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.simulation.gateway.lies import PAGE, Answer, Asked, Reset

STATUSES = (
    200,
    201,
    202,
    204,
    206,
    301,
    304,
    400,
    401,
    403,
    404,
    405,
    408,
    409,
    410,
    412,
    413,
    416,
    424,
    429,
    500,
    503,
)

FOREIGN = (
    PAGE,
    b"",
    b" ",
    b"{}",
    b"null",
    b"1",
    b'"x"',
    b"[{}, 7]",
    b"[1, 2",
    b"[" * 5000,
    b"\xff\xfe{\x00}\x00",
    b"\x1f\x8b\x08\x00cut",
    b'{"resourceType": 5, "entry": 7, "link": "next"}',
    b'{"resourceType": "Patient", "id": "another", "meta": 4}',
    b'{"statusCode": 404, "message": "Resource not found"}',
    b'{"value": 3}',
    b'{"odata.error": {"code": 3}}',
    b"--batch\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nHTTP/1.1 no\r\n--x--\r\n--batch--",
    b'<?xml version="1.0"?><QueueMessagesList><QueueMessage><MessageId/></QueueMessage></QueueMessagesList>',
    b'<?xml version="1.0"?><EnumerationResults><Blobs><Blob><Name/></Blob></Blobs></EnumerationResults>',
)

HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Type": (
        "application/json",
        "application/fhir+json",
        "application/xml",
        "text/html",
        "multipart/mixed",
        ";",
    ),
    "Content-Encoding": ("gzip", "deflate", "identity", "none"),
    "Retry-After": ("0", "86400", "99999999999999999999", "-5", "soon", "Wed, 21 Oct 9999 07:28:00 GMT"),
    "ETag": ("", 'W/"', '"x"', "x" * 300),
    "Last-Modified": ("yesterday", "Wed, 21 Oct 9999 07:28:00 GMT"),
    "Date": ("never",),
    "Content-Range": ("bytes 0-0/1", "bytes x-y/z", "bytes */*"),
    "Location": ("https://elsewhere.example/", "//", "/again"),
    "x-ms-request-id": ("0",),
    "x-ms-approximate-messages-count": ("many", "-1"),
    "x-ms-continuation-NextPartitionKey": ("p",),
}
_HEADERS = st.dictionaries(st.sampled_from(sorted(HEADERS)), st.integers(0, 9), max_size=3).map(
    lambda chosen: {name: HEADERS[name][number % len(HEADERS[name])] for name, number in chosen.items()}
)


@dataclass(frozen=True)
class Given:
    """What the transport answers, or that it resets; ``own`` as above."""

    answer: Answer | None
    own: bool = False


def _foreign() -> st.SearchStrategy[Given]:
    return st.builds(
        lambda status, body, headers: Given(Answer(status, headers, body)),
        st.sampled_from(STATUSES),
        st.sampled_from(FOREIGN) | st.binary(max_size=40),
        _HEADERS,
    )


def _spoiled(own: Sequence[Answer]) -> st.SearchStrategy[Given]:
    def spoil(answer: Answer, way: str, share: float, status: int, headers: dict[str, str]) -> Given:
        body = answer.body
        start = int(len(body) * share)
        changes: dict[str, dict[str, Any]] = {
            "whole": {},
            "cut": {"body": body[:start]},
            "garbled": {"body": bytes(byte ^ 0x55 for byte in body)},
            "scanned": {"body": PAGE},
            "status": {"status": status},
            "headers": {"headers": {**answer.headers, **headers}},
            "part": {"body": body[:start] + body[start + 9 :]},
        }
        return Given(replace(answer, **changes[way]), own=True)

    ways = ("whole", "cut", "garbled", "scanned", "status", "headers", "part")
    return st.builds(
        spoil, st.sampled_from(own), st.sampled_from(ways), st.floats(0, 1), st.sampled_from(STATUSES), _HEADERS
    )


def answers(own: Sequence[Answer]) -> st.SearchStrategy[list[Given]]:
    """Give answers of the requests of one call, in turn; the last one for ever."""
    answer = _foreign() | _spoiled(own) | st.just(Given(None))
    return st.lists(answer, min_size=1, max_size=3) | st.lists(_foreign(), min_size=1, max_size=2)


class Line:
    """Sends answers in turn."""

    def __init__(self, given: Sequence[Given]) -> None:
        self._given = list(given)
        self.own = any(given_.own for given_ in given)

    async def __call__(self, _asked: Asked) -> Answer:
        """Answer a request, or raise `Reset`."""
        given = self._given[0] if len(self._given) == 1 else self._given.pop(0)
        if given.answer is None:
            raise Reset
        return given.answer


async def listed(rows: Any) -> list[Any]:
    """Return all that an iterator gives, or its first hundred."""
    kept = []
    async for row in rows:
        kept.append(row)
        if len(kept) >= 100:
            break
    return kept
