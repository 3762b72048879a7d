"""
Every command that a page tells people to type is typed, in a clone, beside the world that the page has them start.

`make demo` is that world. While it runs two people are at work at once: one types the blocks of the pages line by line,
the other what acts, and both what only looks. Dead letters and alerts come first, for afterwards nothing may be wrong.
Blocks are typed as they stand, `python` and all; what the running text names goes to a ``python`` that is warm.
"""

import asyncio
import filecmp
import json
import re
import shlex
import shutil
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock, Semaphore

import pydicom.data
import pytest

from local.samples import samples
from sync.bootstrap import start
from sync.config import Settings
from sync.errors import StoreConflict
from sync.model import Cursor
from sync.monitoring.alerts.evaluation import CURSOR, EVALUATED, Alert, Evaluated
from tests.docs.typed import ROOT, typed
from tests.e2e.conftest import Place
from tests.e2e.documented import ENDS, NOT_RUN, SAYS, STAYING, Places, not_run, plain
from tests.e2e.messages import event, packed
from tests.e2e.running import World, until
from tests.e2e.terminal import Ended, Terminal, clone
from tests.e2e.warm_python import warm_python

PROFILE = (". .venv/bin/activate", ". .local/world.env")
"""What the pages have people type first in each terminal."""

SERVICE, DEMO, LAST = "python -m local dicom-service DIR", "make demo", "python -m local up"
"""What is begun before all else, and when all else has ended: one world at a time writes the file of settings."""

BLOCKS = frozenset(plain(command.line) for command in typed() if command.in_block)
ALL = dict.fromkeys(plain(command.line) for command in typed())
RUN = [line for line in ALL if not_run(line) is None]
LACKING = {line: name for name in ("curl", "jq") for line in RUN if shutil.which(name) is None and f"{name} " in line}
"""Commands that cannot be typed on this machine, and what it lacks."""

ACTS = (" retry ", " discard ", " acknowledge ", " backfill", " replay", " --repair", "make ")
AWRY = (" dead-letters ", " alerts acknowledge ")
"""Commands about what is wrong."""

STIRS = ("python -m local upload ", "python -m local delete ")
"""Commands that change objects: no others are typed meanwhile, for a walk would find them changed."""

PEOPLE = 2

QUICK = {
    "DICOM_SYNC_QUIET_PERIOD": "1",
    **{f"DICOM_SYNC_ALERT_{figure}": "1000" for figure in ("POISON", "DEAD_LETTERS", "DRIFT")},
    "COLUMNS": "160",
    "BROWSER": "true",
}
"""No long waiting, no alert about what is wrong on purpose, lines that are not wrapped, and no browser at all."""


@dataclass(frozen=True)
class Plan:
    """Three groups of commands: whole blocks, commands that act, and commands that only read."""

    acting: list[str]
    looking: list[str]
    blocks: list[str] = field(default_factory=list)


def acts(line: str) -> bool:
    return any(word in f" {line}" for word in ACTS) and "--dry-run" not in line


def blocks() -> Iterator[str]:
    """Give the lines of all blocks, as they follow; what an earlier page has is not typed again."""
    seen: dict[str, str] = {}
    for command in typed():
        line = plain(command.line)
        if command.in_block and seen.setdefault(line, command.page) == command.page and line not in PROFILE:
            yield line


def plans() -> tuple[Plan, Plan]:
    """Return what is typed while things are wrong, and what is typed then."""
    apart = (SERVICE, DEMO, LAST, *PROFILE, *LACKING)
    in_blocks = [line for line in blocks() if line in RUN and line not in apart]
    singles = [line for line in RUN if line not in in_blocks and line not in apart]
    awry = [line for line in singles if any(word in line for word in AWRY)]
    rest = [line for line in singles if line not in awry]
    first, then = (
        Plan(
            [typed_line for typed_line in lines if acts(typed_line)],
            [typed_line for typed_line in lines if not acts(typed_line)],
        )
        for lines in (awry, rest)
    )
    return first, replace(then, blocks=in_blocks)


