"""
What a gateway answers in place of the service behind it, or makes of the service's answers.

It lies in spells: from one moment on, for seconds or for hours, in one way. Requests that change nothing may be
answered from its cache; what it resets may have taken effect.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

PAGE = b"<!DOCTYPE html><html><head><title>Gateway</title></head><body><h1>It is not here</h1></body></html>"
_HTML = {"Content-Type": "text/html; charset=utf-8", "Server": "gateway"}

RETRY_AFTER = ("0", "1", "3600", "86400", "99999999999999999999", "-5", "soon", "Wed, 21 Oct 9999 07:28:00 GMT")


@dataclass(frozen=True)
class Asked:
    """A request, whichever library made it."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def key(self) -> tuple[str, str, str, bytes]:
        """What a cache knows it by."""
        return self.method, self.path, json.dumps(self.query, sort_keys=True), self.body


@dataclass(frozen=True)
class Answer:
    """An answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Reset(Exception):
    """The connection was reset before an answer came."""


Serve = Callable[[Asked], Answer]

_OF_ANY = (
    "404 page",
    "404 bare",
    "410 page",
    "403 page",
    "413 page",
    "424 page",
    "429",
    "502 page",
    "200 page",
    "200 empty",
    "200 other",
    "reset before",
    "reset after",
    "cut",
    "short",
)
OF_FHIR = (*_OF_ANY, "garbled", "half", "empty with next", "stale", "another type", "another resource")
OF_BLOBS = (*_OF_ANY, "scanned")
"""
Ways to lie. TLS vouches that bytes of a blob are the stored ones; what a cache before Blob Storage keeps beyond its
time cannot be told from what is stored, so there is no such cache.
"""

OF_STATE = ("502 page", "reset after")
"""What the adapters of tables and queues tell apart: a call that had no effect, and one that had."""

LIES = {"fhir": OF_FHIR, "blobs": OF_BLOBS, "state": OF_STATE, "queues": OF_STATE}
"""By the service that the gateway stands before."""

SPELLS = (2.0, 20.0, 200.0, 2000.0)
PEACE = (1.0, 30.0, 300.0)
LATENCY = (0.0, 0.01, 0.2)
_HALF = 0.5


@dataclass
class Gateway:
    """
    What stands before one service.

    ``lies`` is whether it lies at all by now; ``only`` restricts it to some ways.
    """

    rng: random.Random
    only: tuple[str, ...]
    lies: bool = True
    told: dict[str, int] = field(default_factory=dict)
    """How often it lied, by way."""

    def __post_init__(self) -> None:
        self._mood: str | None = None
        self._cache: dict[Any, Answer] = {}
        self._until = 0.0

    def begin(self) -> None:
        """Begin to lie in one way, until the end of the run."""
        self._mood, self._until = self.rng.choice(self.only), float("inf")

    def mood(self) -> str | None:
        """Return the present way of lying; None while the gateway passes everything on."""
        if not self.lies:
            return None
        now = asyncio.get_running_loop().time()
        if now >= self._until:
            self._mood = self.rng.choice(self.only) if self._mood is None else None
            self._until = now + self.rng.choice(SPELLS if self._mood else PEACE)
        return self._mood

    async def ask(self, asked: Asked, serve: Serve) -> Answer:
        """
        Pass a request on, or not.

        Raises
        ------
        Reset
            No answer comes, whether or not the request took effect.
        """
        await asyncio.sleep(self.rng.choice(LATENCY))
        mood = self.mood()
        reads = asked.method == "GET" or asked.path.endswith("/_search")
        if mood is None or (mood == "stale" and asked.key not in self._cache):
            answer = serve(asked)
            self._cache.update({asked.key: answer} if reads else {})
            return answer
        self.told[mood] = self.told.get(mood, 0) + 1
        answer = self._instead(mood) or self._spoiled(mood, asked, serve)
        await asyncio.sleep(self.rng.choice(LATENCY))
        return answer

    def _instead(self, mood: str) -> Answer | None:
        """Answer in the service's place."""
        status, _, what = mood.partition(" ")
        if what == "page":
            return Answer(int(status), _HTML, PAGE)
        match mood:
            case "404 bare":
                return Answer(404)
            case "429":
                return Answer(429, {**_HTML, "Retry-After": self.rng.choice(RETRY_AFTER)}, PAGE)
            case "200 empty":
                return Answer(200, {"Content-Type": "application/json"})
            case "200 other":
                return Answer(200, {"Content-Type": "application/json"}, self.rng.choice((b"{}", b"[]", b"null", b"1")))
            case "reset before":
                raise Reset
        return None

    def _spoiled(self, mood: str, asked: Asked, serve: Serve) -> Answer:
        """Let the service answer, and spoil what it says."""
        answer = self._cache[asked.key] if mood == "stale" else serve(asked)
        body = answer.body
        match mood:
            case "stale":
                return answer
            case "reset after":
                raise Reset
            case "cut" | "short":
                # Cut: the length still tells so. Short: it does not.
                kept = body[: len(body) // 2]
                length = len(body) if mood == "cut" else len(kept)
                return replace(answer, body=kept, headers={**answer.headers, "Content-Length": str(length)})
            case "scanned":
                # A filter puts its page in the place of the body and leaves the headers of the store.
                spoiled = PAGE if body else body
                return replace(answer, body=spoiled, headers={**answer.headers, "Content-Length": str(len(spoiled))})
            case "garbled":
                return replace(answer, body=bytes(byte ^ 0x55 for byte in body))
        return replace(answer, body=_misstated(mood, body, self.rng))


def _misstated(mood: str, body: bytes, rng: random.Random) -> bytes:
    """Say something else in sound JSON."""
    match mood:
        case "half" | "empty with next":
            return _bundle_less(body, rng, empty=mood != "half")
        case "another type":
            return _bundle_of_another_type(body, rng)
        case "another resource":
            return _another_resource(body, rng)
    raise AssertionError(mood)


def _bundle_less(body: bytes, rng: random.Random, *, empty: bool) -> bytes:
    """Leave out entries of a Bundle; an empty first page of a search has a link to the next."""
    try:
        bundle: Any = json.loads(body)
    except ValueError:
        return body
    if not isinstance(bundle, dict) or not bundle.get("entry"):
        return body
    if bundle.get("type") != "searchset":
        return json.dumps({**bundle, "entry": bundle["entry"][: rng.randrange(len(bundle["entry"]))]}).encode()
    if not empty:
        return body
    more = {"relation": "next", "url": bundle["link"][0]["url"]}
    return json.dumps({**bundle, "entry": [], "link": [more]}).encode()


def _bundle_of_another_type(body: bytes, rng: random.Random) -> bytes:
    """Answer with a Bundle that answers another request: without entries, or with those of this one."""
    bundle = _json_of(body)
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return body
    types = {"searchset", "history", "batch-response", "transaction-response", "collection"} - {bundle.get("type")}
    spoiled = {**bundle, "type": rng.choice(sorted(types))}
    if rng.random() < _HALF:
        spoiled.pop("entry", None)
    return json.dumps(spoiled).encode()


def _another_resource(body: bytes, rng: random.Random) -> bytes:
    """Answer with another resource: of another id or type, or, for a Bundle, such ones in its entries."""
    answer = _json_of(body)
    if not isinstance(answer, dict):
        return body
    entries = answer.get("entry") or [{"resource": answer}]
    others = [entry["resource"] for entry in entries if "resource" in entry]
    name, value = rng.choice((("id", "of-another"), ("resourceType", "Basic")))
    for other in others:
        if other.get("resourceType") not in {"Bundle", "OperationOutcome"}:
            other[name] = value
    return json.dumps(answer).encode()


def _json_of(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


Send = Callable[[Asked], Awaitable[Answer]]
"""How a client's transport reaches a service through a gateway."""
