"""
Many files at once: uploaded from eight threads in random order, some twice, some overwritten, some deleted again.

Each blob has a script of uploads and deletions. Scripts of different blobs are mixed at random, the steps of one blob
keep their order, so the end is known: it is what the last steps left.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.files import differences, expected_studies, is_directory, uids_of
from tests.e2e.running import LOOK, World

THREADS = 8

LATE = 20.0
"""Seconds that a world which said ``idle`` too early is given, to tell that from one that is wrong."""


@dataclass(frozen=True)
class Script:
    """What happens to one blob: contents that are uploaded, None where it is deleted."""

    name: str
    steps: tuple[bytes | None, ...] = field(repr=False)


def scripts_of(files: Sequence[Path], prefix: str, rng: random.Random, more: Sequence[bytes] = ()) -> list[Script]:
    """Return a script for each file, and for ``more`` made ones; blob names hold what URLs must escape."""
    contents = [*(path.read_bytes() for path in files), *more]
    return [
        Script(f"{prefix}/ward {number % 5}/{number:04} 50%+ü#.dcm", _steps(content, rng.choice(contents), rng))
        for number, content in enumerate(contents)
    ]


def _steps(content: bytes, other: bytes, rng: random.Random) -> tuple[bytes | None, ...]:
    kinds: dict[tuple[bytes | None, ...], int] = {
        (content,): 55,
        (content, content): 15,
        (content, None): 10,
        (other, content): 10,
        (content, other): 5,
        (content, None, content): 5,
    }
    return rng.choices(list(kinds), list(kinds.values()))[0]


def remaining(scripts: Iterable[Script]) -> dict[str, bytes]:
    """Return what the blobs hold in the end; those that are deleted are left out."""
    return {script.name: script.steps[-1] for script in scripts if script.steps[-1] is not None}


def play(world: World, scripts: Sequence[Script], rng: random.Random, *, done: Callable[[], object] = int) -> None:
    """Play scripts, mixed; ``done`` is called after each step, from the thread that made it."""
    queues: list[list[tuple[str, bytes | None]]] = [[] for _ in range(THREADS)]
    for index, script in enumerate(_mixed(scripts, rng)):
        queues[index % THREADS] += [(script.name, step) for step in script.steps]
    for steps in queues:
        _shuffle_between_names(steps, rng)
    with ThreadPoolExecutor(THREADS) as pool:
        for finished in [pool.submit(_run, world, steps, done) for steps in queues]:
            finished.result()


def _mixed(scripts: Sequence[Script], rng: random.Random) -> list[Script]:
    return rng.sample(scripts, len(scripts))


def _shuffle_between_names(steps: list[tuple[str, bytes | None]], rng: random.Random) -> None:
    """Put the steps in random order, but those of one name in the order in which they were."""
    of_name: dict[str, list[bytes | None]] = {}
    for name, step in steps:
        of_name.setdefault(name, []).append(step)
    names = [name for name, _ in steps]
    rng.shuffle(names)
    steps[:] = [(name, of_name[name].pop(0)) for name in names]


def _run(world: World, steps: Iterable[tuple[str, bytes | None]], done: Callable[[], object]) -> None:
    for name, content in steps:
        if content is None:
            world.delete(name)
        else:
            world.upload(name, content)
        done()


class Progress:
    """Counts steps in several threads, and lets a caller wait for a share of them."""

    def __init__(self, scripts: Iterable[Script]) -> None:
        self._total = sum(len(script.steps) for script in scripts)
        self._done = 0
        self._changed = threading.Condition()

    def step(self) -> None:
        with self._changed:
            self._done += 1
            self._changed.notify_all()

    def wait_for(self, share: float) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._done >= share * self._total, 120), "the upload does not go on"


@dataclass(frozen=True)
class Before:
    """What was in a world before the files came."""

    studies: frozenset[str]
    letters: frozenset[str]

    @classmethod
    def of(cls, world: World) -> "Before":
        return cls(frozenset(one["id"] for one in world.all("ImagingStudy")), frozenset(world.letters()))


@dataclass(frozen=True)
class Arrived:
    """A world that many files came to, and what is left of them in its store."""

    world: World
    before: Before
    blobs: dict[str, bytes] = field(repr=False)

    def problems(self) -> list[str]:
        """Say what is wrong; told as counts and blob names of our own making. Empty when all is right."""
        world = self.world
        studies = world.all("ImagingStudy")
        came = [one for one in studies if one["id"] not in self.before.studies]
        said = differences(expected_studies(self.blobs.values()), came)
        subjects = {one["subject"].get("reference") for one in studies}
        patients = {f"Patient/{one['id']}" for one in world.all("Patient")}
        if subjects != patients:
            said.append(f"{len(subjects - patients)} Patients are missing, {len(patients - subjects)} have no study")
        return said + self._letter_problems()

    def _letter_problems(self) -> list[str]:
        codes = {subject: code for subject, (code, _) in self.world.letters().items()}
        bad = {self.world.subject(name): name for name, content in self.blobs.items() if uids_of(content) is None}
        said = [f"no dead letter of {name}" for subject, name in bad.items() if subject not in codes]
        extra = codes.keys() - bad.keys() - self.before.letters
        said += [f"an unexpected dead letter: {codes[subject]}" for subject in extra]
        for subject in bad.keys() & codes.keys():
            directory = is_directory(self.blobs[bad[subject]])
            if not codes[subject].startswith("header.") or directory != (codes[subject] == "header.dicomdir"):
                said.append(f"{codes[subject]} is a wrong reason for {bad[subject]}")
        return said

    def check(self) -> None:
        """Compare, and tell an ``idle`` that came too early from a wrong end."""
        told = time.monotonic()
        if not (first := self.problems()):
            return
        while (problems := self.problems()) and time.monotonic() - told < LATE:
            time.sleep(LOOK)
        late = "" if problems else f"idle was told {time.monotonic() - told:.1f} s too early, when "
        raise AssertionError(late + "; ".join(first[:12]))
