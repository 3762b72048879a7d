"""
Cutting and listing of slices alone, in any order: what was in the container all the time is in the pages of a slice.

Two processes cut and list, and only one of them holds the lease: the other one finds out when it writes. Objects come
and go, workers are killed after any page, and the walk is begun anew.
"""

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import pytest

from sync.model import ObjectRef
from sync.testing.objects import MemoryObjects
from tests.simulation.amount import schedules
from tests.simulation.mutants import without_rule
from tests.simulation.shared_walks import real

CHAIN = ("sync.walks.handed", "sync.walks.cutting")
SCHEDULES = schedules(4)
ENOUGH_TO_CATCH = 200
STEPS = 40


class Process:
    """One that cuts and lists; what it was handed is lost with it."""

    def __init__(self, modules):
        self.handed = modules["sync.walks.handed"].Handed()
        self.cutting, self.run, self.made = None, "", 0


@dataclass(frozen=True, kw_only=True)
class Part:
    """A slice as its row has it; it is of the module under test."""

    slice: Any
    last: bool
    done: bool = False


class Schedule:
    """One run after the other over one container."""

    def __init__(self, seed, modules):
        self.rng, self.modules = random.Random(seed), modules
        self.cutting = modules["sync.walks.cutting"]
        self.chance = self.rng.random
        self.store = MemoryObjects()
        self.names = [f"{number:02}" for number in range(14)]
        for name in self.names[::2]:
            self._put(name)
        self.processes = [Process(modules), Process(modules)]
        self.begun = 0
        self._begin()

    async def play(self):
        """Take random steps, then do the rest, and return what no slice had."""
        steps = (self._cut, self._cut, self._work, self._work, self._outside, self._kill, self._begin_at_times)
        for _ in range(STEPS):
            done = self.rng.choice(steps)(self.rng.choice(self.processes))
            if done is not None:
                await done
        last = self.rng.choice(self.processes)
        last.cutting = None
        while not (self.slices and self.slices[-1].last):
            await self._cut(last)
        while any(not piece.done for piece in self.slices):
            await self._work(last)
        return self.due - self.seen

    def _begin(self):
        self.begun += 1
        self.run, self.slices, self.plan = f"run {self.begun}", [], self.cutting.ListingPlan()
        self.due, self.seen = {ref.name for ref in self.store.refs()}, set()

    def _begin_at_times(self, _process):
        if self.chance() < 0.3:
            self._begin()

    def _kill(self, process):
        self.processes[self.processes.index(process)] = Process(self.modules)

    def _outside(self, _process):
        name = self.rng.choice(self.names)
        if name in {ref.name for ref in self.store.refs()}:
            self.store.delete(self._ref(name))
            self.due.discard(name)
        else:
            self._put(name)

    async def _cut(self, process):
        if process.cutting is None:
            if self.slices and self.slices[-1].last:
                return
            process.run, process.made = self.run, len(self.slices)
            source = self._source(process, self.run)
            process.cutting = self.cutting.cut_listing(source, self.plan)
        cut = await anext(process.cutting)
        if process.run != self.run or len(self.slices) != process.made:
            process.cutting = None  # the slice is there, or the walk has changed: another one cuts
            return
        if cut.part is not None:
            self.slices.append(Part(slice=self.cutting.ListingSlice(part=cut.part), last=cut.last))
            process.made += 1
        self.plan = cut.plan
        if cut.last or self.chance() < 0.3:
            process.cutting = None

    async def _work(self, process):
        number = self.rng.choice([n for n, piece in enumerate(self.slices) if not piece.done] or [None])
        if number is None:
            return
        piece = self.slices[number]
        later = [other.slice.part for other in self.slices[number + 1 :]]
        source, size = self._source(process, self.run), self.rng.choice((1, 3))
        async for page, at in self.cutting.slice_pages(source, replace(piece.slice, later=later), size=size):
            self.seen |= {listed.object.name for listed in page.objects}
            self.slices[number] = replace(piece, slice=replace(piece.slice, at=at))
            if self.chance() < 0.2:
                return  # killed, and only its position is left
        self.slices[number] = replace(self.slices[number], done=True)

    def _source(self, process, run):
        return self.cutting.Listing(container="dicom", pages=self.store, handed=process.handed, run=run)

    def _ref(self, name):
        return ObjectRef(account="memory", container="dicom", name=name)

    def _put(self, name):
        self.store.put(self._ref(name), b"x")


