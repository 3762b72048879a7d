"""Single interleavings of dead letters, played call by call: races too rare for random schedules to meet soon."""

from __future__ import annotations

from sync.dead_letters.actions import Selection
from tests.simulation.contents import Content
from tests.simulation.letters import CONTAINERS, GARBAGE, REFS, LetterWorld
from tests.worlds import events


async def poison_overtaken(world: LetterWorld) -> None:
    """An object that was poison succeeds while its letter is about to be written."""
    event = events(world.put(REFS[0], Content("1", "P1", "11")))
    world.poison.append(("objects", event))
    slow = world.deliver_poison()
    await world.turns.go(slow, "put")
    world.object_messages.append((event, 1))
    await world.turns.go(world.deliver_object())
    await world.turns.go(slow)


async def refused_again(world: LetterWorld) -> None:
    """A message is refused once more, by a worker with former settings, while somebody retries its letter."""
    event = events(world.put(REFS[2], Content("1", "P1", "11")))
    world.object_messages += [(event, 1), (event, 1)]
    await world.turns.go(world.deliver_object())
    slow = world.deliver_object()
    await world.turns.go(slow, "put")
    world.containers |= set(CONTAINERS)
    operator = world.command(Selection(), discards=False)
    await world.turns.go(operator, "delete", "clear")
    await world.turns.go(slow)
    await world.turns.go(operator)


async def died_discarding(world: LetterWorld) -> None:
    """Somebody dies just after a letter was taken away."""
    world.object_messages.append((GARBAGE, 1))
    await world.turns.go(world.deliver_object())
    operator = world.command(Selection(), discards=True)
    await world.turns.go(operator, "delete")
    await world.turns.go(operator, calls=1)
    for actor in list(world.turns.actors):
        await world.turns.kill(actor)


SCRIPTS = (poison_overtaken, refused_again, died_discarding)
