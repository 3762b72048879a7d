"""The functions host dies twice while files come in; the end is the same."""

import random
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.arrivals import Arrived, Before, Progress, play, remaining, scripts_of
from tests.e2e.running import World, until, up
from tests.headers import real_files

FILES = 200
"""Enough for several seconds of work."""


@pytest.fixture
def own_world() -> Iterator[World]:
    """A world of its own: what other tests left half-done would be redelivered to the new host as well."""
    with up("embedded-azure") as world:
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
