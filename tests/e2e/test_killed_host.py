"""
The functions host dies, or its worker does, while files come in; the end is the same.

Host and worker are two processes here, as on Azure.
"""

import json
import random
import shlex
import shutil
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.arrivals import Arrived, Before, Progress, play, remaining, scripts_of
from tests.e2e.files import made, uid
from tests.e2e.running import ROOT, World, until, up
from tests.headers import real_files

FILES = 120
"""Enough for several seconds of work."""

INNOCENT = 12
"""Messages that are in flight beside the one that ends its worker."""

CRASHING = ROOT / "tests" / "data" / "crashing-app"
ENDS, HOLDS = "ends-the-process", "holds-the-loop"
"""Parts of the names by which that app knows the objects that do so."""


@pytest.fixture(scope="module")
def own_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of its own: what other tests left half-done would be redelivered to the new host as well."""
    app = tmp_path_factory.mktemp("world") / "app"
    shutil.copytree(CRASHING, app)
    settings = json.loads((ROOT / "host.json").read_text("utf-8"))
    settings["extensions"]["queues"]["visibilityTimeout"] = "00:00:01"
    (app / "host.json").write_text(json.dumps(settings), "utf-8")
    arguments = f"{shlex.quote(str(app))} --worker process --restart 0.2 --lease 4"
    with up("embedded-azure", LOCAL_HOST_ARGUMENTS=arguments) as world:
        yield world


def test_a_host_killed_twice_during_an_upload_loses_nothing_and_doubles_nothing(own_world):
    world, before, rng = own_world, Before.of(own_world), random.Random(20260103)
    scripts = scripts_of(rng.sample(real_files(), FILES), "killed", rng)
    progress = Progress(scripts)
    uploading = threading.Thread(target=play, args=(world, scripts, rng), kwargs={"done": progress.step})
    uploading.start()
    for share in (0.3, 0.7):
        progress.wait_for(share)
        killed = world.host_pid()
        world.kill_host()
        until(lambda killed=killed: world.host_pid() != killed, "the host is started again")
    uploading.join(240)
    world.settle(240)
    Arrived(world, before, remaining(scripts)).check()


def test_an_object_that_ends_its_worker_takes_no_other_with_it(own_world):
    """Its worker dies three times with it, at the third the host too; then it alone has a dead letter; twice."""
    world, before = own_world, Before.of(own_world)
    study = uid("ends", "study")
    files = {
        f"innocent/{n:02}.dcm": made(study, uid("ends", n % 4), uid("ends", n, "sop"), patient="I1")
        for n in range(INNOCENT)
    }
    guilty = f"{ENDS}.dcm"
    for number, (name, content) in enumerate(files.items()):
        world.upload(name, content)
        if number == INNOCENT // 2:
            world.upload(guilty, made(uid("guilty"), uid("guilty", 1), uid("guilty", 2), patient="G1"))
    subject = world.subject(guilty)
    until(lambda: world.alive_letters().get(subject), "the object has a dead letter", 120)
    world.settle(240)
    assert world.letters()[subject][0] == "poison.crash"
    assert _exits(world) >= 3
    assert any("the host ends: its worker exited" in line for line in list(world.printed))
    _retry_in_vain(world, subject)
    known = Before(before.studies, before.letters | {subject})
    Arrived(world, known, files).check()
    world.delete(guilty)
    until(lambda: subject not in world.letters(), "the dead letter is cleared")


def _retry_in_vain(world: World, subject: str) -> None:
    """An operator retries the object, which still ends its worker: no copy of its message ends more of them."""
    before = _exits(world)
    world.api.post("dead-letters/retry", json={"kind": "object", "subject": subject}).raise_for_status()

    def is_buried_again() -> bool:
        code, letter = world.alive_letters().get(subject, ("", {}))
        return (code, letter.get("attempts")) == ("poison.crash", 2)

    until(is_buried_again, "the object has its dead letter again", 120)
    world.settle(240)
    assert _exits(world) - before <= 4


def _exits(world: World) -> int:
    return sum("worker_process the worker exited" in line for line in list(world.printed))


def test_what_holds_the_event_loop_is_named_and_everything_goes_on(own_world):
    world, before = own_world, Before.of(own_world)
    files = {
        name: made(uid("holds"), uid("holds", name), uid("holds", name, "sop"), patient="H1")
        for name in (f"{HOLDS}.dcm", "beside.dcm")
    }
    for name, content in files.items():
        world.upload(name, content)
    until(lambda: [line for line in list(world.printed) if "loop.blocked" in line], "the watch of the loop speaks")
    world.settle(120)
    assert all("sync.dicom.inspect.inspect_object" in line for line in list(world.printed) if "loop.blocked " in line)
    Arrived(world, before, files).check()
