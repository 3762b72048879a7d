"""
The pages and the watch of insights in a running world: a functions host, its state account, HAPI, and Chromium.

Screenshots are left in ``.local/screenshots`` to look at.
"""

import base64
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableClient
from playwright.sync_api import expect

from insights.inbox.items import code_of, rule_of
from insights.timeline.entries import entries
from sync.adapters.azure import names
from sync.adapters.azure.tables.rows import time_text
from tests.browser import check_accessible, started
from tests.e2e.commands import sync
from tests.e2e.faulty_fhir import Answer, FaultyFhir
from tests.e2e.running import ROOT
from tests.e2e.test_dashboard import PHONE, SHOTS, WIDE
from tests.insights.outcomes_world import RULE, example

FEW = ("p01", "p07", "p15")
"""Patients of whom something is to be told: found, found not to be so, of the other side."""

TOLD = 5
"""Items of them: three for the reader, two for the model."""

NO_TOPIC = {"DICOM_SYNC_EVENTS_TOPIC": "http://127.0.0.1:9/api/events", "DICOM_SYNC_EVENTS_KEY": "none"}
"""A topic that does not answer: events wait in the outbox, where they can be counted."""

READER = "ada.pages@example.org"
SYSTEM = "urn:example:staff"
KINDS = ("Patient", "ImagingStudy", "Observation", "DiagnosticReport", "Specimen", "Device")


def records():
    """The records of a few patients under ids of this test, and the reader who signs in."""
    some = [
        resource
        for resource in example()
        if resource["resourceType"] == "Device" or any(of in json.dumps(resource) for of in FEW)
    ]
    text = json.dumps([{**resource, "id": f"pages-{resource['id']}"} for resource in some])
    for kind in KINDS:
        text = text.replace(f'"{kind}/', f'"{kind}/pages-')
    text = text.replace('"r-17"', '"pages-r-17"').replace("1.2.3.", "1.2.31.")
    reader = {
        "resourceType": "Practitioner",
        "id": "pages-ada",
        "identifier": [{"system": SYSTEM, "value": "pages-r-17"}, {"value": READER}],
    }
    return [reader, *json.loads(text)]


def signed_in(*roles, name=READER):
    claims = [{"typ": "preferred_username", "val": name}, *({"typ": "roles", "val": role} for role in roles)]
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps({"claims": claims}).encode()).decode()}


