"""The dashboard from one's own machine: who may come in, and in whose name it acts."""

from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest
import typer

from sync.cli.token_server import HOST, serving
from sync.events import Sources
from sync.operators.pause import projection_pause
from tests.worlds import MemoryWorld

PAUSE = {"action": "pause", "why": "FHIR moves"}


@pytest.fixture
def w():
    return MemoryWorld()  # no one may operate over HTTP


@asynccontextmanager
async def served(w, who="ada"):
    running = SimpleNamespace(
        services=w.services, sources=Sources(account="memory", containers=frozenset({"dicom"})), recorder=None
    )
    async with (
        serving(running, port=0, who=who) as door,
        aiohttp.ClientSession(f"http://{HOST}:{door.port}", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser,
    ):
        yield door, browser


async def test_the_printed_address_leads_to_the_overview_and_leaves_no_token_in_the_address(w):
    async with served(w) as (door, browser):
        page = await browser.get(door.address)
        assert page.status == 200
        assert "In sync" in await page.text()
        assert page.url.path == "/dashboard"
        assert not page.url.query
        assert (await browser.get("/dashboard/static/dashboard.css")).content_type == "text/css"


@pytest.mark.parametrize("path", ["/", "/dashboard", "/dashboard/letters", "/?token=", "/?token=wrong", "/?token=é"])
async def test_without_the_token_no_request_is_answered(w, path):
    async with served(w) as (door, browser):
        answer = await browser.get(path)
        assert answer.status == 403
        assert door.token not in await answer.text()


async def test_a_page_of_another_name_for_this_machine_does_not_come_in_even_with_the_token(w):
    async with served(w) as (door, browser):
        answer = await browser.get(f"/?token={door.token}", headers={"Host": f"evil.example:{door.port}"})
        assert answer.status == 403


async def test_what_a_button_does_is_kept_with_the_name_of_the_user(w):
    async with served(w, who="ada") as (door, browser):
        await browser.get(door.address)
        asked = await (await browser.get("/dashboard/confirm?action=pause")).text()
        assert "Who are you?" not in asked
        own = {"Sec-Fetch-Site": "same-origin"}
        forged = {"X-DICOM-Sync-Operator": "another operator"}
        done = await browser.post("/dashboard/act", data=PAUSE, headers=own | forged)
        assert "Projection is paused" in await done.text()
    assert (await projection_pause(w.services)).who == "ada"


async def test_another_site_cannot_press_a_button(w):
    async with served(w) as (door, browser):
        await browser.get(door.address)
        refused = await browser.post("/dashboard/act", data=PAUSE, headers={"Sec-Fetch-Site": "cross-site"})
        assert refused.status == 403
    assert await projection_pause(w.services) is None


async def test_a_body_that_no_form_of_ours_has_is_refused(w):
    async with served(w) as (door, browser):
        await browser.get(door.address)
        refused = await browser.post("/dashboard/act", data={"why": "x" * 100_000})
        assert refused.status == 413


async def test_a_port_that_is_taken_is_said_with_what_to_do(w, capsys):
    async with served(w) as (door, _):
        running = SimpleNamespace(services=w.services)
        with pytest.raises(typer.Exit):
            async with serving(running, port=door.port, who="ada"):
                pass
    assert "choose another one with --port" in capsys.readouterr().err
