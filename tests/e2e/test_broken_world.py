"""
The world broken on purpose: the dashboard says what and why; each alert is raised once and cleared once.

Two stand watch: the timers of the functions host, and `alerts watch` beside it, which sees what a host that is stopped
cannot tell of itself. A webhook counts what both of them send.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from azure.storage.queue import QueueClient

from local.fhir_embedded import embedded_fhir_server
from tests.e2e.commands import sync
from tests.e2e.conftest import SOON
from tests.e2e.faulty_fhir import FaultyFhir
from tests.e2e.running import ROOT, until, up

MINUTE = 60.0
STOPPED = 45.0
"""Seconds; more than the half minute between two rounds of the host's own timers."""

LIMITS = {
    "DICOM_SYNC_ALERT_STOPPED_SECONDS": str(STOPPED),
    "DICOM_SYNC_ALERT_MISSING_EVENTS_SECONDS": "10",
    "DICOM_SYNC_ALERT_LAG_SECONDS": "10",
    "DICOM_SYNC_ALERT_FHIR_FAILING": "0",
    "DICOM_SYNC_ALERT_DEAD_LETTERS": "3",
    "DICOM_SYNC_ALERT_CLEAR_AFTER_SECONDS": "2",
}
BAD_FILES = 4


class Webhook:
    """The webhook that an urgent alert calls."""

    def __init__(self):
        self.notices = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                receiver.notices.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_):
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def told(self):
        """How often each alert was raised and cleared: by step and code."""
        return Counter((notice["type"].rpartition(".")[2], notice["subject"]) for notice in self.notices)

    def until(self, step, code, seconds=MINUTE):
        until(lambda: self.told()[step, code], f"{code} is {step}", seconds)


@contextmanager
def command(world, *arguments, ready):
    """Run a command beside the world for the length of the block; give the first line that matches."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sync", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, **LIMITS, **world.addresses["env"]},
    )
    try:
        started = next((match for line in process.stderr if (match := re.search(ready, line))), None)
        assert started, f"{arguments} did not start"
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield started[0]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@contextmanager
def stopped_host(world):
    """Nothing of the host moves for the length of the block."""
    pid = world.host_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def broken():
    """A world that is about to be broken, with its FHIR server and the webhook."""
    hook = Webhook()
    with embedded_fhir_server(on_line=lambda _: None) as server:
        fhir = FaultyFhir(server.url)
        with up(fhir.url, **SOON, **LIMITS, DICOM_SYNC_ALERT_WEBHOOK=hook.url) as world:
            world.addresses["env"]["DICOM_SYNC_ALERT_WEBHOOK"] = hook.url
            yield world, fhir, hook
        fhir.unplug()
    hook.server.shutdown()


def lose_event(world, upload):
    """Do something while the host is stopped, and take the message of its event away."""
    with QueueClient.from_connection_string(world.addresses["storage"], "objects") as client:
        upload()
        until(lambda: client.get_queue_properties().approximate_message_count, "the event is in the queue")
        client.clear_messages()


def test_whatever_breaks_is_seen_told_once_and_cleared_once(broken, place):
    world, fhir, hook = broken
    changed, waiting, unheard = (place.study(number) for number in (1, 2, 3))
    world.upload(place.name("1.dcm"), place.file(1))
    world.settle()
    outside = httpx.Client(follow_redirects=True, timeout=30)
    with (
        command(world, "alerts", "watch", "--every", "1", ready="watching every 1 s"),
        command(world, "dashboard", "--port", "0", ready=r"http://\S+") as address,
    ):
        assert "In sync" in outside.get(address).text
        with stopped_host(world):
            lose_event(world, lambda: world.upload(place.name("3.dcm"), place.file(3)))
            hook.until("raised", "alert.stopped", STOPPED + MINUTE)
            page = outside.get(address).text
            assert "Failing" in page
            assert "alert.stopped: The timers of the function app do not run" in page
            for number in range(BAD_FILES):
                world.upload(place.name(f"bad-{number}"), b"no DICOM at all")
            world.upload(place.name("2.dcm"), place.file(2))
            fhir.unplug()

        for code in ("alert.dead_letters", "alert.lag", "alert.fhir_failing", "alert.missing_events"):
            hook.until("raised", code)
        hook.until("cleared", "alert.stopped")
        for page in (world.api.get("dashboard").text, outside.get(address).text):
            assert "Failing" in page
            # Not alert.missing_events: the sweep of lost objects may have cleared it by itself.
            assert [code for code in ("alert.lag: ", "alert.fhir_failing: ") if code not in page] == []

        fhir.plug_in()
        hook.until("cleared", "alert.lag")
        assert world.study(waiting) is not None
        assert sync(world, "backfill").code == 0
        hook.until("cleared", "alert.missing_events")
        world.settle()
        assert world.study(unheard) is not None

        fhir_id = world.study(changed)["id"]
        world.fhir.delete(f"ImagingStudy/{fhir_id}").raise_for_status()
        hook.until("raised", "alert.drift", 3 * MINUTE)
        assert "alert.drift: " in world.api.get("dashboard").text
        assert sync(world, "verify", "--repair").code == 0
        hook.until("cleared", "alert.drift")
        world.settle()
        assert world.study(changed) is not None

    raised = {
        "alert.stopped",
        "alert.dead_letters",
        "alert.lag",
        "alert.fhir_failing",
        "alert.missing_events",
        "alert.drift",
    }
    cleared = {"alert.stopped", "alert.lag", "alert.missing_events", "alert.drift"}
    told = hook.told()
    assert {code for step, code in told if step == "raised"} == raised
    assert cleared <= {code for step, code in told if step == "cleared"}  # the others count over minutes: cleared later
    assert set(told.values()) == {1}