def lost(seed, modules):
    cutting = modules["sync.walks.cutting"]
    with patch.object(cutting, "SMALLEST", 2), patch.object(cutting, "LARGEST_PAGE", 1 + seed % 2):
        return asyncio.run(Schedule(seed, modules).play())


def test_what_is_there_all_the_time_is_in_the_pages_of_a_slice():
    modules = real(CHAIN)
    for seed in range(SCHEDULES):
        assert lost(seed, modules) == set(), f"seed {seed}"


MUTANTS = {
    "pages are handed on only if cutting has read all of the slice": ("None if plan.size else []", "[]"),
    "the next slice begins with the page that ended this one": (
        "start=plan.token, size=0)",
        "start=page.token, size=0)",
    ),
    "where a slice goes on is noted after each of its pages": (
        "yield page, PartPosition(token=page.token)\n        yield handed",
        "yield page, PartPosition(over=True)\n        yield handed",
    ),
}


@pytest.mark.parametrize("rule", MUTANTS)
def test_without_a_rule_something_is_lost(rule):
    modules = without_rule(CHAIN, {"sync.walks.cutting": [MUTANTS[rule]]}, rule=rule)
    assert any(lost(seed, modules) for seed in range(ENOUGH_TO_CATCH)), "no schedule noticed"


class Scene(Schedule):
    """Steps in a given order, for what random ones meet too rarely; the container begins with five objects."""

    def __init__(self, modules):
        super().__init__(0, modules)
        self.chance = lambda: 1.0
        for ref in self.store.refs():
            self.store.delete(ref)
        for name in "abcde":
            self._put(name)
        self._begin()

    def replaced(self, name, by=""):
        self.store.delete(self._ref(name))
        self.due.discard(name)
        if by:
            self._put(by)

    async def cut_all(self, process):
        while not (self.slices and self.slices[-1].last):
            await self._cut(process)

    async def work_all(self, process):
        while any(not piece.done for piece in self.slices):
            await self._work(process)
        return self.due - self.seen


async def begun_anew(scene):
    """A process cuts; one object takes the place of another; the walk is begun anew and another process cuts."""
    first, second = scene.processes
    await scene.cut_all(first)
    scene.replaced("a", by="a1")
    scene._begin()
    await scene.cut_all(second)
    return await scene.work_all(first)


async def cut_elsewhere(scene):
    """A process reads a page and loses its lease; another one cuts, by then with an object less."""
    first, second = scene.processes
    await scene._cut(first)
    scene.plan = scene.cutting.ListingPlan()  # which it did not get to note
    scene.replaced("b")
    await scene._cut(second)
    await scene._cut(second)
    await scene._cut(first)
    await scene.cut_all(second)
    return await scene.work_all(first)


SCENES = {
    "pages of another run are not those of this one": (
        begun_anew,
        ("return self.run, self.container,", "return self.container,"),
    ),
    "pages of a slice with another end are not those of this one": (
        cut_elsewhere,
        ("part.token, *part.ends", "part.token"),
    ),
}


@pytest.mark.parametrize("rule", SCENES)
def test_without_a_rule_a_scene_loses_something(rule):
    scene, edit = SCENES[rule]
    assert played(scene, real(CHAIN)) == set()
    assert played(scene, without_rule(CHAIN, {"sync.walks.cutting": [edit]}, rule=rule))


def played(scene, modules):
    with patch.object(modules["sync.walks.cutting"], "SMALLEST", 2):
        return asyncio.run(scene(Scene(modules)))