class Desk:
    """The clone, and how whatever was typed in it has ended: by the line as the page has it."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.files = clone(folder / "clone"), folder
        self.ended: defaultdict[str, list[Ended]] = defaultdict(list)
        self.settings = self.clone / ".local" / "world.env"
        self.settings_stayed = False
        self._by_typing: dict[str, Ended] = {}
        self._hands, self._stirring = Semaphore(PEOPLE), Lock()
        (folder / "studies").mkdir()
        for target in (self.clone / "scan.dcm", folder / "studies" / "scan.dcm"):
            shutil.copyfile(Path(pydicom.data.__file__).parent / "test_files" / "CT_small.dcm", target)

    def carry_out(self, plan: Plan, places: Places, warm: Path) -> None:
        """Have two people type everything of a plan."""
        profile = "\n".join(PROFILE)
        block = Terminal(self.clone, profile, **QUICK)
        single = Terminal(self.clone, f'{profile}\nPATH="{warm}:$PATH"', **QUICK)
        free = deque(plan.looking)

        def person(terminal: Terminal, lines: Iterable[str]) -> None:
            for line in lines:
                self.take_turn(line, places, terminal)
            with suppress(IndexError):
                while True:
                    self.take_turn(free.popleft(), places, single)

        with ThreadPoolExecutor(PEOPLE) as people:
            for work in [people.submit(person, block, plan.blocks), people.submit(person, single, plan.acting)]:
                work.result()

    def take_turn(self, line: str, places: Places, terminal: Terminal) -> None:
        """Type a line beside others; one that stirs the world alone, and until all of it is in FHIR."""
        if not line.startswith(STIRS):
            with self._hands:
                self.type(line, places, terminal)
            return
        with self._stirring, ExitStack() as hands:
            for _ in range(PEOPLE):
                hands.enter_context(self._hands)
            self.type(line, places, terminal)
            with closing(self.world()) as world:
                world.settle()

    def type(self, line: str, places: Places, terminal: Terminal) -> None:
        """Type a line; one of the running text that comes to what was typed before is not typed again."""
        filled = places.filled(line)
        if line in STAYING:
            with self.staying(line, filled):
                pass
            return
        known = self._by_typing.get(filled) if line not in BLOCKS else None
        self._by_typing[filled] = ended = known or terminal.type(filled)
        self.ended[line].append(ended)

    @contextmanager
    def staying(self, line: str, typed_as: str, profile: Iterable[str] = PROFILE, **more: str) -> Iterator[str]:
        """Run a line that stays, until Ctrl-C at the end of the block; give what it said until it was ready."""
        terminal = Terminal(self.clone, "\n".join(profile), **QUICK, **more)
        with terminal.staying(typed_as, STAYING[line]) as program:
            yield program.said
            self.ended[line].append(program.interrupt())

    def world(self) -> World:
        """Return the world whose settings the file has, read as a shell does."""
        lines = self.settings.read_text().splitlines()
        env = dict(shlex.split(line)[1].split("=", 1) for line in lines)
        api, storage, fhir = env.pop("API"), env["AzureWebJobsStorage"], env["DICOM_SYNC_FHIR_URL"]
        return World(None, {"storage": storage, "container": "dicom", "fhir": fhir, "api": api, "env": env}, [])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("typed"))
    awry, right = plans()
    with ExitStack() as stack:
        serving = desk.staying(SERVICE, SERVICE.replace("DIR", f"{desk.files}/studies"), PROFILE[:1])
        url = json.loads(stack.enter_context(serving))["url"]
        stack.enter_context(desk.staying(DEMO, DEMO, (), DICOM_SYNC_DICOM_URL=url))
        world = desk.world()
        stack.callback(world.close)
        warm = stack.enter_context(warm_python(desk.clone))
        with something_wrong(world, desk.files) as places:
            desk.carry_out(awry, places, warm)
        desk.carry_out(right, places, warm)
    desk.settings_stayed = desk.settings.exists()
    with desk.staying(LAST, LAST, PROFILE[:1]):
        pass
    return desk


@contextmanager
def something_wrong(world: World, files: Path) -> Iterator[Places]:
    """Have a study that FHIR cannot place, messages that cannot be processed, and an alert; repair all in the end."""
    place = Place()
    twice = [world.fhir.post("Patient", json=anybody(place.patient)).json()["id"] for _ in range(2)]
    world.upload("unknown patient.dcm", place.file())
    world.send("objects", packed(event("a.dcm", container="elsewhere")))
    world.send("objects-poison", packed(event("nowhere.dcm")))
    raised = Alert(code="alert.lag", number=1, value=900, worst=900, raised_at=datetime.now(UTC))
    asyncio.run(set_alerts(world, [raised]))
    codes = {"fhir.ambiguous_patient", "event.foreign_source", "poison.object"}
    until(lambda: codes <= {code for code, _ in world.letters().values()}, "all letters are there")
    keys = {code: subject for subject, (code, _) in world.letters().items()}
    places = Places(
        study=next(sample.identity.study for sample in samples() if sample.name == "single/CT_small.dcm"),
        refused=keys["fhir.ambiguous_patient"],
        unreadable=keys["header.truncated"],
        unwanted=(keys["header.missing_identity"], keys["header.not_dicom"]),
        folder=str(files),
    )
    yield places
    asyncio.run(set_alerts(world, []))
    for patient in twice:
        world.fhir.delete(f"Patient/{patient}").raise_for_status()
    world.api.post("dead-letters/retry", json={"kind": "study", "subject": places.refused}).raise_for_status()
    until(lambda: places.refused not in world.letters(), "the study is in FHIR")


def anybody(patient: str) -> dict:
    identifier = {"system": "urn:dicom-fhir-sync:patient-id", "value": patient}
    return {"resourceType": "Patient", "identifier": [identifier]}


async def set_alerts(world: World, alerts: list[Alert]) -> None:
    """Set the states of alerts as an evaluation does; while there are some, no evaluation runs."""
    settings = {"AzureWebJobsStorage": world.addresses["storage"], "fhir_url": world.addresses["fhir"]}
    running = await start(Settings(**settings))
    s, now = running.services, datetime.now(UTC)
    position = EVALUATED.write(Evaluated(alerts=tuple(alerts)))
    held = (
        {"holder": "a test", "held_until": now + timedelta(minutes=10)}
        if alerts
        else {"holder": "", "held_until": None}
    )
    try:
        for _ in range(20):  # the host may be evaluating just now
            kept = await s.cursors.read(CURSOR)
            cursor = replace(kept.value if kept else Cursor(name=CURSOR), position=position, advanced_at=now, **held)
            with suppress(StoreConflict):
                return await s.cursors.write(cursor, kept.etag if kept else None)
        raise AssertionError("another writer always writes in between")
    finally:
        await running.close()


@pytest.mark.parametrize("line", [line for line in RUN if line not in PROFILE])
def test_a_command_of_a_page_does_what_the_page_says(desk, line):
    if line in LACKING:
        pytest.skip(f"{LACKING[line]} is not installed")
    assert desk.ended[line], "it was not typed"
    for ended in desk.ended[line]:
        said = ended.out + ended.err
        assert ended.code == ENDS.get(line, 0), said[-3000:]
        assert "Traceback" not in said
        assert re.search(SAYS.get(line, ""), said), said[-3000:]
        if "--json" in line and not re.search(r"[|>]", line):
            assert all(json.loads(printed) for printed in ended.out.splitlines())


def test_the_tables_name_no_command_that_no_page_has():
    assert {*NOT_RUN, *STAYING, *ENDS, *SAYS, *PROFILE} - set(ALL) == set()


def test_what_another_test_runs_is_run_there():
    named = [match[0] for reason in NOT_RUN.values() if (match := re.match(r"tests/\S+", reason))]
    assert len(named) > 1
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_settings_of_a_world_go_with_it(desk):
    assert not desk.settings_stayed
    assert not desk.settings.exists()


def test_pages_and_rules_are_made_by_the_commands_that_say_so(desk):
    made = ["docs/commands.md", "docs/settings.md", "docs/mapping.md", "infra/alerts.bicep"]
    assert filecmp.cmpfiles(desk.clone, ROOT, made, shallow=False) == (made, [], [])


def test_the_demo_prints_what_the_readme_shows(desk):
    (demo,) = desk.ended[DEMO]
    shown = re.search(r"^```\n(Everything arrived.*?)```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for line in shown[1].splitlines() if line.strip()]
    assert len(lines) > 10
    assert [line for line in lines if not re.search(shape(line), demo.out.replace("│", " "))] == []


def shape(line: str) -> str:
    """Return what lines look like that differ in their numbers only; three dots stand for any more."""
    text = re.sub(r"\d[\d.]*\d|\d", "7", line.strip().removesuffix("..."))
    return r"\s+".join(re.escape(word).replace("7", r"\d[\d.]*") for word in text.split())
