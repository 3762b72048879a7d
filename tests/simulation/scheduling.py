"""
Tasks of one event loop, held back at every port call until a seeded scheduler lets one of them go on, or kills it.

For what runs things side by side itself, and so needs a loop. Simpler coroutines are driven by hand: see `stepping`.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

TICKS = 12
"""Turns of the loop after which every task has come to its next port call."""


@dataclass(eq=False)
class Actor:
    """A task under way, and what is done with it when it ends."""

    task: asyncio.Task[Any]
    ended: Callable[[BaseException | None], None]
    """Gets what it raised, `asyncio.CancelledError` when it was killed."""


@dataclass(eq=False)
class Held:
    """A port call that waits for its turn: whose it is, and its name."""

    turn: asyncio.Future[None]
    actor: int
    name: str


class Turns:
    """Who is under way, and which port calls are held back."""

    def __init__(self, rng: Any) -> None:
        self.rng = rng
        self.actors: list[Actor] = []
        self._calls: list[Held] = []
        self._number = contextvars.ContextVar[int]("actor", default=0)
        self._started = 0

    async def pause(self, name: str = "") -> None:
        """Wait for a turn; every port call begins so."""
        turn = asyncio.get_running_loop().create_future()
        self._calls.append(Held(turn, self._number.get(), name))
        await turn

    def start(self, work: Coroutine[Any, Any, Any], ended: Callable[[BaseException | None], None]) -> int:
        """Begin something, and return its number; it goes as far as its first port call."""
        self._started += 1
        context = contextvars.copy_context()
        context.run(self._number.set, self._started)  # tasks that it starts itself are of the same number
        self.actors.append(Actor(asyncio.create_task(work, context=context), ended))
        return self._started

    def _waiting(self) -> list[Held]:
        self._calls = [call for call in self._calls if not call.turn.done()]
        return self._calls

    async def step(self) -> None:
        """Let one port call be made, and everybody come to the next."""
        if waiting := self._waiting():
            self.rng.choice(waiting).turn.set_result(None)
        await self.rest()

    async def go(self, number: int, *before: str, calls: int = 10_000) -> None:
        """Let one actor make ``calls`` calls, or come to its first call of one of these names, or to its end."""
        await self.rest()
        for _ in range(calls):
            mine = next((call for call in self._waiting() if call.actor == number), None)
            if mine is None or mine.name in before:
                return
            mine.turn.set_result(None)
            await self.rest()

    async def kill(self, actor: Actor) -> None:
        """End an actor where it stands."""
        actor.task.cancel()
        await self.rest()

    async def rest(self) -> None:
        """Let everybody come to a port call, and take leave of those who ended."""
        for _ in range(TICKS):
            await asyncio.sleep(0)
        for actor in [actor for actor in self.actors if actor.task.done()]:
            self.actors.remove(actor)
            killed = actor.task.cancelled()
            actor.ended(asyncio.CancelledError() if killed else actor.task.exception())


class Stepping:
    """A port whose every coroutine waits for a turn first."""

    def __init__(self, port: Any, slots: Turns) -> None:
        self._port, self._turns = port, slots

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def stepped(*args: Any, **kwargs: Any) -> Any:
            await self._turns.pause(name)
            return await method(*args, **kwargs)

        return stepped
