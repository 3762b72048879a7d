"""Ports that hand control back before each call, and coroutines that are driven by hand."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any, Protocol

from sync.model import FhirWrite
from sync.ports.caches import Caches


class Step:
    """Awaiting it hands control back to the scheduler, once."""

    def __await__(self) -> Iterator[None]:
        yield


class Chance(Protocol):
    """What may happen to a call."""

    next_call: tuple[str, Any]
    """Name and first argument of the call that comes next."""

    async def transact(self, port: Any, writes: list[FhirWrite]) -> Any:
        """Make a transaction, or what a bad network and a bad server make of it."""
        ...


class Stepping:
    """A port whose every coroutine is preceded by a `Step`."""

    def __init__(self, port: Any, chance: Chance) -> None:
        self._port, self._chance = port, chance

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name == "all":
            return method

        async def stepped(*args: Any, **kwargs: Any) -> Any:
            self._chance.next_call = (name, args[0])
            await Step()
            if name == "transact":
                return await self._chance.transact(self._port, args[0])
            return await method(*args, **kwargs)

        return stepped


class Turn:
    """A lock of one process, for coroutines that are driven by hand: who waits hands control back."""

    def __init__(self) -> None:
        self._is_taken = False

    async def __aenter__(self) -> None:
        while self._is_taken:
            await Step()
        self._is_taken = True

    async def __aexit__(self, *_: object) -> None:
        self._is_taken = False


def new_caches() -> Caches:
    """Return the caches of a new process."""
    return Caches(counting_removals=Turn())  # type: ignore[arg-type]  # asyncio's needs a loop


def run(steps: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits for anything."""
    try:
        while True:
            steps.send(None)
    except StopIteration as done:
        return done.value
