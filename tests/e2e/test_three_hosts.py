"""Three hosts with ids of their own over one storage account: each fires every timer, and the end is that of one."""

import contextlib
import random
import sys
import threading
import time
from collections.abc import Iterator

import httpx

from local.processes import running
from tests.e2e.arrivals import Arrived, Before, play, remaining, scripts_of
from tests.e2e.conftest import SOON
from tests.e2e.running import ROOT, World, until
from tests.headers import real_files

FILES = 30

EVERY = 0.5
"""Seconds between two times that every host fires every timer: far more often than any schedule says."""


@contextlib.contextmanager
def one_more(world: World, printed: list[str]) -> Iterator[str]:
    """Run another host over the storage and FHIR of a world; give its address."""
    env = {**world.addresses["env"], **SOON, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "local.leash", "-m", "local.host", str(ROOT), "--port", "0"]
    with running(command, name="one more host", ready=_address, on_line=printed.append, env=env) as child:
        yield child.announced


def _address(line: str) -> str | None:
    return line.rsplit(maxsplit=1)[-1].rstrip("/") if line.startswith("listening on ") else None


def timers_of(host: str) -> list[str]:
    listed = httpx.get(f"{host}/admin/functions").raise_for_status().json()
    return [one["name"] for one in listed if one["config"]["bindings"][0]["type"] == "timerTrigger"]


def fire(hosts: list[str]) -> None:
    """Fire every timer in each host, all at once."""
    for name in timers_of(hosts[0]):
        for host in hosts:
            assert httpx.post(f"{host}/admin/functions/{name}", timeout=30).status_code == 202


def drained(host: str) -> bool:
    return httpx.get(f"{host}/admin/host/drain/status", timeout=30).json()["state"] == "Completed"


def test_three_hosts_that_fire_every_timer_double_nothing_and_lose_nothing(embedded_azure_world):
    world, before, rng = embedded_azure_world, Before.of(embedded_azure_world), random.Random(20260104)
    scripts = scripts_of(rng.sample(real_files(), FILES), "three", rng)
    printed: list[str] = []
    with one_more(world, printed) as second, one_more(world, printed) as third:
        hosts = [str(world.addresses["api"]).removesuffix("/api"), second, third]
        uploading = threading.Thread(target=play, args=(world, scripts, rng))
        uploading.start()
        while uploading.is_alive():
            fire(hosts)
            time.sleep(EVERY)
        uploading.join()
        world.settle(120)
        Arrived(world, before, remaining(scripts)).check()
        versions = world.versions()
        fire(hosts)
        for host in (second, third):
            httpx.post(f"{host}/admin/host/drain", timeout=30)
        until(lambda: drained(second) and drained(third), "the timers have run to their end")
        world.settle(60)
        assert world.versions() == versions, "what is in sync is not written again"
    assert not [line for line in printed if " failed: " in line or "CRITICAL" in line]
