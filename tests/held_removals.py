"""A world whose source loses more studies than the ceiling on removals allows."""

from sync.delivery.handlers import handle_object_message
from sync.protocol.removals import FEW
from tests.worlds import SOURCES, MemoryWorld, events

MANY = FEW + 10
"""Studies: more than may go at once."""


class World(MemoryWorld):
    """Studies of one instance each."""

    async def fill(self, studies=MANY):
        for number in range(studies):
            await self.ingest(self.put(f"{number}", study=f"2.25.{number + 1}", sop=f"2.25.{number + 1}.1"))
        await self.settle()
        assert self.in_fhir() == studies

    def in_fhir(self):
        return sum(1 for resource in self.server.resources() if resource["resourceType"] == "ImagingStudy")

    async def lose(self, studies=MANY, *, first=0):
        """The objects from the ``first`` on are deleted, and an event tells of each."""
        for number in range(first, studies):
            await handle_object_message(events(self.delete(f"{number}")), SOURCES, self.services)
        await self.settle()

    def held(self):
        return [letter for letter in self.dead_letters() if "removal.held" in letter]

    async def run_messages(self):
        for message in list(self.store.object_queue.messages):
            self.store.object_queue.messages.remove(message)
            await handle_object_message(message.text, SOURCES, self.services)
        await self.settle()
