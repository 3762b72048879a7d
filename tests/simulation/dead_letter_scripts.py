"""Single interleavings of dead letters, played call by call: races too rare for random schedules to meet soon."""

from __future__ import annotations

from sync.dead_letters.actions import Selection
from sync.events import lost_message
from sync.model import Action, Change
from tests.simulation.contents import Content
from tests.simulation.dead_letters import CONTAINERS, GARBAGE, REFS, LetterWorld
from tests.worlds import events


async def poison_overtaken(world: LetterWorld) -> None:
    """An object that was poison succeeds while its letter is about to be written."""
    event = events(world.put(REFS[0], Content("1", "P1", "11")))
    world.poison.append(("objects", event))
    slow = world.deliver_poison()
    await world.slots.go(slow, "put")
    world.object_messages.append((event, 1))
    await world.slots.go(world.deliver_object())
    await world.slots.go(slow)


async def poison_cleared(world: LetterWorld) -> None:
    """An object that was poison succeeds when its letter is written and its row does not tell of it yet."""
    event = events(world.put(REFS[0], Content("1", "P1", "11")))
    again = lost_message(Change(object=REFS[0], action=Action.CREATED))
    world.poison.append(("objects", event))
    slow = world.deliver_poison()
    await world.slots.go(slow, "put")
    await world.slots.go(slow, calls=1)
    world.object_messages.append((again, 1))
    await world.slots.go(world.deliver_object())
    await world.slots.go(slow)


async def poison_cleared_late(world: LetterWorld) -> None:
    """An object that was poison succeeds when its row has just told of its letter."""
    event = events(world.put(REFS[0], Content("1", "P1", "11")))
    world.poison.append(("objects", event))
    slow = world.deliver_poison()
    await world.slots.go(slow, "put")
    await world.slots.go(slow, "insert", "replace")
    await world.slots.go(slow, calls=1)
    world.object_messages.append((event, 1))
    await world.slots.go(world.deliver_object())
    await world.slots.go(slow)


async def poison_died(world: LetterWorld) -> None:
    """A worker dies between the letter of an object and its row; the object succeeds before the message comes again."""
    event = events(world.put(REFS[0], Content("1", "P1", "11")))
    world.poison.append(("objects", event))
    slow = world.deliver_poison()
    await world.slots.go(slow, "put")
    await world.slots.go(slow, calls=1)
    await world.slots.kill(world.slots.actors[0])
    world.object_messages.append((event, 1))
    await world.slots.go(world.deliver_object())
    await world.slots.go(world.deliver_poison())


async def refused_again(world: LetterWorld) -> None:
    """A message is refused once more, by a worker with former settings, while an operator retries its dead letter."""
    event = events(world.put(REFS[2], Content("1", "P1", "11")))
    world.object_messages += [(event, 1), (event, 1)]
    await world.slots.go(world.deliver_object())
    slow = world.deliver_object()
    await world.slots.go(slow, "put")
    world.containers |= set(CONTAINERS)
    operator = world.command(Selection(), discards=False)
    await world.slots.go(operator, "delete", "clear")
    await world.slots.go(slow)
    await world.slots.go(operator)


async def died_discarding(world: LetterWorld) -> None:
    """A command dies just after it removed a dead letter."""
    world.object_messages.append((GARBAGE, 1))
    await world.slots.go(world.deliver_object())
    operator = world.command(Selection(), discards=True)
    await world.slots.go(operator, "delete")
    await world.slots.go(operator, calls=1)
    for actor in list(world.slots.actors):
        await world.slots.kill(actor)


SCRIPTS = (poison_overtaken, poison_cleared, poison_cleared_late, poison_died, refused_again, died_discarding)
