"""
The page of the timeline in a real browser, with and without script, wide and on a phone.

The pages are written before the browser starts: its loop runs as long as it does.
"""

import httpx
import pytest
from typer.testing import CliRunner

from sync.cli import app
from tests.browser import check_accessible, started
from tests.insights.test_timeline import EVIL, RESOURCES


@pytest.fixture(scope="module")
def written(fhir_embedded, tmp_path_factory):
    with httpx.Client(base_url=fhir_embedded, timeout=30) as client:
        for resource in RESOURCES:
            client.put(f"/{resource['resourceType']}/{resource['id']}", json=resource).raise_for_status()
    file = tmp_path_factory.mktemp("timeline") / "page.html"
    words = ["--html", str(file), "--since", "2199-01-01", "--viewer", "https://viewer.example/?study={uid}"]
    result = CliRunner().invoke(app, ["timeline", "tl-me", "--fhir", fhir_embedded, *words])
    assert result.exit_code == 0, result.output
    return file.as_uri()


@pytest.fixture(scope="module")
def browser(written):
    with started() as program:
        yield program


@pytest.mark.parametrize("script", [False, True], ids=["without script", "with script"])
def test_the_page_shows_everything_and_loads_nothing(browser, written, script):
    context = browser.new_context(java_script_enabled=script)
    page = context.new_page()
    complaints, loaded = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(written)
    assert page.get_by_role("cell", name=EVIL).is_visible()
    assert page.locator("circle").count() == 9
    assert page.get_by_role("cell", name="+25 %").is_visible()
    assert page.locator("td .mark").all_inner_texts() == ["relevant prior"]
    link = page.get_by_role("link", name="study tl-s3").get_attribute("href")
    assert link == "https://viewer.example/?study=1.2.3.3"
    assert complaints == []
    assert {url for url in loaded if not url.startswith("data:")} == {written}
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_accessible(browser, written, scheme, width):
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        bypass_csp=True,  # for axe, which is a script
    )
    page = context.new_page()
    page.goto(written)
    check_accessible(page)
    context.close()