@pytest.fixture(scope="module")
def clinic(hapi_world):
    entries = [
        {"resource": record, "request": {"method": "PUT", "url": f"{record['resourceType']}/{record['id']}"}}
        for record in records()
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    hapi_world.fhir.post("", json=bundle).raise_for_status()
    proxy = FaultyFhir(hapi_world.addresses["fhir"])
    yield SimpleNamespace(world=hapi_world, proxy=proxy)
    proxy.unplug()


def items(world):
    """The items of the few patients, as FHIR has them now."""
    about = ",".join(f"Patient/pages-{of}" for of in FEW)
    messages = world.search(f"Communication?patient={about}&_count=100")
    return {resource["id"]: resource for resource in messages if code_of(resource) == "item"}


def watch(clinic, killed_at=0, *, before=True):
    """
    Type one pass of the watch; kill it without warning at a write of an item, before or after that is carried out.

    Return the exit code.
    """
    words = ["feedback", "watch", str(RULE), "--once", "--json", "--since", f"{datetime.now(UTC):%Y-%m-%d}"]
    environment = {**os.environ, **clinic.world.addresses["env"], "DICOM_SYNC_FHIR_URL": clinic.proxy.url, **NO_TOPIC}
    process = subprocess.Popen(
        [sys.executable, "-m", "sync", *words], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    written = []

    def kill(method, path, body):
        if method != "PUT" or b"Patient/pages-" not in body:
            return None
        written.append(path)
        if len(written) != killed_at:
            return None
        if not before:
            clinic.proxy.forward(method, path, {"Content-Type": "application/fhir+json"}, body)
        process.kill()
        return Answer(503, b"")

    clinic.proxy.fault = kill
    process.wait(240)
    clinic.proxy.fault = None
    return process.returncode


def let_the_lease_run_out(world):
    """As a minute would: a killed watch could not give it back."""
    with TableClient.from_connection_string(world.addresses["storage"], names.CURSORS) as table:
        (row,) = [entity for entity in table.list_entities() if entity["name"] == "feedback lung-nodules"]
        assert row["holder"]
        row["held_until"] = time_text(datetime.now(UTC) - timedelta(minutes=1))
        table.update_entity(row)


def announced(world):
    """How many events wait for a topic that is not there; the first of them makes the table."""
    with TableClient.from_connection_string(world.addresses["storage"], names.OUTBOX) as table:
        try:
            return len(list(table.list_entities()))
        except ResourceNotFoundError:
            return 0


def versions(world):
    return {identity: item["meta"]["versionId"] for identity, item in items(world).items()}


def test_a_watch_that_is_killed_in_a_batch_tells_everything_once(clinic):
    world, former = clinic.world, announced(clinic.world)
    for killed_at, before, there in ((2, True, 1), (2, False, 3)):
        assert watch(clinic, killed_at, before=before) == -signal.SIGKILL
        assert set(versions(world).values()) == {"1"}
        assert len(versions(world)) == there
        let_the_lease_run_out(world)
    for _ in range(2):  # to its end, and once more
        assert watch(clinic) == 0
        assert list(versions(world).values()) == ["1"] * TOLD
        assert announced(world) - former == TOLD
    assert {rule_of(item) for item in items(world).values()} == {"lung-nodules"}


@pytest.fixture(scope="module")
def browser():
    with started() as program:
        yield program


@contextmanager
def page_for(browser, *roles, name=READER):
    """A page of who signed in with roles; what its console complains of is an error."""
    context = browser.new_context(viewport=WIDE, extra_http_headers=signed_in(*roles, name=name))
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert complaints == []


def look_at(page, name):
    """Hold the page to axe's rules, wide and on a phone; leave screenshots."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for viewport in (WIDE, PHONE):
        page.set_viewport_size(viewport)
        page.screenshot(path=SHOTS / f"{name}-{viewport['width']}.png", full_page=True)
        check_accessible(page)


def test_the_inbox_shows_the_readers_items_and_takes_a_mark(clinic, browser):
    with page_for(browser, "feedback") as page:
        assert page.goto(f"{clinic.world.addresses['api']}/inbox").status == 200
        expect(page.get_by_role("heading", level=2)).to_have_count(len(FEW))
        look_at(page, "inbox")
        page.get_by_role("button", name="disagree").first.click()
        expect(page.get_by_text("2 without your mark")).to_be_visible()
        expect(page.locator("span.mark")).to_have_text(["disagree"])
    about = ",".join(f"Patient/pages-{of}" for of in FEW)
    marks = [message for message in clinic.world.search(f"Communication?patient={about}") if code_of(message) == "mark"]
    assert [(code_of(mark, "reasonCode"), mark["sender"]["display"]) for mark in marks] == [("disagree", READER)]


def test_the_timeline_on_hapi_is_whole_as_a_command_and_as_a_page(clinic, browser):
    patient, world = "pages-p01", clinic.world
    said = sync(world, "timeline", patient, "--json")
    assert said.code == 0, said.err
    ours = [record for record in records() if record.get("subject") == {"reference": f"Patient/{patient}"}]
    # Of the Observations the timeline asks for those of the category imaging only, and these have none.
    expected = {
        entry.reference
        for entry in entries([resource for resource in ours if resource["resourceType"] != "Observation"])
    }
    assert {entry["reference"] for entry in json.loads(said.out)["entries"]} == expected
    assert {reference.partition("/")[0] for reference in expected} >= {"ImagingStudy", "DiagnosticReport"}
    address = f"{world.addresses['api']}/timeline/{patient}"
    with page_for(browser, "timeline-all") as page:
        assert page.goto(address).status == 200
        expect(page.get_by_role("heading", level=1)).to_have_text("Timeline")
        expect(page.locator("tbody tr")).to_have_count(len(expected))
        expect(page.get_by_text("Not everything is here")).to_have_count(0)
        look_at(page, "timeline")
    assert world.search(f"AuditEvent?entity=Patient/{patient}")


@pytest.mark.parametrize(
    ("path", "roles", "name", "status"),
    [
        ("timeline/pages-p01", (), READER, 403),
        ("timeline/pages-p01", ("feedback",), READER, 403),
        ("timeline/pages-p01", ("timeline",), "eve@example.org", 404),
        ("inbox", ("timeline-all",), READER, 403),
    ],
)
def test_a_page_takes_sign_in_a_role_and_a_name(clinic, path, roles, name, status):
    refused = clinic.world.api.get(path, headers=signed_in(*roles, name=name))
    assert (refused.status_code, "ImagingStudy" in refused.text) == (status, False)
    assert clinic.world.api.get(path).status_code == 403
